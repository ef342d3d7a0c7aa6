//! Folders and names: `getdents64(2)`, `mkdir(2)`, `unlink(2)`, `rename(2)`, `chdir(2)`, …

use std::sync::Arc;

use ringfence_abi::{Call, FileKind, Reply, Timestamp};
use ringfence_isolation::FileUse;
use ringfence_manifest::Permission;
use rustix::fs::{FileType, SeekFrom};
use rustix::io::Errno;

use super::memory_files::Way;
use super::open::{Kind, Open};
use super::opening::Path;
use super::process::lock;
use super::thread::Thread;
use super::{Answer, Arguments, int};
use crate::scratch::{Body, Node, Spot};

/// How many entries are taken from the hal at once.
const BATCH: usize = 128;
const HERE: u64 = libc::AT_FDCWD as u64;
/// How far a folder that is made here was listed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// So many of `.` and `..`, which the hal does not list.
    Dots(u64),
    /// Of the hal's entries, up to this one.
    Hal(u64),
    /// So many of the names that lie over it.
    Extra(u64),
}

/// One entry of a folder.
struct Named {
    name: Vec<u8>,
    kind: u8,
    cookie: u64,
    /// Where listing goes on behind it.
    stage: Stage,
}

impl Thread {
    /// The next entries of a folder that is not the host's.
    fn entries(&self, open: &Open, stage: Stage) -> Result<Vec<Named>, Errno> {
        let extra = match &open.kind {
            Kind::Folder(_, extra) | Kind::Listing(extra) => &extra[..],
            _ => &[],
        };
        let after = match stage {
            Stage::Dots(done) if done < 2 => {
                let dots = [&b"."[..], b".."].into_iter().zip(1..).skip(done as usize);
                return Ok(dots.map(|(name, at)| Named::own(name, libc::DT_DIR, Stage::Dots(at))).collect());
            }
            Stage::Dots(_) => 0,
            Stage::Hal(after) => after,
            Stage::Extra(after) => return Ok(listed(extra, after)),
        };
        let Kind::Folder(handle, _) = &open.kind else { return Ok(listed(extra, 0)) };
        match self.world.call(Call::List { directory: *handle, after, most: BATCH }) {
            Ok(Reply::Entries(entries)) if !entries.is_empty() => Ok(entries.into_iter().map(from_hal).collect()),
            Ok(_) => Ok(listed(extra, 0)),
            Err(Errno::ACCESS) if !extra.is_empty() => Ok(listed(extra, 0)),
            Err(errno) => Err(errno),
        }
    }
}

impl Named {
    /// One that is not the hal's or the host's. Its cookie only says that it is not the first.
    fn own(name: &[u8], kind: u8, stage: Stage) -> Named {
        let cookie = match stage {
            Stage::Dots(at) => at,
            Stage::Hal(at) | Stage::Extra(at) => at + 2,
        };
        Named { name: name.to_vec(), kind, cookie, stage }
    }
}

/// `getdents64(2)`
pub(super) fn getdents64(thread: &mut Thread, [number, at, length, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().get(int(number))?;
    let room = thread.process.space()?.writable(at, length.min(1 << 16))?;
    let mut position = lock(&open.position);
    let mut stage = lock(&open.stage);
    if *position == 0 {
        *stage = Stage::Dots(0);
    }
    let entries = match &open.kind {
        Kind::SystemFolder(folder) => {
            thread.world.control.charge_io(1, 0);
            from_host(folder, *position)?
        }
        Kind::MemoryFolder(node) => {
            if node.state().names == 0 {
                return Err(Errno::NOENT);
            }
            thread.world.judge(&open.path, FileUse::With(Permission::FsList))?;
            from_memory(thread, node, &open.path, *position)?
        }
        Kind::Folder(..) | Kind::Listing(_) => thread.entries(&open, *stage)?,
        _ => return Err(Errno::NOTDIR),
    };
    let mut bytes = Vec::new();
    let mut last = *position;
    for entry in &entries {
        let size = (19 + entry.name.len() + 1).next_multiple_of(8);
        if bytes.len() + size > room {
            if bytes.is_empty() {
                return Err(Errno::INVAL);
            }
            break;
        }
        let start = bytes.len();
        bytes.extend_from_slice(&inode(&entry.name).to_le_bytes());
        bytes.extend_from_slice(&entry.cookie.to_le_bytes());
        bytes.extend_from_slice(&(size as u16).to_le_bytes());
        bytes.push(entry.kind);
        bytes.extend_from_slice(&entry.name);
        bytes.resize(start + size, 0);
        last = entry.cookie;
        *stage = entry.stage;
    }
    thread.process.space()?.write(at, &bytes)?;
    *position = last;
    Ok(bytes.len() as u64)
}

fn inode(name: &[u8]) -> u64 {
    name.iter().fold(7, |hash: u64, &byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte))) | 1
}

fn from_hal(entry: ringfence_abi::Entry) -> Named {
    let kind = match entry.kind {
        FileKind::File => libc::DT_REG,
        FileKind::Directory => libc::DT_DIR,
        FileKind::Symlink => libc::DT_LNK,
        _ => libc::DT_UNKNOWN,
    };
    // Zero is the beginning.
    Named { name: entry.name, kind, cookie: entry.cookie.max(1), stage: Stage::Hal(entry.cookie) }
}

fn listed(names: &[Vec<u8>], after: u64) -> Vec<Named> {
    let behind = names.iter().enumerate().skip(usize::try_from(after).unwrap_or(usize::MAX));
    let named = |(index, name): (usize, &Vec<u8>)| Named::own(name, libc::DT_UNKNOWN, Stage::Extra(index as u64 + 1));
    behind.map(named).collect()
}

/// The numbers of `.` and `..`, of names of mounts, and then of what is in memory.
const MEMORY: u64 = 1 << 16;

fn from_memory(thread: &Thread, node: &Node, path: &[u8], after: u64) -> Result<Vec<Named>, Errno> {
    let mut over: Vec<Vec<u8>> = vec![b".".to_vec(), b"..".to_vec()];
    over.extend(thread.world.scratch.names_in(path));
    over.truncate(MEMORY as usize);
    if after < over.len() as u64 {
        let entry =
            |(name, cookie): (Vec<u8>, u64)| Named { name, kind: libc::DT_DIR, cookie, stage: Stage::Hal(cookie) };
        return Ok(over.into_iter().zip(1..).skip(after as usize).map(entry).collect());
    }
    let there = node.names()?.after(after.saturating_sub(MEMORY), BATCH);
    let entry = |(number, name, node): (u64, Vec<u8>, Arc<Node>)| {
        let kind = match &node.body {
            Body::File(_) => libc::DT_REG,
            Body::Folder(_) => libc::DT_DIR,
            Body::Link(_) => libc::DT_LNK,
            Body::Fifo => libc::DT_FIFO,
        };
        Named { name, kind, cookie: MEMORY + number, stage: Stage::Hal(number) }
    };
    Ok(there.into_iter().map(entry).collect())
}

fn from_host(folder: &rustix::fd::OwnedFd, after: u64) -> Result<Vec<Named>, Errno> {
    rustix::fs::seek(folder, SeekFrom::Start(after))?;
    let mut buffer = Vec::with_capacity(16 << 10);
    let mut entries = rustix::fs::RawDir::new(folder, buffer.spare_capacity_mut());
    let mut named = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let kind = match entry.file_type() {
            FileType::RegularFile => libc::DT_REG,
            FileType::Directory => libc::DT_DIR,
            FileType::Symlink => libc::DT_LNK,
            _ => libc::DT_UNKNOWN,
        };
        let name = entry.file_name().to_bytes().to_vec();
        let cookie = entry.next_entry_cookie();
        named.push(Named { name, kind, cookie, stage: Stage::Hal(cookie) });
        if entries.is_buffer_empty() {
            break;
        }
    }
    Ok(named)
}

impl Thread {
    /// A path at which something is to be changed: never the system's.
    fn changeable(&self, folder: u64, at: u64) -> Result<Way, Errno> {
        self.changeable_path(self.path(int(folder), at)?, false)
    }

    fn changeable_path(&self, path: Path, follow: bool) -> Result<Way, Errno> {
        let path = match self.lead(&path, follow)? {
            Way::Path(path) => path,
            memory => return Ok(memory),
        };
        if path.is_system(self) || super::special::look(self, &path.normal).is_some() {
            return Err(Errno::ROFS);
        }
        Ok(Way::Path(path))
    }

    fn may(&self, spot: &Spot, permission: Permission) -> Result<(), Errno> {
        self.world.judge(&spot.path, FileUse::With(permission))
    }
}

/// `mkdir(2)`
pub(super) fn mkdir(thread: &mut Thread, [path, mode, ..]: Arguments) -> Answer {
    mkdirat(thread, [HERE, path, mode, 0, 0, 0])
}

/// `mkdirat(2)`
pub(super) fn mkdirat(thread: &mut Thread, [folder, path, mode, ..]: Arguments) -> Answer {
    let path = thread.changeable(folder, path).map_err(|errno| match errno {
        Errno::ROFS => Errno::EXIST,
        errno => errno,
    })?;
    let path = match path {
        Way::Path(path) => path,
        Way::Memory(spot) => {
            thread.may(&spot, Permission::FsCreate)?;
            let mode = mode as u32 & !lock(&thread.process.place()).mask;
            return thread.world.scratch.make_folder(&spot, mode, thread.world.now()).map(|()| 0);
        }
    };
    thread.world.call(Call::CreateDirectory { directory: thread.root()?, path: &path.written }).map(|_| 0)
}

/// `rmdir(2)`
pub(super) fn rmdir(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    unlinkat(thread, [HERE, path, libc::AT_REMOVEDIR as u64, 0, 0, 0])
}

/// `unlink(2)`
pub(super) fn unlink(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    unlinkat(thread, [HERE, path, 0, 0, 0, 0])
}

/// `unlinkat(2)`
pub(super) fn unlinkat(thread: &mut Thread, [folder, path, flags, ..]: Arguments) -> Answer {
    if flags & !(libc::AT_REMOVEDIR as u64) != 0 {
        return Err(Errno::INVAL);
    }
    let text = thread.process.space()?.text(path)?;
    if flags != 0 && text.rsplit(|&byte| byte == b'/').next() == Some(b".") {
        return Err(Errno::INVAL);
    }
    let path = match thread.changeable(folder, path)? {
        Way::Path(path) => path,
        Way::Memory(spot) => {
            thread.may(&spot, Permission::FsDelete)?;
            let folder = flags & libc::AT_REMOVEDIR as u64 != 0;
            return thread.world.scratch.remove(&spot, folder, thread.world.now()).map(|()| 0);
        }
    };
    let (directory, path) = (thread.root()?, &path.written);
    let done = match flags {
        0 => thread.world.call(Call::Unlink { directory, path }),
        flags if flags == libc::AT_REMOVEDIR as u64 => thread.world.call(Call::RemoveDirectory { directory, path }),
        _ => return Err(Errno::INVAL),
    };
    done.map(|_| 0)
}

/// `rename(2)`
pub(super) fn rename(thread: &mut Thread, [from, to, ..]: Arguments) -> Answer {
    renameat2(thread, [HERE, from, HERE, to, 0, 0])
}

/// `renameat(2)`
pub(super) fn renameat(thread: &mut Thread, [from_folder, from, to_folder, to, ..]: Arguments) -> Answer {
    renameat2(thread, [from_folder, from, to_folder, to, 0, 0])
}

/// `renameat2(2)`
pub(super) fn renameat2(thread: &mut Thread, [from_folder, from, to_folder, to, flags, _]: Arguments) -> Answer {
    const NO_REPLACE: u64 = libc::RENAME_NOREPLACE as u64;
    if flags & !NO_REPLACE != 0 {
        return Err(Errno::INVAL);
    }
    let (from, to) = match (thread.changeable(from_folder, from)?, thread.changeable(to_folder, to)?) {
        (Way::Path(_), Way::Path(_)) if flags != 0 => return Err(Errno::INVAL),
        (Way::Path(from), Way::Path(to)) => (from, to),
        (Way::Memory(from), Way::Memory(to)) => {
            thread.may(&from, Permission::FsDelete)?;
            thread.may(&to, Permission::FsCreate)?;
            from.found()?;
            thread.world.judge(&from.path, FileUse::Move(&to.path))?;
            if to.node.is_some() {
                thread.may(&to, Permission::FsDelete)?;
            }
            return thread.world.scratch.rename(&from, &to, flags == 0, thread.world.now()).map(|()| 0);
        }
        _ => return Err(Errno::XDEV),
    };
    let root = thread.root()?;
    let call = Call::Rename { from_directory: root, from: &from.written, to_directory: root, to: &to.written };
    thread.world.call(call).map(|_| 0)
}

/// `link(2)`
pub(super) fn link(thread: &mut Thread, [from, to, ..]: Arguments) -> Answer {
    linkat(thread, [HERE, from, HERE, to, 0, 0])
}

/// `linkat(2)`
pub(super) fn linkat(thread: &mut Thread, [from_folder, from, to_folder, to, flags, _]: Arguments) -> Answer {
    let follow = flags & libc::AT_SYMLINK_FOLLOW as u64 != 0;
    let from = thread.changeable_path(thread.path(int(from_folder), from)?, follow)?;
    let (from, to) = match (from, thread.changeable(to_folder, to)?) {
        (Way::Path(from), Way::Path(to)) => (from, to),
        (Way::Memory(from), Way::Memory(to)) => {
            thread.world.judge(&from.path, FileUse::Look)?;
            thread.may(&to, Permission::FsCreate)?;
            let node = from.found()?;
            thread.world.judge(&from.path, FileUse::Move(&to.path))?;
            return thread.world.scratch.link(node, &to, thread.world.now()).map(|()| 0);
        }
        _ => return Err(Errno::XDEV),
    };
    let root = thread.root()?;
    let call = Call::Link { from_directory: root, from: &from.written, follow, to_directory: root, to: &to.written };
    thread.world.call(call).map(|_| 0)
}

/// `symlink(2)`
pub(super) fn symlink(thread: &mut Thread, [target, path, ..]: Arguments) -> Answer {
    symlinkat(thread, [target, HERE, path, 0, 0, 0])
}

/// `symlinkat(2)`
pub(super) fn symlinkat(thread: &mut Thread, [target, folder, path, ..]: Arguments) -> Answer {
    let target = thread.process.space()?.text(target)?;
    if target.is_empty() {
        return Err(Errno::NOENT);
    }
    let path = match thread.changeable(folder, path)? {
        Way::Path(path) => path,
        Way::Memory(spot) => {
            thread.may(&spot, Permission::FsCreate)?;
            return thread.world.scratch.make_link(&spot, &target, thread.world.now()).map(|()| 0);
        }
    };
    let call = Call::Symlink { target: &target, directory: thread.root()?, path: &path.written };
    thread.world.call(call).map(|_| 0)
}

/// The mode of something in memory is set. Everything else keeps the one the host gave it.
fn set_mode(thread: &Thread, path: &Path, follow: bool, mode: Option<u64>) -> Answer {
    if let Way::Memory(spot) = thread.lead(path, follow)?
        && let Some(mode) = mode
    {
        thread.world.judge(&spot.path, FileUse::Look)?;
        let node = spot.found()?;
        node.state().mode = mode as u32 & 0o7777;
        node.changed(thread.world.now());
        return Ok(0);
    }
    thread.status_at(path, follow).map(|_| 0)
}

/// `chmod(2)`
pub(super) fn chmod(thread: &mut Thread, [path, mode, ..]: Arguments) -> Answer {
    set_mode(thread, &thread.path(libc::AT_FDCWD, path)?, true, Some(mode))
}

/// `fchmod(2)`
pub(super) fn fchmod(thread: &mut Thread, [number, mode, ..]: Arguments) -> Answer {
    if thread.process.descriptors().get(int(number))?.flags() & libc::O_PATH as u32 != 0 {
        return Err(Errno::BADF);
    }
    if let Kind::Memory(node) | Kind::MemoryFolder(node) = &thread.process.descriptors().get(int(number))?.kind {
        node.state().mode = mode as u32 & 0o7777;
    }
    Ok(0)
}

/// `fchmodat(2)`, `fchmodat2(2)`
pub(super) fn fchmodat(thread: &mut Thread, [folder, path, mode, ..]: Arguments) -> Answer {
    set_mode(thread, &thread.path(int(folder), path)?, true, Some(mode))
}

/// `chown(2)`, `lchown(2)`: everything has one owner.
pub(super) fn chown(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    set_mode(thread, &thread.path(libc::AT_FDCWD, path)?, false, None)
}

/// `fchown(2)`
pub(super) fn fchown(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    thread.process.descriptors().get(int(number)).map(|_| 0)
}

/// `fchownat(2)`
pub(super) fn fchownat(thread: &mut Thread, [folder, path, _, _, flags, _]: Arguments) -> Answer {
    if flags & libc::AT_EMPTY_PATH as u64 != 0 && thread.process.space()?.text(path)?.is_empty() {
        return fchown(thread, [folder, 0, 0, 0, 0, 0]);
    }
    set_mode(thread, &thread.path(int(folder), path)?, false, None)
}

/// `truncate(2)`
pub(super) fn truncate(thread: &mut Thread, [path, size, ..]: Arguments) -> Answer {
    let path = thread.path(libc::AT_FDCWD, path)?;
    i64::try_from(size).map_err(|_| Errno::INVAL)?;
    let open = thread.open(&path, libc::O_WRONLY as u32, true)?;
    open.set_size(size).map(|()| 0)
}

/// `utimensat(2)`
pub(super) fn utimensat(thread: &mut Thread, [folder, path, at, flags, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let now = || match thread.world.call(Call::Now { clock: ringfence_abi::Clock::Wall })? {
        Reply::Time(time) => Ok(Some(time)),
        _ => Err(Errno::IO),
    };
    let time = |at: u64| match (space.read_u64(at)?, space.read_u64(at + 8)?) {
        (_, nanoseconds) if nanoseconds == libc::UTIME_NOW as u64 => now(),
        (_, nanoseconds) if nanoseconds == libc::UTIME_OMIT as u64 => Ok(None),
        (_, nanoseconds) if nanoseconds >= 1_000_000_000 => Err(Errno::INVAL),
        (seconds, nanoseconds) => {
            Ok(Some(Timestamp::from(seconds as i64) * 1_000_000_000 + Timestamp::from(nanoseconds)))
        }
    };
    let (accessed, modified) = if at == 0 { (now()?, now()?) } else { (time(at)?, time(at.wrapping_add(16))?) };
    set_times(thread, [folder, path, flags], accessed, modified)
}

/// What `utimensat(2)` and the older ones come to.
fn set_times(
    thread: &Thread,
    [folder, path, flags]: [u64; 3],
    accessed: Option<Timestamp>,
    modified: Option<Timestamp>,
) -> Answer {
    let touch = |node: &Node, accessed: Option<Timestamp>, modified: Option<Timestamp>| {
        let mut state = node.state();
        state.times[0] = accessed.unwrap_or(state.times[0]);
        state.times[1] = modified.unwrap_or(state.times[1]);
    };
    if path == 0 {
        let open = thread.process.descriptors().get(int(folder))?;
        if let Kind::Memory(node) | Kind::MemoryFolder(node) = &open.kind {
            thread.world.judge(&open.path, FileUse::With(Permission::FsWrite))?;
            touch(node, accessed, modified);
            return Ok(0);
        }
        let handle = open.handle().ok_or(Errno::ROFS)?;
        return thread.world.call(Call::SetTimes { handle, accessed, modified }).map(|_| 0);
    }
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW as u64 == 0;
    let path = match thread.changeable_path(thread.path(int(folder), path)?, follow)? {
        Way::Path(path) => path,
        Way::Memory(spot) => {
            let node = spot.found()?;
            thread.may(&spot, Permission::FsWrite)?;
            touch(node, accessed, modified);
            return Ok(0);
        }
    };
    let call = Call::SetTimesAt { directory: thread.root()?, path: &path.written, follow, accessed, modified };
    thread.world.call(call).map(|_| 0)
}

/// `utimes(2)`
pub(super) fn utimes(thread: &mut Thread, [path, at, ..]: Arguments) -> Answer {
    futimesat(thread, [HERE, path, at, 0, 0, 0])
}

/// `futimesat(2)`
pub(super) fn futimesat(thread: &mut Thread, [folder, path, at, ..]: Arguments) -> Answer {
    if at == 0 {
        return utimensat(thread, [folder, path, 0, 0, 0, 0]);
    }
    let space = thread.process.space()?;
    let time = |at: u64| match (space.read_u64(at)?, space.read_u64(at.wrapping_add(8))?) {
        (_, micros) if micros >= 1_000_000 => Err(Errno::INVAL),
        (seconds, micros) => Ok(Some(Timestamp::from(seconds as i64) * 1_000_000_000 + Timestamp::from(micros) * 1000)),
    };
    set_times(thread, [folder, path, 0], time(at)?, time(at.wrapping_add(16))?)
}

/// `utime(2)`
pub(super) fn utime(thread: &mut Thread, [path, at, ..]: Arguments) -> Answer {
    if at == 0 {
        return utimensat(thread, [HERE, path, 0, 0, 0, 0]);
    }
    let space = thread.process.space()?;
    let time = |at: u64| Ok(Some(Timestamp::from(space.read_u64(at)? as i64) * 1_000_000_000));
    set_times(thread, [HERE, path, 0], time(at)?, time(at.wrapping_add(8))?)
}

/// `mknod(2)`
pub(super) fn mknod(thread: &mut Thread, [path, mode, device, ..]: Arguments) -> Answer {
    mknodat(thread, [HERE, path, mode, device, 0, 0])
}

/// `mknodat(2)`: files, and in memory named pipes; nobody makes a device.
pub(super) fn mknodat(thread: &mut Thread, [folder, path, mode, ..]: Arguments) -> Answer {
    let mode = mode as u32;
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => {
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
            let path = thread.path(int(folder), path)?;
            thread.open_as(&path, flags as u32, mode & 0o7777, false).map(|_| 0)
        }
        libc::S_IFIFO => match thread.changeable(folder, path)? {
            Way::Memory(spot) => {
                thread.may(&spot, Permission::FsCreate)?;
                let mask = lock(&thread.process.place()).mask;
                thread.world.scratch.make_fifo(&spot, mode & 0o7777 & !mask, thread.world.now()).map(|()| 0)
            }
            Way::Path(_) => Err(Errno::PERM),
        },
        libc::S_IFCHR | libc::S_IFBLK | libc::S_IFSOCK => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}

/// `getcwd(2)`
pub(super) fn getcwd(thread: &mut Thread, [at, length, ..]: Arguments) -> Answer {
    let mut folder = lock(&thread.process.place()).folder.clone();
    folder.push(0);
    if (folder.len() as u64) > length {
        return Err(Errno::RANGE);
    }
    thread.process.space()?.write(at, &folder)?;
    Ok(folder.len() as u64)
}

/// `chdir(2)`
pub(super) fn chdir(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    let path = thread.path(libc::AT_FDCWD, path)?;
    let open = thread.open(&path, (libc::O_DIRECTORY | libc::O_PATH) as u32, true)?;
    lock(&thread.process.place()).folder = open.path.clone();
    Ok(0)
}

/// `fchdir(2)`
pub(super) fn fchdir(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().get(int(number))?;
    match open.kind {
        Kind::Folder(..) | Kind::SystemFolder(_) | Kind::Listing(_) | Kind::MemoryFolder(_) => {
            lock(&thread.process.place()).folder = open.path.clone();
            Ok(0)
        }
        _ => Err(Errno::NOTDIR),
    }
}

/// `umask(2)`
pub(super) fn umask(thread: &mut Thread, [mask, ..]: Arguments) -> Answer {
    let place = thread.process.place();
    let old = std::mem::replace(&mut lock(&place).mask, mask as u32 & 0o777);
    Ok(u64::from(old))
}
