//! How many questions are worked on at once.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::signal::Signal;

/// A number of slots. Whoever asks while there is none waits in the kernel: what a program asks must not take
/// descriptors and memory of the supervisor without bound.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    free: Arc<AtomicUsize>,
    freed: Arc<Signal>,
}

/// One of them; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Slots);

impl Slots {
    pub(super) fn new(count: usize) -> io::Result<Self> {
        Ok(Slots { free: Arc::new(AtomicUsize::new(count)), freed: Arc::new(Signal::new()?) })
    }

    /// Whether one is free.
    pub(super) fn is_free(&self) -> bool {
        self.free.load(SeqCst) > 0
    }

    /// One of them, if one is free.
    pub(super) fn take(&self) -> Option<Slot> {
        let taken = self.free.fetch_update(SeqCst, SeqCst, |free| free.checked_sub(1));
        taken.ok().map(|_| Slot(self.clone()))
    }

    /// What becomes readable when one is free again after there was none.
    pub(super) fn freed(&self) -> &OwnedFd {
        self.freed.descriptor()
    }

    /// Makes that quiet until the next time.
    pub(super) fn hear(&self) {
        self.freed.hear();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.0.free.fetch_add(1, SeqCst) == 0 {
            self.0.freed.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn rings(slots: &Slots) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(slots.freed(), PollFlags::IN)], Some(&now)) == Ok(1)
    }

    #[test]
    fn who_waits_for_a_slot_is_told_once() {
        let slots = Slots::new(2).unwrap();
        let (first, second) = (slots.take(), slots.take());
        assert!(first.is_some() && second.is_some() && slots.take().is_none() && !slots.is_free());
        assert!(!rings(&slots));
        drop(first);
        assert!(rings(&slots) && slots.is_free());
        slots.hear();
        drop(second);
        assert!(!rings(&slots), "nobody waited");
        assert!(slots.take().is_some());
    }
}
