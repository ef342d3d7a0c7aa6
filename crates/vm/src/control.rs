//! What an instance's threads and its owner share: the wish to stop, the usage, the end.

use std::collections::BTreeMap;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use ringfence_isolation::{Activity, Exit, Host, Limit, LimitKind, LostReason, Usage, Verdict};
use ringfence_manifest::Limits;
use tokio::sync::{Notify, watch};

use crate::memory::Ledger;
use crate::personality::{NUMBERS, name};
use crate::sys;

/// What an instance's threads and its owner share.
pub(crate) struct Control {
    host: Arc<dyn Host>,
    limits: Limits,
    stopping: AtomicBool,
    state: Mutex<State>,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    exit: watch::Sender<Option<Exit>>,
    counts: Counts,
    paused: AtomicBool,
    /// How many threads are not waiting for anything.
    working: AtomicI64,
    idle: Notify,
}

/// What is counted of a program's calls and of the guest's exits.
pub(crate) struct Counts {
    /// By number; the last place is for those that no table has.
    pub(crate) calls: [AtomicU64; NUMBERS + 1],
    pub(crate) page_faults: AtomicU64,
    pub(crate) exceptions: AtomicU64,
    pub(crate) kicks: AtomicU64,
    /// Calls that were answered while the program was in the guest.
    pub(crate) answered: AtomicU64,
    /// Calls that were made by the instruction for that.
    pub(crate) plain: AtomicU64,
}

impl Counts {
    fn new() -> Self {
        Counts {
            calls: [const { AtomicU64::new(0) }; NUMBERS + 1],
            page_faults: AtomicU64::new(0),
            exceptions: AtomicU64::new(0),
            kicks: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            plain: AtomicU64::new(0),
        }
    }

    /// A call that was counted was not made after all.
    pub(crate) fn uncount(&self, number: u64) {
        self.calls[(number as u32 as usize).min(NUMBERS)].fetch_sub(1, Relaxed);
    }

    /// What was counted so far.
    fn activity(&self) -> Activity {
        let calls: Vec<u64> = self.calls.iter().map(|count| count.load(Relaxed)).collect();
        let named = calls.iter().enumerate().map(|(number, &count)| (name(number).unwrap_or("unknown"), count));
        let exits = [
            ("system call", calls.iter().sum::<u64>().saturating_sub(self.answered.load(Relaxed))),
            ("page fault", self.page_faults.load(Relaxed)),
            ("exception", self.exceptions.load(Relaxed)),
            ("kick", self.kicks.load(Relaxed)),
        ];
        Activity::new(named.filter(|(_, count)| *count > 0), exits)
    }
}

#[derive(Default)]
struct State {
    /// How it is to end; the first reason counts.
    reason: Option<Exit>,
    /// The threads of the host that run guest code, by their numbers.
    threads: BTreeMap<i32, Thread>,
    /// Processor time of those that have ended.
    ended_time: Duration,
    charged: Duration,
}

impl Control {
    pub(crate) fn new(host: Arc<dyn Host>, limits: Limits) -> Arc<Self> {
        Arc::new(Control {
            host,
            limits,
            stopping: AtomicBool::new(false),
            state: Mutex::default(),
            memory: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            exit: watch::Sender::new(None),
            counts: Counts::new(),
            paused: AtomicBool::new(false),
            working: AtomicI64::new(0),
            idle: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was counted so far.
    pub(crate) fn activity(&self) -> Activity {
        self.counts.activity()
    }

    /// Whether everything has to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// Whether nothing went wrong on the host's side.
    pub(crate) fn is_sound(&self) -> bool {
        !matches!(self.state().reason, Some(Exit::Lost(_)))
    }

    /// Whether everything is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(SeqCst)
    }

    /// The calling thread does nothing while this runs.
    pub(crate) fn parked(&self, wait: impl FnOnce()) {
        self.busy(-1);
        wait();
        self.busy(1);
    }

    /// Waits as long as everything is paused.
    pub(crate) fn hold(&self) {
        while self.paused.load(SeqCst) && !self.is_stopping() {
            self.parked(std::thread::park);
        }
    }

    fn busy(&self, change: i64) {
        if self.working.fetch_add(change, SeqCst) + change == 0 && self.paused.load(SeqCst) {
            self.idle.notify_waiters();
        }
    }

    /// Lets every thread stop before its next instruction; resolves when none does anything any more.
    pub(crate) async fn pause(&self) {
        self.paused.store(true, SeqCst);
        for &number in self.state().threads.keys() {
            sys::kick(number);
        }
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.working.load(SeqCst) <= 0 || !self.paused.load(SeqCst) || self.is_stopping() {
                return;
            }
            idle.await;
        }
    }

    /// Lets them go on.
    pub(crate) fn resume(&self) {
        self.paused.store(false, SeqCst);
        self.idle.notify_waiters();
        for thread in self.state().threads.values() {
            thread.unpark();
        }
    }

    /// Ends everything for this reason.
    pub(crate) fn stop(&self, reason: Exit) {
        let mut state = self.state();
        state.reason.get_or_insert(reason);
        self.stopping.store(true, SeqCst);
        self.idle.notify_waiters();
        for (&number, thread) in &state.threads {
            thread.unpark();
            sys::kick(number);
        }
    }

    /// Ends everything because the host says so.
    pub(crate) fn stop_by(&self, verdict: Verdict) {
        self.stop(match verdict {
            Verdict::Exceeded(limit) => Exit::Exceeded(limit),
            Verdict::Denied(denial) => Exit::Denied(denial),
            Verdict::Stopped | Verdict::Continue => Exit::Stopped,
        });
    }

    /// The calling thread runs guest code from here on; `false` when everything is ending.
    pub(crate) fn enlist(&self) -> bool {
        sys::block_kicks();
        let mut state = self.state();
        let number = rustix::thread::gettid().as_raw_nonzero().get();
        state.threads.insert(number, std::thread::current());
        self.working.fetch_add(1, SeqCst);
        !self.is_stopping()
    }

    /// The calling thread runs no guest code any more.
    pub(crate) fn dismiss(&self) {
        let number = rustix::thread::gettid().as_raw_nonzero().get();
        let mut state = self.state();
        if state.threads.remove(&number).is_some() {
            self.busy(-1);
            state.ended_time += sys::thread_time(number).unwrap_or_default();
        }
    }

    /// Gets one thread out of the guest or out of its waiting, if it is still there.
    pub(crate) fn interrupt(&self, number: i32) {
        if let Some(thread) = self.state().threads.get(&number) {
            thread.unpark();
            sys::kick(number);
        }
    }

    /// Processor time that another thread of the host spent for it.
    pub(crate) fn spend(&self, time: Duration) {
        self.state().ended_time += time;
    }

    /// Processor time so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let state = self.state();
        state.ended_time + state.threads.keys().filter_map(|&number| sys::thread_time(number)).sum::<Duration>()
    }

    /// Tells the host what was used since the last time, and ends what may not go on.
    pub(crate) fn charge(&self) {
        let now = self.cpu_time();
        let more = {
            let mut state = self.state();
            let more = now.saturating_sub(state.charged);
            state.charged = state.charged.max(now);
            more
        };
        let memory = self.memory.load(SeqCst);
        let peak = self.memory_peak.load(SeqCst);
        let verdict = self.host.charge(Usage { memory, memory_peak: peak, cpu_time: more, ..Usage::default() });
        if verdict != Verdict::Continue {
            self.stop_by(verdict);
        } else if let Some(allowed) = self.limits.cpu_time
            && now > allowed
        {
            let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            let (allowed, used) = (nanoseconds(allowed), nanoseconds(now));
            self.stop(Exit::Exceeded(Limit { limit: LimitKind::CpuTime, allowed, used }));
        }
    }

    /// Tells the host of input and output that it did not do itself.
    pub(crate) fn charge_io(&self, operations: u64, bytes: u64) {
        let usage = Usage {
            memory: self.memory.load(SeqCst),
            memory_peak: self.memory_peak.load(SeqCst),
            io_operations: operations,
            io_bytes: bytes,
            ..Usage::default()
        };
        let verdict = self.host.charge(usage);
        if verdict != Verdict::Continue {
            self.stop_by(verdict);
        }
    }

    /// Tells the host of bytes that are kept as files; `false` ends everything.
    pub(crate) fn charge_disk(&self, bytes: u64) -> bool {
        let usage = Usage {
            memory: self.memory.load(SeqCst),
            memory_peak: self.memory_peak.load(SeqCst),
            disk: bytes,
            ..Usage::default()
        };
        let verdict = self.host.charge(usage);
        let may = verdict == Verdict::Continue;
        if !may {
            self.stop_by(verdict);
        }
        may
    }

    /// Tells the host that they are gone.
    pub(crate) fn release_disk(&self, bytes: u64) {
        self.host.shrink_disk(bytes);
    }

    /// When it is worth charging again: soon enough that a limit is not missed by much.
    pub(crate) fn next_charge(&self) -> Duration {
        let left = self.limits.cpu_time.map_or(Duration::MAX, |allowed| allowed.saturating_sub(self.cpu_time()));
        (left / 2).clamp(Duration::from_millis(2), Duration::from_millis(100))
    }

    /// Everything is gone; the reason is known.
    pub(crate) fn end(&self, otherwise: Exit) {
        self.memory.store(0, SeqCst);
        let exit = self.state().reason.clone().unwrap_or(otherwise);
        self.exit.send_if_modified(|slot| {
            let first = slot.is_none();
            slot.get_or_insert(exit);
            first
        });
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }

    /// A way to wait for the end.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.subscribe()
    }

    /// What was measured so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            memory: self.memory.load(SeqCst),
            memory_peak: self.memory_peak.load(SeqCst),
            cpu_time: self.cpu_time(),
            ..Usage::default()
        }
    }
}

impl Ledger for Control {
    fn may_hold(&self, bytes: u64) -> bool {
        if let Some(allowed) = self.limits.memory
            && bytes > allowed.0
        {
            let usage = Usage { memory: bytes, memory_peak: bytes, ..Usage::default() };
            match self.host.charge(usage) {
                Verdict::Continue => {
                    let limit = Limit { limit: LimitKind::Memory, allowed: allowed.0, used: bytes };
                    self.stop(Exit::Exceeded(limit));
                }
                verdict => self.stop_by(verdict),
            }
            return false;
        }
        self.memory.store(bytes, SeqCst);
        self.memory_peak.fetch_max(bytes, SeqCst);
        true
    }
}

/// Says that an instance is lost should its thread end without a word.
pub(crate) struct LastWord(pub(crate) Arc<Control>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.end(Exit::Lost(LostReason::Backend("the thread that ran it ended without a result".into())));
    }
}
