//! Machines that instances of a snapshot have left, for the next ones.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Image;
use crate::kvm::Machine;

/// The machines, each as at the capture, and how many there are to be at most.
pub(crate) struct Used {
    image: Arc<Image>,
    most: AtomicUsize,
    state: Mutex<State>,
    /// Rung when a machine came, or will not come after all.
    came: Condvar,
}

#[derive(Default)]
struct State {
    machines: Vec<Machine>,
    /// How many are being put back at this moment, and how many threads wait for one of those.
    coming: usize,
    waiting: usize,
}

/// A machine whose instance has ended, and which is not as it was yet.
pub(crate) struct Left {
    used: Arc<Used>,
    machine: Option<Machine>,
}

impl Used {
    /// None, and none are kept.
    pub(super) fn new(image: Arc<Image>) -> Used {
        Used { image, most: AtomicUsize::new(0), state: Mutex::default(), came: Condvar::new() }
    }

    /// Keeps so many from now on.
    pub(super) fn keep(&self, most: usize) {
        self.most.store(most, SeqCst);
        let surplus: Vec<Machine> = {
            let machines = &mut self.state().machines;
            let kept = machines.len().min(most);
            machines.drain(kept..).collect()
        };
        drop(surplus);
    }

    /// Whether any are kept.
    pub(super) fn is_wanted(&self) -> bool {
        self.most.load(SeqCst) > 0
    }

    /// One of them. One that is being put back is waited for: making another takes longer.
    pub(super) fn take(&self) -> Option<Machine> {
        let mut state = self.state();
        while state.machines.is_empty() && state.coming > state.waiting {
            state.waiting += 1;
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.machines.pop()
    }

    /// Takes a machine over whose instance has ended, unless there are enough or it cannot be used again: then it is
    /// closed when this returns.
    pub(crate) fn take_over(self: &Arc<Self>, machine: Machine) -> Option<Left> {
        let mut state = self.state();
        if state.machines.len() + state.coming >= self.most.load(SeqCst) || !machine.is_recorded() {
            return None;
        }
        state.coming += 1;
        Some(Left { used: self.clone(), machine: Some(machine) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Left {
    /// Puts it back as it was. What its instance did is gone when this returns; when that cannot be, the machine is
    /// closed.
    pub(crate) fn put_back(mut self) {
        let Some(mut machine) = self.machine.take() else { return };
        if !machine.rewind(|place| self.used.image.store.get(place, 1)) {
            return;
        }
        let mut state = self.used.state();
        if state.machines.len() < self.used.most.load(SeqCst) {
            state.machines.push(machine);
        }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.used.state().coming -= 1;
        self.used.came.notify_all();
    }
}
