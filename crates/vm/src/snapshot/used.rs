//! Machines that instances of a snapshot have left, for the next ones.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Image;
use crate::kvm::Machine;

/// The machines, each as at the capture, and how many there are to be at most.
pub(crate) struct Used {
    image: Arc<Image>,
    most: AtomicUsize,
    machines: Mutex<Vec<Machine>>,
}

impl Used {
    /// None, and none are kept.
    pub(super) fn new(image: Arc<Image>) -> Used {
        Used { image, most: AtomicUsize::new(0), machines: Mutex::default() }
    }

    /// Keeps so many from now on.
    pub(super) fn keep(&self, most: usize) {
        self.most.store(most, SeqCst);
        let surplus: Vec<Machine> = {
            let mut machines = self.machines();
            let kept = machines.len().min(most);
            machines.drain(kept..).collect()
        };
        drop(surplus);
    }

    /// Whether any are kept.
    pub(super) fn is_wanted(&self) -> bool {
        self.most.load(SeqCst) > 0
    }

    /// One of them.
    pub(super) fn take(&self) -> Option<Machine> {
        self.machines().pop()
    }

    /// Puts a machine back as it was, whose instance has ended. What it did is gone when this returns; when the machine
    /// cannot be put back, or there are enough, it is closed.
    pub(crate) fn give(&self, mut machine: Machine) {
        if self.machines().len() >= self.most.load(SeqCst) || !machine.rewind(|place| self.image.store.get(place, 1)) {
            return;
        }
        let mut machines = self.machines();
        if machines.len() < self.most.load(SeqCst) {
            machines.push(machine);
        }
    }

    fn machines(&self) -> MutexGuard<'_, Vec<Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
