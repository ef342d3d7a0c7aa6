//! Where a thread makes system calls, and how often.

use std::time::{Duration, Instant};

/// How many places are remembered.
const PLACES: usize = 64;
/// How many calls of an instance make it likely that its programs come again to wherever they make one.
const LIVELY: u64 = 16;
/// Calls that follow each other sooner than this are many.
const SOON: Duration = Duration::from_micros(300);
/// After how many of them more are likely to follow.
const MANY: u32 = 3;
/// How many calls the thread is left alone for after somebody was waited for in vain: the first time, and at most. It
/// is twice as many each time.
const PENALTY: u32 = 12;
const MOST: u32 = 200;

/// What a thread did last.
pub(in crate::personality) struct Habits {
    /// Places with how often they were come to, by a part of their address.
    places: [(u64, u8); PLACES],
    last: Option<Instant>,
    in_a_row: u32,
    left_alone: u32,
    penalty: u32,
}

/// How often a place was come to of which it has been told.
const TOLD: u8 = u8::MAX;

/// Where a place is remembered: what is close together in different ones.
fn place_of(at: u64) -> usize {
    (at ^ at >> 6) as usize % PLACES
}

impl Default for Habits {
    fn default() -> Self {
        Habits { places: [(0, 0); PLACES], last: None, in_a_row: 0, left_alone: 0, penalty: PENALTY }
    }
}

impl Habits {
    /// A call is made at a place, after so many of the instance. Whether more are to be expected: it is the second
    /// there, or the first where many are made.
    pub(super) fn is_lasting(&mut self, at: u64, before: u64) -> bool {
        let place = &mut self.places[place_of(at)];
        if place.0 != at {
            *place = (at, 0);
        }
        let enough = if before >= LIVELY { 1 } else { 2 };
        place.1 = match place.1 {
            TOLD => return false,
            calls if calls + 1 < enough => calls + 1,
            _ => TOLD,
        };
        place.1 == TOLD
    }

    /// Nothing could be done about it just now.
    pub(super) fn forget(&mut self, at: u64) {
        self.places[place_of(at)].1 = 1;
    }

    /// A call is made that could be answered another way. Whether it is worth while to begin with that: more are likely to
    /// follow, as they did the last time (`paid_off`), or as this one follows others.
    pub(super) fn is_worth_it(&mut self, paid_off: bool) -> bool {
        let now = Instant::now();
        let is_soon = self.last.replace(now).is_some_and(|last| now.duration_since(last) < SOON);
        self.in_a_row = if is_soon { self.in_a_row.saturating_add(1) } else { 0 };
        if self.left_alone > 0 {
            self.left_alone -= 1;
            return false;
        }
        paid_off || self.in_a_row >= MANY
    }

    /// Somebody who answers was waited for in vain.
    pub(super) fn was_in_vain(&mut self) {
        self.left_alone = self.penalty;
        self.penalty = (self.penalty * 2).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_once_and_calls_when_more_are_likely() {
        let mut habits = Habits::default();
        assert_eq!([1, 2, 3].map(|_| habits.is_lasting(0x1234, 0)), [false, true, false]);
        assert_eq!([1, 2, 3].map(|_| habits.is_lasting(0x4321, LIVELY)), [true, false, false]);
        // Come to before there were many, and told when nothing could be done.
        assert_eq!([habits.is_lasting(0x9876, 0), habits.is_lasting(0x9876, LIVELY)], [false, true]);
        habits.forget(0x9876);
        assert_eq!([1, 2].map(|_| habits.is_lasting(0x9876, 0)), [true, false]);
        assert!(habits.is_worth_it(true));
        habits.was_in_vain();
        assert!((0..PENALTY).all(|_| !habits.is_worth_it(true)) && habits.is_worth_it(true));
        habits.last = None;
        assert!(!habits.is_worth_it(false));
        // However slow this runs.
        let soon: Vec<bool> = (0..MANY)
            .map(|_| {
                habits.last = Some(Instant::now() + SOON);
                habits.is_worth_it(false)
            })
            .collect();
        assert_eq!(soon, [false, false, true]);
    }
}
