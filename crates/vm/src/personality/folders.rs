//! Folders and names: `mkdir(2)`, `unlink(2)`, `rename(2)`, `chdir(2)`, …

use ringfence_abi::Call;
use ringfence_isolation::FileUse;
use ringfence_manifest::Permission;
use rustix::io::Errno;

use super::inotify::Watched;
use super::memory_files::Way;
use super::open::{Kind, Open};
use super::opening::Path;
use super::process::lock;
use super::status::BITS;
use super::thread::Thread;
use super::{Answer, Arguments, int, moves, owners};
use crate::scratch::Spot;

/// A path that is not seen from a folder that is open.
pub(super) const HERE: u64 = libc::AT_FDCWD as u64;

impl Thread {
    /// A path at which something is to be changed: never the system's.
    fn changeable(&self, folder: u64, at: u64) -> Result<Way, Errno> {
        let path = self.path(int(folder), at)?;
        self.may_name(&path)?;
        self.changeable_path(path, false)
    }

    /// A path at which something is to be made: what is there already is told before who may make it.
    fn addable(&self, folder: u64, at: u64) -> Result<Way, Errno> {
        let path = self.path(int(folder), at)?;
        self.may_add(&path)?;
        self.changeable_path(path, false)
    }

    pub(super) fn changeable_path(&self, path: Path, follow: bool) -> Result<Way, Errno> {
        let path = match self.lead(&path, follow)? {
            Way::Path(path) => path,
            memory => return Ok(memory),
        };
        if path.is_system(self) {
            return Err(self.unchangeable(&path));
        }
        if super::special::look(self, &path.normal).is_some() {
            return Err(Errno::ROFS);
        }
        Ok(Way::Path(path))
    }

    /// Why nothing is made or changed at a path of the system's: first of all there has to be a folder that it is in.
    pub(super) fn unchangeable(&self, path: &Path) -> Errno {
        let above = path.normal.iter().rposition(|&byte| byte == b'/').unwrap_or(0).max(1);
        let status = self.absolute(libc::AT_FDCWD, &path.normal[..above]).and_then(|path| self.status_at(&path, true));
        match status {
            Ok(status) if !status.is_folder() => Errno::NOTDIR,
            Ok(_) => Errno::ROFS,
            Err(errno) => errno,
        }
    }

    pub(super) fn may(&self, spot: &Spot, permission: Permission) -> Result<(), Errno> {
        self.world.judge(&spot.path, FileUse::With(permission))
    }
}

/// `mkdir(2)`
pub(super) fn mkdir(thread: &mut Thread, [path, mode, ..]: Arguments) -> Answer {
    mkdirat(thread, [HERE, path, mode, 0, 0, 0])
}

/// `mkdirat(2)`
pub(super) fn mkdirat(thread: &mut Thread, [folder, path, mode, ..]: Arguments) -> Answer {
    let path = thread.path(int(folder), path)?;
    thread.may_add(&path)?;
    let path = match thread.changeable_path(path.clone(), false) {
        Err(Errno::ROFS) if thread.status_at(&path, false).is_ok() => return Err(Errno::EXIST),
        path => path?,
    };
    let mask = lock(&thread.process.place()).mask;
    let mode_of = |inherited| mode as u32 & 0o1777 & !mask | passed_on(inherited);
    let path = match path {
        Way::Path(path) => path,
        Way::Memory(spot) => {
            thread.may(&spot, Permission::FsCreate)?;
            let inherited = thread.inherited(&spot.path);
            let mode = mode_of(inherited);
            thread.world.scratch.make_folder(&spot, mode, thread.world.now())?;
            owned(thread, &spot.path, None, inherited);
            thread.made_at(&spot.path, true);
            return Ok(0);
        }
    };
    let inherited = thread.inherited(&path.normal);
    let mode = mode_of(inherited);
    let on_disk = Some(mode & BITS);
    thread.world.call(Call::CreateDirectory { directory: thread.root()?, path: &path.written, mode: on_disk })?;
    owned(thread, &path.normal, Some(mode), inherited);
    thread.made_at(&path.normal, true);
    Ok(0)
}

/// What a folder that inherits its group passes on itself.
fn passed_on(inherited: Option<u32>) -> u32 {
    if inherited.is_some() { libc::S_ISGID } else { 0 }
}

/// What is new belongs to whoever made it, or to the group it inherits, and has this mode: on the host, where it is a
/// folder there.
fn owned(thread: &Thread, path: &[u8], mode: Option<u32>, inherited: Option<u32>) {
    let first = super::credentials::first();
    if mode.is_none() && inherited.is_none() && thread.process.file_ids() == (first, first) {
        return;
    }
    // It is there whether more is known of it or not.
    let Ok(path) = thread.absolute(libc::AT_FDCWD, path) else { return };
    let Ok(status) = thread.status_at(&path, false) else { return };
    let mut shown = status.mode() & 0o7777;
    // Another user may have put something else there meanwhile, which is not his to change.
    if let Some(mode) = mode.map(|mode| mode & BITS).filter(|mode| *mode != shown & BITS && !thread.is_stranger())
        && let Ok(directory) = thread.root()
        && thread.world.call(Call::SetModeAt { directory, path: &path.written, follow: false, mode }).is_ok()
    {
        // What the host's `umask` took away.
        shown = mode;
    }
    let _ = thread.own(status.identity(), mode, shown, inherited);
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
    match (text.rsplit(|&byte| byte == b'/').next(), flags) {
        (Some(b"."), 1..) => return Err(Errno::INVAL),
        (Some(b".."), 1..) => return Err(Errno::NOTEMPTY),
        (Some(b"." | b".."), 0) => return Err(Errno::ISDIR),
        _ => {}
    }
    let path = match thread.changeable(folder, path)? {
        Way::Path(path) => path,
        Way::Memory(spot) => {
            thread.may(&spot, Permission::FsDelete)?;
            let folder = flags & libc::AT_REMOVEDIR as u64 != 0;
            let watched = thread.watched(&spot.path);
            let node = spot.node.clone();
            thread.world.scratch.remove(&spot, folder, thread.world.now())?;
            if let Some(node) = node.filter(|node| folder || node.state().names == 0) {
                thread.world.forget_owner((super::status::MEMORY_DEVICE, node.number));
            }
            watched.into_iter().for_each(|what| thread.unlinked(&spot.path, what));
            return Ok(0);
        }
    };
    let (watched, known) = (thread.watched(&path.normal), thread.known_at(&path));
    let written = &path.written;
    let removed = thread.root().and_then(|directory| match flags {
        0 => thread.world.call(Call::Unlink { directory, path: written }),
        _ => thread.world.call(Call::RemoveDirectory { directory, path: written }),
    });
    match removed {
        // Where no node is made for the name of a socket, the name is all there is to remove.
        Err(_) if flags == 0 && thread.world.names.unlink(&path) => return Ok(0),
        removed => removed?,
    };
    known.into_iter().for_each(|identity| thread.world.forget_owner(identity));
    watched.into_iter().for_each(|what| thread.unlinked(&path.normal, what));
    Ok(0)
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
    const EXCHANGE: u64 = libc::RENAME_EXCHANGE as u64;
    if flags & !(NO_REPLACE | EXCHANGE) != 0 || flags == NO_REPLACE | EXCHANGE {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let texts = [space.text(from)?, space.text(to)?];
    let last = |text: &Vec<u8>| text.rsplit(|&byte| byte == b'/').next().map(<[u8]>::to_vec).unwrap_or_default();
    let names = texts.each_ref().map(last);
    if names.iter().any(|name| name == b"." || name == b"..") {
        return Err(Errno::BUSY);
    }
    let is_folder = texts.iter().any(|text| text.ends_with(b"/"));
    let (from, to) = match (thread.changeable(from_folder, from)?, thread.changeable(to_folder, to)?) {
        (Way::Path(from), Way::Path(to)) => (from, to),
        (Way::Memory(from), Way::Memory(to)) => {
            thread.may(&from, Permission::FsDelete)?;
            thread.may(&to, Permission::FsCreate)?;
            if is_folder && !from.found()?.is_folder() {
                return Err(Errno::NOTDIR);
            }
            thread.world.judge(&from.path, FileUse::Move(&to.path))?;
            if to.node.is_some() {
                thread.may(&to, Permission::FsDelete)?;
            }
            if flags == EXCHANGE {
                thread.may(&from, Permission::FsCreate)?;
                let folders = from.found()?.is_folder() || to.found()?.is_folder();
                thread.world.judge(&to.path, FileUse::Move(&from.path))?;
                return moving(thread, &[(&from.path, &to.path), (&to.path, &from.path)], folders, || {
                    thread.world.scratch.exchange(&from, &to, thread.world.now())
                });
            }
            let watched = (thread.watched(&from.path), thread.watched(&to.path));
            moving(thread, &[(&from.path, &to.path)], from.found()?.is_folder(), || {
                thread.world.scratch.rename(&from, &to, flags == 0, thread.world.now())
            })?;
            tell_move(thread, (&from.path, &to.path), watched);
            return Ok(0);
        }
        _ => return Err(Errno::XDEV),
    };
    if flags == EXCHANGE {
        // The hal has no such call.
        return Err(Errno::INVAL);
    }
    let root = thread.root()?;
    let watched = (thread.watched(&from.normal), thread.watched(&to.normal));
    let moved = thread.known_at(&from);
    let replaced = thread.known_at(&to).filter(|&replaced| Some(replaced) != moved);
    if flags != 0 && move_to_new(thread, root, &from, &to)? {
        tell_move(thread, (&from.normal, &to.normal), watched);
        return Ok(0);
    }
    let folders = thread.status_at(&from, false).is_ok_and(|status| status.is_folder());
    moving(thread, &[(&from.normal, &to.normal)], folders, || {
        let call = Call::Rename { from_directory: root, from: &from.written, to_directory: root, to: &to.written };
        thread.world.call(call).map(drop)
    })?;
    replaced.into_iter().for_each(|identity| thread.world.forget_owner(identity));
    tell_move(thread, (&from.normal, &to.normal), watched);
    Ok(0)
}

/// Moves something, and of folders who is in them and what is open of them along.
fn moving(thread: &Thread, moves: &[(&[u8], &[u8])], folders: bool, go: impl FnOnce() -> Result<(), Errno>) -> Answer {
    if folders {
        moves::check(&thread.world, moves)?;
    }
    go()?;
    if folders {
        moves::follow(&thread.world, moves);
    }
    Ok(0)
}

/// Moves something to where nothing is: a file gets the new name first, which fails when that is taken. Whether it is
/// done; a folder cannot have two names, and is looked for there only.
fn move_to_new(thread: &Thread, root: ringfence_abi::Handle, from: &Path, to: &Path) -> Result<bool, Errno> {
    if thread.status_at(from, false)?.is_folder() {
        return match thread.status_at(to, false) {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => Ok(false),
        };
    }
    let (from, to) = (&from.written[..], &to.written[..]);
    thread.world.call(Call::Link { from_directory: root, from, follow: false, to_directory: root, to })?;
    thread.world.call(Call::Unlink { directory: root, path: from })?;
    Ok(true)
}

/// What was at one path is at another, instead of what was there.
fn tell_move(thread: &Thread, (from, to): (&[u8], &[u8]), watched: (Option<Watched>, Option<Watched>)) {
    let (Some((moved, is_folder, _)), replaced) = watched else { return };
    if replaced.is_some_and(|(replaced, ..)| replaced == moved) {
        return;
    }
    thread.world.moved(from, to, moved, is_folder);
    if let Some(replaced) = replaced {
        thread.replaced(replaced);
    }
}

/// `link(2)`
pub(super) fn link(thread: &mut Thread, [from, to, ..]: Arguments) -> Answer {
    linkat(thread, [HERE, from, HERE, to, 0, 0])
}

/// `linkat(2)`
pub(super) fn linkat(thread: &mut Thread, [from_folder, from, to_folder, to, flags, _]: Arguments) -> Answer {
    let follow = flags & libc::AT_SYMLINK_FOLLOW as u64 != 0;
    if int(flags) & !(libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    let text = thread.process.space()?.text(from)?;
    let open = match text.is_empty() {
        true if int(flags) & libc::AT_EMPTY_PATH != 0 => Some(thread.process.descriptors().get(int(from_folder))?),
        true => return Err(Errno::NOENT),
        false => owners::opened(thread, &thread.absolute(int(from_folder), &text)?, follow)?,
    };
    if let Some(open) = open {
        return link_open(thread, &open, to_folder, to);
    }
    let from = thread.changeable_path(thread.path(int(from_folder), from)?, follow)?;
    let (from, to) = match (from, thread.addable(to_folder, to)?) {
        (Way::Path(from), Way::Path(to)) => (from, to),
        (Way::Memory(from), Way::Memory(to)) => return link_in_memory(thread, &from, &to),
        _ => return Err(Errno::XDEV),
    };
    let root = thread.root()?;
    let call = Call::Link { from_directory: root, from: &from.written, follow, to_directory: root, to: &to.written };
    thread.world.call(call)?;
    tell_link(thread, &to.normal);
    Ok(0)
}

/// A file in memory that is open gets a name, which it may have been made without: `O_TMPFILE` of `open(2)`.
fn link_open(thread: &Thread, open: &Open, to_folder: u64, to: u64) -> Answer {
    let to = thread.addable(to_folder, to)?;
    let (Kind::Memory(node), Way::Memory(to)) = (&open.kind, to) else { return Err(Errno::XDEV) };
    let names = node.state().names;
    if !open.may_be_named(names) {
        return Err(Errno::NOENT);
    }
    link_in_memory(thread, &Spot::of(open.place(), node.clone()), &to)
}

/// Gives what is at one place another name, under which no more can be done with it.
fn link_in_memory(thread: &Thread, from: &Spot, to: &Spot) -> Answer {
    thread.world.judge(&from.path, FileUse::Look)?;
    thread.may(to, Permission::FsCreate)?;
    let node = from.found()?;
    thread.world.judge(&from.path, FileUse::Move(&to.path))?;
    thread.world.scratch.link(node, to, thread.world.now())?;
    tell_link(thread, &to.path);
    Ok(0)
}

/// Something has one more name.
fn tell_link(thread: &Thread, path: &[u8]) {
    if let Some((identity, ..)) = thread.watched(path) {
        thread.world.happened_to(identity, libc::IN_ATTRIB, false);
    }
    thread.made_at(path, false);
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
    let path = match thread.addable(folder, path)? {
        Way::Path(path) => path,
        Way::Memory(spot) => {
            thread.may(&spot, Permission::FsCreate)?;
            let inherited = thread.inherited(&spot.path);
            thread.world.scratch.make_link(&spot, &target, thread.world.now())?;
            owned(thread, &spot.path, None, inherited);
            thread.made_at(&spot.path, false);
            return Ok(0);
        }
    };
    let call = Call::Symlink { target: &target, directory: thread.root()?, path: &path.written };
    thread.world.call(call)?;
    thread.made_at(&path.normal, false);
    Ok(0)
}

/// `truncate(2)`
pub(super) fn truncate(thread: &mut Thread, [path, size, ..]: Arguments) -> Answer {
    let path = thread.path(libc::AT_FDCWD, path)?;
    i64::try_from(size).map_err(|_| Errno::INVAL)?;
    thread.may_use(&path, true, owners::WRITE)?;
    thread.may_rewrite(&path, true)?;
    if thread.status_at(&path, true)?.is_fifo() {
        return Err(Errno::INVAL);
    }
    let open = thread.open(&path, libc::O_WRONLY as u32, true)?;
    if size > open.size()? {
        thread.may_be_long(size)?;
    }
    open.set_size(size)?;
    open.happened(libc::IN_MODIFY);
    Ok(0)
}

/// `mknod(2)`
pub(super) fn mknod(thread: &mut Thread, [path, mode, device, ..]: Arguments) -> Answer {
    mknodat(thread, [HERE, path, mode, device, 0, 0])
}

/// `mknodat(2)`: files, and in memory named pipes and names of sockets; nobody makes a device.
pub(super) fn mknodat(thread: &mut Thread, [folder, path, mode, ..]: Arguments) -> Answer {
    let mode = mode as u32;
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => {
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
            let path = thread.path(int(folder), path)?;
            thread.may_add(&path)?;
            let open = thread.open_as(&path, flags as u32, mode & 0o7777, false)?;
            thread.made_at(&open.path, false);
            Ok(0)
        }
        kind @ (libc::S_IFIFO | libc::S_IFSOCK) => match thread.addable(folder, path)? {
            Way::Memory(spot) => {
                thread.may(&spot, Permission::FsCreate)?;
                let mask = lock(&thread.process.place()).mask;
                let inherited = thread.inherited(&spot.path);
                let mode = thread.mode_of_new(mode & 0o7777 & !mask, inherited);
                let (scratch, now) = (&thread.world.scratch, thread.world.now());
                match kind {
                    libc::S_IFIFO => scratch.make_fifo(&spot, mode, now)?,
                    _ => scratch.make_socket(&spot, mode, now).map(drop)?,
                }
                owned(thread, &spot.path, None, inherited);
                thread.made_at(&spot.path, false);
                Ok(0)
            }
            Way::Path(path) => match thread.status_at(&path, false) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => {
                    let above = path.written.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                    thread.status_at(&thread.absolute(libc::AT_FDCWD, &path.written[..above.max(1)])?, true)?;
                    Err(Errno::PERM)
                }
                Err(errno) => Err(errno),
            },
        },
        libc::S_IFCHR | libc::S_IFBLK | libc::S_IFDIR => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}

/// `getcwd(2)`
pub(super) fn getcwd(thread: &mut Thread, [at, length, ..]: Arguments) -> Answer {
    let mut folder = lock(&thread.process.place()).folder.clone();
    if thread.world.scratch.has(&folder) {
        // It may have been removed.
        thread.status_at(&thread.absolute(libc::AT_FDCWD, &folder)?, true)?;
    }
    folder.push(0);
    if (folder.len() as u64) > length {
        return Err(Errno::RANGE);
    }
    thread.process.space()?.write(at, &folder)?;
    Ok(folder.len() as u64)
}

/// `chdir(2)`
pub(super) fn chdir(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    let text = thread.process.space()?.text(path)?;
    let path = if text.is_empty() { Err(Errno::NOENT) } else { thread.resolve(libc::AT_FDCWD, &text, 0, true) }?;
    thread.may_pass(&path)?;
    let open = thread.open(&path, (libc::O_DIRECTORY | libc::O_PATH) as u32, true)?;
    thread.may_use(&path, true, owners::SEARCH)?;
    lock(&thread.process.place()).folder = open.place();
    Ok(0)
}

/// `fchdir(2)`
pub(super) fn fchdir(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().get(int(number))?;
    match open.kind {
        Kind::Folder(..) | Kind::SystemFolder(_) | Kind::Listing(_) | Kind::MemoryFolder(_) => {
            thread.may_search(&open)?;
            lock(&thread.process.place()).folder = open.place();
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
