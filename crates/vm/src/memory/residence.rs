//! Which pages are there: `mincore(2)`.

use std::ops::Range;

use rustix::io::Errno;

use super::area::page;
use super::space::whole_pages;
use super::{Backing, Space};
use crate::kvm::PAGE;

impl Space {
    /// Whether each page of a range is there: made already, or of a file, whose pages the host has. `ENOMEM` when
    /// something in the range is not mapped.
    pub(crate) fn residents(&self, start: u64, length: u64) -> Result<Vec<u8>, Errno> {
        let range: Range<u64> = whole_pages(start, length)?;
        let inner = self.inner();
        let mut found = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let (_, area) = inner.areas.find(at).ok_or(Errno::NOMEM)?;
            let end = area.end.min(range.end);
            let is_file = matches!(area.backing, Backing::File(..) | Backing::Shared(..));
            found.extend((page(at)..page(end)).map(|number| u8::from(is_file || inner.pages.contains_key(&number))));
            at = end;
        }
        debug_assert_eq!(found.len() as u64, (range.end - range.start) / PAGE);
        Ok(found)
    }

    /// Whether something in a range is shared with others.
    pub(crate) fn shares(&self, start: u64, length: u64) -> bool {
        let Ok(range) = whole_pages(start, length) else { return false };
        let inner = self.inner();
        let first = inner.areas.find(range.start).map_or(range.start, |(start, _)| start);
        let areas = inner.areas.iter().skip_while(|&(start, _)| start < first).take_while(|&(at, _)| at < range.end);
        areas.into_iter().any(|(_, area)| matches!(area.backing, Backing::Shared(..)))
    }
}
