//! Waiting in a system call: every wait ends when the process has to end or a signal comes, `signal(7)`.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use ringfence_abi::{ErrorCode, Reply};
use ringfence_isolation::Answer as Answered;
use rustix::io::Errno;

use super::process::lock;
use super::thread::Thread;

thread_local! {
    /// The calling thread, as long as it lives.
    static ME: Arc<thread::Thread> = Arc::new(thread::current());
}

/// Wakes the threads that wait for something.
#[derive(Default)]
pub(super) struct Bell {
    /// Some of them may have ended: a bell need not ring for long.
    waiting: Mutex<Vec<Weak<thread::Thread>>>,
    rings: AtomicU64,
}

impl Bell {
    /// Wakes everyone who waits.
    pub(super) fn ring(&self) {
        self.rings.fetch_add(1, SeqCst);
        for thread in lock(&self.waiting).drain(..) {
            if let Some(thread) = thread.upgrade() {
                thread.unpark();
            }
        }
    }

    /// How often it was rung.
    pub(super) fn rings(&self) -> u64 {
        self.rings.load(SeqCst)
    }

    /// The calling thread is woken by the next ring.
    pub(super) fn enlist(&self) {
        let mut waiting = lock(&self.waiting);
        ME.with(|me| {
            if waiting.iter().any(|thread| std::ptr::eq(thread.as_ptr(), Arc::as_ptr(me))) {
                return;
            }
            if waiting.len() == waiting.capacity() {
                waiting.retain(|thread| thread.strong_count() > 0);
            }
            waiting.push(Arc::downgrade(me));
        });
    }
}

/// How long the call of a thread waits. A call that is made again, because another thread took the signal or
/// everything came to rest, has the deadline it had: `signal(7)`, "Interruption of system calls".
#[derive(Default)]
pub(super) struct Deadlines {
    /// The one of the wait that was broken off.
    broken_off: Cell<Option<Instant>>,
    /// The one of the call that is made again.
    kept: Cell<Option<Instant>>,
}

impl Deadlines {
    /// Those of a thread whose first call is made again.
    pub(super) fn of(kept: Option<Instant>) -> Self {
        Deadlines { kept: Cell::new(kept), ..Deadlines::default() }
    }

    /// The one of the call that is made again next.
    pub(super) fn kept(&self) -> Option<Instant> {
        self.kept.get()
    }

    /// A call begins.
    pub(super) fn begin(&self) {
        self.broken_off.set(None);
    }

    /// The call is over. Whether it is made again is found out then.
    pub(super) fn over(&self) {
        self.kept.set(None);
    }

    /// Whether the wait that was broken off had one.
    pub(super) fn had_one(&self) -> bool {
        self.broken_off.get().is_some()
    }

    /// It is made again.
    pub(super) fn go_on(&self) {
        self.kept.set(self.broken_off.take());
    }

    /// What is called next is another call.
    pub(super) fn forget(&self) {
        self.broken_off.set(None);
        self.kept.set(None);
    }
}

/// Wakes a thread of the host.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker for the calling thread.
pub(super) fn waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

impl Thread {
    /// When a wait is over: of a call that is made again, when that was to be.
    pub(super) fn lasting(&self, deadline: Option<Instant>) -> Option<Instant> {
        deadline.map(|deadline| self.deadlines.kept().map_or(deadline, |kept| kept.min(deadline)))
    }

    /// Whether a wait is broken off: for a signal, for the end, or to rest.
    pub(super) fn breaks_off(&self, deadline: Option<Instant>) -> bool {
        if self.must_not_wait() {
            return true;
        }
        let breaks = self.is_interrupted() || self.world.rest.is_wanted();
        if breaks {
            self.deadlines.broken_off.set(deadline);
        }
        breaks
    }

    /// Waits until `check` has an answer. `ETIMEDOUT` after the deadline, `EINTR` when something
    /// else is to be done first.
    pub(super) fn wait<T>(
        &self,
        bells: &[&Bell],
        deadline: Option<Instant>,
        mut check: impl FnMut() -> Option<T>,
    ) -> Result<T, Errno> {
        let deadline = self.lasting(deadline);
        loop {
            if self.processor.is_some() {
                self.world.control.hold();
            }
            bells.iter().for_each(|bell| bell.enlist());
            if let Some(found) = check() {
                return Ok(found);
            }
            if self.breaks_off(deadline) {
                return Err(Errno::INTR);
            }
            match deadline {
                None => self.asleep(thread::park),
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => self.asleep(|| thread::park_timeout(left)),
                    _ => return Err(Errno::TIMEDOUT),
                },
            }
        }
    }

    /// Parks, and is seen to sleep until that is over: `proc_pid_stat(5)`.
    pub(super) fn asleep(&self, park: impl FnOnce()) {
        self.member.is_asleep.store(true, SeqCst);
        self.world.control.parked(park);
        self.member.is_asleep.store(false, SeqCst);
    }

    /// Waits for an answer of the hal.
    pub(super) fn answer(&self, answer: Answered<'_>) -> Result<Reply, Errno> {
        self.answered(answer)?.map_err(|code| self.world.failed(code))
    }

    /// The same, with the code of the hal; an error of its own when something else is to be done first.
    pub(super) fn answered(&self, answer: Answered<'_>) -> Result<Result<Reply, ErrorCode>, Errno> {
        let mut future = match answer {
            Answered::Now(result) => return Ok(result),
            Answered::Later(future) => future,
        };
        let waker = waker();
        let mut context = Context::from_waker(&waker);
        self.wait(&[], None, || match Pin::new(&mut future).poll(&mut context) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        })
    }
}
