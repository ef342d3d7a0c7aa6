//! Waiting in a system call: every wait ends when the process has to end or a signal comes, `signal(7)`.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use ringfence_abi::{ErrorCode, Reply};
use ringfence_isolation::Answer as Answered;
use rustix::io::Errno;

use super::process::lock;
use super::thread::Thread;

/// Wakes the threads that wait for something.
#[derive(Default)]
pub(super) struct Bell {
    waiting: Mutex<Vec<thread::Thread>>,
    rings: AtomicU64,
}

impl Bell {
    /// Wakes everyone who waits.
    pub(super) fn ring(&self) {
        self.rings.fetch_add(1, SeqCst);
        for thread in lock(&self.waiting).drain(..) {
            thread.unpark();
        }
    }

    /// How often it was rung.
    pub(super) fn rings(&self) -> u64 {
        self.rings.load(SeqCst)
    }

    /// The calling thread is woken by the next ring.
    pub(super) fn enlist(&self) {
        let mut waiting = lock(&self.waiting);
        let me = thread::current();
        if !waiting.iter().any(|thread| thread.id() == me.id()) {
            waiting.push(me);
        }
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
    /// Waits until `check` has an answer. `ETIMEDOUT` after the deadline, `EINTR` when something
    /// else is to be done first.
    pub(super) fn wait<T>(
        &self,
        bells: &[&Bell],
        deadline: Option<Instant>,
        mut check: impl FnMut() -> Option<T>,
    ) -> Result<T, Errno> {
        let deadline = self.sooner(deadline);
        loop {
            self.world.control.hold();
            bells.iter().for_each(|bell| bell.enlist());
            if let Some(found) = check() {
                return Ok(found);
            }
            if self.is_interrupted() || self.gives_up(deadline) {
                return Err(Errno::INTR);
            }
            match deadline {
                None => self.world.control.parked(thread::park),
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => self.world.control.parked(|| thread::park_timeout(left)),
                    _ => return Err(Errno::TIMEDOUT),
                },
            }
        }
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
