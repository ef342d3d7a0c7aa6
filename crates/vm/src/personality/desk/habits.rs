//! Where a thread makes system calls, and how often.

use std::time::{Duration, Instant};

/// How many places are remembered.
const PLACES: usize = 64;
/// Calls that follow each other sooner than this are many.
const SOON: Duration = Duration::from_micros(300);
/// How many of them make it worth while to answer them another way.
const MANY: i32 = 3;
/// How many calls the thread is left alone for after somebody was waited for in vain.
const PENALTY: i32 = -200;

/// What a thread did last.
pub(in crate::personality) struct Habits {
    /// Places with how often they were come to, by a part of their address.
    places: [(u64, u8); PLACES],
    last: Option<Instant>,
    in_a_row: i32,
}

impl Default for Habits {
    fn default() -> Self {
        Habits { places: [(0, 0); PLACES], last: None, in_a_row: 0 }
    }
}

impl Habits {
    /// A call is made at a place. Whether it is the second there.
    pub(super) fn is_again(&mut self, at: u64) -> bool {
        // What is close together is in different ones.
        let place = &mut self.places[(at ^ at >> 6) as usize % PLACES];
        *place = if place.0 == at { (at, place.1.saturating_add(1)) } else { (at, 1) };
        place.1 == 2
    }

    /// A call is made that could be answered another way. Whether there were many shortly before.
    pub(super) fn is_often(&mut self) -> bool {
        let now = Instant::now();
        let is_soon = self.last.replace(now).is_some_and(|last| now.duration_since(last) < SOON);
        self.in_a_row = if is_soon || self.in_a_row < 0 { self.in_a_row.saturating_add(1) } else { 0 };
        self.in_a_row >= MANY
    }

    /// Somebody who answers was waited for in vain.
    pub(super) fn was_in_vain(&mut self) {
        self.in_a_row = PENALTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_once_and_calls_when_they_are_many() {
        let mut habits = Habits::default();
        assert_eq!([1, 2, 3].map(|_| habits.is_again(0x1234)), [false, true, false]);
        let often: Vec<bool> = (0..20).map(|_| habits.is_often()).collect();
        // However slow this runs: once they are many, they were in a row.
        assert!(!often[0] && often.iter().skip_while(|often| !**often).count() <= 20 - MANY as usize);
        habits.was_in_vain();
        assert!(!habits.is_often());
    }
}
