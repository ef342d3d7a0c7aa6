//! What was open, opened again: judged by the new instance's spec, as the program would be that opens it.

use std::sync::Arc;

use ringfence_abi::{Call, Handle, OpenHow, Reply};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::ReviveError::{self, Invalid};
use super::{Reviving, at, shown};
use crate::personality::counter::Counter;
use crate::personality::epoll::Set;
use crate::personality::files::{self, Descriptors};
use crate::personality::locks::Owner;
use crate::personality::open::{Kind, Open};
use crate::personality::process::lock;
use crate::personality::signalfd::Signals;
use crate::personality::special::Device;
use crate::personality::timer::Timer;
use crate::scratch::Body;
use crate::snapshot::state::{self, Index};
use crate::tree::HostFile;

impl Reviving<'_> {
    pub(super) fn open(&self, captured: &state::Open) -> Result<Arc<Open>, ReviveError> {
        let world = self.world;
        let state::Open { kind, path, flags, owner, position } = captured;
        let failed = |errno| ReviveError::Open { path: shown(path), errno };
        if *position > i64::MAX as u64 || (path.starts_with(b"/") && path.contains(&0)) {
            return Err(Invalid("open files"));
        }
        let kind = match kind {
            state::Kind::Stream(number) => {
                let streams = [Handle::STDIN, Handle::STDOUT, Handle::STDERR];
                Kind::Stream(*streams.get(usize::from(*number)).ok_or(Invalid("streams"))?)
            }
            state::Kind::File => Kind::File(self.of_hal(path, *flags, false).map_err(failed)?),
            state::Kind::Folder => {
                let handle = match (self.of_hal(path, *flags, true), world.root) {
                    // The root is there also when nothing in it is granted.
                    (Err(_), Some(root)) if path == b"/" => root,
                    (handle, _) => handle.map_err(failed)?,
                };
                let names = if path == b"/" { world.names_at_the_top() } else { Vec::new() };
                Kind::Folder(handle, names)
            }
            state::Kind::System => Kind::System(Arc::new(self.of_system(path).map_err(failed)?)),
            state::Kind::SystemFolder => {
                let looked = self.look(path).map_err(failed)?;
                match FileType::from_raw_mode(looked.stat.st_mode) {
                    FileType::Directory => Kind::SystemFolder(world.system.read(&looked).map_err(failed)?),
                    _ => return Err(failed(Errno::NOTDIR)),
                }
            }
            state::Kind::Listing(names) => Kind::listing(names.clone()),
            state::Kind::Text(text) => Kind::Text(text.clone()),
            state::Kind::Device(number) => Kind::Device(Device::of(*number).ok_or(Invalid("devices"))?),
            state::Kind::Memory(node) => {
                let node = at(&self.nodes, *node, "files in memory")?.clone();
                match &node.body {
                    Body::Folder(_) => Kind::MemoryFolder(node),
                    // What is open of a named pipe or a socket is its path alone: what is in it is a pipe.
                    Body::File(_) | Body::Fifo | Body::Socket => Kind::Memory(node),
                    Body::Link(_) => return Err(Invalid("files in memory")),
                }
            }
            state::Kind::Reader(pipe) => Kind::Reader(at(&self.pipes, *pipe, "pipes")?.clone()),
            state::Kind::Writer(pipe) => Kind::Writer(at(&self.pipes, *pipe, "pipes")?.clone()),
            state::Kind::Both(pipe) => Kind::Both(at(&self.pipes, *pipe, "pipes")?.clone()),
            state::Kind::Process { id, gone } => Kind::Process(self.process_of(*id, *gone)?),
            state::Kind::Counter { number, by_one } => Kind::Counter(Counter::of(*number, *by_one)),
            state::Kind::Timer { clock, left, interval } => {
                if !matches!(*clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME) {
                    return Err(Invalid("timers"));
                }
                Kind::Timer(Timer::of(*clock, *left, *interval))
            }
            state::Kind::Signals(mask) => Kind::Signals(Signals::of(*mask)),
            state::Kind::Set(_) => Kind::Set(Set::new(world)),
        };
        let open = Open::new(world, kind, path, *flags);
        open.set_owner(*owner);
        *lock(&open.position) = *position;
        Ok(open)
    }

    /// Opens what the hal has at a path, as it was open; nothing is made and nothing is emptied.
    fn of_hal(&self, path: &[u8], flags: u32, directory: bool) -> Result<Handle, Errno> {
        let access = flags & libc::O_ACCMODE as u32;
        let content = flags & libc::O_PATH as u32 == 0;
        let how = OpenHow {
            read: access != libc::O_WRONLY as u32 && content,
            write: access != libc::O_RDONLY as u32 && content && !directory,
            create: false,
            exclusive: false,
            truncate: false,
            directory,
            follow: true,
            mode: None,
        };
        let root = self.world.root.ok_or(Errno::NOENT)?;
        match self.world.call(Call::Open { directory: root, path, how })? {
            Reply::Handle(handle) => Ok(handle),
            _ => Err(Errno::IO),
        }
    }

    fn look(&self, path: &[u8]) -> Result<crate::tree::Looked, Errno> {
        let system = &self.world.system;
        if system.has(path) { system.look(path, true) } else { Err(Errno::NOENT) }
    }

    pub(super) fn of_system(&self, path: &[u8]) -> Result<HostFile, Errno> {
        let looked = self.look(path)?;
        match FileType::from_raw_mode(looked.stat.st_mode) {
            FileType::RegularFile => Ok(HostFile::new(self.world.system.read(&looked)?, path)),
            _ => Err(Errno::ISDIR),
        }
    }

    pub(super) fn sets(&self) -> Result<(), ReviveError> {
        for (captured, open) in self.state.opens.iter().zip(&self.opens) {
            let (state::Kind::Set(wishes), Kind::Set(set)) = (&captured.kind, &open.kind) else { continue };
            for wish in wishes {
                let member = at(&self.opens, wish.open, "sets of descriptors")?;
                if !member.is_waited_for() {
                    return Err(Invalid("sets of descriptors"));
                }
                set.revive(self.world, (wish.number, member), (wish.events, wish.data), wish.is_spent)
                    .map_err(|_| Invalid("sets of descriptors"))?;
            }
        }
        Ok(())
    }

    pub(super) fn table(&self, captured: &state::Table) -> Result<Descriptors, ReviveError> {
        if captured.slots.len() > files::MOST {
            return Err(Invalid("descriptors"));
        }
        let slot = |slot: &Option<state::Descriptor>| match slot {
            Some(slot) => Ok(Some((at(&self.opens, slot.open, "descriptors")?.clone(), slot.close_on_exec))),
            None => Ok(None),
        };
        let table = Descriptors::of(captured.slots.iter().map(slot).collect::<Result<_, _>>()?);
        table.set_most(captured.most);
        Ok(table)
    }

    pub(super) fn locks(&self) -> Result<(), ReviveError> {
        for captured in &self.state.locks {
            let file = at(&self.opens, captured.file, "locks")?;
            let address = |open: Index| Ok(at(&self.opens, open, "locks")?.address());
            let owner = match captured.owner {
                state::Owner::Process(id) => Owner::Process(id),
                state::Owner::Open(open) => Owner::Open(address(open)?),
                state::Owner::Whole(open) => Owner::Whole(address(open)?),
            };
            let failed = |_| ReviveError::Locked(shown(&file.path));
            let identity = file.identity().map_err(failed)?;
            let range = (captured.start, captured.end);
            self.world.locks.revive(identity, owner, range, captured.exclusive).map_err(failed)?;
        }
        Ok(())
    }
}
