//! The content of pages, each kept once.

use std::collections::HashMap;

use super::state::Index;
use crate::kvm::PAGE;

/// The content of pages, by place.
#[derive(Clone, Default)]
pub(crate) struct Store {
    bytes: Vec<u8>,
}

/// A store that is being filled.
#[derive(Default)]
pub(crate) struct Filling {
    store: Store,
    known: HashMap<[u8; 32], Index>,
}

impl Filling {
    /// The place of a page of this content.
    pub(crate) fn put(&mut self, page: &[u8]) -> Index {
        debug_assert_eq!(page.len() as u64, PAGE);
        let next = self.store.count();
        let place = *self.known.entry(blake3::hash(page).into()).or_insert(next);
        if place == next {
            self.store.bytes.extend_from_slice(page);
        }
        place
    }

    pub(crate) fn finish(self) -> Store {
        self.store
    }
}

impl Store {
    /// Of whole pages.
    pub(super) fn from(bytes: Vec<u8>) -> Store {
        Store { bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are.
    pub(crate) fn count(&self) -> Index {
        (self.bytes.len() as u64 / PAGE) as Index
    }

    /// `count` of them from a place on; `None` when there are not so many.
    pub(crate) fn get(&self, first: Index, count: usize) -> Option<&[u8]> {
        let start = first as usize * PAGE as usize;
        self.bytes.get(start..start.checked_add(count.checked_mul(PAGE as usize)?)?)
    }
}

/// Whether a page is zeroes.
pub(crate) fn is_zero(page: &[u8]) -> bool {
    page.iter().all(|&byte| byte == 0)
}
