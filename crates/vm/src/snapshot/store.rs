//! The content of pages, each kept once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::state::Index;
use crate::kvm::PAGE;

/// The content of pages, by place.
#[derive(Default)]
pub(crate) struct Store {
    bytes: Vec<u8>,
    /// A file that has them instead, from an offset on, and how many bytes.
    file: Option<(File, u64, u64)>,
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
        Store { bytes, file: None }
    }

    /// Of whole pages, so many bytes from this offset of a file on, which nobody changes.
    pub(super) fn within(file: File, offset: u64, length: u64) -> Store {
        Store { bytes: Vec::new(), file: Some((file, offset, length)) }
    }

    /// Those that are here, and in no file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are.
    pub(crate) fn count(&self) -> Index {
        let length = self.file.as_ref().map_or(self.bytes.len() as u64, |(_, _, length)| *length);
        (length / PAGE) as Index
    }

    /// `count` of them from a place on; `None` when there are not so many, or they are in a file.
    pub(crate) fn get(&self, first: Index, count: usize) -> Option<&[u8]> {
        let start = first as usize * PAGE as usize;
        self.bytes.get(start..start.checked_add(count.checked_mul(PAGE as usize)?)?)
    }

    /// The same wherever they are; `None` also when the file cannot be read.
    pub(crate) fn read(&self, first: Index, count: usize) -> Option<Cow<'_, [u8]>> {
        let Some((file, offset, length)) = &self.file else { return self.get(first, count).map(Cow::Borrowed) };
        let (start, size) = (u64::from(first) * PAGE, count.checked_mul(PAGE as usize)?);
        if start.checked_add(size as u64)? > *length {
            return None;
        }
        let mut content = vec![0; size];
        file.read_exact_at(&mut content, offset + start).ok()?;
        Some(Cow::Owned(content))
    }
}

/// Whether a page is zeroes.
pub(crate) fn is_zero(page: &[u8]) -> bool {
    page.iter().all(|&byte| byte == 0)
}
