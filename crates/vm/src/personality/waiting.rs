//! Waiting in a system call: every wait ends when the process has to end or a signal comes, `signal(7)`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use ringfence_abi::Reply;
use ringfence_isolation::Answer as Answered;
use rustix::io::Errno;

use super::process::lock;
use super::thread::Thread;

/// Wakes the threads that wait for something.
#[derive(Default)]
pub(super) struct Bell(Mutex<Vec<thread::Thread>>);

impl Bell {
    /// Wakes everyone who waits.
    pub(super) fn ring(&self) {
        for thread in lock(&self.0).drain(..) {
            thread.unpark();
        }
    }

    /// The calling thread is woken by the next ring.
    pub(super) fn enlist(&self) {
        let mut waiting = lock(&self.0);
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
        loop {
            bells.iter().for_each(|bell| bell.enlist());
            if let Some(found) = check() {
                return Ok(found);
            }
            if self.is_interrupted() {
                return Err(Errno::INTR);
            }
            match deadline {
                None => thread::park(),
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => thread::park_timeout(left),
                    _ => return Err(Errno::TIMEDOUT),
                },
            }
        }
    }

    /// Waits for an answer of the hal.
    pub(super) fn answer(&self, answer: Answered<'_>) -> Result<Reply, Errno> {
        let mut future = match answer {
            Answered::Now(result) => return result.map_err(|code| self.world.failed(code)),
            Answered::Later(future) => future,
        };
        let waker = waker();
        let mut context = Context::from_waker(&waker);
        self.wait(&[], None, || match Pin::new(&mut future).poll(&mut context) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        })?
        .map_err(|code| self.world.failed(code))
    }
}
