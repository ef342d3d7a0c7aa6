//! What there is in an address space, for who captures it, and making one of that.

use std::ops::Range;

use super::{Backing, Protection, Space};

/// An area with its place.
pub(crate) struct Region {
    pub(crate) range: Range<u64>,
    pub(crate) protection: Protection,
    pub(crate) backing: Backing,
}

/// Everything in an address space.
pub(crate) struct Parts {
    pub(crate) regions: Vec<Region>,
    /// The pages of the space's own that are there: their numbers and their frames.
    pub(crate) pages: Vec<(u64, u64)>,
    /// Where the heap begins and ends.
    pub(crate) heap: (u64, u64),
}

impl Space {
    pub(crate) fn parts(&self) -> Parts {
        let inner = self.inner();
        let region = |(start, area): (u64, &super::area::Area)| Region {
            range: start..area.end,
            protection: area.protection,
            backing: area.backing.clone(),
        };
        let own = inner.pages.iter().filter(|(_, page)| page.own);
        Parts {
            regions: inner.areas.iter().map(region).collect(),
            pages: own.map(|(&number, page)| (number, page.frame)).collect(),
            heap: inner.heap(),
        }
    }

    /// Where the heap begins and ends; what is there is mapped apart from this.
    pub(crate) fn set_heap(&self, (start, end): (u64, u64)) {
        self.inner().set_heap(start, end);
    }

    /// Copies a frame out of guest memory.
    pub(crate) fn read_frame(&self, frame: u64, into: &mut [u8]) {
        self.machine.read(frame * crate::kvm::PAGE, into);
    }
}
