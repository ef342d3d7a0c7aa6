//! Signals that are read or waited for: `signalfd(2)`, `sigtimedwait(2)`.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rustix::io::Errno;

use super::open::{Kind, Open};
use super::readiness::{IN, Watch};
use super::signals;
use super::thread::Thread;
use super::{Answer, Arguments, int};

/// `struct signalfd_siginfo`.
const RECORD: usize = 128;

/// The signals that are read here. They are those of whoever reads.
pub(super) struct Signals(AtomicU64);

impl Signals {
    pub(super) fn of(mask: u64) -> Signals {
        Signals(AtomicU64::new(mask & !signals::never_blocked()))
    }

    pub(super) fn mask(&self) -> u64 {
        self.0.load(SeqCst)
    }

    pub(super) fn readiness(&self, watch: &Watch<'_>) -> i16 {
        watch.enlist(&watch.thread.process.signalled);
        if watch.thread.pending() & self.0.load(SeqCst) != 0 { IN } else { 0 }
    }

    pub(super) fn read(&self, thread: &Thread, into: &mut [u8], at_once: bool) -> Result<usize, Errno> {
        if into.len() < RECORD {
            return Err(Errno::INVAL);
        }
        let take = || thread.take_signal(self.0.load(SeqCst));
        let mut found = match (take(), at_once) {
            (Some(cause), _) => Some(cause),
            (None, true) => return Err(Errno::AGAIN),
            (None, false) => Some(thread.wait(&[&thread.process.signalled], None, take)?),
        };
        let mut done = 0;
        for record in into.chunks_exact_mut(RECORD) {
            let Some(cause) = found.take().or_else(take) else { break };
            record.copy_from_slice(&cause.record());
            done += RECORD;
        }
        Ok(done)
    }
}

/// `signalfd(2)`
pub(super) fn signalfd(thread: &mut Thread, [number, mask, size, ..]: Arguments) -> Answer {
    signalfd4(thread, [number, mask, size, 0, 0, 0])
}

/// `signalfd4(2)`
pub(super) fn signalfd4(thread: &mut Thread, [number, mask, size, flags, ..]: Arguments) -> Answer {
    let flags = int(flags);
    if size != 8 || flags & !(libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    let mask = thread.process.space()?.read_u64(mask)? & !signals::never_blocked();
    let descriptors = thread.process.descriptors();
    if int(number) != -1 {
        let open = descriptors.get(int(number))?;
        let Kind::Signals(signals) = &open.kind else { return Err(Errno::INVAL) };
        signals.0.store(mask, SeqCst);
        return Ok(number);
    }
    let how = (libc::O_RDWR | flags & libc::SFD_NONBLOCK) as u32;
    let kind = Kind::Signals(Signals(AtomicU64::new(mask)));
    let open = Open::new(&thread.world, kind, b"anon_inode:[signalfd]", how);
    descriptors.add(open, 0, flags & libc::SFD_CLOEXEC != 0)
}

/// `sigtimedwait(2)`
pub(super) fn sigtimedwait(thread: &mut Thread, [mask, info, left, size, ..]: Arguments) -> Answer {
    if size != 8 {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let mask = space.read_u64(mask)? & !signals::never_blocked();
    let until = thread.until(left)?;
    let found = thread.wait(&[&thread.process.signalled], until, || thread.take_signal(mask));
    let cause = found.map_err(|errno| if errno == Errno::TIMEDOUT { Errno::AGAIN } else { errno })?;
    if info != 0 {
        space.write(info, &cause.bytes())?;
    }
    Ok(cause.signal as u64)
}
