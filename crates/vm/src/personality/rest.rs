//! Bringing an instance to rest: every thread between two instructions of its program, with nothing under way.
//!
//! ```text
//! runs ──wanted──▶ finishes its call, or gives its wait up ──▶ rests ──let go──▶ runs, waits again
//! ```
//!
//! A wait that is given up is one that a signal without a handler interrupted: the call is made again
//! (`signal(7)`, "Interruption of system calls"), and goes on for as long as it still had.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringfence_isolation::{Exit, LostReason};
use ringfence_manifest::Point;
use tokio::sync::watch;

use super::process::lock;
use super::thread::Thread;
use super::world::World;
use crate::kvm::MachineError;
use crate::snapshot::state;

/// How long threads may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(5);
/// A kick that came while a thread was in the stubs is repeated after this time.
const AGAIN: Duration = Duration::from_millis(1);

/// Whether an instance is to rest, and which of its threads do.
pub(super) struct Rest {
    wanted: AtomicBool,
    /// Whether a point is waited for.
    armed: AtomicBool,
    state: Mutex<Resting>,
    changed: Condvar,
    arrived: watch::Sender<bool>,
    /// One captures at a time.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Resting {
    point: Option<Point>,
    threads: BTreeMap<u32, (state::Thread, thread::Thread)>,
    objection: Option<&'static str>,
}

/// Why an instance did not come to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Restless {
    /// It is ending.
    Ending,
    /// Something is under way.
    Busy(&'static str),
}

impl Rest {
    /// Nothing rests; with a point, all will when the first thread comes to it.
    pub(super) fn new(point: Option<Point>) -> Rest {
        let point = point.filter(|&point| point != Point::Anywhere);
        Rest {
            wanted: AtomicBool::new(false),
            armed: AtomicBool::new(point.is_some()),
            state: Mutex::new(Resting { point, ..Resting::default() }),
            changed: Condvar::new(),
            arrived: watch::Sender::new(false),
            turn: Mutex::default(),
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(SeqCst)
    }

    /// A way to wait for the point.
    pub(super) fn arrival(&self) -> watch::Receiver<bool> {
        self.arrived.subscribe()
    }

    fn arrive(&self, at: Point) -> bool {
        if !self.armed.load(SeqCst) {
            return false;
        }
        let mut state = lock(&self.state);
        if state.point != Some(at) {
            return false;
        }
        state.point = None;
        self.armed.store(false, SeqCst);
        self.wanted.store(true, SeqCst);
        drop(state);
        self.arrived.send_replace(true);
        true
    }

    /// Something is under way that cannot be captured; it goes on.
    pub(super) fn object(&self, reason: &'static str) {
        if self.is_wanted() {
            lock(&self.state).objection.get_or_insert(reason);
            self.changed.notify_all();
        }
    }

    /// Brings everything to rest, has `look` look at it with the threads by their numbers, and lets it go on.
    pub(super) fn during<T>(
        &self,
        world: &World,
        look: impl FnOnce(&BTreeMap<u32, state::Thread>) -> T,
    ) -> Result<T, Restless> {
        let _turn = lock(&self.turn);
        self.wanted.store(true, SeqCst);
        let _until_looked = LetGo(self);
        let deadline = Instant::now() + PATIENCE;
        let mut state = lock(&self.state);
        state.objection = None;
        loop {
            if world.control.is_stopping() {
                return Err(Restless::Ending);
            }
            if let Some(objection) = state.objection {
                return Err(Restless::Busy(objection));
            }
            if world.control.is_paused() {
                return Err(Restless::Busy("it is paused: let it go on first"));
            }
            let living = world.living();
            if state.threads.len() == living && living > 0 {
                // One that is about to be gone is not counted any more, and has something to say.
                let resting: Vec<u32> = state.threads.keys().copied().collect();
                drop(state);
                let is_everybody = world.are_everybody(&resting);
                state = lock(&self.state);
                if is_everybody && state.threads.len() == world.living() {
                    break;
                }
            }
            if Instant::now() > deadline {
                return Err(Restless::Busy("a thread is in a system call that does not come to an end"));
            }
            let resting: Vec<u32> = state.threads.keys().copied().collect();
            drop(state);
            world.interrupt_all(&resting);
            let woken = self.changed.wait_timeout(lock(&self.state), AGAIN);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let threads = state.threads.iter().map(|(&id, (thread, _))| (id, thread.clone())).collect();
        drop(state);
        Ok(look(&threads))
    }
}

/// Lets everything go on at last.
struct LetGo<'a>(&'a Rest);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.0.wanted.store(false, SeqCst);
        for (_, thread) in lock(&self.0.state).threads.values() {
            thread.unpark();
        }
    }
}

impl Thread {
    /// The program comes to a point; whether it is the one that is waited for. The call is to be made again then.
    pub(super) fn arrive(&self, at: Point) -> bool {
        self.world.rest.arrive(at)
    }

    /// Rests until it may go on, or everything ends.
    pub(super) fn come_to_rest(&mut self) {
        let world = self.world.clone();
        match self.describe() {
            Ok(described) => {
                let me = (described, thread::current());
                lock(&world.rest.state).threads.insert(self.member.id, me);
                world.rest.changed.notify_all();
                while world.rest.is_wanted() && !self.has_to_end() {
                    world.control.parked(thread::park);
                }
                lock(&world.rest.state).threads.remove(&self.member.id);
            }
            Err(error) => world.control.stop(Exit::Lost(LostReason::Backend(error.to_string()))),
        }
        self.is_at_marker = false;
    }

    fn describe(&self) -> Result<state::Thread, MachineError> {
        let c = &self.context;
        // A thread that rests has one.
        let Some(processor) = &self.processor else { return Err(MachineError::Processors) };
        let vectors = processor.vectors()?.region;
        let length = vectors.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        Ok(state::Thread {
            id: self.member.id,
            signals: Vec::new(),
            blocked: self.member.blocked.load(SeqCst),
            name: lock(&self.member.name).clone(),
            slack: [self.member.slack.load(SeqCst), self.member.first_slack.load(SeqCst)],
            registers: [
                c.rax, c.rbx, c.rcx, c.rdx, c.rsi, c.rdi, c.rsp, c.rbp, c.r8, c.r9, c.r10, c.r11, c.r12, c.r13, c.r14,
                c.r15, c.rip, c.rflags,
            ],
            bases: processor.bases()?,
            vectors: vectors[..length].to_vec(),
            clear_at_end: self.clear_at_end,
            robust: self.robust,
            alternate: (self.alternate.at, self.alternate.size, self.alternate.disarms),
            rseq: self.rseq.map(|registered| (registered.at, registered.length, registered.signature)),
            used: self.process.thread_time(self.member.id).unwrap_or_default(),
            waiting: self.deadlines.kept().map(|deadline| deadline.saturating_duration_since(Instant::now())),
            is_marker: self.is_at_marker,
        })
    }
}
