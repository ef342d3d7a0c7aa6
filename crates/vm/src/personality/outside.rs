//! Between what a further command has open in the instance and the descriptors it was given outside: a thread
//! of the host for each direction, which ends with the command.
//!
//! Others may have the same open outside, and be quicker: that there was something to read a moment ago says
//! nothing. A pipe and a socket are therefore never waited for but in `poll(2)`. Of what cannot be read like that, a
//! terminal say, a thread may wait for as long as it likes: nobody waits for the threads that read.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use ringfence_isolation::{Usage, Verdict};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2, read, write};

use super::pipe::Pipe;
use super::process::lock;
use super::waiting::Bell;
use super::world::World;

/// How much a pipe takes without anybody having to wait, when it says that it takes something: `PIPE_BUF`.
const PIECE: usize = 4096;
/// How soon who writes to somebody who does not read sees that everything is ending.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Says that a command has ended, to threads that wait for a bell and to those that poll.
pub(super) struct Over {
    flag: AtomicBool,
    event: OwnedFd,
}

impl Over {
    pub(super) fn new() -> Result<Arc<Over>, Errno> {
        Ok(Arc::new(Over { flag: AtomicBool::new(false), event: eventfd(0, EventfdFlags::CLOEXEC)? }))
    }

    pub(super) fn is(&self) -> bool {
        self.flag.load(SeqCst)
    }

    /// It has ended. Whoever waits for a bell is woken by that bell.
    pub(super) fn say(&self) {
        self.flag.store(true, SeqCst);
        // The one thing it counts; there is room.
        let _ = write(&self.event, &1_u64.to_ne_bytes());
    }
}

/// The end of a pipe that is written to from outside: closed when there is no more, or when the command is over.
pub(super) struct Source(Mutex<Option<Arc<Pipe>>>);

impl Source {
    pub(super) fn new(pipe: Arc<Pipe>) -> Arc<Source> {
        pipe.open_writer();
        Arc::new(Source(Mutex::new(Some(pipe))))
    }

    /// Puts what there is room for, and has the calling thread woken when there may be more; `None` when it is closed.
    pub(super) fn put(&self, bytes: &[u8]) -> Option<usize> {
        let pipe = lock(&self.0).clone()?;
        pipe.bell.enlist();
        Some(pipe.put(bytes))
    }

    pub(super) fn close(&self) {
        if let Some(pipe) = lock(&self.0).take() {
            pipe.close_writer();
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether the kernel can be told not to wait for it: since Linux 6.5. A file that is not in memory yet would say
/// each time that one had to wait.
fn can_be_hurried(descriptor: &OwnedFd) -> bool {
    let kind = fstat(descriptor).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

/// What there is, without waiting where that can be said: `preadv2(2)`.
fn read_now(from: &OwnedFd, into: &mut [u8]) -> Result<usize, Errno> {
    if can_be_hurried(from) {
        match preadv2(from, &mut [IoSliceMut::new(into)], u64::MAX, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {}
            answer => return answer,
        }
    }
    read(from, into)
}

/// The same for what there is room for: `pwritev2(2)`.
fn write_now(to: &OwnedFd, from: &[u8]) -> Result<usize, Errno> {
    if can_be_hurried(to) {
        match pwritev2(to, &[IoSlice::new(from)], u64::MAX, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {}
            answer => return answer,
        }
    }
    write(to, from)
}

/// Waits for the next ring, unless `done` holds by then.
fn wait(bell: &Bell, done: impl Fn() -> bool) {
    bell.enlist();
    if !done() {
        thread::park();
    }
}

/// Passes what comes to `put`, which says how much it took and has this thread woken when it takes more, until nobody
/// has or takes more or the command has ended. Whether the last line was left open. It keeps nothing of the
/// instance while it waits, and nobody waits for it.
pub(super) fn feed(from: &OwnedFd, over: &Over, mut put: impl FnMut(&[u8]) -> Option<usize>) -> bool {
    let mut line_is_open = false;
    let mut chunk = [0; PIECE];
    loop {
        let mut ready = [PollFd::new(from, PollFlags::IN), PollFd::new(&over.event, PollFlags::IN)];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        if over.is() {
            return line_is_open;
        }
        let count = match read_now(from, &mut chunk) {
            Ok(count) if count > 0 => count,
            Err(Errno::INTR | Errno::AGAIN) => continue,
            _ => return line_is_open,
        };
        line_is_open = chunk[count - 1] != b'\n';
        let mut rest = &chunk[..count];
        while !rest.is_empty() && !over.is() {
            let Some(taken) = put(rest) else { return line_is_open };
            rest = &rest[taken..];
            if taken == 0 && !over.is() {
                thread::park();
            }
        }
    }
}

/// Passes on what `take` has, until that is the end of it; when the command has ended, what is there by then.
pub(super) fn drain(to: &OwnedFd, world: &World, over: &Over, bell: &Bell, take: impl Fn(usize) -> Option<Vec<u8>>) {
    loop {
        match take(PIECE) {
            Some(piece) if piece.is_empty() => return,
            Some(piece) => {
                if !pass(to, world, &piece) {
                    return;
                }
            }
            // Looked at once more, for what came in between.
            None if over.is() => match take(PIECE).filter(|piece| !piece.is_empty()) {
                Some(piece) if pass(to, world, &piece) => {}
                _ => return,
            },
            None => wait(bell, || over.is() || take(0).is_some()),
        }
    }
}

/// Writes all of it, after it was counted; `false` when nobody takes it or everything is ending.
fn pass(to: &OwnedFd, world: &World, mut rest: &[u8]) -> bool {
    let used = Usage { output: rest.len() as u64, ..Usage::default() };
    let verdict = world.host.charge(used);
    if verdict != Verdict::Continue {
        world.control.stop_by(verdict);
        return false;
    }
    while !rest.is_empty() {
        let mut ready = [PollFd::new(to, PollFlags::OUT)];
        match poll(&mut ready, Some(&LOOK)) {
            Ok(0) if world.control.is_stopping() => return false,
            Ok(0) | Err(_) => continue,
            Ok(_) => {}
        }
        match write_now(to, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn nobody_waits_for_a_pipe_or_a_socket_that_others_have_emptied_or_filled() {
        let (read_end, write_end) = std::io::pipe().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        for (from, to) in [(OwnedFd::from(read_end), OwnedFd::from(write_end)), (one.into(), other.into())] {
            // What an older kernel is not asked, it cannot answer.
            let hurried = pwritev2(&to, &[IoSlice::new(b"x")], u64::MAX, ReadWriteFlags::NOWAIT);
            if hurried != Ok(1) {
                return eprintln!("skipped: this kernel always waits: {hurried:?}");
            }
            let mut chunk = [0; 8];
            assert_eq!(read_now(&from, &mut chunk), Ok(1));
            assert_eq!(read_now(&from, &mut chunk), Err(Errno::AGAIN));
            while let Ok(count) = write_now(&to, &[0; PIECE]) {
                assert!(count > 0);
            }
            assert_eq!(write_now(&to, &[0; PIECE]), Err(Errno::AGAIN));
        }
    }
}
