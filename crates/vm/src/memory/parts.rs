//! What there is in an address space, for who captures it, and making one of that.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::pages::translation;
use super::{Backing, Marks, Protection, Space};
use crate::kvm::{Imprint, Imprinted, Original, PAGE};

/// An area with its place.
pub(crate) struct Region {
    pub(crate) range: Range<u64>,
    pub(crate) protection: Protection,
    pub(crate) backing: Backing,
    pub(crate) marks: Marks,
}

/// Everything in an address space.
pub(crate) struct Parts {
    pub(crate) regions: Vec<Region>,
    /// The pages of the space's own that are there: their numbers and their frames.
    pub(crate) pages: Vec<(u64, u64)>,
    /// Where the heap begins and ends.
    pub(crate) heap: (u64, u64),
    /// What is said of everything that is mapped from now on.
    pub(crate) future: Marks,
}

impl Space {
    pub(crate) fn parts(&self) -> Parts {
        let inner = self.inner();
        let region = |(start, area): (u64, &super::area::Area)| Region {
            range: start..area.end,
            protection: area.protection,
            backing: area.backing.clone(),
            marks: area.marks,
        };
        let own = inner.pages.iter().filter(|(_, page)| page.own);
        Parts {
            regions: inner.areas.iter().map(region).collect(),
            pages: own.map(|(&number, page)| (number, page.frame)).collect(),
            heap: inner.heap(),
            future: inner.future,
        }
    }

    /// Nothing is read into its pages at this moment.
    pub(crate) fn settle(&self) {
        let mut inner = self.inner();
        inner.buffer = Vec::new();
        inner.count();
    }

    /// What is there now, for a machine that is used again: `stored` is where pages are in a snapshot, `time` the
    /// frames of the page of time. Other pages that are shared are made anew each time.
    pub(crate) fn imprint(&self, stored: &[(u64, u32)], time: Vec<u64>) -> Imprint {
        let inner = self.inner();
        let stored: HashMap<u64, u32> = stored.iter().copied().collect();
        let (mut pages, mut originals, mut others) = (BTreeMap::new(), HashMap::new(), Vec::new());
        for (&number, page) in &inner.pages {
            let Some((_, area)) = inner.areas.find(number * PAGE).filter(|_| page.own || time.contains(&page.frame))
            else {
                others.push(number);
                continue;
            };
            let to = translation(page.frame, area.protection);
            pages.insert(number, Imprinted { frame: page.frame, own: page.own, to });
            let original = match (stored.get(&number), &area.backing) {
                _ if !page.own => continue,
                (Some(&place), _) => Original::Stored(place),
                (None, Backing::Anonymous) => Original::Zeroes,
                (None, _) if area.protection.contains(Protection::WRITE) => {
                    let mut content = vec![0; PAGE as usize];
                    self.read_frame(page.frame, &mut content);
                    Original::Kept(content.into())
                }
                _ => Original::Elsewhere,
            };
            originals.insert(page.frame, original);
        }
        Imprint { root: inner.root(), pages, originals, time, others }
    }

    /// Where the heap begins and ends; what is there is mapped apart from this.
    pub(crate) fn set_heap(&self, (start, end): (u64, u64)) {
        self.inner().set_heap(start, end);
    }

    /// Copies a frame out of guest memory.
    pub(crate) fn read_frame(&self, frame: u64, into: &mut [u8]) {
        self.machine.read(frame * PAGE, into);
    }
}
