//! From a captured state to an instance whose threads go on where they rested.
//!
//! A state may come from a file, and a file from anybody: every reference, number and address is looked at
//! before it is used, so that at worst a program goes on that could as well have been written. What it had
//! open is opened by the new instance's host, which judges it by the new instance's spec.

mod check;
mod descriptors;
mod memory;
mod processes;
mod scratch;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringfence_abi::{Call, Clock, Reply};
use rustix::io::Errno;

use super::files::Descriptors;
use super::open::Open;
use super::pipe::Pipe;
use super::process::Place;
use super::signals::Actions;
use super::starting::First;
use super::status::MEMORY_DEVICE;
use super::world::World;
use crate::memory::{Content, Segment, Space};
use crate::scratch::Node;
use crate::snapshot::state::{self, Index};
use crate::snapshot::{Image, Store};
use crate::vdso;

/// Numbers of processes and threads are positive as `pid_t`, with room for more.
const LAST_ID: u32 = 1 << 30;
/// How long anything has lasted at most: nobody waits for a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
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
}
