//! A system call that waits as long as somebody else likes, on a thread that can be called off.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread::{self, Builder};
use std::time::Duration;

/// Enough for one system call.
const STACK: usize = 64 * 1024;
/// How often a thread is signalled that is not yet in its call, or has just made another.
const AGAIN: Duration = Duration::from_micros(100);
/// What is there in the place of a number before a thread has begun, and when it has done its work.
const NOT_YET: i32 = 0;
const DONE: i32 = -1;

/// Work on a thread of its own. When this is dropped, system calls that it waits in end with `EINTR` until it is done.
#[derive(Debug)]
pub(crate) struct Interruptible(Arc<Worker>);

#[derive(Debug)]
struct Worker {
    number: AtomicI32,
    /// Held while it is signalled, so that its number stays its own.
    ending: Mutex<()>,
}

impl Interruptible {
    pub(crate) fn begin(work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(handle);
        let worker = Arc::new(Worker { number: AtomicI32::new(NOT_YET), ending: Mutex::default() });
        let own = worker.clone();
        Builder::new().name("ringfence-waits".into()).stack_size(STACK).spawn(move || {
            take_signal();
            own.number.store(rustix::thread::gettid().as_raw_nonzero().get(), SeqCst);
            work();
            let _ending = own.ending.lock().unwrap_or_else(PoisonError::into_inner);
            own.number.store(DONE, SeqCst);
        })?;
        Ok(Interruptible(worker))
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        loop {
            let ending = self.0.ending.lock().unwrap_or_else(PoisonError::into_inner);
            match self.0.number.load(SeqCst) {
                DONE => return,
                NOT_YET => {}
                number => interrupt(number),
            }
            drop(ending);
            thread::sleep(AGAIN);
        }
    }
}

/// A signal that a C library leaves to programs.
fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 6
}

extern "C" fn nothing(_: libc::c_int) {}

/// Has the signal do nothing but to end the call that a thread waits in: no `SA_RESTART`.
fn handle() {
    // SAFETY: an all-zero `sigaction` is valid; the handler is a function that may run at any time; nothing is written.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(signal(), &raw const action, std::ptr::null_mut());
    }
}

/// Unblocks the signal for the calling thread.
fn take_signal() {
    // SAFETY: the set is valid and outlives the calls; the old mask is not asked for.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal());
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// `tgkill(2)`, to a thread of this process that has not ended.
fn interrupt(thread: i32) {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal()) };
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_waits_is_called_off_and_what_is_done_is_left_alone() {
        let (mut one, _other) = UnixStream::pair().unwrap();
        let (sender, receiver) = channel();
        let done = sender.clone();
        let waiting = Interruptible::begin(move || {
            // Not `read_exact`, which begins again.
            let _ = sender.send(one.read(&mut [0]).map_err(|error| error.kind()));
        });
        drop(waiting.unwrap());
        assert_eq!(receiver.recv().unwrap(), Err(io::ErrorKind::Interrupted));
        let quick = Interruptible::begin(move || _ = done.send(Ok(7))).unwrap();
        assert_eq!(receiver.recv().unwrap(), Ok(7));
        drop(quick);
    }
}
