//! Timers that are descriptors: `timerfd_create(2)`.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::lock;
use super::readiness::{IN, Watch};
use super::thread::Thread;
use super::waiting::Bell;
use super::{Answer, Arguments, int, time};

/// A timer that is read.
pub(super) struct Timer {
    clock: i32,
    state: Mutex<State>,
    /// Rung when it is set.
    pub(super) bell: Bell,
}

#[derive(Clone, Copy, Default)]
struct State {
    next: Option<Instant>,
    interval: Duration,
}

impl State {
    /// How often it has expired since it was asked last.
    fn take(&mut self) -> u64 {
        let Some(next) = self.next else { return 0 };
        let late = match Instant::now().checked_duration_since(next) {
            Some(late) => late,
            None => return 0,
        };
        if self.interval.is_zero() {
            self.next = None;
            return 1;
        }
        let more = late.as_nanos() / self.interval.as_nanos();
        let passed = u64::try_from(more).unwrap_or(u64::MAX).saturating_add(1);
        let step = u128::from(passed).saturating_mul(self.interval.as_nanos());
        let step = Duration::from_nanos(u64::try_from(step).unwrap_or(u64::MAX));
        self.next = next.checked_add(step);
        passed
    }

    /// How long until it expires next, whether the last time was read or not: `timerfd_gettime(2)`.
    fn left(&self) -> Duration {
        let Some(next) = self.next else { return Duration::ZERO };
        let late = Instant::now().saturating_duration_since(next);
        match late.as_nanos().checked_rem(self.interval.as_nanos()) {
            Some(into) if !late.is_zero() => {
                let into = Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX));
                self.interval.saturating_sub(into)
            }
            _ => next.saturating_duration_since(Instant::now()),
        }
    }
}

impl Timer {
    /// Its clock, what is left until it expires, and its interval.
    pub(super) fn captured(&self) -> (i32, Option<Duration>, Duration) {
        let state = *lock(&self.state);
        // One that expired and was not read expires at once when it goes on.
        let left = state.next.map(|next| next.saturating_duration_since(Instant::now()));
        (self.clock, left, state.interval)
    }

    /// The reverse of [`captured`](Self::captured): what was left is left from now on.
    pub(super) fn of(clock: i32, left: Option<Duration>, interval: Duration) -> Timer {
        let next = left.and_then(time::after);
        Timer { clock, state: Mutex::new(State { next, interval }), bell: Bell::default() }
    }

    /// How often it has changed: when it was set or read, and at each moment it expired.
    pub(super) fn changes(&self) -> u64 {
        let state = *lock(&self.state);
        let expired = state.next.map_or(0, |next| {
            let late = Instant::now().saturating_duration_since(next).as_nanos();
            late.checked_div(state.interval.as_nanos()).map_or(0, |times| times as u64)
        });
        self.bell.rings() + expired
    }

    pub(super) fn readiness(&self, watch: &mut Watch<'_>) -> i16 {
        watch.enlist(&self.bell);
        match lock(&self.state).next {
            Some(next) if next <= Instant::now() => IN,
            Some(next) => {
                watch.look_at(next);
                0
            }
            None => 0,
        }
    }

    pub(super) fn read(&self, thread: &Thread, into: &mut [u8], at_once: bool) -> Result<usize, Errno> {
        let place = into.get_mut(..8).ok_or(Errno::INVAL)?;
        let take = || Some(lock(&self.state).take()).filter(|&count| count > 0);
        let count = match (take(), at_once) {
            (Some(count), _) => count,
            (None, true) => return Err(Errno::AGAIN),
            (None, false) => thread.watch(None, |watch| {
                self.readiness(watch);
                take()
            })?,
        };
        self.bell.ring();
        place.copy_from_slice(&count.to_le_bytes());
        Ok(8)
    }
}

/// `struct itimerspec`: the interval, then the time left.
fn bytes(state: &State) -> Vec<u8> {
    let [interval, left] =
        [state.interval, state.left()].map(|duration| [duration.as_secs(), duration.subsec_nanos().into()]);
    interval.into_iter().chain(left).flat_map(u64::to_le_bytes).collect()
}

/// `timerfd_create(2)`
pub(super) fn create(thread: &mut Thread, [clock, flags, ..]: Arguments) -> Answer {
    let flags = int(flags);
    let clock = int(clock);
    let is_clock = matches!(
        clock,
        libc::CLOCK_REALTIME
            | libc::CLOCK_MONOTONIC
            | libc::CLOCK_BOOTTIME
            | libc::CLOCK_REALTIME_ALARM
            | libc::CLOCK_BOOTTIME_ALARM
    );
    if !is_clock || flags & !(libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    let timer = Timer { clock, state: Mutex::default(), bell: Bell::default() };
    let how = (libc::O_RDWR | flags & libc::TFD_NONBLOCK) as u32;
    let open = Open::new(&thread.world, Kind::Timer(timer), b"anon_inode:[timerfd]", how);
    thread.process.descriptors().add(open, 0, flags & libc::TFD_CLOEXEC != 0)
}

/// `timerfd_settime(2)`
pub(super) fn settime(thread: &mut Thread, [number, flags, new, old, ..]: Arguments) -> Answer {
    if int(flags) & !(libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::INVAL);
    }
    let (interval, wanted) = (thread.duration(new)?, thread.duration(new.wrapping_add(16))?);
    let open = thread.process.descriptors().file(int(number))?;
    let Kind::Timer(timer) = &open.kind else { return Err(Errno::INVAL) };
    let left = match flags & libc::TFD_TIMER_ABSTIME as u64 {
        0 => wanted,
        _ => wanted.saturating_sub(time::shown(thread, timer.clock)?),
    };
    let next = if wanted.is_zero() { None } else { time::after(left) };
    let before = std::mem::replace(&mut *lock(&timer.state), State { next, interval });
    timer.bell.ring();
    if old != 0 {
        thread.process.space()?.write(old, &bytes(&before))?;
    }
    Ok(0)
}

/// `timerfd_gettime(2)`
pub(super) fn gettime(thread: &mut Thread, [number, at, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().get(int(number))?;
    let Kind::Timer(timer) = &open.kind else { return Err(Errno::INVAL) };
    let state = *lock(&timer.state);
    thread.process.space()?.write(at, &bytes(&state)).map(|()| 0)
}
