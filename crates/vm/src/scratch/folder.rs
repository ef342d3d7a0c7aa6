//! The names in a folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::io::Errno;

use super::Node;

/// A name and what it names.
pub(crate) type Named = (Vec<u8>, Arc<Node>);

/// The names in a folder. Each has a number that it keeps, so that a listing goes on where it was
/// whatever is added and removed meanwhile.
#[derive(Default)]
pub(crate) struct Names {
    named: BTreeMap<Vec<u8>, (u64, Arc<Node>)>,
    order: BTreeMap<u64, Vec<u8>>,
    last: u64,
    /// The folder was removed; nothing can be made in it any more.
    detached: bool,
}

impl Names {
    pub(super) fn get(&self, name: &[u8]) -> Option<&Arc<Node>> {
        self.named.get(name).map(|(_, node)| node)
    }

    pub(super) fn insert(&mut self, name: &[u8], node: Arc<Node>) {
        self.remove(name);
        self.last += 1;
        self.order.insert(self.last, name.to_vec());
        self.named.insert(name.to_vec(), (self.last, node));
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        if let Some((number, _)) = self.named.remove(name) {
            self.order.remove(&number);
        }
    }

    /// `ENOENT` once it has been removed.
    pub(super) fn attach(&self) -> Result<(), Errno> {
        if self.detached { Err(Errno::NOENT) } else { Ok(()) }
    }

    /// It is removed, if it is empty.
    pub(super) fn detach(&mut self) -> Result<(), Errno> {
        if !self.named.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.detached = true;
        Ok(())
    }

    /// Its names in their order, and whether it was removed.
    pub(crate) fn captured(&self) -> (Vec<Named>, bool) {
        let named = self.order.values().filter_map(|name| Some((name.clone(), self.get(name)?.clone())));
        (named.collect(), self.detached)
    }

    /// It was removed.
    pub(crate) fn set_detached(&mut self) {
        self.detached = true;
    }

    /// Everything in it, when it is about to go.
    pub(super) fn take(&mut self) -> Vec<Arc<Node>> {
        self.order.clear();
        std::mem::take(&mut self.named).into_values().map(|(_, node)| node).collect()
    }

    /// Up to `most` names behind the one with this number, with their own.
    pub(crate) fn after(&self, number: u64, most: usize) -> Vec<(u64, Vec<u8>, Arc<Node>)> {
        let behind = self.order.range(number.saturating_add(1)..).take(most);
        behind.filter_map(|(&number, name)| Some((number, name.clone(), self.get(name)?.clone()))).collect()
    }
}
