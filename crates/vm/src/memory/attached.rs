//! Where shared pages are in an address space: `shmop(2)`.

use std::sync::Arc;

use rustix::io::Errno;

use super::area::{Area, Backing};
use super::segment::Segment;
use super::space::{Space, whole_pages};

/// The pages an area shares, and from which offset on.
fn shares(area: &Area) -> Option<(&Arc<Segment>, u64)> {
    match &area.backing {
        Backing::Shared(segment, offset, _) => Some((segment, *offset)),
        _ => None,
    }
}

impl Space {
    /// How often these pages begin in it.
    pub(crate) fn attached(&self, pages: &Arc<Segment>) -> u64 {
        let inner = self.inner();
        let begins = |area: &Area| shares(area).is_some_and(|(segment, at)| at == 0 && Arc::ptr_eq(segment, pages));
        inner.areas.iter().filter(|(_, area)| begins(area)).count() as u64
    }

    /// The shared pages that begin at an address.
    pub(crate) fn begins_at(&self, at: u64) -> Option<Arc<Segment>> {
        let inner = self.inner();
        let (start, area) = inner.areas.find(at)?;
        let (segment, offset) = shares(area)?;
        (start == at && offset == 0).then(|| segment.clone())
    }

    /// Takes out what is there of so many bytes of these pages, which begin at an address.
    pub(crate) fn detach(&self, at: u64, size: u64, pages: &Arc<Segment>) -> Result<(), Errno> {
        let range = whole_pages(at, size)?;
        let mut inner = self.inner();
        let theirs = |(start, area): &(u64, &Area)| {
            let in_place = |(segment, offset): (&Arc<Segment>, u64)| {
                Arc::ptr_eq(segment, pages) && start.checked_sub(offset) == Some(at)
            };
            *start >= range.start && *start < range.end && shares(area).is_some_and(in_place)
        };
        let areas = inner.areas.iter().filter(theirs).map(|(start, area)| start..area.end.min(range.end));
        let parts: Vec<_> = areas.collect();
        for part in parts {
            self.remove(&mut inner, part)?;
        }
        Ok(())
    }
}
