//! What memory, semaphores and messages that are shared by a number have in common: numbers, keys, owners and modes,
//! `sysvipc(7)`.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::process::lock;
use super::thread::Thread;
use super::world::World;
use super::{int, owners};
use crate::words::u32_at;

/// From `sys/ipc.h`, which `libc` does not name on every system.
pub(super) const IPC_INFO: i32 = 3;
/// What a mode says of permissions.
const PERMISSIONS: u32 = 0o777;

/// Whose one is and who may use it: `struct ipc_perm`.
pub(super) struct Owned {
    /// The key it is found by; `IPC_PRIVATE` when it is not, or not any more.
    pub(super) key: i32,
    /// The user and the group it belongs to, and who made it.
    owner: (u32, u32),
    maker: (u32, u32),
    pub(super) mode: u32,
}

impl Owned {
    /// The beginning of what `IPC_STAT` tells: `struct ipc64_perm` of the kernel.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let ((user, group), (maker, makers)) = (self.owner, self.maker);
        let mut bytes = Vec::with_capacity(128);
        for word in [self.key as u32, user, group, maker, makers, self.mode] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(48, 0);
        bytes
    }

    /// `IPC_SET`, of what was read. `EINVAL` for nobody.
    pub(super) fn set(&mut self, wanted: &Wanted) -> Result<(), Errno> {
        if wanted.user == u32::MAX || wanted.group == u32::MAX {
            return Err(Errno::INVAL);
        }
        self.owner = (wanted.user, wanted.group);
        self.mode = self.mode & !PERMISSIONS | wanted.mode & PERMISSIONS;
        Ok(())
    }
}

/// What `IPC_SET` asks for.
pub(super) struct Wanted {
    user: u32,
    group: u32,
    mode: u32,
    /// All that was told, as the kernel lays it out.
    pub(super) bytes: Vec<u8>,
}

/// Those of one kind, by their numbers.
pub(super) struct Table<T> {
    next: i32,
    pub(super) all: BTreeMap<i32, T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { next: 0, all: BTreeMap::new() }
    }
}

impl<T: AsRef<Owned>> Table<T> {
    pub(super) fn get(&mut self, id: u64) -> Result<&mut T, Errno> {
        self.all.get_mut(&int(id)).ok_or(Errno::INVAL)
    }

    /// The one with a key; `None` when it is to be made. `EINVAL` when it does not fit what is asked for.
    pub(super) fn find(
        &self,
        thread: &Thread,
        key: i32,
        flags: i32,
        fits: impl FnOnce(&T) -> bool,
    ) -> Result<Option<u64>, Errno> {
        if key == libc::IPC_PRIVATE {
            return Ok(None);
        }
        let Some((&id, found)) = self.all.iter().find(|(_, one)| one.as_ref().key == key) else {
            return if flags & libc::IPC_CREAT == 0 { Err(Errno::NOENT) } else { Ok(None) };
        };
        if flags & libc::IPC_CREAT != 0 && flags & libc::IPC_EXCL != 0 {
            return Err(Errno::EXIST);
        }
        if !fits(found) {
            return Err(Errno::INVAL);
        }
        let wanted = flags as u32 & PERMISSIONS;
        thread.may_share(found, (wanted >> 6 | wanted >> 3 | wanted) & 7)?;
        Ok(Some(id as u64))
    }

    /// Adds one, of which there are `most` at most.
    pub(super) fn add(&mut self, most: usize, make: impl FnOnce() -> T) -> Result<u64, Errno> {
        if self.all.len() >= most {
            return Err(Errno::NOSPC);
        }
        let id = self.next;
        self.next = id.checked_add(1).ok_or(Errno::NOSPC)?;
        self.all.insert(id, make());
        Ok(id as u64)
    }

    /// The last number in use, or 0: what `IPC_INFO` answers.
    pub(super) fn last(&self) -> u64 {
        self.all.last_key_value().map_or(0, |(&id, _)| id as u64)
    }
}

impl World {
    pub(super) fn seconds(&self) -> u64 {
        u64::try_from(self.now() / 1_000_000_000).unwrap_or(0)
    }
}

impl Thread {
    /// One that belongs to who asks.
    pub(super) fn owned(&self, key: i32, flags: i32) -> Owned {
        let credentials = lock(&self.process.credentials);
        let owner = (credentials.users[1], credentials.groups[1]);
        Owned { key, owner, maker: owner, mode: flags as u32 & PERMISSIONS }
    }

    /// Whether it may do this with one: bits of [`owners`].
    pub(super) fn may_share(&self, one: &impl AsRef<Owned>, wanted: u32) -> Result<(), Errno> {
        let owned = one.as_ref();
        let credentials = lock(&self.process.credentials);
        let user = credentials.users[1];
        let shift = match () {
            () if user == 0 => return Ok(()),
            () if user == owned.owner.0 || user == owned.maker.0 => 6,
            () if credentials.has(owned.owner.1) || credentials.has(owned.maker.1) => 3,
            () => 0,
        };
        if owned.mode >> shift & wanted == wanted { Ok(()) } else { Err(Errno::ACCESS) }
    }

    /// Whether it may look at one, of which this command tells: `IPC_STAT`, or the one for everybody.
    pub(super) fn may_look(&self, one: &impl AsRef<Owned>, command: i32, of_any: i32) -> Result<(), Errno> {
        if command == of_any { Ok(()) } else { self.may_share(one, owners::READ) }
    }

    /// Whether it may say whose one is, and remove it.
    pub(super) fn may_manage(&self, one: &impl AsRef<Owned>) -> Result<(), Errno> {
        let owned = one.as_ref();
        let user = lock(&self.process.credentials).users[1];
        if user == 0 || user == owned.owner.0 || user == owned.maker.0 { Ok(()) } else { Err(Errno::PERM) }
    }

    /// Reads what `IPC_SET` asks for, which is so long.
    pub(super) fn wanted(&self, at: u64, length: usize) -> Result<Wanted, Errno> {
        let mut bytes = vec![0; length.max(48)];
        self.process.space()?.read(at, &mut bytes)?;
        Ok(Wanted { user: u32_at(&bytes, 4), group: u32_at(&bytes, 8), mode: u32_at(&bytes, 20), bytes })
    }
}
