//! The host's clocks as a function of the processor's counter, in a page that programs read.
//!
//! ```text
//! 0x00  u32  generation; 0: there is no clock, ask the host
//! 0x40  two slots of 64 bytes, used in turns by the parity of the generation:
//!       +0 counter, +8 nanoseconds a count (32.32), +16 monotonic time then, +24 wall minus monotonic
//! ```
//!
//! A slot is written while the other one is current; the generation is changed last. A reader who sees
//! the same generation before and after has read one slot, and never waits for a writer. The monotonic time
//! never steps backwards: a clock that is ahead is slowed down until the host's has caught up.

use crate::sys::time_stamp;

/// What a host's clocks showed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) counter: u64,
    /// How long reading took, in counts: what the sample may be wrong by.
    pub(super) width: u64,
    pub(super) monotonic: i64,
    pub(super) wall: i64,
}

impl Sample {
    /// The best of a few tries: the one that took least. `None` when the host does not say the time.
    pub(super) fn take(mut read: impl FnMut(ringfence_abi::Clock) -> Option<i64>) -> Option<Sample> {
        let mut best: Option<Sample> = None;
        for _ in 0..4 {
            let before = time_stamp();
            let monotonic = read(ringfence_abi::Clock::Monotonic)?;
            let after = time_stamp();
            let wall = read(ringfence_abi::Clock::Wall)?;
            let width = after.saturating_sub(before);
            if best.is_none_or(|best| width < best.width) {
                best = Some(Sample { counter: before + width / 2, width, monotonic, wall });
            }
        }
        best
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) counter: u64,
    pub(super) rate: u64,
    pub(super) monotonic: i64,
    pub(super) to_wall: i64,
}

impl Slot {
    /// As the code in the page computes it.
    pub(super) fn monotonic_at(&self, counter: u64) -> i64 {
        let counts = counter.saturating_sub(self.counter);
        ((u128::from(counts) * u128::from(self.rate)) >> 32) as i64 + self.monotonic
    }

    pub(super) fn words(&self) -> [u64; 4] {
        [self.counter, self.rate, self.monotonic as u64, self.to_wall as u64]
    }
}

/// How far the clock may be off before it is led back, in nanoseconds, beside what a sample may be wrong by.
const TOLERANCE: i64 = 2_000;
/// How far the wall clock may move against the monotonic one before programs hear of it.
const WALL_TOLERANCE: i64 = 10_000;
/// So far behind it is set forward at once.
const STEP: i64 = 10_000_000;

/// The clock of one instance.
#[derive(Debug)]
pub(super) struct Clock {
    slot: Slot,
    first: Sample,
    /// Nanoseconds a count, 32.32: what the host's kernel says at first, measured later.
    nominal: u64,
    /// Whether the rate is another than the nominal one, to lead the clock back.
    led: bool,
}

impl Clock {
    /// `kilohertz` is the frequency of the counter.
    pub(super) fn new(sample: Sample, kilohertz: u32) -> Clock {
        let nominal = ((1_000_000_u128 << 32) / u128::from(kilohertz.max(1))) as u64;
        let slot = Slot {
            counter: sample.counter,
            rate: nominal,
            monotonic: sample.monotonic,
            to_wall: sample.wall - sample.monotonic,
        };
        Clock { slot, first: sample, nominal, led: false }
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    /// Compares with the host; what to write when something has to change. `now` is the counter, just read:
    /// the clock shows the same before and after what is written, from there on.
    pub(super) fn correct(&mut self, sample: Sample, now: u64) -> Option<Slot> {
        let shown = self.slot.monotonic_at(sample.counter);
        let error = sample.monotonic - shown;
        let width = ((u128::from(sample.width) * u128::from(self.nominal)) >> 32) as i64;
        self.measure(sample, width);
        let to_wall = sample.wall - sample.monotonic;
        let wall_moved = (to_wall - self.slot.to_wall).abs() > WALL_TOLERANCE + 2 * width;
        let is_off = error.abs() > TOLERANCE + width;
        if !is_off && !wall_moved && !self.led {
            return None;
        }
        let mut slot = Slot { counter: now, rate: self.nominal, monotonic: self.slot.monotonic_at(now), ..self.slot };
        if wall_moved {
            slot.to_wall = to_wall;
        }
        self.led = is_off;
        if error > STEP {
            slot.monotonic += error;
        } else if is_off {
            // Made up for within a second, at no more than a tenth of the speed.
            let share = error.clamp(-100_000_000, 100_000_000);
            slot.rate = (i128::from(self.nominal) * (1_000_000_000 + i128::from(share)) / 1_000_000_000) as u64;
        }
        self.slot = slot;
        Some(slot)
    }

    /// Takes the rate from the whole time so far, once that is long enough to be exact.
    fn measure(&mut self, sample: Sample, width: i64) {
        let counts = sample.counter.saturating_sub(self.first.counter);
        let passed = sample.monotonic - self.first.monotonic;
        if passed < 1_000_000_000 || width > 10_000 || counts == 0 {
            return;
        }
        let measured = ((passed as u128) << 32) / u128::from(counts);
        // A clock that runs quite differently from the counter is no function of it.
        let (low, high) = (self.nominal - self.nominal / 1000, self.nominal + self.nominal / 1000);
        self.nominal = (measured as u64).clamp(low, high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIGAHERTZ: u32 = 1_000_000;

    fn sample(counter: u64, monotonic: i64, wall: i64) -> Sample {
        Sample { counter, width: 100, monotonic, wall }
    }

    #[test]
    fn a_clock_that_is_right_is_left_alone() {
        let mut clock = Clock::new(sample(1_000, 5_000, 9_000), GIGAHERTZ);
        assert_eq!(clock.slot().monotonic_at(2_000), 6_000);
        assert_eq!(clock.correct(sample(1_001_000, 1_005_500, 1_009_500), 1_001_100), None);
    }

    #[test]
    fn a_clock_that_is_ahead_is_slowed_down_and_never_steps_back() {
        let mut clock = Clock::new(sample(0, 0, 0), GIGAHERTZ);
        let slot = clock.correct(sample(100_000_000, 99_900_000, 99_900_000), 100_000_000).unwrap();
        assert_eq!(slot.monotonic_at(100_000_000), 100_000_000);
        assert!(slot.rate < 1 << 32);
        let mut at = 100_000_000;
        for _ in 0..1000 {
            let before = clock.slot().monotonic_at(at + 10_000_000);
            at += 10_000_000;
            clock.correct(sample(at, at as i64 - 100_000, at as i64 - 100_000), at);
            assert!(clock.slot().monotonic_at(at) >= before);
        }
        assert!((clock.slot().monotonic_at(at) - (at as i64 - 100_000)).abs() < 20_000);
    }

    #[test]
    fn a_clock_that_is_far_behind_is_set_forward() {
        let mut clock = Clock::new(sample(0, 0, 0), GIGAHERTZ);
        let slot = clock.correct(sample(1_000_000, 1_000_000_000, 1_000_000_000), 1_000_000).unwrap();
        assert_eq!(slot.monotonic_at(1_000_000), 1_000_000_000);
    }

    #[test]
    fn when_the_time_of_day_is_set_programs_see_it() {
        let mut clock = Clock::new(sample(0, 0, 50), GIGAHERTZ);
        let slot = clock.correct(sample(1_000, 1_000, 3_600_000_000_000), 1_000).unwrap();
        assert_eq!(slot.to_wall, 3_600_000_000_000 - 1_000);
        assert_eq!(slot.monotonic_at(1_000), 1_000);
    }
}
