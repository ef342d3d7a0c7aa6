//! How a thread that relays is called.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

/// Becomes readable when somebody rings, and remembers that it is over.
#[derive(Debug)]
pub(super) struct Signal {
    event: OwnedFd,
    over: AtomicBool,
}

impl Signal {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Signal { event, over: AtomicBool::new(false) })
    }

    /// What becomes readable.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.event
    }

    pub(super) fn ring(&self) {
        // Its counter can only be full of such rings.
        let _ = write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Makes it quiet until somebody rings again.
    pub(super) fn hear(&self) {
        let _ = read(&self.event, &mut [0; 8]);
    }

    /// Says that it is over.
    pub(super) fn end(&self) {
        self.over.store(true, SeqCst);
        self.ring();
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }
}
