//! Folders and files in memory, as programs have them: `tmpfs(5)`, `memfd_create(2)`. What they may do
//! there the scoped hal judges, with the rules for files.

use std::sync::Arc;

use ringfence_abi::{Call, Clock, Reply, Timestamp};
use ringfence_isolation::{Exit, FileUse, Limit, LimitKind};
use ringfence_manifest::Permission;
use rustix::io::Errno;

use super::open::{Kind, Open};
use super::opening::Path;
use super::process::lock;
use super::thread::Thread;
use super::world::World;
use super::{Answer, Arguments};
use crate::memory::Segment;
use crate::scratch::{Body, Led, Node, Spot};

/// Whose a path is to serve.
pub(super) enum Way {
    /// Something in memory.
    Memory(Spot),
    /// Somebody else's.
    Path(Path),
}

impl World {
    /// The time of day.
    pub(super) fn now(&self) -> Timestamp {
        match self.host.call(Call::Now { clock: Clock::Wall }).now() {
            Ok(Reply::Time(time)) => time,
            _ => 0,
        }
    }

    /// Whether this is allowed at a path in memory.
    pub(super) fn judge(&self, path: &[u8], wanted: FileUse<'_>) -> Result<(), Errno> {
        self.host.judge(path, wanted).map_err(|code| self.failed(code))
    }

    /// Whether a file may be so long; when not, everything ends.
    fn may_be_long(&self, size: u64) -> Result<(), Errno> {
        match self.spec.limits.file_size {
            Some(allowed) if size > allowed.0 => {
                let limit = Limit { limit: LimitKind::FileSize, allowed: allowed.0, used: size };
                self.control.stop(Exit::Exceeded(limit));
                Err(Errno::FBIG)
            }
            _ => Ok(()),
        }
    }
}

impl Thread {
    /// Follows a path into memory, and through it.
    pub(super) fn lead(&self, path: &Path, follow: bool) -> Result<Way, Errno> {
        let scratch = &self.world.scratch;
        if !scratch.has(&path.normal) {
            return Ok(Way::Path(path.clone()));
        }
        match scratch.find(&path.normal, follow) {
            Ok(Led::Here(spot))
                if path.written.ends_with(b"/") && spot.node.as_ref().is_some_and(|node| !node.is_folder()) =>
            {
                Err(Errno::NOTDIR)
            }
            Ok(Led::Here(spot)) => Ok(Way::Memory(spot)),
            Ok(Led::Away(path)) => Ok(Way::Path(Path { written: path.clone(), normal: path })),
            Err(errno) => {
                // That a folder is missing is told to those who may know.
                let judged = self.world.judge(&path.normal, FileUse::Look);
                Err(judged.map_err(|denied| self.unseen(path, denied)).err().unwrap_or(errno))
            }
        }
    }

    /// Whether what is at a path in memory may be opened to be read and written.
    pub(super) fn may_open(&self, path: &[u8], reads: bool, writes: bool) -> Result<(), Errno> {
        let may = |permission| self.world.judge(path, FileUse::With(permission));
        if reads {
            may(Permission::FsRead)?;
        }
        if writes { may(Permission::FsWrite) } else { Ok(()) }
    }

    /// `open(2)` in memory.
    pub(super) fn open_memory(&self, spot: &Spot, flags: u32, mode: u32) -> Result<Arc<Open>, Errno> {
        let has = |flag: i32| flags & flag as u32 == flag as u32;
        let world = &self.world;
        let (path_only, create) = (has(libc::O_PATH), has(libc::O_CREAT) && !has(libc::O_PATH));
        let access = flags & libc::O_ACCMODE as u32;
        let reads = access != libc::O_WRONLY as u32 && !path_only;
        let writes = (access != libc::O_RDONLY as u32 || has(libc::O_TRUNC)) && !path_only;
        let may = |permission| world.judge(&spot.path, FileUse::With(permission));
        let content = || self.may_open(&spot.path, reads, writes);
        let mode = mode & !lock(&self.process.place()).mask;
        if has(libc::O_TMPFILE) {
            may(Permission::FsCreate)?;
            content()?;
            drop(spot.found()?.names()?);
            let node = world.scratch.nameless(mode, world.now())?;
            let path = [&spot.path, format!("/#{}", node.number).as_bytes()].concat();
            return Ok(Open::new(world, Kind::Memory(node), &path, flags));
        }
        if create && has(libc::O_EXCL) {
            may(Permission::FsCreate)?;
        }
        let node = match &spot.node {
            Some(node) if node.is_folder() => {
                world.judge(&spot.path, FileUse::Look)?;
                return match () {
                    () if create && has(libc::O_EXCL) => Err(Errno::EXIST),
                    () if writes || create => Err(Errno::ISDIR),
                    () => Ok(Open::new(world, Kind::MemoryFolder(node.clone()), &spot.path, flags)),
                };
            }
            Some(node) => {
                if path_only { world.judge(&spot.path, FileUse::Look) } else { content() }?;
                match &node.body {
                    _ if create && has(libc::O_EXCL) => return Err(Errno::EXIST),
                    _ if has(libc::O_DIRECTORY) => return Err(Errno::NOTDIR),
                    // The link itself, to look at.
                    Body::Link(_) if path_only && has(libc::O_NOFOLLOW) => {}
                    Body::Link(_) => return Err(Errno::LOOP),
                    Body::Fifo if !path_only => {
                        let pipe = world.fifos.of(world, node.number);
                        return super::pipe::open_fifo(self, &pipe, &spot.path, flags);
                    }
                    Body::Socket if !path_only => return Err(Errno::NXIO),
                    Body::File(_) if has(libc::O_TRUNC) && !path_only => set_size(world, node, 0)?,
                    _ => {}
                }
                node.clone()
            }
            None => {
                if create {
                    may(Permission::FsCreate)?;
                }
                content()?;
                match create {
                    true if has(libc::O_DIRECTORY) => return Err(Errno::INVAL),
                    true => {
                        let inherited = self.inherited(&spot.path);
                        let mode = self.mode_of_new(mode, inherited);
                        let node = world.scratch.create(spot, mode, world.now())?;
                        self.own((super::status::MEMORY_DEVICE, node.number), None, 0, inherited)?;
                        node
                    }
                    false => return Err(Errno::NOENT),
                }
            }
        };
        Ok(Open::new(world, Kind::Memory(node), &spot.path, flags))
    }
}

/// Refused by a seal: `F_ADD_SEALS` of `fcntl(2)`.
fn check_seals(seals: u32, segment: &Segment, end: Option<u64>, size: Option<u64>) -> Result<(), Errno> {
    let seals = seals as i32;
    let grows = end.or(size).is_some_and(|end| end > segment.size());
    let shrinks = size.is_some_and(|size| size < segment.size());
    let written = end.is_some() && seals & (libc::F_SEAL_WRITE | libc::F_SEAL_FUTURE_WRITE) != 0;
    let is_sealed =
        written || (grows && seals & libc::F_SEAL_GROW != 0) || (shrinks && seals & libc::F_SEAL_SHRINK != 0);
    if is_sealed { Err(Errno::PERM) } else { Ok(()) }
}

/// `pread(2)`
pub(super) fn read_at(world: &World, node: &Node, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let count = node.content()?.read_at(offset, into);
    world.control.charge_io(1, count as u64);
    Ok(count)
}

/// `pwrite(2)`
pub(super) fn write_at(world: &World, node: &Node, offset: u64, from: &[u8]) -> Result<usize, Errno> {
    let segment = node.content()?;
    let end = offset.saturating_add(from.len() as u64);
    world.may_be_long(end)?;
    // Until it is done no seal comes.
    let state = node.state();
    check_seals(state.seals, segment, Some(end), None)?;
    let count = segment.write_at(offset, from)?;
    drop(state);
    world.control.charge_io(1, count as u64);
    node.touched(world.now());
    Ok(count)
}

/// `write(2)` with `O_APPEND`: how much, and where it ended.
pub(super) fn append(world: &World, node: &Node, from: &[u8]) -> Result<(usize, u64), Errno> {
    let segment = node.content()?;
    let end = segment.size().saturating_add(from.len() as u64);
    world.may_be_long(end)?;
    let state = node.state();
    check_seals(state.seals, segment, Some(end), None)?;
    let (count, end) = segment.append(from)?;
    drop(state);
    world.control.charge_io(1, count as u64);
    node.touched(world.now());
    Ok((count, end))
}

/// `ftruncate(2)`
pub(super) fn set_size(world: &World, node: &Node, size: u64) -> Result<(), Errno> {
    let segment = node.content()?;
    if size > segment.size() {
        world.may_be_long(size)?;
    }
    let state = node.state();
    check_seals(state.seals, segment, None, Some(size))?;
    segment.set_size(size);
    drop(state);
    node.touched(world.now());
    Ok(())
}

/// `memfd_create(2)`
pub(super) fn memfd_create(thread: &mut Thread, [name, flags, ..]: Arguments) -> Answer {
    const CLOSE_ON_EXEC: u64 = libc::MFD_CLOEXEC as u64;
    const SEALING: u64 = libc::MFD_ALLOW_SEALING as u64;
    /// Whether it can be run, which is nobody's concern here.
    const RUNNABLE: u64 = 0x18;
    if flags & !(CLOSE_ON_EXEC | SEALING | RUNNABLE) != 0 {
        return Err(Errno::INVAL);
    }
    let name = thread.process.space()?.text(name)?;
    if name.len() > 249 {
        return Err(Errno::INVAL);
    }
    let world = &thread.world;
    let node = world.scratch.nameless(0o777, world.now())?;
    if flags & SEALING == 0 {
        node.state().seals = libc::F_SEAL_SEAL as u32;
    }
    node.state().names = 0;
    let path = [&b"/memfd:"[..], &name, b" (deleted)"].concat();
    let open = Open::new(world, Kind::Memory(node), &path, libc::O_RDWR as u32);
    thread.process.descriptors().add(open, 0, flags & CLOSE_ON_EXEC != 0)
}

/// `F_ADD_SEALS` of `fcntl(2)`
pub(super) fn add_seals(open: &Open, seals: u64) -> Answer {
    let Kind::Memory(node) = &open.kind else { return Err(Errno::INVAL) };
    const KNOWN: u64 = 0x1f;
    let mut state = node.state();
    if seals & !KNOWN != 0 {
        return Err(Errno::INVAL);
    }
    if state.seals & libc::F_SEAL_SEAL as u32 != 0 || open.flags() & libc::O_ACCMODE as u32 == libc::O_RDONLY as u32 {
        return Err(Errno::PERM);
    }
    // Whoever has mapped it might still write.
    if seals & libc::F_SEAL_WRITE as u64 != 0
        && let Body::File(content) = &node.body
        && Arc::strong_count(content) > 1
    {
        return Err(Errno::BUSY);
    }
    state.seals |= seals as u32;
    Ok(0)
}

/// `F_GET_SEALS` of `fcntl(2)`
pub(super) fn seals(open: &Open) -> Answer {
    match &open.kind {
        Kind::Memory(node) => Ok(node.state().seals.into()),
        _ => Err(Errno::INVAL),
    }
}
