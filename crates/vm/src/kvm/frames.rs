//! Which pages of guest memory are in use.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The pages that programs can be given, by number. What was never used is one run at the end.
pub(crate) struct Frames {
    /// Free runs by their start; no two touch.
    free: BTreeMap<u64, u64>,
    /// Where what was never used begins.
    next: u64,
    first: u64,
    end: u64,
    used: u64,
}

impl Frames {
    pub(super) fn new(range: Range<u64>) -> Self {
        Frames { free: BTreeMap::new(), next: range.start, first: range.start, end: range.end, used: 0 }
    }

    /// The same pages, of which exactly these are in use.
    pub(super) fn holding(&self, used: &BTreeSet<u64>) -> Frames {
        let mut frames = Frames { free: BTreeMap::new(), next: self.first, used: used.len() as u64, ..*self };
        for &frame in used {
            if frame > frames.next {
                frames.free.insert(frames.next, frame - frames.next);
            }
            frames.next = frame + 1;
        }
        frames
    }

    /// Between one and `most` pages in a row; `None` when there are none left.
    pub(super) fn take(&mut self, most: u64) -> Option<Range<u64>> {
        let taken = match self.free.pop_first() {
            Some((start, length)) => {
                let count = length.min(most);
                if count < length {
                    self.free.insert(start + count, length - count);
                }
                start..start + count
            }
            None => {
                let count = most.min(self.end - self.next);
                let start = self.next;
                self.next += count;
                start..start + count
            }
        };
        self.used += taken.end - taken.start;
        (!taken.is_empty()).then_some(taken)
    }

    /// Gives pages back, which nothing refers to any more.
    pub(super) fn give(&mut self, run: Range<u64>) {
        let mut run = run;
        self.used = self.used.saturating_sub(run.end - run.start);
        if let Some((&before, &length)) = self.free.range(..run.start).next_back()
            && before + length == run.start
        {
            self.free.remove(&before);
            run.start = before;
        }
        if let Some(length) = self.free.remove(&run.end) {
            run.end += length;
        }
        self.free.insert(run.start, run.end - run.start);
    }

    /// How many are in use.
    pub(super) fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again_in_longer_runs() {
        let mut frames = Frames::new(10..20);
        let (first, second) = (frames.take(3).unwrap(), frames.take(4).unwrap());
        assert_eq!((first.clone(), second.clone()), (10..13, 13..17));
        frames.give(first);
        frames.give(second);
        assert_eq!(frames.used(), 0);
        assert_eq!(frames.take(100), Some(10..17));
        assert_eq!(frames.take(100), Some(17..20));
        assert_eq!(frames.take(1), None);
        assert_eq!(frames.used(), 10);
    }

    #[test]
    fn what_is_between_those_in_use_is_free() {
        let mut frames = Frames::new(10..20);
        frames.take(7).unwrap();
        let mut frames = frames.holding(&BTreeSet::from([10, 13, 14]));
        assert_eq!(frames.used(), 3);
        assert_eq!([frames.take(9), frames.take(9), frames.take(9)], [Some(11..13), Some(15..20), None]);
        frames.give(13..15);
        assert_eq!(frames.take(9), Some(13..15));
    }

    #[test]
    fn a_run_between_two_free_ones_joins_them() {
        let mut frames = Frames::new(0..9);
        let runs = [frames.take(3).unwrap(), frames.take(3).unwrap(), frames.take(3).unwrap()];
        for index in [0, 2, 1] {
            frames.give(runs[index].clone());
        }
        assert_eq!(frames.take(9), Some(0..9));
    }
}
