//! A system call that waits as long as somebody else likes, on a thread that can be called off.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// Enough for one system call.
const STACK: usize = 64 * 1024;
/// How often a thread is signalled that is not yet in its call, or has just made another.
const AGAIN: Duration = Duration::from_micros(500);
/// What is there in the place of a number before a thread has begun, and when it has done its work.
const NOT_YET: i32 = 0;
const DONE: i32 = -1;

/// What ends a call. Nothing is done at it where nobody asked for it, and it is one of those that come also when no more
/// signals can be kept: whoever shares this user may see to that (`RLIMIT_SIGPENDING`).
const SIGNAL: libc::c_int = libc::SIGURG;

/// Work on a thread of its own. When this is dropped, system calls that it waits in end with `EINTR` until it is done;
/// nobody waits for that.
#[derive(Debug)]
pub(crate) struct Interruptible(Arc<Worker>);

#[derive(Debug)]
struct Worker {
    number: AtomicI32,
    /// Held while it is signalled, so that its number stays its own.
    ending: Mutex<()>,
}

/// Says at the end that the work is done, however it ended.
struct Ending(Arc<Worker>);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ending = self.0.ending.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.number.store(DONE, SeqCst);
    }
}

impl Worker {
    /// Whether it is done; if not, it is signalled.
    fn is_done(&self) -> bool {
        let _ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        match self.number.load(SeqCst) {
            DONE => return true,
            NOT_YET => {}
            number => interrupt(number),
        }
        false
    }
}

impl Interruptible {
    pub(crate) fn begin(work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        LazyLock::force(&CALLER_OFF);
        let worker = Arc::new(Worker { number: AtomicI32::new(NOT_YET), ending: Mutex::default() });
        let own = Ending(worker.clone());
        Builder::new().name("ringfence-waits".into()).stack_size(STACK).spawn(move || {
            take_signal();
            own.0.number.store(rustix::thread::gettid().as_raw_nonzero().get(), SeqCst);
            work();
            drop(own);
        })?;
        Ok(Interruptible(worker))
    }
}

/// Who calls threads off.
static CALLER_OFF: LazyLock<Option<Sender<Arc<Worker>>>> = LazyLock::new(|| {
    handle();
    let (sender, receiver) = channel();
    let caller = Builder::new().name("ringfence-calls-off".into()).stack_size(STACK);
    caller.spawn(move || call_off(&receiver)).ok().map(|_| sender)
});

fn call_off(receiver: &Receiver<Arc<Worker>>) {
    let mut waiting: Vec<Arc<Worker>> = Vec::new();
    loop {
        let more = match waiting.is_empty() {
            true => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => receiver.recv_timeout(AGAIN),
        };
        match more {
            Ok(more) => waiting.push(more),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        waiting.retain(|worker| !worker.is_done());
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        if !self.0.is_done()
            && let Some(caller) = &*CALLER_OFF
        {
            // It never ends.
            let _ = caller.send(self.0.clone());
        }
    }
}

extern "C" fn nothing(_: libc::c_int) {}

/// Has the signal do nothing but to end the call that a thread waits in: no `SA_RESTART`. Who handles it already goes on
/// doing so.
fn handle() {
    // SAFETY: all-zero `sigaction`s are valid and outlive the calls; the handler is a function that may run at any time.
    unsafe {
        let (mut action, mut before): (libc::sigaction, libc::sigaction) = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(SIGNAL, std::ptr::null(), &raw mut before);
        if [libc::SIG_DFL, libc::SIG_IGN].contains(&before.sa_sigaction) {
            libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Unblocks the signal for the calling thread.
fn take_signal() {
    // SAFETY: the set is valid and outlives the calls; the old mask is not asked for.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, SIGNAL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// `tgkill(2)`, to a thread of this process that has not ended.
fn interrupt(thread: i32) {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
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
