//! From a pipe of the program's to the hal or to a descriptor, and from a descriptor to a pipe of the program's.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use ringfence_abi::{Call, ErrorCode, Handle, Interest, Reply};
use ringfence_isolation::{Answer, Host, Usage, Verdict};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ReadWriteFlags, ioctl_fionread, pwritev2, read, write};
use tokio::runtime;

use crate::launch::pair;

/// Enough for a loop around `poll`.
pub(crate) const STACK: usize = 128 * 1024;
/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How much a pipe takes at once without anybody having to wait, when it says that it takes something: `PIPE_BUF`,
/// `pipe(7)`. Also how much is typed at once.
const PIECE: usize = 4096;
/// How long somebody may stand still who takes what is printed, once nobody is there who asked for it.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
const NONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Where what is printed goes.
pub(crate) enum Sink {
    /// To this stream of the hal, which counts it.
    Hal(Handle),
    /// To this descriptor, after it was counted.
    Descriptor(OwnedFd),
}

/// The threads that pass on what an instance prints, until what was printed has arrived. Dropping them ends them.
pub(crate) struct Pumps {
    threads: Vec<thread::JoinHandle<()>>,
    over: Arc<OwnedFd>,
    still_there: Option<OwnedFd>,
}

impl Pumps {
    /// Starts one for each pipe, to this stream of the hal.
    pub(crate) fn start(
        printed: Vec<(OwnedFd, Handle)>,
        host: &Arc<dyn Host>,
        executor: &runtime::Handle,
    ) -> io::Result<Self> {
        let (over, still_there) = pair()?;
        let mut pumps = Pumps { threads: Vec::new(), over: Arc::new(over), still_there: Some(still_there) };
        for (from, to) in printed {
            let (host, executor, over) = (host.clone(), executor.clone(), pumps.over());
            let builder = thread::Builder::new().name("ringfence-pump".into()).stack_size(STACK);
            pumps.threads.push(builder.spawn(move || {
                // The hal waits with the executor's drivers.
                let _entered = executor.enter();
                pump(&from, &over, &host, &Sink::Hal(to), None);
            })?);
        }
        Ok(pumps)
    }

    /// What closes when the program is gone.
    pub(crate) fn over(&self) -> Arc<OwnedFd> {
        self.over.clone()
    }

    /// Nobody writes any more who counts: waits until everything has arrived.
    pub(crate) fn finish(&mut self) {
        self.still_there = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Passes what the program prints on until every writer is gone. When `over` closes, the program is
/// gone: what is in the pipe at that moment is passed on, and no writer elsewhere is waited for, or heard any more. When
/// `asking` closes, who asked for it is gone: what nobody takes any more is thrown away.
pub(crate) fn pump(from: &OwnedFd, over: &OwnedFd, host: &Arc<dyn Host>, to: &Sink, asking: Option<&OwnedFd>) {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut left = u64::MAX;
    while left > 0 {
        let mut ready = [PollFd::new(from, PollFlags::IN), PollFd::new(over, PollFlags::empty())];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        let [data, ended] = ready.map(|ready| !ready.revents().is_empty());
        if !data && ended && !readable(from) {
            return;
        }
        if ended && left == u64::MAX {
            left = within(from);
        }
        if data {
            chunk.clear();
            match read(from, spare_capacity(&mut chunk)) {
                Ok(0) => return,
                // When the hal takes no more, the pipe closes and the program learns by SIGPIPE.
                Ok(_) if to.take(host, &chunk, asking).is_err() => return,
                Ok(count) => left = left.saturating_sub(if left == u64::MAX { 0 } else { count as u64 }),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return,
            }
        }
    }
}

impl Sink {
    fn take(&self, host: &Arc<dyn Host>, chunk: &[u8], asking: Option<&OwnedFd>) -> Result<(), ErrorCode> {
        match self {
            Sink::Hal(stream) => send_all(host, *stream, chunk),
            Sink::Descriptor(descriptor) => {
                for piece in chunk.chunks(PIECE) {
                    let used = Usage { output: piece.len() as u64, ..Usage::default() };
                    if host.charge(used) != Verdict::Continue {
                        return Err(ErrorCode::Stopping);
                    }
                    write_all(piece, descriptor, asking, &PATIENCE).ok_or(ErrorCode::Io)?;
                }
                Ok(())
            }
        }
    }
}

/// Passes on what comes until it ends; until `over` closes at the longest, or nobody takes it any more. Where
/// `end` is something, it stands for the end, twice after a line that is not finished.
pub(crate) fn feed(input: &OwnedFd, over: &OwnedFd, to: &OwnedFd, end: Option<u8>) {
    let mut chunk = Vec::with_capacity(PIECE);
    let mut line_is_open = false;
    loop {
        let mut ready = [
            PollFd::new(input, PollFlags::IN),
            PollFd::new(over, PollFlags::empty()),
            // Of a reader only that it is gone.
            PollFd::new(to, PollFlags::empty()),
        ];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        let [_, ended, gone] = ready.map(|ready| !ready.revents().is_empty());
        if ended || gone {
            return;
        }
        chunk.clear();
        match read(input, spare_capacity(&mut chunk)) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(count) if count > 0 => {
                line_is_open = !chunk.ends_with(b"\n");
                if write_all(&chunk, to, Some(over), &NONE).is_none() {
                    return;
                }
            }
            // The first one ends a line that is not finished.
            _ => {
                if let Some(end) = end {
                    write_all(&[end, end][usize::from(!line_is_open)..], to, Some(over), &NONE);
                }
                return;
            }
        }
    }
}

/// Writes all of it, as fast as it is taken; `None` when there is no use in going on. When `over` closes, who takes
/// nothing for so long takes nothing any more.
fn write_all(mut rest: &[u8], to: &OwnedFd, mut over: Option<&OwnedFd>, patience: &Timespec) -> Option<()> {
    let mut waiting = None;
    while !rest.is_empty() {
        let mut ready = [PollFd::new(to, PollFlags::OUT), PollFd::new(over.unwrap_or(to), PollFlags::empty())];
        match poll(&mut ready, waiting) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(_) => continue,
        }
        if over.is_some() && !ready[1].revents().is_empty() {
            (over, waiting) = (None, Some(patience));
            continue;
        }
        match write_now(to, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// Writes what there is room for: where two write to one pipe, the other may have taken what `poll` promised
/// (`pwritev2(2)`, `RWF_NOWAIT`).
fn write_now(to: &OwnedFd, from: &[u8]) -> Result<usize, Errno> {
    // A file never makes anyone wait for another, and some file systems take nothing at once.
    if fstat(to).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile) {
        return write(to, from);
    }
    match pwritev2(to, &[IoSlice::new(from)], u64::MAX, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => write(to, from),
        answer => answer,
    }
}

/// How much there is in a pipe now; what a terminal shows is not known before it is read.
fn within(from: &OwnedFd) -> u64 {
    let is_pipe = fstat(from).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo);
    if is_pipe { ioctl_fionread(from).unwrap_or(u64::MAX) } else { u64::MAX }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_still_is_waited_for_only_as_long_as_somebody_is_there_who_asked() {
        let (stands_still, full) = pair().unwrap();
        rustix::io::ioctl_fionbio(&full, true).unwrap();
        while write(&full, &[0; PIECE]).is_ok() {}
        rustix::io::ioctl_fionbio(&full, false).unwrap();
        let (left, asks) = pair().unwrap();
        let (told, writing) = std::sync::mpsc::channel();
        let writer = thread::spawn(move || {
            told.send(()).unwrap();
            write_all(b"more", &full, Some(&left), &PATIENCE)
        });
        writing.recv().unwrap();
        drop(asks);
        assert_eq!(writer.join().unwrap(), None);
        drop(stands_still);
    }

    #[test]
    fn what_is_taken_arrives_though_nobody_is_there_who_asked() {
        let (reader, writer) = pair().unwrap();
        let (left, asks) = pair().unwrap();
        drop(asks);
        assert_eq!(write_all(b"the rest", &writer, Some(&left), &PATIENCE), Some(()));
        let mut found = [0; 8];
        assert_eq!(read(&reader, &mut found), Ok(8));
        assert_eq!(&found, b"the rest");
    }
}
