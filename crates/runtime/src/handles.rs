//! The handle table: a capsule's names for its open resources.
//!
//! A [`Handle`] is a slot and the generation of that slot. Closing a handle moves the slot to its next
//! generation, so a handle kept past its close is stale for good; a slot whose generations are used
//! up is retired. Rights only shrink. Every handle that was made from another one, in this table or in
//! another instance's, belongs to its family and goes when that one is revoked.
//!
//! Lock order: a family before a table, never the other way round.

mod family;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ringfence_abi::{ErrorCode, Handle, Rights};

use crate::meter::Meter;
use family::{Family, Kin};

/// Anything a handle can name.
pub(crate) type Resource = Arc<dyn Any + Send + Sync>;

/// The handles of one instance.
pub(crate) struct Handles {
    table: Arc<Table>,
}

pub(crate) struct Table {
    slots: RwLock<Slots>,
    meter: Arc<Meter>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: BinaryHeap<Reverse<u32>>,
    closed: bool,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

struct Entry {
    resource: Resource,
    rights: Rights,
    counted: bool,
    kin: Option<Kin>,
}

impl Handles {
    /// How many slots a table can have, whatever the limits say.
    const MOST: usize = 1 << 16;

    /// An empty table; its handles are counted by `meter`.
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        Self { table: Arc::new(Table { slots: RwLock::default(), meter }) }
    }

    /// A new handle, counted against `limits.open_files`.
    ///
    /// # Errors
    /// `Stopping` when that limit trips or the table is closed, `TooManyHandles` when the table is full.
    pub(crate) fn insert<T: Any + Send + Sync>(&self, resource: Arc<T>, rights: Rights) -> Result<Handle, ErrorCode> {
        self.table.meter.open_handle()?;
        self.table.put(Entry { resource, rights, counted: true, kin: None }).inspect_err(|_| {
            self.table.meter.close_handle();
        })
    }

    /// A new handle that the instance begins with and that no limit counts.
    pub(crate) fn insert_uncounted<T: Any + Send + Sync>(
        &self,
        resource: Arc<T>,
        rights: Rights,
    ) -> Result<Handle, ErrorCode> {
        self.table.put(Entry { resource, rights, counted: false, kin: None })
    }

    /// The resource a handle names, if it is a `T` and the handle holds all of `rights`.
    ///
    /// # Errors
    /// `BadHandle` for a stale or forged handle and for another kind of thing, `Denied` for a missing right.
    #[inline]
    pub(crate) fn get<T: Any + Send + Sync>(&self, handle: Handle, rights: Rights) -> Result<Arc<T>, ErrorCode> {
        let slots = self.table.read();
        let entry = slots.entry(handle)?;
        if !entry.resource.is::<T>() {
            return Err(ErrorCode::BadHandle);
        }
        if !entry.rights.contains(rights) {
            return Err(ErrorCode::Denied);
        }
        Arc::clone(&entry.resource).downcast().map_err(|_| ErrorCode::BadHandle)
    }

    /// The resource a handle names, whatever it is, if the handle holds all of `rights`.
    pub(crate) fn get_any(&self, handle: Handle, rights: Rights) -> Result<Resource, ErrorCode> {
        let slots = self.table.read();
        let entry = slots.entry(handle)?;
        if !entry.rights.contains(rights) {
            return Err(ErrorCode::Denied);
        }
        Ok(Arc::clone(&entry.resource))
    }

    /// The same with the rights the handle holds, for calls that pass rights on.
    pub(crate) fn get_with_rights<T: Any + Send + Sync>(
        &self,
        handle: Handle,
        rights: Rights,
    ) -> Result<(Arc<T>, Rights), ErrorCode> {
        let resource = self.get(handle, rights)?;
        Ok((resource, self.rights(handle)?))
    }

    /// The rights of a handle.
    pub(crate) fn rights(&self, handle: Handle) -> Result<Rights, ErrorCode> {
        Ok(self.table.read().entry(handle)?.rights)
    }

    /// Another handle of the same resource with at most `rights`; needs `DUPLICATE`.
    pub(crate) fn duplicate(&self, handle: Handle, rights: Rights) -> Result<Handle, ErrorCode> {
        self.table.meter.open_handle()?;
        self.derive(handle, &self.table, rights, Rights::DUPLICATE).inspect_err(|_| self.table.meter.close_handle())
    }

    /// A handle of the same resource in another instance's table, with at most `rights`; needs
    /// `TRANSFER`. A receiver that may not open more is left as it is: the giver gets the error.
    pub(crate) fn transfer(&self, handle: Handle, other: &Handles, rights: Rights) -> Result<Handle, ErrorCode> {
        if !other.table.meter.try_open_handle() {
            return Err(ErrorCode::TooManyHandles);
        }
        self.derive(handle, &other.table, rights, Rights::TRANSFER).inspect_err(|_| other.table.meter.close_handle())
    }

    fn derive(&self, handle: Handle, target: &Arc<Table>, rights: Rights, needed: Rights) -> Result<Handle, ErrorCode> {
        let kin = {
            let mut slots = self.table.write();
            let entry = slots.entry_mut(handle)?;
            if !entry.rights.contains(needed) {
                return Err(ErrorCode::Denied);
            }
            entry.kin.get_or_insert_with(|| Family::found(&self.table, handle)).clone()
        };
        // The family is locked from here on: a revocation comes before this derivation, and the
        // handle is gone, or after it, and takes the new handle along.
        let mut members = kin.family.members();
        if !members.contains(kin.member) {
            return Err(ErrorCode::BadHandle);
        }
        let (resource, rights) = {
            let slots = self.table.read();
            let entry = slots.entry(handle)?;
            (Arc::clone(&entry.resource), entry.rights & rights)
        };
        let child = members.reserve();
        let made = target.put(Entry {
            resource,
            rights,
            counted: true,
            kin: Some(Kin { family: Arc::clone(&kin.family), member: child }),
        })?;
        members.add(child, Some(kin.member), target, made);
        Ok(made)
    }

    /// Gives up all rights of a handle but `rights`.
    pub(crate) fn restrict(&self, handle: Handle, rights: Rights) -> Result<(), ErrorCode> {
        self.table.write().entry_mut(handle)?.rights &= rights;
        Ok(())
    }

    /// Closes a handle. What was made from it stays. Returns what it stood for, if there was no other handle of that.
    pub(crate) fn close(&self, handle: Handle) -> Result<Option<Resource>, ErrorCode> {
        let entry = self.table.take(handle)?;
        if let Some(kin) = &entry.kin {
            kin.family.members().leave(kin.member);
        }
        Ok(entry.kin.is_none().then_some(entry.resource))
    }

    /// Invalidates every handle that was made from this one, in whatever table; not the handle itself.
    pub(crate) fn revoke(&self, handle: Handle) -> Result<(), ErrorCode> {
        let Some(kin) = self.table.read().entry(handle)?.kin.clone() else { return Ok(()) };
        let descendants = kin.family.members().disown(kin.member);
        for (table, handle) in descendants {
            // One that was closed a moment ago is gone already.
            if let Some(table) = table.upgrade() {
                drop(table.take(handle));
            }
        }
        Ok(())
    }

    /// Closes every handle, and the table for good.
    pub(crate) fn close_all(&self) {
        let entries: Vec<Entry> = {
            let mut slots = self.table.write();
            slots.closed = true;
            slots.free.clear();
            slots.slots.drain(..).filter_map(|slot| slot.entry).collect()
        };
        for entry in entries {
            if entry.counted {
                self.table.meter.close_handle();
            }
            if let Some(kin) = &entry.kin {
                kin.family.members().leave(kin.member);
            }
        }
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.close_all();
    }
}

impl Table {
    fn read(&self) -> RwLockReadGuard<'_, Slots> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, entry: Entry) -> Result<Handle, ErrorCode> {
        let mut slots = self.write();
        if slots.closed {
            return Err(ErrorCode::Stopping);
        }
        let at = match slots.free.pop() {
            Some(Reverse(at)) => at as usize,
            None if slots.slots.len() < Handles::MOST => {
                slots.slots.push(Slot::default());
                slots.slots.len() - 1
            }
            None => return Err(ErrorCode::TooManyHandles),
        };
        let slot = &mut slots.slots[at];
        slot.entry = Some(entry);
        Ok(Handle::new(Handle::FIRST + at as u32, slot.generation))
    }

    /// Takes a handle out. The entry is dropped by the caller, after the lock.
    fn take(&self, handle: Handle) -> Result<Entry, ErrorCode> {
        let mut slots = self.write();
        slots.entry(handle)?;
        let at = handle.index() - Handle::FIRST;
        let slot = &mut slots.slots[at as usize];
        let entry = slot.entry.take().ok_or(ErrorCode::BadHandle)?;
        // The last generation is never followed by the first: such a slot stays empty.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            slots.free.push(Reverse(at));
        }
        drop(slots);
        if entry.counted {
            self.meter.close_handle();
        }
        Ok(entry)
    }
}

impl Slots {
    #[inline]
    fn entry(&self, handle: Handle) -> Result<&Entry, ErrorCode> {
        let at = handle.index().checked_sub(Handle::FIRST).ok_or(ErrorCode::BadHandle)?;
        match self.slots.get(at as usize) {
            Some(Slot { generation, entry: Some(entry) }) if *generation == handle.generation() => Ok(entry),
            _ => Err(ErrorCode::BadHandle),
        }
    }

    fn entry_mut(&mut self, handle: Handle) -> Result<&mut Entry, ErrorCode> {
        self.entry(handle)?;
        let at = (handle.index() - Handle::FIRST) as usize;
        self.slots[at].entry.as_mut().ok_or(ErrorCode::BadHandle)
    }
}
