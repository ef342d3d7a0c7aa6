//! From a pipe of the program's to the hal.

use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use ringfence_abi::{Call, ErrorCode, Handle, Interest, Reply};
use ringfence_isolation::{Answer, Host};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// Passes what the program prints on until every writer is gone. When `over` closes, the program is
/// gone: what is still in the pipe is passed on, and no writer elsewhere is waited for.
pub(crate) fn pump(from: &OwnedFd, over: &OwnedFd, host: &Arc<dyn Host>, to: Handle) {
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        let mut ready = [PollFd::new(from, PollFlags::IN), PollFd::new(over, PollFlags::empty())];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        let [data, ended] = ready.map(|ready| !ready.revents().is_empty());
        if !data && ended && !readable(from) {
            return;
        }
        if data {
            chunk.clear();
            match read(from, spare_capacity(&mut chunk)) {
                Ok(0) => return,
                // When the hal takes no more, the pipe closes and the program learns by SIGPIPE.
                Ok(_) if send_all(host, to, &chunk).is_err() => return,
                Ok(_) => {}
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return,
            }
        }
    }
}

fn readable(from: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&now)).is_ok_and(|count| count > 0)
}

fn send_all(host: &Arc<dyn Host>, to: Handle, mut rest: &[u8]) -> Result<(), ErrorCode> {
    while !rest.is_empty() {
        match wait(host.call(Call::Send { stream: to, from: rest })) {
            Ok(Reply::Count(count)) => rest = &rest[count.min(rest.len())..],
            Ok(_) => return Err(ErrorCode::Io),
            Err(ErrorCode::WouldBlock) => {
                wait(host.call(Call::Ready { handle: to, interest: Interest::Writable }))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for an answer on this thread.
fn wait(answer: Answer<'_>) -> Result<Reply, ErrorCode> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = match answer {
        Answer::Now(result) => return result,
        Answer::Later(future) => pin!(future),
    };
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}
