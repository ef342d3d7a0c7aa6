//! From a running instance to a captured state. What cannot be captured is named, and nothing is left out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ringfence_abi::{Call, Clock, Handle, Reply, Timestamp};
use ringfence_isolation::{Exit, Then};
use rustix::io::Errno;

use super::files::Descriptors;
use super::listing::Stage;
use super::locks::Owner;
use super::open::{Charged, Kind, Mapped, Open};
use super::process::{Member, Process, lock};
use super::rest::Restless;
use super::world::World;
use crate::kvm::PAGE;
use crate::memory::{Backing, Content, Protection, Reach, Region, Segment, Source, Space};
use crate::scratch::{Body, Node};
use crate::snapshot::state::{self, FileIs, Index, Origin, State};
use crate::snapshot::{Filling, Image, is_zero};
use crate::tree::HostFile;
use crate::vdso;

/// What a terminal is refused with.
const TERMINAL: &str =
    "it has a terminal, which belongs to this moment: run it without one (no --tty, nothing of /dev/ptmx open)";

/// Why an instance was not captured. It goes on as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CaptureError {
    /// It is ending.
    #[error("it is ending")]
    Ending,
    /// Something is under way.
    #[error("{0}; try again, or at another point")]
    Busy(&'static str),
    /// It has something that belongs to this moment or to this machine.
    #[error("{0}")]
    Holds(String),
    /// A file that it has open cannot be read.
    #[error("{path} cannot be read: {errno}")]
    File {
        /// Which.
        path: String,
        /// Why.
        errno: Errno,
    },
}

impl CaptureError {
    pub(crate) fn unread(path: impl std::fmt::Display, errno: Errno) -> Self {
        CaptureError::File { path: ringfence_manifest::visible(&path.to_string()), errno }
    }
}

fn shown(path: &[u8]) -> String {
    ringfence_manifest::visible(&String::from_utf8_lossy(path))
}

fn unread(path: &[u8]) -> impl FnOnce(Errno) -> CaptureError {
    move |errno| CaptureError::File { path: shown(path), errno }
}

/// Captures everything of an instance, which is brought to rest for that.
pub(crate) fn capture(world: &Arc<World>, origin: Origin, then: Then) -> Result<Image, CaptureError> {
    let captured = world.rest.during(world, |threads| {
        let image = Capturing::new(world).everything(origin, threads)?;
        if then == Then::End {
            world.control.stop(Exit::Stopped);
        }
        Ok(image)
    });
    captured.map_err(|restless| match restless {
        Restless::Ending => CaptureError::Ending,
        Restless::Busy(what) => CaptureError::Busy(what),
    })?
}

/// What was captured so far, and what is known already.
struct Capturing<'a> {
    world: &'a Arc<World>,
    store: Filling,
    segments: Vec<state::Segment>,
    nodes: Vec<state::Node>,
    pipes: Vec<state::Pipe>,
    opens: Vec<state::Open>,
    contents: Vec<state::Content>,
    spaces: Vec<state::Space>,
    descriptors: Vec<state::Table>,
    actions: Vec<Vec<[u64; 4]>>,
    places: Vec<state::Place>,
    time: Option<(u32, [u8; 32])>,
    /// The places of things by their addresses, which nothing else has while everything rests.
    known: HashMap<usize, Index>,
    known_contents: HashMap<(Vec<u8>, u64, u64), Index>,
    /// What is open, in the order of `opens`.
    open: Vec<Arc<Open>>,
}

fn address<T: ?Sized>(thing: &Arc<T>) -> usize {
    Arc::as_ptr(thing).cast::<()>().addr()
}

impl<'a> Capturing<'a> {
    fn new(world: &'a Arc<World>) -> Self {
        Capturing {
            world,
            store: Filling::default(),
            segments: Vec::new(),
            nodes: Vec::new(),
            pipes: Vec::new(),
            opens: Vec::new(),
            contents: Vec::new(),
            spaces: Vec::new(),
            descriptors: Vec::new(),
            actions: Vec::new(),
            places: Vec::new(),
            time: None,
            known: HashMap::new(),
            known_contents: HashMap::new(),
            open: Vec::new(),
        }
    }

    fn everything(mut self, origin: Origin, threads: &BTreeMap<u32, state::Thread>) -> Result<Image, CaptureError> {
        if self.world.has_console() {
            return Err(CaptureError::Holds(TERMINAL.into()));
        }
        let monotonic = match self.world.call(Call::Now { clock: Clock::Monotonic }) {
            Ok(Reply::Time(time)) => {
                let shown = self.world.vdso.as_ref().map(|vdso| vdso.now(Clock::Monotonic).into());
                shown.unwrap_or(time.saturating_add(self.world.ahead()))
            }
            _ => 0,
        };
        let tops = self.folders_in_memory()?;
        let all: Vec<Arc<Process>> = self.world.processes().values().cloned().collect();
        let processes = all.iter().map(|process| self.process(process, threads)).collect::<Result<_, _>>()?;
        let locks = self.locks()?;
        let state = State {
            origin,
            monotonic,
            next: self.world.next_number(),
            time: self.time,
            uptime: self.world.uptime(),
            segments: self.segments,
            nodes: self.nodes,
            tops,
            pipes: self.pipes,
            opens: self.opens,
            contents: self.contents,
            spaces: self.spaces,
            descriptors: self.descriptors,
            actions: self.actions,
            places: self.places,
            processes,
            locks,
            owners: self.world.owners_in_memory(),
        };
        Ok(Image { state, store: self.store.finish() })
    }

    /// The place of something in a list: known, or the next one.
    fn place<T>(&mut self, address: usize, list: fn(&mut Self) -> &mut Vec<T>) -> Result<Index, Index> {
        let next = list(self).len() as Index;
        match self.known.get(&address) {
            Some(&known) => Ok(known),
            None => {
                self.known.insert(address, next);
                Err(next)
            }
        }
    }

    fn process(
        &mut self,
        process: &Arc<Process>,
        threads: &BTreeMap<u32, state::Thread>,
    ) -> Result<state::Process, CaptureError> {
        if lock(&process.awaited).is_some() {
            let text = "a command that was begun from outside is running in it: wait for its end";
            return Err(CaptureError::Holds(text.into()));
        }
        let alarms = process.alarms.captured(process);
        let signals = process.queue.captured();
        let over = process.is_over.load(SeqCst).then(|| process.status.load(SeqCst));
        let members: Vec<Arc<Member>> = lock(&process.threads).values().cloned().collect();
        // What was sent to a thread since it rests belongs to it as well.
        let thread = |member: &Arc<Member>| {
            let thread = threads.get(&member.id)?.clone();
            Some(state::Thread { signals: member.queue.captured(), ..thread })
        };
        let (space, descriptors) = match over {
            Some(_) => (None, None),
            None => {
                let space = process.space().map_err(|_| CaptureError::Ending)?;
                (Some(self.space(&space)?), Some(self.table(&process.descriptors())?))
            }
        };
        let image = process.image();
        let credentials = lock(&process.credentials).clone();
        Ok(state::Process {
            id: process.id,
            parent: process.parent.load(SeqCst),
            group: process.group.load(SeqCst),
            session: process.session.load(SeqCst),
            halt: process.halt.captured(),
            has_executed: process.has_executed.load(SeqCst),
            niceness: process.niceness.load(SeqCst),
            limits: lock(&process.limits).words(),
            name: process.given_name(),
            at_parents_end: process.at_parents_end.load(SeqCst),
            dumpable: process.dumpable.load(SeqCst),
            last_signal: process.last_signal.load(SeqCst),
            adopts: process.adopts.load(SeqCst),
            users: credentials.users,
            groups: credentials.groups,
            more_groups: credentials.more().to_vec(),
            barriers: process.barriers.load(SeqCst),
            used: (process.cpu_time(), *lock(&process.children_time)),
            over,
            has_left: process.has_left.load(SeqCst),
            space,
            descriptors,
            actions: self.actions_of(process),
            place: self.place_of(process),
            path: image.path.clone(),
            arguments: image.arguments.clone(),
            alarms,
            signals,
            threads: members.iter().filter_map(thread).collect(),
        })
    }

    fn actions_of(&mut self, process: &Process) -> Index {
        let actions = process.actions();
        let words = lock(&actions).words();
        self.place(address(&actions), |me| &mut me.actions).unwrap_or_else(|place| {
            self.actions.push(words);
            place
        })
    }

    fn place_of(&mut self, process: &Process) -> Index {
        let there = process.place();
        let (folder, mask) = {
            let there = lock(&there);
            (there.folder.clone(), there.mask)
        };
        self.place(address(&there), |me| &mut me.places).unwrap_or_else(|place| {
            self.places.push(state::Place { folder, mask });
            place
        })
    }

    fn table(&mut self, table: &Arc<Descriptors>) -> Result<Index, CaptureError> {
        let place = match self.place(address(table), |me| &mut me.descriptors) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        self.descriptors.push(state::Table { most: table.most() as u64, slots: Vec::new() });
        let slot = |slot: Option<(Arc<Open>, bool)>| {
            slot.map(|(open, close_on_exec)| Ok(state::Descriptor { open: self.open(&open)?, close_on_exec }))
                .transpose()
        };
        let slots = table.slots().into_iter().map(slot).collect::<Result<_, _>>()?;
        self.descriptors[place as usize].slots = slots;
        Ok(place)
    }

    fn open(&mut self, open: &Arc<Open>) -> Result<Index, CaptureError> {
        let place = match self.place(open.address(), |me| &mut me.opens) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        // Its place is taken before what it refers to gets its own.
        let position = *lock(&open.position);
        let kind = state::Kind::Listing(Vec::new());
        self.opens.push(state::Open { kind, path: open.path.clone(), flags: open.flags(), position });
        self.open.push(open.clone());
        if !matches!(*lock(&open.stage), Stage::Dots(0)) {
            return Err(CaptureError::Holds(format!("the folder {} is being listed", shown(&open.path))));
        }
        let kind = self.kind(open)?;
        self.opens[place as usize].kind = kind;
        Ok(place)
    }

    fn kind(&mut self, open: &Arc<Open>) -> Result<state::Kind, CaptureError> {
        Ok(match &open.kind {
            Kind::Stream(handle) => {
                let streams = [Handle::STDIN, Handle::STDOUT, Handle::STDERR];
                let number = streams.iter().position(|stream| stream == handle);
                state::Kind::Stream(
                    number.ok_or_else(|| CaptureError::Holds("it has a stream of another kind".into()))? as u8,
                )
            }
            Kind::File(_) => state::Kind::File,
            Kind::Folder(..) => state::Kind::Folder,
            Kind::System(_) => state::Kind::System,
            Kind::SystemFolder(_) => state::Kind::SystemFolder,
            Kind::Listing(names) => state::Kind::Listing(names.clone()),
            Kind::Text(text) => state::Kind::Text(text.clone()),
            Kind::Device(device) => state::Kind::Device(device.number()),
            Kind::Memory(node) | Kind::MemoryFolder(node) => state::Kind::Memory(self.node(node)?),
            Kind::Reader(pipe) => state::Kind::Reader(self.pipe(pipe)),
            Kind::Writer(pipe) => state::Kind::Writer(self.pipe(pipe)),
            Kind::Both(pipe) => state::Kind::Both(self.pipe(pipe)),
            Kind::Process(process) => {
                let is_there = self.world.process(process.id).is_some_and(|found| Arc::ptr_eq(&found, process));
                state::Kind::Process { id: process.id, gone: (!is_there).then(|| process.status.load(SeqCst)) }
            }
            Kind::Terminal(_) | Kind::Master(_) => return Err(CaptureError::Holds(TERMINAL.into())),
            Kind::Watches(_) => {
                let text = "files are watched (inotify): close that before the point of capture";
                return Err(CaptureError::Holds(text.into()));
            }
            Kind::Socket(_) => {
                let text = "a socket is open, whose other end is not part of it: close it before the point of capture";
                return Err(CaptureError::Holds(text.into()));
            }
            Kind::Counter(counter) => {
                let (number, by_one) = counter.captured();
                state::Kind::Counter { number, by_one }
            }
            Kind::Timer(timer) => {
                let (clock, left, interval) = timer.captured();
                state::Kind::Timer { clock, left, interval }
            }
            Kind::Signals(signals) => state::Kind::Signals(signals.mask()),
            Kind::Set(set) => {
                let wish = |(number, open, events, data, is_spent)| {
                    Ok(state::Wish { number, open: self.open(&open)?, events, data, is_spent })
                };
                state::Kind::Set(set.captured().into_iter().map(wish).collect::<Result<_, _>>()?)
            }
        })
    }

    fn pipe(&mut self, pipe: &Arc<super::pipe::Pipe>) -> Index {
        self.place(address(pipe), |me| &mut me.pipes).unwrap_or_else(|place| {
            let (content, room) = pipe.captured();
            let node = self.world.fifos.node_of(pipe);
            self.pipes.push(state::Pipe { content, room: room as u64, node });
            place
        })
    }

    /// Everything in the folders in memory, each folder before what is in it.
    fn folders_in_memory(&mut self) -> Result<Vec<(Vec<u8>, Index)>, CaptureError> {
        let world = self.world;
        world.scratch.tops().map(|(path, node)| Ok((path.to_vec(), self.node(node)?))).collect()
    }

    fn node(&mut self, top: &Arc<Node>) -> Result<Index, CaptureError> {
        let first = match self.place(address(top), |me| &mut me.nodes) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        self.nodes.push(shell(top));
        let mut waiting = vec![(first, top.clone())];
        while let Some((place, node)) = waiting.pop() {
            let body = match &node.body {
                Body::File(segment) => state::Body::File(self.segment(segment)?),
                Body::Link(target) => state::Body::Link(target.clone()),
                Body::Fifo => state::Body::Fifo,
                Body::Folder(_) => {
                    let (names, is_removed) = node.names().map_err(unread(b"a folder in memory"))?.captured();
                    let mut named = Vec::with_capacity(names.len());
                    for (name, child) in names {
                        let index = self.place(address(&child), |me| &mut me.nodes).unwrap_or_else(|index| {
                            self.nodes.push(shell(&child));
                            waiting.push((index, child.clone()));
                            index
                        });
                        named.push((name, index));
                    }
                    state::Body::Folder(named, is_removed)
                }
            };
            self.nodes[place as usize].body = body;
        }
        Ok(first)
    }

    fn segment(&mut self, segment: &Arc<Segment>) -> Result<Index, CaptureError> {
        let place = match self.place(address(segment), |me| &mut me.segments) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        let (size, frames) = segment.parts();
        self.segments.push(state::Segment { source: state::Source::Anonymous, size, pages: Vec::new() });
        let world = self.world;
        let time = world.vdso.as_ref().filter(|vdso| Arc::ptr_eq(vdso.pages(), segment));
        if let Some((generation, code)) = time.map(|vdso| (vdso.current(), vdso::fingerprint())).or_else(|| {
            let silent = world.silent_time.get().filter(|(pages, _)| Arc::ptr_eq(pages, segment));
            silent.map(|&(_, generation)| (generation, vdso::fingerprint()))
        }) {
            self.time = Some((generation, code));
            self.segments[place as usize] =
                state::Segment { source: state::Source::Time, size: None, pages: Vec::new() };
            return Ok(place);
        }
        let source = match segment.source() {
            Source::Zeroes => state::Source::Anonymous,
            Source::Counted(_) => state::Source::Memory,
            Source::File(_) => {
                segment.write_back().map_err(unread(b"a shared mapping"))?;
                let (reader, writer) = self.world.shared.behind(segment).ok_or(CaptureError::Ending)?;
                let writer = writer.map(|writer| self.open(&writer)).transpose()?;
                state::Source::File { reader: self.open(&reader)?, writer }
            }
        };
        let mut pages = Vec::new();
        if !matches!(source, state::Source::File { .. }) {
            let mut content = vec![0; PAGE as usize];
            for (index, frame) in frames {
                self.world.machine.read(frame * PAGE, &mut content);
                if !is_zero(&content) {
                    pages.push((index, self.store.put(&content)));
                }
            }
        }
        let there = &mut self.segments[place as usize];
        (there.source, there.pages) = (source, pages);
        Ok(place)
    }

    fn space(&mut self, space: &Arc<Space>) -> Result<Index, CaptureError> {
        let place = match self.place(address(space), |me| &mut me.spaces) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        let parts = space.parts();
        let heap = parts.heap;
        self.spaces.push(state::Space { areas: Vec::new(), heap, present: Vec::new(), pages: Vec::new() });
        let mut areas = Vec::with_capacity(parts.regions.len());
        let mut pages = Vec::new();
        let mut left = parts.pages.iter().peekable();
        let (mut ours, mut theirs) = (vec![0; PAGE as usize], vec![0; PAGE as usize]);
        for region in &parts.regions {
            areas.push(self.area(region)?);
            while let Some(&&(number, frame)) = left.peek() {
                if number * PAGE >= region.range.end {
                    break;
                }
                left.next();
                space.read_frame(frame, &mut ours);
                theirs.fill(0);
                if let Backing::File(content, offset) = &region.backing {
                    let at = offset + (number * PAGE - region.range.start);
                    bare(content).read_at(at, &mut theirs).map_err(unread(content.path()))?;
                }
                if ours != theirs {
                    pages.push((number, self.store.put(&ours)));
                }
            }
        }
        let mut present: Vec<(u64, u64)> = Vec::new();
        for &(number, _) in &parts.pages {
            match present.last_mut() {
                Some((first, count)) if *first + *count == number => *count += 1,
                _ => present.push((number, 1)),
            }
        }
        self.spaces[place as usize] = state::Space { areas, heap, present, pages };
        Ok(place)
    }

    fn area(&mut self, Region { range, protection, backing }: &Region) -> Result<state::Area, CaptureError> {
        let backing = match backing {
            Backing::Anonymous => state::Backing::Anonymous,
            Backing::File(content, offset) => state::Backing::File(self.content(content)?, *offset),
            Backing::Shared(segment, offset, reach) => {
                state::Backing::Shared(self.segment(segment)?, *offset, *reach == Reach::All)
            }
        };
        let protection: Protection = *protection;
        Ok(state::Area { start: range.start, end: range.end, protection: protection.bits(), backing })
    }

    fn content(&mut self, content: &Arc<dyn Content>) -> Result<Index, CaptureError> {
        if let Some(Mapped(open)) = content.as_any().downcast_ref() {
            let index = self.open(open)?;
            let key = (open.path.clone(), u64::MAX, u64::from(index));
            return self.known_content(key, || {
                let is = matches!(open.kind, Kind::File(_)).then(|| open_is(open, None)).transpose();
                Ok(state::Content::Open(index, is.map_err(unread(&open.path))?))
            });
        }
        let file = system_file(content).ok_or_else(|| {
            CaptureError::Holds(format!("{} is mapped in a way that is not known here", shown(content.path())))
        })?;
        let stat = rustix::fs::fstat(file.descriptor()).map_err(unread(file.path()))?;
        self.known_content((file.path().to_vec(), stat.st_dev, stat.st_ino), || {
            Ok(state::Content::System(file.path().to_vec(), file_is(file, None).map_err(unread(file.path()))?))
        })
    }

    fn known_content(
        &mut self,
        key: (Vec<u8>, u64, u64),
        make: impl FnOnce() -> Result<state::Content, CaptureError>,
    ) -> Result<Index, CaptureError> {
        if let Some(&known) = self.known_contents.get(&key) {
            return Ok(known);
        }
        let place = self.contents.len() as Index;
        self.contents.push(make()?);
        self.known_contents.insert(key, place);
        Ok(place)
    }

    fn locks(&mut self) -> Result<Vec<state::Lock>, CaptureError> {
        let captured = self.world.locks.captured();
        let lost = || CaptureError::Holds("a file is locked that nothing has open any more".into());
        let lock = |(identity, owner, start, end, exclusive)| {
            let file = self.open.iter().position(|open| open.has_position() && open.identity() == Ok(identity));
            let by = |address: usize| self.known.get(&address).copied().ok_or_else(lost);
            let owner = match owner {
                Owner::Process(id) => state::Owner::Process(id),
                Owner::Open(address) => state::Owner::Open(by(address)?),
                Owner::Whole(address) => state::Owner::Whole(by(address)?),
            };
            Ok(state::Lock { file: file.ok_or_else(lost)? as Index, owner, start, end, exclusive })
        };
        captured.into_iter().map(lock).collect()
    }
}

/// A thing in memory without what is in it.
fn shell(node: &Node) -> state::Node {
    let known = *node.state();
    let (mode, names, times, seals) = (known.mode, known.names, known.times, known.seals);
    state::Node { number: node.number, body: state::Body::Link(Vec::new()), mode, names, times, seals }
}

/// A file of the system's behind memory.
fn system_file(content: &Arc<dyn Content>) -> Option<&HostFile> {
    let any = content.as_any();
    any.downcast_ref::<HostFile>().or_else(|| any.downcast_ref::<Charged>().map(|Charged(_, file)| &**file))
}

/// The same content, read at nobody's charge.
fn bare(content: &Arc<dyn Content>) -> &dyn Content {
    match system_file(content) {
        Some(file) => file,
        None => &**content,
    }
}

/// What a file of the system's is. It is not read when it is one that is known.
pub(crate) fn file_is(file: &HostFile, known: Option<&FileIs>) -> Result<FileIs, Errno> {
    let stat = rustix::fs::fstat(file.descriptor())?;
    let time = |seconds: i64, fraction: u64| i128::from(seconds) * 1_000_000_000 + i128::from(fraction);
    let (modified, changed) = (time(stat.st_mtime, stat.st_mtime_nsec), time(stat.st_ctime, stat.st_ctime_nsec));
    let quick = (stat.st_dev, stat.st_ino, modified, changed);
    is(quick, stat.st_size.unsigned_abs(), known, |offset, into| file.read_at(offset, into))
}

/// What an open file of the hal's is, in the same way.
pub(super) fn open_is(open: &Open, known: Option<&FileIs>) -> Result<FileIs, Errno> {
    let Kind::File(handle) = open.kind else { return Err(Errno::BADF) };
    let Reply::Stat(stat) = open.world().call(Call::Stat { handle })? else { return Err(Errno::IO) };
    let quick = (stat.identity.0, stat.identity.1, stat.modified, stat.changed);
    is(quick, stat.size, known, |offset, into| open.read_hal(offset, into))
}

fn is(
    quick: (u64, u64, Timestamp, Timestamp),
    size: u64,
    known: Option<&FileIs>,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, Errno>,
) -> Result<FileIs, Errno> {
    if let Some(known) = known.filter(|known| known.quick == quick && known.size == size) {
        return Ok(known.clone());
    }
    let mut hasher = blake3::Hasher::new();
    let mut part = vec![0; 256 << 10];
    let mut offset = 0;
    loop {
        match read(offset, &mut part)? {
            0 => return Ok(FileIs { quick, size, hash: hasher.finalize().into() }),
            count => {
                hasher.update(&part[..count]);
                offset += count as u64;
            }
        }
    }
}
