//! What an instance's task and its owner share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use ringfence_isolation::{Exit, Usage};
use tokio::sync::{Notify, watch};

/// What an instance's task and its owner share: the wish to stop, the usage, the end.
pub(crate) struct Control {
    stopping: AtomicBool,
    stop: Notify,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    cpu_nanoseconds: AtomicU64,
    fuel: AtomicU64,
    exit: watch::Sender<Option<Exit>>,
    /// Serialises the one start with stops that come before it.
    pub(crate) started: Mutex<Started>,
}

/// How far an instance has come.
///
/// ```text
/// Built ──start──▶ Running
///   └────stop────▶ Stopped
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// Nothing has run.
    Built,
    /// Its task exists.
    Running,
    /// It was stopped before it started.
    Stopped,
}

impl Control {
    pub(crate) fn new() -> Self {
        Control {
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
            memory: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            cpu_nanoseconds: AtomicU64::new(0),
            fuel: AtomicU64::new(0),
            exit: watch::Sender::new(None),
            started: Mutex::new(Started::Built),
        }
    }

    /// Asks the instance to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.stop.notify_waiters();
    }

    /// Resolves when the instance has been asked to end.
    pub(crate) async fn stopped(&self) {
        loop {
            let notified = self.stop.notified();
            if self.stopping.load(SeqCst) {
                return;
            }
            notified.await;
        }
    }

    /// Records the end; the first one counts.
    pub(crate) fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|slot| {
            let first = slot.is_none();
            slot.get_or_insert(exit);
            first
        });
    }

    /// A way to wait for the end.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.subscribe()
    }

    pub(crate) fn set_memory(&self, bytes: u64) {
        self.memory.store(bytes, Relaxed);
        self.memory_peak.fetch_max(bytes, Relaxed);
    }

    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Relaxed)
    }

    pub(crate) fn add_cpu(&self, time: Duration) {
        self.cpu_nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn set_fuel(&self, fuel: u64) {
        self.fuel.store(fuel, Relaxed);
    }

    /// What was measured so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            memory: self.memory.load(Relaxed),
            memory_peak: self.memory_peak.load(Relaxed),
            cpu_time: Duration::from_nanos(self.cpu_nanoseconds.load(Relaxed)),
            fuel: self.fuel.load(Relaxed),
            ..Usage::default()
        }
    }
}
