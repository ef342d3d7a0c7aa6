//! Clocks, sleep and chance.

use std::time::Duration;

use ringfence_abi::{Clock, ErrorCode, Timestamp};
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use crate::error::code;

/// How many random bytes are made at once.
const CHUNK: usize = 64 << 10;

fn id(clock: Clock) -> ClockId {
    match clock {
        Clock::Wall => ClockId::Realtime,
        Clock::Monotonic => ClockId::Monotonic,
    }
}

fn nanoseconds(time: Timespec) -> Timestamp {
    Timestamp::from(time.tv_sec) * 1_000_000_000 + Timestamp::from(time.tv_nsec)
}

/// `clock_gettime(2)`.
pub(crate) fn now(clock: Clock) -> Timestamp {
    nanoseconds(clock_gettime(id(clock)))
}

/// `clock_getres(2)`.
pub(crate) fn resolution(clock: Clock) -> Timestamp {
    nanoseconds(clock_getres(id(clock)))
}

/// Waits until the monotonic clock shows `until`. Needs a Tokio runtime with its time driver.
pub(crate) async fn sleep(until: Timestamp) {
    const LONG: Timestamp = 1_000_000_000 * 60 * 60 * 24;
    loop {
        let left = until.saturating_sub(now(Clock::Monotonic));
        if left <= 0 {
            return;
        }
        let left = u64::try_from(left.min(LONG)).unwrap_or(0);
        tokio::time::sleep(Duration::from_nanos(left)).await;
    }
}

/// `getrandom(2)`; `go_on` is asked between pieces, so that no request lasts long.
pub(crate) fn random(into: &mut [u8], go_on: impl Fn() -> Result<(), ErrorCode>) -> Result<(), ErrorCode> {
    for mut piece in into.chunks_mut(CHUNK) {
        while !piece.is_empty() {
            match getrandom(&mut *piece, GetRandomFlags::empty()) {
                Ok(filled) => piece = &mut piece[filled..],
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(code(errno)),
            }
        }
        go_on()?;
    }
    Ok(())
}
