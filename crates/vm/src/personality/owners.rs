//! Whose files are and who may use them: `chmod(2)`, `chown(2)`, `path_resolution(7)`, `credentials(7)`.
//!
//! Owners are the instance's own: what a capsule may do the manifest says, and the host's mean nothing to it. One that
//! a program gave is kept as long as the instance lives. The nine bits of a mode are the host's file's, where it is one,
//! so that what can be run is so for everybody; the others are kept here. Whoever runs as the user the instance began as
//! is asked for nothing; a process that became somebody else is held to them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use ringfence_abi::Call;
use rustix::io::Errno;

use super::credentials::Credentials;
use super::folders::HERE;
use super::memory_files::Way;
use super::open::{Kind, Open};
use super::opening::Path;
use super::process::lock;
use super::shared::Identity;
use super::status::{BITS, MEMORY_DEVICE, Status};
use super::thread::Thread;
use super::world::World;
use super::{Answer, Arguments, int};
use crate::kvm::Kept;

/// Of how many things more is known than is shown anyway.
const MOST: usize = 65536;
/// About what the host keeps for each.
const EACH: usize = 96;
/// What may be wanted of something: to read, to write, to search or run it.
pub(super) const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;
pub(super) const SEARCH: u32 = 1;
/// The bits that `chown(2)` takes away.
const SET_IDS: u32 = libc::S_ISUID | libc::S_ISGID;

/// Whose something is, and its mode when a program gave it one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) mode: Option<u32>,
}

/// What is known of things beyond what is shown anyway.
#[derive(Default)]
pub(super) struct Owners {
    known: Mutex<(BTreeMap<Identity, Owner>, Option<Kept>)>,
    count: AtomicUsize,
}

impl World {
    /// What is known of something.
    pub(super) fn owner(&self, identity: Identity) -> Option<Owner> {
        if self.owners.count.load(SeqCst) == 0 {
            return None;
        }
        lock(&self.owners.known).0.get(&identity).copied()
    }

    /// The same, as it is shown.
    pub(super) fn dressed(&self, mut status: Status) -> Status {
        if let Some(owner) = self.owner(status.identity()) {
            status.dress(owner);
        }
        status
    }

    /// Keeps that. `ENOSPC` when too much is known.
    pub(super) fn set_owner(&self, identity: Identity, owner: Owner) -> Result<(), Errno> {
        self.may_keep(EACH)?;
        let mut known = lock(&self.owners.known);
        if known.0.len() >= MOST && !known.0.contains_key(&identity) {
            return Err(Errno::NOSPC);
        }
        known.0.insert(identity, owner);
        let count = known.0.len();
        self.owners.count.store(count, SeqCst);
        known.1.get_or_insert_with(|| Kept::new(self.machine.clone())).set(count * EACH);
        Ok(())
    }

    /// It is gone, or another thing has its number now.
    pub(super) fn forget_owner(&self, identity: Identity) {
        if self.owners.count.load(SeqCst) == 0 {
            return;
        }
        let mut known = lock(&self.owners.known);
        if known.0.remove(&identity).is_some() {
            let count = known.0.len();
            self.owners.count.store(count, SeqCst);
            if let Some(kept) = &mut known.1 {
                kept.set(count * EACH);
            }
        }
    }

    /// What is known of files in memory.
    pub(super) fn owners_in_memory(&self) -> Vec<(u64, u32, u32)> {
        let known = lock(&self.owners.known);
        let here = known.0.iter().filter(|((device, _), _)| *device == MEMORY_DEVICE);
        here.map(|((_, number), owner)| (*number, owner.user, owner.group)).collect()
    }
}

impl Thread {
    /// What it goes by, when that is not the user the instance began as.
    fn stranger(&self) -> Option<Credentials> {
        let credentials = lock(&self.process.credentials);
        (credentials.users[3] != super::credentials::first()).then(|| credentials.clone())
    }

    /// Whether it goes by another user than the one the instance began as.
    pub(super) fn is_stranger(&self) -> bool {
        self.stranger().is_some()
    }

    /// The group that is passed on to what is made at a path, when the folder it is made in says so: `inode(7)`, the
    /// set-group-ID bit.
    pub(super) fn inherited(&self, path: &[u8]) -> Option<u32> {
        let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0).max(1);
        // Only in memory, or where a program gave it, has a folder such a mode.
        if self.world.owners.count.load(SeqCst) == 0 && !self.world.scratch.has(&path[..end]) {
            return None;
        }
        let folder = self.absolute(libc::AT_FDCWD, &path[..end]).and_then(|path| self.status_at(&path, true)).ok()?;
        (folder.mode() & libc::S_ISGID != 0).then_some(folder.owner().1)
    }

    /// The mode a new file gets: who is not in the group that it inherits does not let it run as that group.
    pub(super) fn mode_of_new(&self, mode: u32, inherited: Option<u32>) -> u32 {
        const RUNS: u32 = libc::S_ISGID | libc::S_IXGRP;
        let Some(group) = inherited.filter(|_| mode & RUNS == RUNS) else { return mode };
        let credentials = lock(&self.process.credentials);
        if credentials.is_privileged() || credentials.has(group) { mode } else { mode & !libc::S_ISGID }
    }

    /// Something was made: it belongs to who made it, or to the group it inherits, and has this mode. `shown` is what
    /// is shown anyway.
    pub(super) fn own(
        &self,
        identity: Identity,
        mode: Option<u32>,
        shown: u32,
        inherited: Option<u32>,
    ) -> Result<(), Errno> {
        self.world.forget_owner(identity);
        let mode = mode.filter(|&mode| mode != shown);
        let (user, group) = self.process.file_ids();
        let group = inherited.unwrap_or(group);
        let first = super::credentials::first();
        if mode.is_none() && (user, group) == (first, first) {
            return Ok(());
        }
        match self.world.set_owner(identity, Owner { user, group, mode }) {
            // It is there, and shown as things are of which nothing more is known.
            Err(Errno::NOSPC) if (user, group) == (first, first) => Ok(()),
            other => other,
        }
    }

    /// What is at a path, if more may be known of it than is shown anyway, and this is its last name.
    pub(super) fn known_at(&self, path: &Path) -> Option<Identity> {
        if self.world.owners.count.load(SeqCst) == 0 {
            return None;
        }
        let status = self.status_at(path, false).ok()?;
        (status.is_folder() || status.links() <= 1).then(|| status.identity())
    }

    /// Whether it may get to a path: each folder above it is searched.
    pub(super) fn may_pass(&self, path: &Path) -> Result<(), Errno> {
        self.stranger().map_or(Ok(()), |credentials| self.pass_as(&credentials, path))
    }

    /// The same as the real user: `access(2)`.
    pub(super) fn may_really_pass(&self, path: &Path) -> Result<(), Errno> {
        let mut credentials = lock(&self.process.credentials).clone();
        (credentials.users[3], credentials.groups[3]) = (credentials.users[0], credentials.groups[0]);
        if credentials.users[3] == super::credentials::first() { Ok(()) } else { self.pass_as(&credentials, path) }
    }

    fn pass_as(&self, credentials: &Credentials, path: &Path) -> Result<(), Errno> {
        let folders = path.normal.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        for (end, _) in folders {
            let folder = self.absolute(libc::AT_FDCWD, &path.normal[..end])?;
            if let Ok(status) = self.status_at(&folder, true)
                && status.is_folder()
                && !credentials.allow(&status, SEARCH)
            {
                return Err(Errno::ACCESS);
            }
        }
        Ok(())
    }

    /// Whether it may do this with what is there; `EACCES`. What is not there is found out otherwise.
    pub(super) fn may_use(&self, path: &Path, follow: bool, wanted: u32) -> Result<(), Errno> {
        let Some(credentials) = self.stranger() else { return Ok(()) };
        match self.status_at(path, follow) {
            Ok(status) if !credentials.allow(&status, wanted) => Err(Errno::ACCESS),
            _ => Ok(()),
        }
    }

    /// The same as the real user: `access(2)`.
    pub(super) fn may_really(&self, status: &Status, wanted: u32, effective: bool) -> bool {
        let mut credentials = lock(&self.process.credentials).clone();
        if !effective {
            (credentials.users[3], credentials.groups[3]) = (credentials.users[0], credentials.groups[0]);
        }
        credentials.users[3] == super::credentials::first() || credentials.allow(status, wanted)
    }

    /// Whether it may go into a folder that is open: `EACCES`.
    pub(super) fn may_search(&self, open: &Open) -> Result<(), Errno> {
        let Some(credentials) = self.stranger() else { return Ok(()) };
        if credentials.allow(&self.status_of(open)?, SEARCH) { Ok(()) } else { Err(Errno::ACCESS) }
    }

    /// Whether it may make or remove a name: `EACCES`, or `EPERM` in a folder where each has only its own.
    pub(super) fn may_name(&self, path: &Path) -> Result<(), Errno> {
        let Some(credentials) = self.stranger() else { return Ok(()) };
        let end = path.normal.iter().rposition(|&byte| byte == b'/').unwrap_or(0).max(1);
        let folder = self.status_at(&self.absolute(libc::AT_FDCWD, &path.normal[..end])?, true)?;
        if !credentials.allow(&folder, WRITE | SEARCH) {
            return Err(Errno::ACCESS);
        }
        let owns = |status: &Status| status.owner().0 == credentials.users[3];
        match self.status_at(path, false) {
            Ok(status) if folder.mode() & libc::S_ISVTX != 0 && !owns(&status) && !owns(&folder) => Err(Errno::PERM),
            _ => Ok(()),
        }
    }

    /// The same of something that is to be new: first of all nothing may be there, `EEXIST`.
    pub(super) fn may_add(&self, path: &Path) -> Result<(), Errno> {
        match self.stranger() {
            Some(_) if self.status_at(path, false).is_ok() => Err(Errno::EXIST),
            Some(_) => self.may_name(path),
            None => Ok(()),
        }
    }

    /// The same of something that is made unless it is there.
    pub(super) fn may_make(&self, path: &Path, follow: bool) -> Result<(), Errno> {
        match self.stranger() {
            Some(_) if self.status_at(path, follow).is_err() => self.may_name(path),
            _ => Ok(()),
        }
    }

    /// Whether something is its own to change; `EPERM`.
    fn may_change(&self, status: &Status) -> Result<(), Errno> {
        match self.stranger() {
            Some(credentials) if status.owner().0 != credentials.users[3] => Err(Errno::PERM),
            _ => Ok(()),
        }
    }

    /// A file of the host's has a mode now: what of it the host does not have is known here.
    fn keep_mode(&self, status: &Status, mode: u32) -> Result<(), Errno> {
        let more = (mode & !BITS != 0).then_some(mode);
        if more.is_none() && self.world.owner(status.identity()).is_none() {
            return Ok(());
        }
        self.world.set_owner(status.identity(), Owner { mode: more, ..known(self, status) })
    }

    /// Whether it may say when something was used: `utimensat(2)`.
    pub(super) fn may_stamp(&self, status: &Status, is_now: bool) -> Result<(), Errno> {
        let Some(credentials) = self.stranger() else { return Ok(()) };
        match status.owner().0 == credentials.users[3] {
            true => Ok(()),
            false if is_now && credentials.allow(status, WRITE) => Ok(()),
            false => Err(if is_now { Errno::ACCESS } else { Errno::PERM }),
        }
    }
}

fn known(thread: &Thread, status: &Status) -> Owner {
    let (user, group) = status.owner();
    thread.world.owner(status.identity()).unwrap_or(Owner { user, group, mode: None })
}

/// What is open where a path leads by `/proc/self/fd` (`proc(5)`): the C library changes so what it must not follow.
pub(super) fn opened(thread: &Thread, path: &Path, follow: bool) -> Result<Option<Arc<Open>>, Errno> {
    if follow { super::special::opened(thread, &path.normal).transpose() } else { Ok(None) }
}

/// The mode that something gets for this one: who is not in its group does not let it run as that group.
fn settable(thread: &Thread, status: &Status, mode: u64) -> u32 {
    let credentials = lock(&thread.process.credentials);
    let may = credentials.is_privileged() || credentials.has(status.owner().1);
    mode as u32 & if may { 0o7777 } else { 0o7777 & !libc::S_ISGID }
}

fn set_mode(thread: &Thread, path: &Path, follow: bool, mode: u64) -> Answer {
    if let Some(open) = opened(thread, path, follow)? {
        return set_mode_of(thread, &open, mode);
    }
    if thread.world.names.mode_at(path).is_some() {
        // A socket without a file.
        let status = thread.status_at(path, follow)?;
        thread.may_change(&status)?;
        let owner = Owner { mode: Some(settable(thread, &status, mode)), ..known(thread, &status) };
        thread.world.set_owner(status.identity(), owner)?;
        return Ok(0);
    }
    // What is asked about and what is changed is one: somebody may put something else there.
    let flags = libc::O_PATH | if follow { 0 } else { libc::O_NOFOLLOW };
    set_mode_of(thread, &*thread.open(path, flags as u32, follow)?, mode)
}

fn set_mode_of(thread: &Thread, open: &Open, mode: u64) -> Answer {
    let status = thread.status_of(open)?;
    thread.may_change(&status)?;
    let mode = settable(thread, &status, mode);
    match &open.kind {
        Kind::Memory(node) | Kind::MemoryFolder(node) => {
            node.state().mode = mode;
            node.changed(thread.world.now());
        }
        Kind::File(handle) | Kind::Folder(handle, _) => {
            thread.world.call(Call::SetMode { handle: *handle, mode: mode & BITS })?;
            thread.keep_mode(&status, mode)?;
        }
        Kind::System(_) | Kind::SystemFolder(_) | Kind::Listing(_) | Kind::Text(_) | Kind::Device(_) => {
            return Err(Errno::ROFS);
        }
        Kind::Link(..) => return Err(Errno::OPNOTSUPP),
        _ => {}
    }
    open.happened(libc::IN_ATTRIB);
    Ok(0)
}

/// Flags of calls that change what is at a path.
fn check_flags(flags: u64) -> Result<(), Errno> {
    if int(flags) & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) == 0 { Ok(()) } else { Err(Errno::INVAL) }
}

/// Whether a call that was given `AT_EMPTY_PATH` is for the descriptor itself.
pub(super) fn is_empty(thread: &Thread, path: u64, flags: u64) -> Result<bool, Errno> {
    Ok(flags & libc::AT_EMPTY_PATH as u64 != 0 && thread.process.space()?.text(path)?.is_empty())
}

/// `chmod(2)`
pub(super) fn chmod(thread: &mut Thread, [path, mode, ..]: Arguments) -> Answer {
    fchmodat(thread, [HERE, path, mode, 0, 0, 0])
}

/// `fchmod(2)`
pub(super) fn fchmod(thread: &mut Thread, [number, mode, ..]: Arguments) -> Answer {
    set_mode_of(thread, &*thread.process.descriptors().file(int(number))?, mode)
}

/// `fchmodat(2)`
pub(super) fn fchmodat(thread: &mut Thread, [folder, path, mode, ..]: Arguments) -> Answer {
    set_mode(thread, &thread.path(int(folder), path)?, true, mode)
}

/// `fchmodat2(2)`
pub(super) fn fchmodat2(thread: &mut Thread, [folder, path, mode, flags, ..]: Arguments) -> Answer {
    check_flags(flags)?;
    if is_empty(thread, path, flags)? {
        return set_mode_of(thread, &*thread.process.descriptors().get(int(folder))?, mode);
    }
    let path = thread.path(int(folder), path)?;
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW as u64 == 0;
    if !follow && thread.status_at(&path, false)?.is_link() {
        return Err(Errno::OPNOTSUPP);
    }
    set_mode(thread, &path, follow, mode)
}

/// What `chown(2)` makes of something: its owner, and the mode it has afterwards when that is another.
fn given(thread: &Thread, status: &Status, user: u64, group: u64) -> Result<(Owner, Option<u32>), Errno> {
    let credentials = lock(&thread.process.credentials).clone();
    let (user, group) = (user as u32, group as u32);
    let keeps = |wanted: u32, is: u32| wanted == u32::MAX || wanted == is;
    let (owner, its_group) = status.owner();
    let may = credentials.is_privileged()
        || (user == u32::MAX && group == u32::MAX)
        || (owner == credentials.users[3] && keeps(user, owner) && (keeps(group, its_group) || credentials.has(group)));
    let is_own = credentials.is_privileged() || owner == credentials.users[3];
    if !may || (!is_own && !status.is_folder() && status.mode() & SET_IDS != 0) {
        return Err(Errno::PERM);
    }
    let choose = |wanted: u32, is: u32| if wanted == u32::MAX { is } else { wanted };
    let mode = status.mode() & 0o7777;
    let taken = match () {
        () if status.is_folder() => 0,
        () if mode & libc::S_IXGRP != 0 => SET_IDS,
        // Without it the bit stands for locks.
        () => libc::S_ISUID,
    };
    let other = (mode & taken != 0).then_some(mode & !taken);
    let before = known(thread, status);
    let owner = Owner { user: choose(user, owner), group: choose(group, its_group), mode: other.or(before.mode) };
    Ok((owner, other))
}

fn give(thread: &Thread, path: &Path, follow: bool, [user, group]: [u64; 2]) -> Answer {
    if let Some(open) = opened(thread, path, follow)? {
        return give_open(thread, &open, [user, group]);
    }
    let status = thread.status_at(path, follow)?;
    let (owner, mode) = given(thread, &status, user, group)?;
    if let Way::Memory(spot) = thread.lead(path, follow)? {
        let node = spot.found()?;
        if let Some(mode) = mode {
            node.state().mode = mode;
        }
        node.changed(thread.world.now());
        thread.world.set_owner(status.identity(), Owner { mode: None, ..owner })?;
    } else if path.is_system(thread) || super::special::look(thread, &path.normal).is_some() {
        return Err(Errno::ROFS);
    } else {
        thread.world.set_owner(status.identity(), owner)?;
    }
    thread.happened_at(path, follow, libc::IN_ATTRIB);
    Ok(0)
}

fn give_open(thread: &Thread, open: &Open, [user, group]: [u64; 2]) -> Answer {
    let status = thread.status_of(open)?;
    let (owner, mode) = given(thread, &status, user, group)?;
    match &open.kind {
        Kind::Memory(node) | Kind::MemoryFolder(node) => {
            if let Some(mode) = mode {
                node.state().mode = mode;
            }
            node.changed(thread.world.now());
            thread.world.set_owner(status.identity(), Owner { mode: None, ..owner })?;
        }
        Kind::File(_) | Kind::Folder(..) => thread.world.set_owner(status.identity(), owner)?,
        _ => {}
    }
    open.happened(libc::IN_ATTRIB);
    Ok(0)
}

/// `chown(2)`
pub(super) fn chown(thread: &mut Thread, [path, user, group, ..]: Arguments) -> Answer {
    give(thread, &thread.path(libc::AT_FDCWD, path)?, true, [user, group])
}

/// `lchown(2)`
pub(super) fn lchown(thread: &mut Thread, [path, user, group, ..]: Arguments) -> Answer {
    give(thread, &thread.path(libc::AT_FDCWD, path)?, false, [user, group])
}

/// `fchown(2)`
pub(super) fn fchown(thread: &mut Thread, [number, user, group, ..]: Arguments) -> Answer {
    give_open(thread, &*thread.process.descriptors().file(int(number))?, [user, group])
}

/// `fchownat(2)`
pub(super) fn fchownat(thread: &mut Thread, [folder, path, user, group, flags, _]: Arguments) -> Answer {
    check_flags(flags)?;
    if is_empty(thread, path, flags)? {
        return give_open(thread, &*thread.process.descriptors().get(int(folder))?, [user, group]);
    }
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW as u64 == 0;
    give(thread, &thread.path(int(folder), path)?, follow, [user, group])
}
