//! How many bytes may pass now.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringfence_manifest::BitRate;

/// One byte, in the unit the level is kept in: a nanosecond at `n` bits a second adds `n`.
const BYTE: i128 = 8_000_000_000;
/// The smallest burst, in bytes.
const LEAST_BURST: i128 = 16 * 1024;

/// A bucket that fills at a rate, for both directions together: over any time `t` it gives
/// `rate × t` and a burst, which is a tenth of a second at that rate and at least 16 KiB.
#[derive(Debug)]
pub(in crate::network) struct Bucket {
    rate: i128,
    burst: i128,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    /// Below zero after a datagram that was larger than what was there.
    held: i128,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(in crate::network) fn new(rate: BitRate, now: Instant) -> Self {
        let rate = i128::from(rate.0);
        let burst = (rate * 100_000_000).max(LEAST_BURST * BYTE);
        Bucket { rate, burst, level: Mutex::new(Level { held: burst, at: now }) }
    }

    /// Takes as many bytes as there are, at most so many.
    pub(super) fn take(&self, most: usize, now: Instant) -> usize {
        let mut level = self.filled(now);
        let there = usize::try_from(level.held / BYTE).unwrap_or(0).min(most);
        level.held -= there as i128 * BYTE;
        there
    }

    /// Gives back what was taken and did not pass.
    pub(super) fn give_back(&self, bytes: usize) {
        let mut level = self.level();
        level.held = (level.held + bytes as i128 * BYTE).min(self.burst);
    }

    /// Takes what a datagram has, which passes whole or not at all.
    pub(in crate::network) fn owe(&self, bytes: usize, now: Instant) {
        self.filled(now).held -= bytes as i128 * BYTE;
    }

    /// How long until something may pass; zero when it may now. Nothing passes byte by byte: it is as much
    /// as passes in a hundredth of a second.
    pub(in crate::network) fn due(&self, now: Instant) -> Duration {
        let least = (self.rate * 10_000_000).clamp(BYTE, LEAST_BURST * BYTE);
        let missing = least - self.filled(now).held;
        if missing <= 0 {
            return Duration::ZERO;
        }
        // A rate of nothing is never due; a day is as good.
        let wait = if self.rate > 0 { (missing + self.rate - 1) / self.rate } else { i128::MAX };
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)).min(Duration::from_secs(86_400))
    }

    fn filled(&self, now: Instant) -> MutexGuard<'_, Level> {
        let mut level = self.level();
        let elapsed = now.saturating_duration_since(level.at).as_nanos();
        let added = self.rate.saturating_mul(i128::try_from(elapsed).unwrap_or(i128::MAX));
        level.held = level.held.saturating_add(added).min(self.burst);
        level.at = level.at.max(now);
        level
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_debt_is_paid_before_anything_passes() {
        let now = Instant::now();
        let bucket = Bucket::new(BitRate(8_000_000), now);
        bucket.owe(1_100_000, now);
        assert_eq!(bucket.take(9, now), 0);
        // A million bytes a second; ten thousand of them are worth waiting for.
        assert_eq!(bucket.due(now), Duration::from_millis(1010));
        let later = now + bucket.due(now);
        assert_eq!((bucket.due(later), bucket.take(usize::MAX, later)), (Duration::ZERO, 10_000));
    }

    #[test]
    fn a_rate_of_nothing_gives_its_burst_and_no_more() {
        let now = Instant::now();
        let bucket = Bucket::new(BitRate(0), now);
        assert_eq!(bucket.take(usize::MAX, now), 16 * 1024);
        let later = now + Duration::from_secs(1 << 30);
        assert_eq!((bucket.take(1, later), bucket.due(later)), (0, Duration::from_secs(86_400)));
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_passes_than_the_rate_and_a_burst(
            rate in 0_u64..1_000_000_000,
            steps in proptest::collection::vec((0_u64..50_000_000, 0_usize..100_000, any::<bool>()), 1..100),
        ) {
            let began = Instant::now();
            let bucket = Bucket::new(BitRate(rate), began);
            let (mut now, mut passed) = (began, 0_u128);
            for (nanoseconds, bytes, back) in steps {
                now += Duration::from_nanos(nanoseconds);
                let taken = bucket.take(bytes, now);
                prop_assert!(taken <= bytes);
                if back {
                    bucket.give_back(taken);
                } else {
                    passed += taken as u128;
                }
                let elapsed = now.duration_since(began).as_nanos();
                let most = u128::from(rate) * elapsed / BYTE.unsigned_abs() + (bucket.burst / BYTE).unsigned_abs();
                prop_assert!(passed <= most + 1, "{} of {}", passed, most);
            }
        }
    }
}
