//! Areas that go elsewhere: `mremap(2)`.

use std::ops::Range;

use rustix::io::Errno;

use super::area::{Area, LOCKS, page, runs};
use super::space::{Inner, LOWEST, MAPPINGS_END, MOST_AREAS, Page, whole_pages};
use super::{Backing, Placement, Space};
use crate::kvm::{PAGE, Tables, USER_END};

impl Space {
    /// `mremap(2)`: where it is now. What was there stays mapped, and empty, if it is `kept`; of no length at all,
    /// something shared is found in two places.
    pub(crate) fn remap(
        &self,
        old: u64,
        length: u64,
        wanted: u64,
        to: Option<Placement>,
        kept: bool,
    ) -> Result<u64, Errno> {
        let from = whole_pages(old, length).map_err(|_| Errno::INVAL)?;
        let length = from.end - from.start;
        self.restore_sites(&from);
        self.make_way(&from);
        if let Some(Placement::Fixed(at)) = to {
            self.make_way(&(at..at.saturating_add(wanted)));
        }
        let wanted = wanted.checked_next_multiple_of(PAGE).filter(|&wanted| wanted > 0).ok_or(Errno::INVAL)?;
        if wanted >= USER_END {
            return Err(Errno::INVAL);
        }
        let mut inner = self.inner();
        if inner.areas.count() + 3 >= MOST_AREAS {
            return Err(Errno::NOMEM);
        }
        let Some((start, area)) = inner.areas.find(old).map(|(start, area)| (start, area.clone())) else {
            return Err(Errno::FAULT);
        };
        if length == 0 && !matches!(area.backing, Backing::Shared(..)) {
            return Err(Errno::INVAL);
        }
        if from.end > area.end {
            return Err(Errno::FAULT);
        }
        let may_stay = !matches!(to, Some(Placement::Fixed(_))) && !kept && length > 0;
        if may_stay && wanted <= length {
            self.remove(&mut inner, old + wanted..from.end)?;
            return Ok(old);
        }
        // A file ends there.
        if area.backing.advanced(old - start).ends_beyond(wanted) {
            return Err(Errno::INVAL);
        }
        // What leads to the pages from elsewhere is held as well.
        if !self.ledger.may_hold(self.machine.used() + Tables::most(wanted)) {
            return Err(Errno::NOMEM);
        }
        if may_stay {
            let more = from.end..old.checked_add(wanted).ok_or(Errno::NOMEM)?;
            if area.end == from.end && more.end <= MAPPINGS_END && inner.areas.are_free(&more) {
                inner.areas.remove(start..area.end);
                inner.areas.insert(start..more.end, area.protection, area.backing, area.marks);
                return Ok(old);
            }
        }
        let target = match to {
            None => return Err(Errno::NOMEM),
            Some(Placement::Fixed(at) | Placement::Free(at)) => {
                let range = whole_pages(at, wanted)?;
                if range.start < LOWEST {
                    return Err(Errno::PERM);
                }
                if range.start < from.end && from.start < range.end {
                    return Err(Errno::INVAL);
                }
                self.remove(&mut inner, range)?;
                at
            }
            Some(Placement::Hint(_) | Placement::Low(_)) => {
                inner.areas.gap(wanted, LOWEST..MAPPINGS_END).ok_or(Errno::NOMEM)?
            }
        };
        if length == 0 {
            let backing = area.backing.advanced(old - start);
            inner.areas.insert(target..target + wanted, area.protection, backing, area.marks);
            inner.count();
            return Ok(target);
        }
        self.move_area(&mut inner, from, target, wanted, kept)?;
        Ok(target)
    }

    /// Takes what is in a range, and its pages as far as there is room for them, elsewhere.
    fn move_area(
        &self,
        inner: &mut Inner,
        from: Range<u64>,
        target: u64,
        wanted: u64,
        kept: bool,
    ) -> Result<(), Errno> {
        let common = wanted.min(from.end - from.start);
        let Some((_, area)) = inner.areas.remove(from.clone()).into_iter().next() else {
            return Err(Errno::FAULT);
        };
        let Area { protection, backing, marks, .. } = area;
        self.drop_pages(inner, from.start + common..from.end);
        if kept {
            inner.areas.insert(from.clone(), protection, backing.clone(), marks - LOCKS);
        }
        inner.areas.insert(target..target + wanted, protection, backing, marks);
        let pages = page(from.start)..page(from.end);
        let moved: Vec<(u64, Page)> = inner.pages.range(pages).map(|(&number, &page)| (number, page)).collect();
        let mut led = Ok(());
        for &(number, there) in &moved {
            inner.pages.remove(&number);
            if let Some(tables) = &mut inner.tables {
                tables.clear(&self.machine, number);
            }
            let number = number - page(from.start) + page(target);
            inner.pages.insert(number, there);
            if self.lead(inner, number, there.frame, protection).is_none() {
                // It is led to when it is touched; what is shared is found again then.
                led = Err(Errno::NOMEM);
                if !there.own {
                    inner.pages.remove(&number);
                }
            }
        }
        inner.count();
        for run in runs(moved.into_iter().map(|(_, page)| page.frame).collect()) {
            self.machine.forget_translations(run);
        }
        led
    }
}
