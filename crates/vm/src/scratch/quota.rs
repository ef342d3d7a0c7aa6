//! How much room there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rustix::io::Errno;

use crate::control::Control;
use crate::kvm::Machine;
use crate::memory::{Ledger, Quota};

/// How much room there is: for content by the memory of the machine, for all of it by the disk's limit.
pub(super) struct Room {
    machine: Arc<Machine>,
    control: Arc<Control>,
    used: AtomicU64,
    most: u64,
}

impl Room {
    pub(super) fn new(machine: Arc<Machine>, control: Arc<Control>, most: u64) -> Arc<Self> {
        Arc::new(Room { machine, control, used: AtomicU64::new(0), most })
    }
}

impl Quota for Room {
    fn grow(&self, bytes: u64) -> Result<(), Errno> {
        let most = self.most;
        let fits = |used: u64| used.checked_add(bytes).filter(|&used| used <= most);
        self.used.fetch_update(SeqCst, SeqCst, fits).map_err(|_| Errno::NOSPC)?;
        let may = self.control.may_hold(self.machine.used() + bytes) && self.control.charge_disk(bytes);
        if may {
            return Ok(());
        }
        self.used.fetch_sub(bytes, SeqCst);
        Err(Errno::NOSPC)
    }

    fn shrink(&self, bytes: u64) {
        self.used.fetch_sub(bytes, SeqCst);
        self.control.release_disk(bytes);
    }
}
