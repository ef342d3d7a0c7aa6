//! Areas: what may be done at some addresses, and where content comes from.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use super::Segment;
use crate::kvm::PAGE;

bitflags::bitflags! {
    /// What a program may do with an area: `PROT_*` of `mmap(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Protection: u8 {
        const READ = 1;
        const WRITE = 2;
        const EXECUTE = 4;
    }
}

bitflags::bitflags! {
    /// What else a program said of an area.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Marks: u8 {
        /// Its pages are there: `mlock(2)`.
        const LOCKED = 1;
        /// Those that were touched: `MLOCK_ONFAULT` of `mlock2(2)`.
        const ON_FAULT = 2;
        /// It begins further down when something right below it is touched: `MAP_GROWSDOWN` of `mmap(2)`.
        const GROWS_DOWN = 4;
        /// A child does not have it: `MADV_DONTFORK` of `madvise(2)`.
        const NOT_FORKED = 8;
        /// A child has it empty: `MADV_WIPEONFORK`.
        const WIPED = 16;
    }
}

/// What of it says that it is locked.
pub(crate) const LOCKS: Marks = Marks::LOCKED.union(Marks::ON_FAULT);
/// How far an area that grows stays from what is below it: `stack_guard_gap` of Linux.
pub(super) const GUARD: u64 = 256 * PAGE;

/// Where the content of a file comes from.
pub(crate) trait Content: Send + Sync {
    /// Fills as much as there is from `offset` on; less only at the end of the file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno>;
    /// Its path, as the program knows it.
    fn path(&self) -> &[u8];
    /// What it really is, for who captures it.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Where the content of an area comes from.
#[derive(Clone)]
pub(crate) enum Backing {
    /// Zeroes.
    Anonymous,
    /// A file, from this offset on; what is written stays in the area.
    File(Arc<dyn Content>, u64),
    /// Pages that several address spaces share, from this offset on.
    Shared(Arc<Segment>, u64, Reach),
}

/// What may ever be done with shared pages, whatever `mprotect(2)` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    All,
    /// The file was not opened for writing.
    ReadOnly,
}

impl Backing {
    /// Whether this may be done with it at all.
    pub(super) fn admits(&self, protection: Protection) -> bool {
        !(matches!(self, Backing::Shared(_, _, Reach::ReadOnly)) && protection.contains(Protection::WRITE))
    }

    /// Whether another goes on where this one ends, so many bytes further on.
    fn goes_on_in(&self, other: &Backing, bytes: u64) -> bool {
        match (self, other) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File(one, at), Backing::File(other, next)) => {
                Arc::ptr_eq(one, other) && at.checked_add(bytes) == Some(*next)
            }
            (Backing::Shared(one, at, reach), Backing::Shared(other, next, theirs)) => {
                Arc::ptr_eq(one, other) && reach == theirs && at.checked_add(bytes) == Some(*next)
            }
            _ => false,
        }
    }

    /// Whether so many bytes of it reach further than a file can.
    pub(super) fn ends_beyond(&self, bytes: u64) -> bool {
        match self {
            Backing::Anonymous => false,
            Backing::File(_, offset) | Backing::Shared(_, offset, _) => {
                offset.checked_add(bytes).is_none_or(|end| end > i64::MAX as u64)
            }
        }
    }

    /// The same, seen from `bytes` further on.
    pub(super) fn advanced(&self, bytes: u64) -> Backing {
        match self {
            Backing::Anonymous => Backing::Anonymous,
            Backing::File(content, offset) => Backing::File(content.clone(), further(*offset, bytes)),
            Backing::Shared(segment, offset, reach) => {
                Backing::Shared(segment.clone(), further(*offset, bytes), *reach)
            }
        }
    }
}

/// So many bytes further on in a file, which has an end: `mremap(2)` goes beyond it as often as it likes.
pub(super) fn further(offset: u64, bytes: u64) -> u64 {
    offset.saturating_add(bytes).min(page(i64::MAX as u64) * PAGE)
}

/// Some addresses, whole pages.
#[derive(Clone)]
pub(super) struct Area {
    pub(super) end: u64,
    pub(super) protection: Protection,
    pub(super) backing: Backing,
    pub(super) marks: Marks,
}

/// The areas of an address space, by their starts.
#[derive(Clone, Default)]
pub(super) struct Areas(BTreeMap<u64, Area>);

impl Areas {
    /// The area an address is in, with its start.
    pub(super) fn find(&self, address: u64) -> Option<(u64, &Area)> {
        let (&start, area) = self.0.range(..=address).next_back()?;
        (address < area.end).then_some((start, area))
    }

    pub(super) fn insert(&mut self, range: Range<u64>, protection: Protection, backing: Backing, marks: Marks) {
        self.0.insert(range.start, Area { end: range.end, protection, backing, marks });
    }

    /// The area an address is in or the next one above it, with its start.
    pub(super) fn next(&self, address: u64) -> Option<(u64, &Area)> {
        self.find(address).or_else(|| self.0.range(address..).next().map(|(&start, area)| (start, area)))
    }

    /// The last area that ends at or below an address where there is none.
    pub(super) fn below(&self, address: u64) -> Option<&Area> {
        self.0.range(..address).next_back().map(|(_, area)| area)
    }

    /// Cuts areas in two at an address, if one goes over it.
    fn cut(&mut self, at: u64) {
        let Some((start, area)) = self.find(at) else { return };
        if start == at {
            return;
        }
        let behind = Area { backing: area.backing.advanced(at - start), ..area.clone() };
        self.0.insert(at, behind);
        if let Some(before) = self.0.get_mut(&start) {
            before.end = at;
        }
    }

    /// Takes everything in a range out.
    pub(super) fn remove(&mut self, range: Range<u64>) -> Vec<(u64, Area)> {
        self.cut(range.start);
        self.cut(range.end);
        let starts: Vec<u64> = self.0.range(range).map(|(&start, _)| start).collect();
        starts.into_iter().filter_map(|start| Some((start, self.0.remove(&start)?))).collect()
    }

    /// Whether there is something at every address of a range.
    pub(super) fn cover(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        while at < range.end {
            match self.find(at) {
                Some((_, area)) => at = area.end,
                None => return false,
            }
        }
        true
    }

    /// Whether there is nothing in a range.
    pub(super) fn are_free(&self, range: &Range<u64>) -> bool {
        self.find(range.start).is_none() && self.0.range(range.clone()).next().is_none()
    }

    /// The highest free range of this length between two addresses.
    pub(super) fn gap(&self, length: u64, within: Range<u64>) -> Option<u64> {
        let mut end = within.end;
        for (&start, area) in self.0.range(..within.end).rev() {
            if area.end <= end && end - area.end >= length && end - length >= within.start {
                return Some(end - length);
            }
            // What grows has room for that.
            let room = if area.marks.contains(Marks::GROWS_DOWN) { GUARD } else { 0 };
            end = end.min(start.saturating_sub(room));
        }
        (end >= within.start && end - within.start >= length).then(|| end - length)
    }

    /// Sets what may be done in a range.
    pub(super) fn protect(&mut self, range: Range<u64>, protection: Protection) {
        self.cut(range.start);
        self.cut(range.end);
        for (_, area) in self.0.range_mut(range.clone()) {
            area.protection = protection;
        }
        self.join(range);
    }

    /// Says more and less of what is in a range.
    pub(super) fn mark(&mut self, range: Range<u64>, more: Marks, less: Marks) {
        self.cut(range.start);
        self.cut(range.end);
        for (_, area) in self.0.range_mut(range.clone()) {
            area.marks = (area.marks - less) | more;
        }
        self.join(range);
    }

    /// Makes one of areas that differ in nothing and lie side by side, in a range and at its edges.
    fn join(&mut self, range: Range<u64>) {
        let Some((mut start, _)) = self.find(range.start.saturating_sub(1)).or_else(|| self.next(range.start)) else {
            return;
        };
        while let Some((end, length)) = self.0.get(&start).map(|area| (area.end, area.end - start)) {
            if end > range.end {
                return;
            }
            let (Some(one), Some(other)) = (self.0.get(&start), self.0.get(&end)) else {
                let Some((next, _)) = self.next(end) else { return };
                start = next;
                continue;
            };
            let alike = (one.protection, one.marks) == (other.protection, other.marks);
            if !alike || !one.backing.goes_on_in(&other.backing, length) {
                start = end;
                continue;
            }
            let further = other.end;
            self.0.remove(&end);
            if let Some(area) = self.0.get_mut(&start) {
                area.end = further;
            }
        }
    }

    /// What a child has: nothing of it is locked.
    pub(super) fn forked(&self) -> Areas {
        let kept = self.0.iter().filter(|(_, area)| !area.marks.contains(Marks::NOT_FORKED));
        Areas(kept.map(|(&start, area)| (start, Area { marks: area.marks - LOCKS, ..area.clone() })).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Area)> {
        self.0.iter().map(|(&start, area)| (start, area))
    }

    /// Whether this may ever be done in all of a range.
    pub(super) fn admit(&self, range: Range<u64>, protection: Protection) -> bool {
        let first = self.find(range.start).map_or(range.start, |(start, _)| start);
        self.0.range(first..range.end).all(|(_, area)| area.backing.admits(protection))
    }

    /// Whether to take a range out leaves two areas where one was.
    pub(super) fn would_split(&self, range: &Range<u64>) -> bool {
        self.find(range.start).is_some_and(|(start, area)| start < range.start && range.end < area.end)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Frames as runs, each of them once: a shared page can be in many places.
pub(super) fn runs(mut frames: Vec<u64>) -> Vec<Range<u64>> {
    frames.sort_unstable();
    frames.dedup();
    let mut runs: Vec<Range<u64>> = Vec::new();
    for frame in frames {
        match runs.last_mut() {
            Some(run) if run.end == frame => run.end += 1,
            _ => runs.push(frame..frame + 1),
        }
    }
    runs
}

/// The page an address is in.
pub(super) const fn page(address: u64) -> u64 {
    address / PAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn areas(ranges: &[Range<u64>]) -> Areas {
        let mut areas = Areas::default();
        for range in ranges {
            areas.insert(range.clone(), Protection::READ, Backing::Anonymous, Marks::empty());
        }
        areas
    }

    #[test]
    fn taking_out_the_middle_leaves_both_sides() {
        let mut areas = areas(&[0x1000..0x9000, 0xa000..0xb000]);
        assert_eq!(areas.remove(0x3000..0x5000).len(), 1);
        assert!(!areas.would_split(&(0x1000..0x2000)) && areas.would_split(&(0x1000 + 0x1000..0x2fff)));
        assert!(areas.find(0x2fff).is_some() && areas.find(0x3000).is_none() && areas.find(0x5000).is_some());
        assert!(areas.cover(0x5000..0x9000) && !areas.cover(0x2000..0x6000));
    }

    #[test]
    fn the_highest_gap_that_is_large_enough_is_found() {
        let areas = areas(&[0x4000..0x5000, 0x8000..0x9000]);
        assert_eq!(areas.gap(0x1000, 0x1000..0xa000), Some(0x9000));
        assert_eq!(areas.gap(0x3000, 0x1000..0xa000), Some(0x5000));
        assert_eq!(areas.gap(0x4000, 0x1000..0xa000), None);
    }

    #[test]
    fn what_is_alike_again_is_one_area_again() {
        let mut areas = areas(&[0x1000..0x9000, 0xa000..0xb000]);
        areas.mark(0x3000..0x5000, Marks::LOCKED, Marks::empty());
        areas.protect(0x4000..0x6000, Protection::empty());
        assert_eq!(areas.count(), 6);
        areas.mark(0x1000..0xb000, Marks::empty(), LOCKS);
        areas.protect(0x2000..0x9000, Protection::READ);
        assert_eq!(areas.count(), 2);
        assert_eq!(areas.find(0x8000).map(|(start, area)| (start, area.end)), Some((0x1000, 0x9000)));
    }

    #[test]
    fn a_child_has_nothing_locked_and_not_what_it_was_not_to_have() {
        let mut areas = areas(&[0x1000..0x5000, 0x5000..0x9000]);
        areas.mark(0x1000..0x3000, Marks::LOCKED | Marks::WIPED, Marks::empty());
        areas.mark(0x4000..0x5000, Marks::NOT_FORKED, Marks::empty());
        let theirs = areas.forked();
        assert!(theirs.cover(0x1000..0x4000) && theirs.are_free(&(0x4000..0x5000)) && theirs.cover(0x5000..0x9000));
        assert_eq!(theirs.find(0x1000).map(|(_, area)| area.marks), Some(Marks::WIPED));
    }

    #[test]
    fn frames_in_a_row_are_one_run() {
        assert_eq!(runs(vec![7, 3, 4, 5, 9]), [3..6, 7..8, 9..10]);
        assert_eq!(runs(vec![9, 4, 3, 4, 3, 4, 5]), [3..6, 9..10]);
    }
}
