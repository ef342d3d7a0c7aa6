//! Machines of one spec that were made ahead: who asks for an instance waits for its program only.
//!
//! Nothing of a program is in them: a machine, its first processor, and some memory that is really there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::kvm::{Kvm, Machine, MachineError, StubKind};

/// How long the making of another machine waits after one was taken: a program that was just started goes
/// first, and the two would slow each other down.
const PRECEDENCE: Duration = Duration::from_millis(5);

/// What the machines are to be.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) kvm: Arc<Kvm>,
    pub(crate) kind: StubKind,
    /// Bytes that programs can have.
    pub(crate) memory: Option<u64>,
}

impl Wanted {
    fn make(&self) -> Result<Machine, MachineError> {
        Machine::new(&self.kvm, self.kind, self.memory)
    }
}

/// The machines, and how many there are to be.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    wanted: Wanted,
    machines: Mutex<VecDeque<Machine>>,
    count: AtomicUsize,
    /// Whether a thread is at work that fills it.
    filling: AtomicBool,
}

impl Pool {
    /// None of them yet.
    pub(crate) fn new(wanted: Wanted) -> Pool {
        let (machines, count) = (Mutex::default(), AtomicUsize::new(0));
        Pool(Arc::new(Shared { wanted, machines, count, filling: AtomicBool::new(false) }))
    }

    /// Keeps so many from now on; they are there when this returns.
    pub(crate) fn keep(&self, count: usize) -> Result<(), MachineError> {
        self.0.count.store(count, SeqCst);
        loop {
            let surplus = {
                let mut machines = self.0.machines();
                if machines.len() > count { machines.pop_front() } else { None }
            };
            if surplus.is_none() {
                return self.0.fill();
            }
        }
    }

    /// A machine: one that is there, while another is made in its stead, or a new one.
    pub(crate) fn machine(&self) -> Result<Machine, MachineError> {
        if self.0.count.load(SeqCst) == 0 {
            return self.0.wanted.make();
        }
        let ready = self.0.machines().pop_front();
        self.0.refill();
        ready.map_or_else(|| self.0.wanted.make(), Ok)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.count.store(0, SeqCst);
        let machines = std::mem::take(&mut *self.0.machines());
        drop(machines);
    }
}

impl Shared {
    fn machines(&self) -> MutexGuard<'_, VecDeque<Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_short(&self) -> bool {
        self.machines().len() < self.count.load(SeqCst)
    }

    fn fill(&self) -> Result<(), MachineError> {
        while self.is_short() {
            let machine = self.wanted.make()?;
            machine.warm()?;
            let mut machines = self.machines();
            if machines.len() < self.count.load(SeqCst) {
                machines.push_back(machine);
            }
        }
        Ok(())
    }

    /// Makes what is missing, on a thread of its own.
    fn refill(self: &Arc<Self>) {
        if self.filling.swap(true, SeqCst) {
            return;
        }
        let shared = self.clone();
        let work = move || {
            thread::sleep(PRECEDENCE);
            // When it fails the next one is made by who needs it, who is told why.
            let filled = shared.fill();
            shared.filling.store(false, SeqCst);
            // Who took one between the last look and this left it to this thread.
            if filled.is_ok() && shared.is_short() {
                shared.refill();
            }
        };
        if thread::Builder::new().name("microvm-pool".into()).spawn(work).is_err() {
            self.filling.store(false, SeqCst);
        }
    }
}
