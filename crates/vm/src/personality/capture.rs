//! From a running instance to a captured state. What cannot be captured is named, and nothing is left out.

mod descriptors;
mod file;
mod memory;
mod processes;
mod scratch;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ringfence_abi::{Call, Clock, Reply};
use ringfence_isolation::{Exit, Then};
use rustix::io::Errno;

use super::open::Open;
use super::process::Process;
use super::rest::Restless;
use super::world::World;
use crate::snapshot::state::{self, Index, Origin, State};
use crate::snapshot::{Filling, Image};
pub(crate) use file::file_is;
pub(super) use file::open_is;

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
        if !self.world.segments.is_empty() {
            return Err(CaptureError::Holds("it shares memory by a number (shmget(2)), which is not kept".into()));
        }
        if !self.world.semaphores.is_empty() {
            return Err(CaptureError::Holds("it has semaphores with a number (semget(2)), which are not kept".into()));
        }
        if !self.world.queues.is_empty() {
            return Err(CaptureError::Holds("it has queues of messages (msgget(2)), which are not kept".into()));
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
}
