//! A set of semaphores: operations are done all or not at all, and who waits for them is served in turn.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::thread;

use rustix::io::Errno;

use crate::kvm::Kept;
use crate::personality::ipc::Owned;
use crate::personality::world::World;

/// The most a semaphore can be, and the most that can be undone: `SEMVMX`, `SEMAEM`.
pub(super) const HIGHEST: i32 = 32767;
/// About what the host keeps for each set, each semaphore and what is to be undone of one.
const EACH: usize = 256;
const SEMAPHORE: usize = size_of::<Semaphore>();
pub(super) const UNDO: usize = 48;
/// `SEM_UNDO`
const SEM_UNDO: i16 = 0x1000;

#[derive(Clone, Copy, Default)]
pub(super) struct Semaphore {
    pub(super) value: i32,
    /// Who was the last to do something with it: `sempid`.
    pub(super) used_by: u32,
}

/// `struct sembuf`
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) number: u16,
    pub(super) change: i16,
    flags: i16,
}

impl Operation {
    /// Of six bytes.
    pub(super) fn of(bytes: &[u8]) -> Operation {
        let word = |at: usize| i16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Operation { number: word(0) as u16, change: word(2), flags: word(4) }
    }

    pub(super) fn is_undone(&self) -> bool {
        self.flags & SEM_UNDO != 0
    }
}

/// A thread that waits for its operations to be done.
pub(super) struct Waiter {
    thread: thread::Thread,
    answer: OnceLock<Result<(), Errno>>,
}

impl Waiter {
    pub(super) fn new() -> Waiter {
        Waiter { thread: thread::current(), answer: OnceLock::new() }
    }

    pub(super) fn answer(&self) -> Option<Result<(), Errno>> {
        self.answer.get().copied()
    }

    fn wake(&self, answer: Result<(), Errno>) {
        // There is one, who was taken out of the set for that.
        let _ = self.answer.set(answer);
        self.thread.unpark();
    }
}

/// What a thread waits for.
pub(super) struct Waiting {
    pub(super) process: u32,
    pub(super) operations: Arc<[Operation]>,
    /// Whether one of them changes something.
    pub(super) alters: bool,
    /// The one it waits for.
    pub(super) blocking: usize,
    pub(super) waiter: Arc<Waiter>,
}

pub(super) struct Set {
    pub(super) owned: Owned,
    pub(super) semaphores: Vec<Semaphore>,
    /// When it was used and changed, in seconds: `sem_otime`, `sem_ctime`.
    pub(super) operated: u64,
    pub(super) changed: u64,
    pub(super) waiting: Vec<Waiting>,
    /// What is added to a semaphore when a process ends.
    undo: BTreeMap<(u32, u16), i32>,
    kept: Kept,
}

impl AsRef<Owned> for Set {
    fn as_ref(&self) -> &Owned {
        &self.owned
    }
}

impl Set {
    /// What the host keeps for one of so many.
    pub(super) fn weight(count: usize) -> usize {
        EACH + count * SEMAPHORE
    }

    pub(super) fn new(owned: Owned, count: usize, world: &World) -> Set {
        Set {
            owned,
            semaphores: vec![Semaphore::default(); count],
            operated: 0,
            changed: world.seconds(),
            waiting: Vec::new(),
            undo: BTreeMap::new(),
            kept: Kept::of(&world.machine, Set::weight(count)),
        }
    }

    fn count(&mut self) {
        self.kept.set(Set::weight(self.semaphores.len()) + self.undo.len() * UNDO);
    }

    /// Does all of them or none, in the name of a process. The one that has to be waited for, if there is one.
    pub(super) fn attempt(&mut self, process: u32, operations: &[Operation]) -> Result<Option<usize>, Errno> {
        for (index, operation) in operations.iter().enumerate() {
            let answer = match self.can(process, *operation) {
                Ok(true) => {
                    self.shift(process, *operation, 1);
                    continue;
                }
                Ok(false) if i32::from(operation.flags) & libc::IPC_NOWAIT != 0 => Err(Errno::AGAIN),
                Ok(false) => Ok(Some(index)),
                Err(errno) => Err(errno),
            };
            for done in operations[..index].iter().rev() {
                self.shift(process, *done, -1);
            }
            return answer;
        }
        for operation in operations {
            if let Some(semaphore) = self.semaphores.get_mut(usize::from(operation.number)) {
                semaphore.used_by = process;
            }
        }
        self.count();
        Ok(None)
    }

    /// Whether it can be done now. `ERANGE` when it never can.
    fn can(&self, process: u32, operation: Operation) -> Result<bool, Errno> {
        let change = i32::from(operation.change);
        let value = self.semaphores.get(usize::from(operation.number)).ok_or(Errno::FBIG)?.value;
        if operation.is_undone() {
            let undo = self.undo.get(&(process, operation.number)).copied().unwrap_or(0) - change;
            if !(-HIGHEST - 1..=HIGHEST).contains(&undo) {
                return Err(Errno::RANGE);
            }
        }
        match value + change {
            _ if change == 0 => Ok(value == 0),
            after if after > HIGHEST => Err(Errno::RANGE),
            after => Ok(after >= 0),
        }
    }

    /// Does it, or takes it back.
    fn shift(&mut self, process: u32, operation: Operation, sign: i32) {
        let change = sign * i32::from(operation.change);
        if let Some(semaphore) = self.semaphores.get_mut(usize::from(operation.number)) {
            semaphore.value += change;
        }
        if operation.is_undone() && change != 0 {
            let undo = self.undo.entry((process, operation.number)).or_default();
            *undo -= change;
            if *undo == 0 {
                self.undo.remove(&(process, operation.number));
            }
        }
    }

    /// Something was changed: does what others wait for and can be done now. Those who only look come first.
    pub(super) fn update(&mut self, now: impl Fn() -> u64) {
        while [false, true].into_iter().any(|alters| self.serve(alters, &now)) {}
    }

    /// Serves those who alter something, or the others; of those who do the first, as it changes what comes next.
    fn serve(&mut self, alters: bool, now: &impl Fn() -> u64) -> bool {
        let mut at = 0;
        while let Some(waiting) = self.waiting.get(at) {
            if waiting.alters != alters {
                at += 1;
                continue;
            }
            let operations = waiting.operations.clone();
            let answer = match self.attempt(waiting.process, &operations) {
                Ok(Some(blocking)) => {
                    self.waiting[at].blocking = blocking;
                    at += 1;
                    continue;
                }
                Ok(None) => Ok(()),
                Err(errno) => Err(errno),
            };
            self.waiting.remove(at).waiter.wake(answer);
            if answer.is_ok() {
                self.operated = now();
                if alters {
                    return true;
                }
            }
        }
        false
    }

    /// How many wait for a semaphore to become 0, or to grow: `GETZCNT`, `GETNCNT`.
    pub(super) fn waiting_for(&self, number: u16, zero: bool) -> usize {
        let blocking = self.waiting.iter().filter_map(|waiting| waiting.operations.get(waiting.blocking));
        blocking.filter(|one| one.number == number && if zero { one.change == 0 } else { one.change < 0 }).count()
    }

    /// Nothing is undone of a semaphore any more, or of none: `SETVAL`, `SETALL`.
    pub(super) fn forget_undo(&mut self, number: Option<u16>) {
        self.undo.retain(|&(_, of), _| number.is_some_and(|number| number != of));
        self.count();
    }

    /// A process has ended.
    pub(super) fn ended(&mut self, process: u32, now: impl Fn() -> u64) {
        let all: Vec<_> = self.undo.range((process, 0)..=(process, u16::MAX)).map(|(&of, &undo)| (of, undo)).collect();
        if all.is_empty() {
            return;
        }
        for (of, undo) in all {
            self.undo.remove(&of);
            if let Some(semaphore) = self.semaphores.get_mut(usize::from(of.1)) {
                *semaphore = Semaphore { value: (semaphore.value + undo).clamp(0, HIGHEST), used_by: process };
            }
        }
        self.count();
        self.operated = now();
        self.update(now);
    }

    /// It is removed: nobody waits any more.
    pub(super) fn removed(self) {
        for waiting in self.waiting {
            waiting.waiter.wake(Err(Errno::IDRM));
        }
    }
}
