//! How many bytes may pass now: a token bucket.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringfence_manifest::BitRate;
use tokio::time::Instant;

/// One bit, in the unit the level is kept in. Billionths of a bit make every refill exact: a
/// nanosecond at `n` bits per second adds `n` of them.
const BIT: u128 = 1_000_000_000;
const BYTE: u128 = 8 * BIT;

/// A token bucket over the bytes an instance sends and receives, both directions together.
///
/// Over any stretch of time `t` it lets through at most `rate × t + burst`. The burst is what passes
/// in a tenth of a second at the full rate, and at least 16 KiB.
pub(super) struct Bandwidth {
    /// Bits per second.
    rate: u128,
    /// The most the level rises to.
    burst: u128,
    level: Mutex<Level>,
}

struct Level {
    held: u128,
    at: Instant,
}

impl Bandwidth {
    /// The smallest burst, in bytes.
    pub(super) const LEAST_BURST: usize = 16 * 1024;

    /// A full bucket.
    pub(super) fn new(rate: BitRate, now: Instant) -> Self {
        let rate = u128::from(rate.0);
        let burst = (rate * BIT / 10).max(Self::LEAST_BURST as u128 * BYTE);
        Self { rate, burst, level: Mutex::new(Level { held: burst, at: now }) }
    }

    /// The most bytes that can ever be taken at once.
    pub(super) fn burst(&self) -> usize {
        usize::try_from(self.burst / BYTE).unwrap_or(usize::MAX)
    }

    /// Takes as many bytes as there are, up to `most`; nothing if there are fewer than `least`.
    pub(super) fn take(&self, least: usize, most: usize, now: Instant) -> Option<usize> {
        let mut level = self.refilled(now);
        let there = usize::try_from(level.held / BYTE).unwrap_or(usize::MAX);
        if there < least {
            return None;
        }
        let taken = there.min(most);
        level.held -= taken as u128 * BYTE;
        Some(taken)
    }

    /// Gives back what was taken and did not pass.
    pub(super) fn give_back(&self, bytes: usize) {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.held = (level.held + bytes as u128 * BYTE).min(self.burst);
    }

    /// When `bytes` will be there if nobody takes any before; `None` for never.
    pub(super) fn due(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let wanted = bytes as u128 * BYTE;
        let held = self.refilled(now).held;
        let missing = wanted.saturating_sub(held);
        if missing == 0 {
            return Some(now);
        }
        if wanted > self.burst || self.rate == 0 {
            return None;
        }
        let nanoseconds = u64::try_from(missing.div_ceil(self.rate)).ok()?;
        now.checked_add(Duration::from_nanos(nanoseconds))
    }

    /// Waits until `bytes` are there; for ever if that never happens.
    pub(super) async fn wait_for(&self, bytes: usize) {
        loop {
            let now = Instant::now();
            match self.due(bytes, now) {
                Some(due) if due <= now => return,
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    fn refilled(&self, now: Instant) -> MutexGuard<'_, Level> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(level.at);
        level.held = level.held.saturating_add(self.rate.saturating_mul(elapsed.as_nanos())).min(self.burst);
        level.at = level.at.max(now);
        level
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slow_rate_still_lets_sixteen_kibibytes_through_at_once() {
        let now = Instant::now();
        let bandwidth = Bandwidth::new(BitRate(8_000), now);
        assert_eq!(bandwidth.take(1, usize::MAX, now), Some(16 * 1024));
        assert_eq!(bandwidth.take(1, usize::MAX, now), None);
    }

    #[test]
    fn the_burst_is_a_tenth_of_a_second_of_a_fast_rate() {
        let now = Instant::now();
        let bandwidth = Bandwidth::new(BitRate(80_000_000), now);
        assert_eq!(bandwidth.burst(), 1_000_000);
        assert_eq!(bandwidth.take(1, usize::MAX, now), Some(1_000_000));
    }

    #[test]
    fn idle_time_saves_up_no_more_than_the_burst() {
        let now = Instant::now();
        let bandwidth = Bandwidth::new(BitRate(8_000), now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(bandwidth.take(1, usize::MAX, later), Some(16 * 1024));
        assert_eq!(bandwidth.take(1, usize::MAX, later + Duration::from_secs(1)), Some(1000));
    }

    #[test]
    fn more_than_the_burst_is_never_due_and_neither_is_anything_at_rate_zero() {
        let now = Instant::now();
        let slow = Bandwidth::new(BitRate(8_000), now);
        assert_eq!(slow.due(16 * 1024, now), Some(now));
        assert_eq!(slow.due(16 * 1024 + 1, now), None);
        let stopped = Bandwidth::new(BitRate(0), now);
        assert_eq!(stopped.take(1, usize::MAX, now), Some(16 * 1024));
        assert_eq!(stopped.due(1, now), None);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_but_never_exceeds_the_burst() {
        let now = Instant::now();
        let bandwidth = Bandwidth::new(BitRate(8_000), now);
        bandwidth.give_back(1_000_000);
        assert_eq!(bandwidth.take(1, usize::MAX, now), Some(16 * 1024));
        bandwidth.give_back(100);
        assert_eq!(bandwidth.take(1, usize::MAX, now), Some(100));
    }

    /// One step of a program that sends and receives: let time pass, then try to move bytes, of
    /// which only some pass.
    fn steps() -> impl Strategy<Value = Vec<(u64, usize, usize, u8)>> {
        prop::collection::vec((0u64..50_000_000, 0usize..3_000, 0usize..200_000, any::<u8>()), 1..200)
    }

    proptest! {
        #[test]
        fn never_more_than_rate_times_time_and_the_burst_passes(rate in 0u64..200_000_000, steps in steps()) {
            let start = Instant::now();
            let bandwidth = Bandwidth::new(BitRate(rate), start);
            let mut now = start;
            let mut passed = 0u128;
            for (nanoseconds, least, most, share) in steps {
                now += Duration::from_nanos(nanoseconds);
                if let Some(taken) = bandwidth.take(least, most.max(least), now) {
                    prop_assert!(taken <= most.max(least));
                    let moved = taken * usize::from(share) / 255;
                    bandwidth.give_back(taken - moved);
                    passed += moved as u128;
                }
                let allowed = u128::from(rate) * (now - start).as_nanos() / 8 / BIT + bandwidth.burst() as u128 + 1;
                prop_assert!(passed <= allowed, "{passed} passed, {allowed} allowed");
            }
        }

        #[test]
        fn what_is_due_is_there_when_it_is_due(
            rate in 1u64..200_000_000, drained in any::<u32>(), wanted in 1usize..16 * 1024, early in 1u64..1_000,
        ) {
            let now = Instant::now();
            let bandwidth = Bandwidth::new(BitRate(rate), now);
            bandwidth.take(0, bandwidth.burst() - drained as usize % 1_000, now);
            let due = bandwidth.due(wanted, now).expect("less than the burst is due some time");
            if due > now + Duration::from_nanos(early) {
                prop_assert_eq!(bandwidth.take(wanted, wanted, due - Duration::from_nanos(early)), None);
            }
            prop_assert_eq!(bandwidth.take(wanted, wanted, due), Some(wanted));
        }

        #[test]
        fn whoever_waits_for_bandwidth_moves_at_the_rate(rate in 100_000u64..200_000_000, sizes in prop::collection::vec(1usize..16 * 1024, 1..100)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let (passed, waits, took) = runtime.expect("a runtime").block_on(async {
                let begun = Instant::now();
                let bandwidth = Bandwidth::new(BitRate(rate), begun);
                let (mut passed, mut waits) = (0, 0);
                for size in sizes {
                    while bandwidth.take(size, size, Instant::now()).is_none() {
                        waits += 1;
                        bandwidth.wait_for(size).await;
                    }
                    passed += size;
                }
                (passed.saturating_sub(bandwidth.burst()), waits, begun.elapsed())
            });
            let least = Duration::from_secs_f64(passed as f64 * 8.0 / rate as f64);
            prop_assert!(took + Duration::from_micros(1) >= least, "{took:?} instead of {least:?}");
            // The clock of the runtime goes in milliseconds.
            let most = least + Duration::from_millis(2) * (waits + 1);
            prop_assert!(took <= most, "{took:?} instead of {least:?}, having waited {waits} times");
        }
    }
}
