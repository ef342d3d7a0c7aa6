//! Which handles were made from which, across tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ringfence_abi::Handle;

use super::Table;

/// All handles that come from one, directly or not. A resource that was never duplicated has none.
#[derive(Default)]
pub(super) struct Family {
    members: Mutex<Members>,
}

/// The place of one handle in its family.
#[derive(Clone)]
pub(super) struct Kin {
    pub(super) family: Arc<Family>,
    pub(super) member: u64,
}

#[derive(Default)]
pub(super) struct Members {
    members: BTreeMap<u64, Member>,
    next: u64,
}

struct Member {
    parent: Option<u64>,
    children: BTreeSet<u64>,
    table: Weak<Table>,
    handle: Handle,
}

impl Family {
    /// A family with one member.
    pub(super) fn found(table: &Arc<Table>, handle: Handle) -> Kin {
        let family = Arc::new(Family::default());
        let member = {
            let mut members = family.members();
            let member = members.reserve();
            members.add(member, None, table, handle);
            member
        };
        Kin { family, member }
    }

    pub(super) fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// A number for a new member.
    pub(super) fn reserve(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn contains(&self, member: u64) -> bool {
        self.members.contains_key(&member)
    }

    pub(super) fn add(&mut self, member: u64, parent: Option<u64>, table: &Arc<Table>, handle: Handle) {
        if let Some(parent) = parent.and_then(|parent| self.members.get_mut(&parent)) {
            parent.children.insert(member);
        }
        let table = Arc::downgrade(table);
        self.members.insert(member, Member { parent, children: BTreeSet::new(), table, handle });
    }

    /// Takes a closed handle out; what was made from it now counts as made from what it was made from.
    pub(super) fn leave(&mut self, member: u64) {
        let Some(gone) = self.members.remove(&member) else { return };
        for child in &gone.children {
            if let Some(child) = self.members.get_mut(child) {
                child.parent = gone.parent;
            }
        }
        if let Some(parent) = gone.parent.and_then(|parent| self.members.get_mut(&parent)) {
            parent.children.remove(&member);
            parent.children.extend(gone.children);
        }
    }

    /// Takes every descendant of a member out, and says where they are.
    pub(super) fn disown(&mut self, member: u64) -> Vec<(Weak<Table>, Handle)> {
        let mut found = Vec::new();
        let mut left: Vec<u64> = match self.members.get_mut(&member) {
            Some(member) => std::mem::take(&mut member.children).into_iter().collect(),
            None => Vec::new(),
        };
        while let Some(next) = left.pop() {
            if let Some(member) = self.members.remove(&next) {
                left.extend(member.children);
                found.push((member.table, member.handle));
            }
        }
        found
    }
}
