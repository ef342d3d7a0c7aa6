//! What a program says of its memory: `madvise(2)`, `mlock(2)`.

use std::ops::Range;

use rustix::io::Errno;

use super::area::{Area, LOCKS, page};
use super::space::{Inner, MOST_AREAS, whole_pages};
use super::{Backing, Marks, Protection, Reach, Source, Space};

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// What changes nothing here.
    Nothing,
    /// It may go elsewhere (`MADV_COLD`, `MADV_PAGEOUT`), which changes nothing, and is not said of what is locked.
    Idle,
    /// Its pages are not needed: `MADV_DONTNEED`, and whether that may be said of what is locked.
    Discard(bool),
    /// Its pages may go: `MADV_FREE`. They stay.
    Free,
    /// What is behind it is zeroes: `MADV_REMOVE`.
    Remove,
    /// More and less is known of it; whether that is for private memory without a file alone.
    Mark { more: Marks, less: Marks, is_private: bool },
}

/// How much of something is locked, and how much is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Locked {
    pub(crate) bytes: u64,
    pub(crate) mapped: u64,
}

impl Space {
    /// Says something of a range: of each area in it, from the first on. `ENOMEM` when there is not one everywhere.
    pub(crate) fn advise(&self, start: u64, length: u64, advice: Advice) -> Result<(), Errno> {
        let range = whole_pages(start, length)?;
        if matches!(advice, Advice::Discard(_) | Advice::Mark { .. }) {
            self.make_way(&range);
        }
        let mut inner = self.inner();
        let (mut at, mut has_gap) = (range.start, false);
        while at < range.end {
            let Some((start, area)) = inner.areas.next(at).map(|(start, area)| (start, area.clone())) else {
                return Err(Errno::NOMEM);
            };
            has_gap |= start > at;
            if start >= range.end {
                break;
            }
            let end = area.end.min(range.end);
            self.advise_area(&mut inner, (start, &area), at.max(start)..end, advice)?;
            at = end;
        }
        inner.count();
        if has_gap { Err(Errno::NOMEM) } else { Ok(()) }
    }

    fn advise_area(
        &self,
        inner: &mut Inner,
        (start, area): (u64, &Area),
        range: Range<u64>,
        advice: Advice,
    ) -> Result<(), Errno> {
        let is_locked = area.marks.contains(Marks::LOCKED);
        let is_anonymous = matches!(area.backing, Backing::Anonymous);
        match advice {
            Advice::Nothing => {}
            Advice::Idle | Advice::Discard(false) | Advice::Free | Advice::Remove if is_locked => {
                return Err(Errno::INVAL);
            }
            Advice::Idle => {}
            Advice::Discard(_) => self.drop_pages(inner, range),
            Advice::Free | Advice::Mark { is_private: true, .. } if !is_anonymous => return Err(Errno::INVAL),
            Advice::Free => {}
            Advice::Mark { more, less, .. } => mark(inner, range, more, less)?,
            Advice::Remove => match &area.backing {
                Backing::Anonymous => return Err(Errno::INVAL),
                Backing::File(..) | Backing::Shared(_, _, Reach::ReadOnly) => return Err(Errno::ACCESS),
                // As of `fallocate(2)`, the host's files keep what they have.
                Backing::Shared(segment, ..) if matches!(segment.source(), Source::File(_)) => {
                    return Err(Errno::OPNOTSUPP);
                }
                Backing::Shared(segment, offset, _) => {
                    let first = page(offset.saturating_add(range.start - start));
                    segment.discard(first..first.saturating_add(page(range.end - range.start)));
                }
            },
        }
        Ok(())
    }

    /// Locks a range or no longer, with these marks, as far as there is something from its start on; `ENOMEM` when that
    /// is not all of it.
    pub(crate) fn lock(&self, start: u64, length: u64, marks: Marks) -> Result<(), Errno> {
        let range = whole_pages(start, length).map_err(|_| Errno::NOMEM)?;
        self.make_way(&range);
        let mut inner = self.inner();
        let mut end = range.start;
        while end < range.end
            && let Some((_, area)) = inner.areas.find(end)
        {
            end = area.end.min(range.end);
        }
        if end > range.start {
            mark(&mut inner, range.start..end, marks, LOCKS)?;
            inner.count();
        }
        if end < range.end { Err(Errno::NOMEM) } else { Ok(()) }
    }

    /// Locks everything there is, when `now`, and what there will be: `mlockall(2)`.
    pub(crate) fn lock_everything(&self, now: Option<Marks>, future: Marks) {
        let mut inner = self.inner();
        inner.future = future;
        if let Some(marks) = now {
            inner.areas.mark(0..u64::MAX, marks, LOCKS);
            inner.count();
        }
    }

    /// What is said of everything that is mapped from now on.
    pub(crate) fn future(&self) -> Marks {
        self.inner().future
    }

    /// How much is locked in a range, and how much mapped.
    pub(crate) fn locked(&self, range: Range<u64>) -> Locked {
        let inner = self.inner();
        let mut found = Locked { bytes: 0, mapped: 0 };
        for (start, area) in inner.areas.iter() {
            let length = area.end.min(range.end).saturating_sub(start.max(range.start));
            found.mapped += length;
            found.bytes += if area.marks.contains(Marks::LOCKED) { length } else { 0 };
        }
        found
    }

    /// The ranges whose pages are to be there because they are locked; of what grows what is used of it.
    pub(crate) fn to_populate(&self) -> Vec<Range<u64>> {
        let inner = self.inner();
        let wanted = |area: &Area| {
            area.marks & LOCKS == Marks::LOCKED && area.protection.intersects(Protection::READ | Protection::WRITE)
        };
        let areas = inner.areas.iter().filter(|(_, area)| wanted(area));
        let ranges = areas.map(|(start, area)| match area.marks.contains(Marks::GROWS_DOWN) {
            true => {
                let used = inner.pages.range(page(start)..page(area.end)).next();
                used.map_or(area.end, |(&number, _)| number * crate::kvm::PAGE)..area.end
            }
            false => start..area.end,
        });
        ranges.collect()
    }

    /// The most bytes of pages that were there at once.
    pub(crate) fn peak(&self) -> u64 {
        self.inner().peak as u64 * crate::kvm::PAGE
    }
}

fn mark(inner: &mut Inner, range: Range<u64>, more: Marks, less: Marks) -> Result<(), Errno> {
    if inner.areas.count() + 2 >= MOST_AREAS {
        return Err(Errno::NOMEM);
    }
    inner.areas.mark(range, more, less);
    Ok(())
}
