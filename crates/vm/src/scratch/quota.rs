//! How much room there is.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::NODE;
use crate::control::Control;
use crate::kvm::{Kept, Machine};
use crate::memory::{Ledger, Quota};

/// How much room there is: for content by the memory of the machine, for all of it by the disk's limit.
pub(super) struct Room {
    machine: Arc<Machine>,
    control: Arc<Control>,
    used: AtomicU64,
    /// What the host keeps for names and links, which counts as memory.
    kept: Mutex<(usize, Kept)>,
    most: u64,
}

impl Room {
    pub(super) fn new(machine: Arc<Machine>, control: Arc<Control>, most: u64) -> Arc<Self> {
        let kept = Mutex::new((0, Kept::new(machine.clone())));
        Arc::new(Room { machine, control, used: AtomicU64::new(0), kept, most })
    }
}

impl Room {
    /// A thing or a name more, for which the host keeps so many bytes.
    pub(super) fn keep(&self, bytes: usize) -> Result<(), Errno> {
        self.grow(NODE)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += bytes;
        let now = kept.0;
        kept.1.set(now);
        Ok(())
    }

    /// One less.
    pub(super) fn let_go(&self, bytes: usize) {
        self.shrink(NODE);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 = kept.0.saturating_sub(bytes);
        let now = kept.0;
        kept.1.set(now);
    }
}

impl Quota for Room {
    fn grow(&self, bytes: u64) -> Result<(), Errno> {
        let most = self.most;
        let fits = |used: u64| used.checked_add(bytes).filter(|&used| used <= most);
        self.used.fetch_update(SeqCst, SeqCst, fits).map_err(|_| Errno::NOSPC)?;
        if self.control.may_hold(self.machine.used() + bytes) && self.control.charge_disk(bytes) {
            return Ok(());
        }
        self.used.fetch_sub(bytes, SeqCst);
        // The instance ends.
        Err(Errno::DQUOT)
    }

    fn shrink(&self, bytes: u64) {
        self.used.fetch_sub(bytes, SeqCst);
        self.control.release_disk(bytes);
    }
}
