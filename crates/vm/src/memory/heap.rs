//! The heap: `brk(2)`.

use super::space::{AREA, Inner, LOWEST, MAPPINGS_END, MOST_AREAS};
use super::{Backing, Protection, Space};
use crate::kvm::PAGE;

impl Inner {
    pub(super) fn heap(&self) -> (u64, u64) {
        (self.break_start, self.break_end)
    }

    pub(super) fn set_heap(&mut self, start: u64, end: u64) {
        (self.break_start, self.break_end) = (start, end);
    }
}

impl Space {
    /// Where the heap begins; it is empty.
    pub(crate) fn set_break(&self, start: u64) {
        let start = start.max(LOWEST);
        self.inner().set_heap(start, start);
    }

    /// `brk(2)`: where the heap ends now.
    pub(crate) fn move_break(&self, wanted: u64) -> u64 {
        let mut inner = self.inner();
        let (start, end) = (inner.break_start, inner.break_end);
        let marks = inner.future;
        if wanted < start || wanted >= MAPPINGS_END {
            return end;
        }
        let (now, then) = (end.next_multiple_of(PAGE), wanted.next_multiple_of(PAGE));
        if then < now {
            if self.remove(&mut inner, then..now).is_err() {
                return end;
            }
        } else if then > now {
            let is_much = inner.areas.count() >= MOST_AREAS || !self.ledger.may_hold(self.machine.used() + AREA as u64);
            if is_much || !inner.areas.are_free(&(now..then)) {
                return end;
            }
            // One area as long as nothing else was made of it.
            match inner.areas.find(now.saturating_sub(1)).map(|(start, area)| (start, area.clone())) {
                Some((below, area))
                    if below >= start
                        && (area.protection, area.marks) == (heap(), marks)
                        && matches!(area.backing, Backing::Anonymous) =>
                {
                    inner.areas.remove(below..area.end);
                    inner.areas.insert(below..then, heap(), Backing::Anonymous, marks);
                }
                _ => inner.areas.insert(now..then, heap(), Backing::Anonymous, marks),
            }
            inner.count();
        }
        inner.break_end = wanted;
        wanted
    }
}

fn heap() -> Protection {
    Protection::READ | Protection::WRITE
}
