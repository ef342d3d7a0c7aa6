//! The clock that interrupts guest code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// How long guest code runs before the host looks at its limits.
const TICK: Duration = Duration::from_millis(1);

/// How many ticks without guest code let the thread go to sleep.
const IDLE_TICKS: u32 = 16;

/// Advances an engine's epoch every millisecond while guest code runs, and sleeps while none does.
///
/// ```text
///          enter()                 16 ticks without a new enter()
/// asleep ───────────▶ ticking ─────────────────────────────────────▶ asleep
/// ```
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    /// Rises whenever guest code is entered or still runs.
    entries: AtomicU64,
    /// How many threads are in guest code now.
    inside: AtomicU64,
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            entries: AtomicU64::new(0),
            inside: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let seen = shared.clone();
        let handle = thread::Builder::new()
            .name("ringfence-epoch".into())
            .stack_size(64 << 10)
            .spawn(move || tick(&engine, &seen))?;
        Ok(Ticker { shared, thread: handle.thread().clone() })
    }

    /// Guest code is about to run on this thread, until the guard is dropped.
    pub(crate) fn enter(&self) -> Inside<'_> {
        self.shared.inside.fetch_add(1, SeqCst);
        self.shared.entries.fetch_add(1, SeqCst);
        if self.shared.asleep.load(SeqCst) {
            self.thread.unpark();
        }
        Inside(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.thread.unpark();
    }
}

/// While this lives, guest code may be running.
pub(crate) struct Inside<'a>(&'a Shared);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let mut seen = 0;
    let mut idle = 0;
    while !shared.ended.load(Relaxed) {
        if idle < IDLE_TICKS {
            thread::park_timeout(TICK);
            engine.increment_epoch();
        } else {
            shared.asleep.store(true, SeqCst);
            // An entry between the last look and the store above has seen `asleep` unset.
            if shared.entries.load(SeqCst) == seen && !shared.ended.load(SeqCst) {
                thread::park();
            }
            shared.asleep.store(false, SeqCst);
            idle = 0;
        }
        let entries = shared.entries.load(SeqCst);
        idle = if entries == seen && shared.inside.load(SeqCst) == 0 { idle + 1 } else { 0 };
        seen = entries;
    }
}
