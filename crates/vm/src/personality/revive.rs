//! From a captured state to an instance whose threads go on where they rested.
//!
//! A state may come from a file, and a file from anybody: every reference, number and address is looked at
//! before it is used, so that at worst a program goes on that could as well have been written. What it had
//! open is opened by the new instance's host, which judges it by the new instance's spec.

mod check;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvm_bindings::kvm_xsave;
use ringfence_abi::{Call, Clock, Handle, OpenHow, Reply};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::capture::{file_is, open_is};
use super::counter::Counter;
use super::credentials::Credentials;
use super::epoll::Set;
use super::files::{self, Descriptors};
use super::limits::Limits;
use super::locks::Owner;
use super::open::{Charged, Kind, Mapped, Open};
use super::pipe::Pipe;
use super::process::{Image as Program, Parts, Place, Process, lock};
use super::rseq::Registration;
use super::signalfd::Signals;
use super::signals::{Actions, Alternate, never_blocked};
use super::special::Device;
use super::starting::{Begin, First, More, member};
use super::status::MEMORY_DEVICE;
use super::timer::Timer;
use super::world::{FIRST, World};
use crate::kvm::{PAGE, Registers, USER_END};
use crate::memory::{Backing, Content, Placement, Protection, Reach, Segment, Space};
use crate::scratch::{Body, Node};
use crate::snapshot::state::{self, FileIs, Index};
use crate::snapshot::{Image, Store};
use crate::tree::HostFile;
use crate::vdso;

/// Numbers of processes and threads are positive as `pid_t`, with room for more.
const LAST_ID: u32 = 1 << 30;
/// How long anything has lasted at most: nobody waits for a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
/// The lowest address of anything: `vm.mmap_min_addr`.
const LOWEST: u64 = 0x1_0000;
/// How many pages are copied at once: what is read from a file is held twice for that long.
const MOST_AT_ONCE: usize = 512;
/// How much memory there can be when no limit says so.
const MOST_PAGES: u64 = (16 << 30) / PAGE;

/// Why a captured state cannot be gone on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReviveError {
    /// It makes no sense.
    #[error("it is damaged: its {0} make no sense")]
    Invalid(&'static str),
    /// Something that was open cannot be had again.
    #[error("the program had {path} open, and it cannot be opened again: {errno}")]
    Open {
        /// What.
        path: String,
        /// Why.
        errno: Errno,
    },
    /// A file behind its memory is another one now.
    #[error("{0} has changed since, and the program is running from what it was: capture it again")]
    Changed(String),
    /// A thread may be in the midst of the code of its page of time, which is another one here.
    #[error("it was captured by a ringfence with another page of time: capture it again")]
    Time,
    /// Its memory does not fit.
    #[error("it needs {needed} bytes of memory, and the limit is {allowed}")]
    Memory {
        /// How much it needs at least.
        needed: u64,
        /// The limit.
        allowed: u64,
    },
    /// Its threads do not fit.
    #[error("it has {needed} processes and threads, and the limit is {allowed}")]
    Threads {
        /// How many.
        needed: u64,
        /// The limit.
        allowed: u64,
    },
    /// What it has in memory as files does not fit.
    #[error("its files in memory do not fit into the limits")]
    Disk,
    /// Its memory did not fit after all.
    #[error("it does not fit into its memory limit")]
    NoMemory,
    /// A folder in memory is a mount of the manifest's now.
    #[error("it has files in {0}, where the manifest mounts something now")]
    Mounted(String),
    /// A lock cannot be had.
    #[error("a lock that it held on {0} cannot be had again")]
    Locked(String),
}

use ReviveError::Invalid;

fn shown(path: &[u8]) -> String {
    ringfence_manifest::visible(&String::from_utf8_lossy(path))
}

/// Makes what was captured in a new world; its threads have not run yet.
pub(crate) fn revive(world: &Arc<World>, image: &Image) -> Result<First, ReviveError> {
    check::check(world, image)?;
    let captured = world.call(Call::Now { clock: Clock::Monotonic });
    if let Ok(Reply::Time(now)) = captured {
        // So far that it can go on for as long again.
        let ahead = image.state.monotonic.clamp(0, (i64::MAX / 2).into()).saturating_sub(now).max(0);
        let _ = world.ahead.set(ahead);
    }
    let generation = image.state.time.map_or(0, |(generation, _)| generation);
    match (&world.vdso, image.state.time) {
        (_, Some((_, code))) if code != vdso::fingerprint() => return Err(ReviveError::Time),
        (Some(vdso), _) => vdso.go_on(&*world.host, generation, i64::try_from(world.ahead()).unwrap_or(0)),
        (None, Some(_)) => {
            let pages = vdso::without_clock(&world.machine).ok_or(ReviveError::NoMemory)?;
            let _ = world.silent_time.set((pages, generation));
        }
        (None, None) => {}
    }
    let _ = world.before.set(image.state.uptime.min(LONGEST));
    Reviving::new(world, image).everything()
}

/// What was made so far, in the order of the lists.
struct Reviving<'a> {
    world: &'a Arc<World>,
    state: &'a state::State,
    store: &'a Store,
    segments: Vec<Option<Arc<Segment>>>,
    nodes: Vec<Arc<Node>>,
    pipes: Vec<Arc<Pipe>>,
    opens: Vec<Arc<Open>>,
    contents: Vec<Arc<dyn Content>>,
    spaces: Vec<Arc<Space>>,
    tables: Vec<Arc<Descriptors>>,
    actions: Vec<Arc<Mutex<Actions>>>,
    places: Vec<Arc<Mutex<Place>>>,
}

fn at<'l, T>(list: &'l [T], index: Index, what: &'static str) -> Result<&'l T, ReviveError> {
    list.get(index as usize).ok_or(Invalid(what))
}

impl<'a> Reviving<'a> {
    fn new(world: &'a Arc<World>, image: &'a Image) -> Self {
        Reviving {
            world,
            state: &image.state,
            store: &image.store,
            segments: Vec::new(),
            nodes: Vec::new(),
            pipes: Vec::new(),
            opens: Vec::new(),
            contents: Vec::new(),
            spaces: Vec::new(),
            tables: Vec::new(),
            actions: Vec::new(),
            places: Vec::new(),
        }
    }

    fn everything(mut self) -> Result<First, ReviveError> {
        let (world, state) = (self.world, self.state);
        self.shells()?;
        for segment in &state.segments {
            let made = self.segment(segment)?;
            self.segments.push(made);
        }
        self.folders_in_memory()?;
        let fifos = state.nodes.iter().filter(|node| matches!(node.body, state::Body::Fifo));
        let fifos: BTreeSet<u64> = fifos.map(|node| node.number).collect();
        for pipe in &state.pipes {
            let made = Pipe::of(world, &pipe.content, pipe.room).ok_or(Invalid("pipes"))?;
            if let Some(node) = pipe.node.filter(|node| fifos.contains(node)) {
                world.fifos.revive(node, &made);
            }
            self.pipes.push(made);
            world.may_keep(0).map_err(|_| ReviveError::NoMemory)?;
        }
        for open in &state.opens {
            let made = self.open(open)?;
            self.opens.push(made);
        }
        self.sets()?;
        self.segments_of_files()?;
        for content in &state.contents {
            let made = self.content(content)?;
            self.contents.push(made);
        }
        for space in &state.spaces {
            let made = self.space(space)?;
            self.spaces.push(Arc::new(made));
        }
        for table in &state.descriptors {
            let made = self.table(table)?;
            self.tables.push(Arc::new(made));
        }
        for words in &state.actions {
            self.actions.push(Arc::new(Mutex::new(Actions::of(words).ok_or(Invalid("signal handlers"))?)));
        }
        for place in &state.places {
            if !place.folder.starts_with(b"/") {
                return Err(Invalid("working directories"));
            }
            self.places.push(Arc::new(Mutex::new(Place { folder: place.folder.clone(), mask: place.mask & 0o777 })));
        }
        self.locks()?;
        for &(number, user, group) in &self.state.owners {
            let owner = super::owners::Owner { user, group, mode: None };
            self.world.set_owner((MEMORY_DEVICE, number), owner).map_err(|_| ReviveError::NoMemory)?;
        }
        let first = self.processes()?;
        if !world.machine.is_imprinted() {
            self.imprint();
        }
        Ok(first)
    }

    /// The machine is to be used again: what there is now is what it will be made again.
    fn imprint(&self) {
        let world = self.world;
        match (&self.spaces[..], &self.state.spaces[..]) {
            ([space], [captured]) => {
                let time = world.vdso.as_ref().map(vdso::Vdso::frames).unwrap_or_default();
                world.machine.imprint(space.imprint(&captured.pages, time));
            }
            // Several are made anew each time.
            _ => world.machine.lose(),
        }
    }

    fn page(&self, place: Index) -> Result<Cow<'a, [u8]>, ReviveError> {
        self.store.read(place, 1).ok_or(Invalid("pages"))
    }

    fn segment(&self, captured: &state::Segment) -> Result<Option<Arc<Segment>>, ReviveError> {
        let segment = match (captured.source, captured.size) {
            (state::Source::Anonymous, None) => Segment::new(self.world.machine.clone()),
            (state::Source::Memory, Some(size)) if size <= i64::MAX as u64 => self.world.scratch.pages(size),
            // Those come when the files are open.
            (state::Source::Time, None) if captured.pages.is_empty() && self.state.time.is_some() => {
                let silent = self.world.silent_time.get().map(|(pages, _)| pages);
                let pages = self.world.vdso.as_ref().map(vdso::Vdso::pages).or(silent);
                return pages.cloned().map(Some).ok_or(Invalid("pages of time"));
            }
            (state::Source::File { .. }, _) if captured.pages.is_empty() => return Ok(None),
            _ => return Err(Invalid("shared pages")),
        };
        for &(index, place) in &captured.pages {
            let beyond = captured.size.is_some_and(|size| index >= size.div_ceil(PAGE));
            if index >= i64::MAX as u64 / PAGE || beyond {
                return Err(Invalid("shared pages"));
            }
            segment.revive(index, &self.page(place)?).map_err(|errno| match errno {
                Errno::NOSPC => ReviveError::Disk,
                _ => ReviveError::NoMemory,
            })?;
            self.world.may_keep(0).map_err(|_| ReviveError::NoMemory)?;
        }
        Ok(Some(segment))
    }

    fn folders_in_memory(&mut self) -> Result<(), ReviveError> {
        let (world, state) = (self.world, self.state);
        let tops: Vec<(&[u8], Arc<Node>)> = world.scratch.tops().map(|(path, node)| (path, node.clone())).collect();
        let captured: BTreeMap<Index, &[u8]> = state.tops.iter().map(|(path, top)| (*top, &path[..])).collect();
        for (index, node) in (0..).zip(&state.nodes) {
            let top = captured.get(&index);
            let here = top.and_then(|path| tops.iter().find(|(top, _)| top == path));
            let is_folder = matches!(node.body, state::Body::Folder(..));
            if (top.is_some() && !is_folder) || node.number >= i64::MAX as u64 {
                return Err(Invalid("files in memory"));
            }
            let made = match (&node.body, here) {
                (_, Some((_, there))) => there.clone(),
                (state::Body::File(segment), None) => {
                    let source = at(&state.segments, *segment, "files in memory")?.source;
                    let segment = at(&self.segments, *segment, "files in memory")?.clone();
                    let segment = segment.filter(|_| source == state::Source::Memory);
                    self.thing(node, Body::File(segment.ok_or(Invalid("files in memory"))?))?
                }
                (state::Body::Link(target), None) if target.len() < 4096 => {
                    self.thing(node, Body::Link(target.clone()))?
                }
                (state::Body::Fifo, None) => self.thing(node, Body::Fifo)?,
                (state::Body::Folder(names, _), None) => match top {
                    Some(path) if !names.is_empty() => return Err(ReviveError::Mounted(shown(path))),
                    _ => self.thing(node, Body::folder())?,
                },
                _ => return Err(Invalid("files in memory")),
            };
            self.nodes.push(made);
        }
        self.names()
    }

    fn thing(&self, node: &state::Node, body: Body) -> Result<Arc<Node>, ReviveError> {
        let made = self.world.scratch.revive(node.number, body).map_err(|_| ReviveError::Disk)?;
        let mut known = made.state();
        (known.mode, known.times, known.seals) = (node.mode & 0o7777, node.times, node.seals);
        drop(known);
        Ok(made)
    }

    fn names(&self) -> Result<(), ReviveError> {
        let mut named = BTreeSet::new();
        for (index, node) in self.state.nodes.iter().enumerate() {
            let state::Body::Folder(names, is_removed) = &node.body else { continue };
            for (name, child) in names {
                let captured = at(&self.state.nodes, *child, "names")?;
                let is_folder = matches!(captured.body, state::Body::Folder(..));
                let is_first = named.insert(*child);
                // Folders are in one place, and never in themselves.
                let wrong = is_folder && (*child as usize <= index || !is_first);
                let is_name = (1..=255).contains(&name.len()) && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
                if wrong || !is_name || name == b"." || name == b".." || *is_removed {
                    return Err(Invalid("names"));
                }
                let (folder, child) = (&self.nodes[index], &self.nodes[*child as usize]);
                self.world.scratch.name(folder, name, child, is_first).map_err(|_| ReviveError::Disk)?;
            }
            if *is_removed && let Ok(mut names) = self.nodes[index].names() {
                names.set_detached();
            }
        }
        named.extend(self.state.tops.iter().map(|&(_, top)| top));
        for (index, node) in self.nodes.iter().enumerate() {
            // Open, and without a name; those at the top have theirs.
            if !named.contains(&(index as Index)) {
                node.state().names = self.state.nodes[index].names.min(1);
            }
        }
        Ok(())
    }

    fn open(&self, captured: &state::Open) -> Result<Arc<Open>, ReviveError> {
        let world = self.world;
        let state::Open { kind, path, flags, position } = captured;
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
            state::Kind::Listing(names) => Kind::Listing(names.clone()),
            state::Kind::Text(text) => Kind::Text(text.clone()),
            state::Kind::Device(number) => Kind::Device(Device::of(*number).ok_or(Invalid("devices"))?),
            state::Kind::Memory(node) => {
                let node = at(&self.nodes, *node, "files in memory")?.clone();
                match &node.body {
                    Body::Folder(_) => Kind::MemoryFolder(node),
                    // What is open of a named pipe is its path alone: what is in it is a pipe.
                    Body::File(_) | Body::Fifo => Kind::Memory(node),
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

    fn of_system(&self, path: &[u8]) -> Result<HostFile, Errno> {
        let looked = self.look(path)?;
        match FileType::from_raw_mode(looked.stat.st_mode) {
            FileType::RegularFile => Ok(HostFile::new(self.world.system.read(&looked)?, path)),
            _ => Err(Errno::ISDIR),
        }
    }

    fn sets(&self) -> Result<(), ReviveError> {
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

    fn segments_of_files(&mut self) -> Result<(), ReviveError> {
        for (index, captured) in self.state.segments.iter().enumerate() {
            let state::Source::File { reader, writer } = captured.source else { continue };
            for open in [Some(reader), writer].into_iter().flatten() {
                let open = at(&self.opens, open, "shared files")?;
                if !matches!(open.kind, Kind::File(_)) {
                    return Err(Invalid("shared files"));
                }
                let failed = |errno| ReviveError::Open { path: shown(&open.path), errno };
                self.segments[index] = Some(self.world.shared.map(self.world, open).map_err(failed)?);
            }
        }
        Ok(())
    }

    fn content(&self, captured: &state::Content) -> Result<Arc<dyn Content>, ReviveError> {
        match captured {
            state::Content::System(path, was) => {
                let failed = |errno| ReviveError::Open { path: shown(path), errno };
                let file = self.of_system(path).map_err(failed)?;
                same(path, was, file_is(&file, Some(was)).map_err(failed)?)?;
                Ok(Arc::new(Charged(self.world.clone(), Arc::new(file))))
            }
            state::Content::Open(open, was) => {
                let open = at(&self.opens, *open, "mapped files")?;
                let failed = |errno| ReviveError::Open { path: shown(&open.path), errno };
                match (&open.kind, was) {
                    (Kind::File(_), Some(was)) => {
                        same(&open.path, was, open_is(open, Some(was)).map_err(failed)?)?;
                    }
                    (Kind::Text(_) | Kind::Memory(_), None) => {}
                    _ => return Err(Invalid("mapped files")),
                }
                Ok(Arc::new(Mapped(open.clone())))
            }
        }
    }

    fn space(&self, captured: &state::Space) -> Result<Space, ReviveError> {
        let world = self.world;
        let again = world.machine.take_space(world.vdso.is_some());
        let is_there = again.is_some();
        let space = match again {
            Some(again) => Space::again(world.machine.clone(), world.ledger(), again),
            None => Space::new(world.machine.clone(), world.ledger()).map_err(|_| ReviveError::NoMemory)?,
        };
        let wrong = Invalid("areas of memory");
        for area in &captured.areas {
            let length = area.end.checked_sub(area.start).filter(|length| length.is_multiple_of(PAGE));
            let length = length.ok_or(wrong.clone())?;
            let protection = Protection::from_bits(area.protection).ok_or(wrong.clone())?;
            let is_offset = |offset: u64| {
                offset.is_multiple_of(PAGE) && offset.checked_add(length).is_some_and(|end| end <= i64::MAX as u64)
            };
            let backing = match area.backing {
                state::Backing::Anonymous => Backing::Anonymous,
                state::Backing::File(content, offset) if is_offset(offset) => {
                    Backing::File(at(&self.contents, content, "mapped files")?.clone(), offset)
                }
                state::Backing::Shared(segment, offset, all) if is_offset(offset) => {
                    let is_time = at(&self.state.segments, segment, "shared pages")?.source == state::Source::Time;
                    let segment = at(&self.segments, segment, "shared pages")?.clone();
                    let reach = if all { Reach::All } else { Reach::ReadOnly };
                    if (!all && protection.contains(Protection::WRITE)) || (all && is_time) {
                        return Err(wrong);
                    }
                    Backing::Shared(segment.ok_or(Invalid("shared pages"))?, offset, reach)
                }
                _ => return Err(wrong),
            };
            let made = space.map(Placement::Free(area.start), length, protection, backing);
            if made != Ok(area.start) {
                return Err(wrong);
            }
        }
        let (start, end) = captured.heap;
        if !(LOWEST..USER_END / 2).contains(&start) || !(start..USER_END / 2).contains(&end) {
            return Err(Invalid("heaps"));
        }
        space.set_heap(captured.heap);
        if is_there {
            world.may_keep(0).map_err(|_| ReviveError::NoMemory)?;
            return Ok(space);
        }
        for &(first, count) in &captured.present {
            let range = first.checked_mul(PAGE).zip(count.checked_mul(PAGE));
            let (start, length) = range.ok_or(Invalid("pages"))?;
            if !space.covers(start, length) {
                return Err(Invalid("pages"));
            }
            space.populate(start, length);
            world.may_keep(0).map_err(|_| ReviveError::NoMemory)?;
        }
        self.fill(&space, &captured.pages)?;
        let is_time = |area: &&state::Area| match area.backing {
            state::Backing::Shared(segment, ..) => {
                self.state.segments.get(segment as usize).is_some_and(|made| made.source == state::Source::Time)
            }
            _ => false,
        };
        for area in captured.areas.iter().filter(is_time) {
            space.populate(area.start, area.end - area.start);
        }
        space.settle();
        Ok(space)
    }

    /// Copies pages into memory, those in a row at once.
    fn fill(&self, space: &Space, pages: &[(u64, Index)]) -> Result<(), ReviveError> {
        let follows = |one: &(u64, Index), other: &(u64, Index)| {
            one.0.checked_add(1) == Some(other.0) && one.1.checked_add(1) == Some(other.1)
        };
        for run in pages.chunk_by(follows).flat_map(|run| run.chunks(MOST_AT_ONCE)) {
            let (number, place) = run[0];
            let content = self.store.read(place, run.len()).ok_or(Invalid("pages"))?;
            let start = number.checked_mul(PAGE).ok_or(Invalid("pages"))?;
            if !space.covers(start, content.len() as u64) {
                return Err(Invalid("pages"));
            }
            space.install(start, &content).map_err(|_| ReviveError::NoMemory)?;
        }
        Ok(())
    }

    fn table(&self, captured: &state::Table) -> Result<Descriptors, ReviveError> {
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

    fn locks(&self) -> Result<(), ReviveError> {
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

    fn processes(&self) -> Result<First, ReviveError> {
        let world = self.world;
        let (mut main, mut others, mut alarms) = (None, Vec::new(), Vec::new());
        for captured in &self.state.processes {
            let process = self.process(captured)?;
            for thread in &captured.threads {
                let begin = begin(world, &process, thread)?;
                if captured.id == FIRST && main.is_none() { main = Some(begin) } else { others.push(begin) }
            }
            alarms.push((process.clone(), captured.alarms.clone()));
        }
        let main = main.ok_or(Invalid("processes"))?;
        for begin in others.iter().chain([&main]) {
            lock(&begin.process.threads).insert(begin.member.id, begin.member.clone());
        }
        world.set_next_number(self.state.next);
        Ok(First::of(main, others, alarms))
    }

    /// The processes without anything of theirs: what is open may refer to them. They are let go of with the world.
    fn shells(&self) -> Result<(), ReviveError> {
        for captured in &self.state.processes {
            let limits = Limits::revived(captured.limits).ok_or(Invalid("limits"))?;
            let known = (-20..=19).contains(&captured.niceness)
                && captured.at_parents_end <= 64
                && captured.dumpable <= 1
                && (0..=64).contains(&captured.last_signal)
                && captured.name.as_ref().is_none_or(|name| name.len() <= 15 && !name.contains(&0))
                && captured.halt.1.flatten().is_none_or(|signal| (1..=64).contains(&signal));
            if !known {
                return Err(Invalid("processes"));
            }
            let parts = Parts {
                id: captured.id,
                parent: captured.parent,
                group: captured.group,
                session: captured.session,
                space: (),
                descriptors: Arc::default(),
                actions: Arc::default(),
                place: Arc::new(Mutex::new(Place { folder: b"/".to_vec(), mask: 0 })),
                image: Arc::new(Program::new(&self.world.machine, captured.path.clone(), captured.arguments.clone())),
                limits,
                niceness: captured.niceness,
            };
            let process = Process::revived(parts, None);
            process.name_it(captured.name.clone());
            process.halt.revive(captured.halt.0, captured.halt.1);
            process.has_executed.store(captured.has_executed, SeqCst);
            process.at_parents_end.store(captured.at_parents_end, SeqCst);
            process.dumpable.store(captured.dumpable, SeqCst);
            process.barriers.store(captured.barriers, SeqCst);
            process.adopts.store(captured.adopts, SeqCst);
            process.last_signal.store(captured.last_signal, SeqCst);
            // Whoever said so cannot take it back.
            process.gains_nothing.store(true, SeqCst);
            let more = &captured.more_groups;
            let credentials = Credentials::of(&self.world.machine, captured.users, captured.groups, more);
            *lock(&process.credentials) = credentials.ok_or(Invalid("users"))?;
            *lock(&process.ended_time) = captured.used.0.min(LONGEST);
            *lock(&process.children_time) = captured.used.1.min(LONGEST);
            process.queue.revive(&process.pending, &captured.signals).ok_or(Invalid("signals"))?;
            process.has_left.store(captured.has_left, SeqCst);
            if let Some(status) = captured.over {
                process.status.store(status, SeqCst);
                process.is_over.store(true, SeqCst);
            }
            self.world.processes().insert(captured.id, process);
        }
        Ok(())
    }

    /// The process that a descriptor stands for: one of those there are, or what is known of one that was waited for.
    fn process_of(&self, id: u32, gone: Option<i32>) -> Result<Arc<Process>, ReviveError> {
        let wrong = Invalid("descriptors of processes");
        let Some(status) = gone else { return self.world.process(id).ok_or(wrong) };
        if id >= LAST_ID || !(0..=0xffff).contains(&status) {
            return Err(wrong);
        }
        let process = Process::revived(
            Parts {
                id,
                parent: 1,
                group: id,
                session: id,
                space: (),
                descriptors: Arc::default(),
                actions: Arc::default(),
                place: Arc::new(Mutex::new(Place { folder: b"/".to_vec(), mask: 0 })),
                image: Arc::default(),
                limits: Limits::default(),
                niceness: 0,
            },
            None,
        );
        process.status.store(status, SeqCst);
        process.is_over.store(true, SeqCst);
        Ok(process)
    }

    /// Gives a process what it has.
    fn process(&self, captured: &state::Process) -> Result<Arc<Process>, ReviveError> {
        let process = self.world.process(captured.id).ok_or(Invalid("processes"))?;
        if let Some(space) = captured.space {
            process.set_space(Some(at(&self.spaces, space, "processes")?.clone()));
        }
        if let Some(table) = captured.descriptors {
            process.set_descriptors(at(&self.tables, table, "processes")?.clone());
        }
        *lock(&process.actions) = at(&self.actions, captured.actions, "processes")?.clone();
        *lock(&process.place) = at(&self.places, captured.place, "processes")?.clone();
        Ok(process)
    }
}

/// What a thread begins with that was captured.
fn begin(world: &World, process: &Arc<Process>, captured: &state::Thread) -> Result<Begin, ReviveError> {
    let [rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags] =
        captured.registers;
    let rax = if captured.is_marker { 1 } else { rax };
    let registers =
        Registers { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags };
    let is_canonical = |base: u64| (base as i64) << 16 >> 16 == base as i64;
    let (fs_base, gs_base) = captured.bases;
    if rip >= USER_END || !is_canonical(fs_base) || !is_canonical(gs_base) {
        return Err(Invalid("registers"));
    }
    let mut vectors = Box::<kvm_xsave>::default();
    let place = vectors.region.get_mut(..captured.vectors.len()).ok_or(Invalid("registers"))?;
    place.copy_from_slice(&captured.vectors);
    let mut member = member(captured.id, captured.blocked & !never_blocked());
    if let Some(member) = Arc::get_mut(&mut member) {
        member.earlier = captured.used.min(LONGEST);
    }
    member.queue.revive(&member.pending, &captured.signals).ok_or(Invalid("signals"))?;
    let (at, size, disarms) = captured.alternate;
    Ok(Begin {
        counted: Some(world.begin_thread().map_err(|_| Invalid("threads"))?),
        process: process.clone(),
        member,
        registers,
        fs_base,
        vectors: Some(vectors),
        clear_at_end: captured.clear_at_end,
        alternate: Alternate { at, size, disarms },
        rseq: captured.rseq.map(|rseq| Registration::of(rseq).ok_or(Invalid("threads"))).transpose()?,
        more: Some(More { gs_base, robust: captured.robust, waiting: captured.waiting }),
    })
}

fn same(path: &[u8], was: &FileIs, is: FileIs) -> Result<(), ReviveError> {
    if was.hash == is.hash && was.size == is.size { Ok(()) } else { Err(ReviveError::Changed(shown(path))) }
}
