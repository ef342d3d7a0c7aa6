//! Semaphores that processes share by a number: `sysvipc(7)`, `semget(2)`, `semop(2)`.
//!
//! Who waits leaves what it is to do with the set. Whoever changes the set does that in its name, in the order in which
//! they came, and wakes it when it is done.

mod control;
mod set;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;

use self::set::{Operation, Set, Waiter, Waiting};
use super::ipc::Table;
use super::process::lock;
use super::thread::Thread;
use super::world::World;
use super::{Answer, Arguments, int, owners, time};
pub(super) use control::control;

/// How many sets there are at most, how many semaphores in one and in all: `SEMMNI`, `SEMMSL`, `SEMMNS`.
const MOST: usize = 32000;
const MOST_IN_ONE: usize = 32000;
const MOST_IN_ALL: usize = MOST * MOST_IN_ONE;
/// How many operations there are in one call: `SEMOPM`.
const MOST_OPERATIONS: usize = 500;

/// Those of an instance, by their numbers.
#[derive(Default)]
pub(super) struct Semaphores(Mutex<Table<Set>>);

impl Semaphores {
    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).all.is_empty()
    }

    /// A process has ended: what it did with `SEM_UNDO` is undone.
    pub(super) fn ended(&self, world: &World, process: u32) {
        let mut sets = lock(&self.0);
        for set in sets.all.values_mut() {
            set.ended(process, || world.seconds());
        }
    }
}

/// `semget(2)`
pub(super) fn get(thread: &mut Thread, [key, count, flags, ..]: Arguments) -> Answer {
    let (key, flags) = (int(key), int(flags));
    let count = usize::try_from(int(count)).ok().filter(|&count| count <= MOST_IN_ONE).ok_or(Errno::INVAL)?;
    let world = thread.world.clone();
    let mut sets = lock(&world.semaphores.0);
    if let Some(id) = sets.find(thread, key, flags, |set| count <= set.semaphores.len())? {
        return Ok(id);
    }
    if count == 0 {
        return Err(Errno::INVAL);
    }
    let used: usize = sets.all.values().map(|set| set.semaphores.len()).sum();
    if used + count > MOST_IN_ALL {
        return Err(Errno::NOSPC);
    }
    world.may_keep(Set::weight(count))?;
    sets.add(MOST, || Set::new(thread.owned(key, flags), count, &world))
}

/// `semop(2)`
pub(super) fn operate(thread: &mut Thread, [id, at, count, ..]: Arguments) -> Answer {
    operate_until(thread, id, at, count, None)
}

/// `semtimedop(2)`
pub(super) fn operate_for(thread: &mut Thread, [id, at, count, time, ..]: Arguments) -> Answer {
    let wanted = match time {
        0 => None,
        time => Some(thread.duration(time)),
    };
    if wanted == Some(Err(Errno::FAULT)) {
        return Err(Errno::FAULT);
    }
    operate_until(thread, id, at, count, wanted)
}

/// `wanted` is looked at as late as Linux does.
fn operate_until(thread: &Thread, id: u64, at: u64, count: u64, wanted: Option<Result<Duration, Errno>>) -> Answer {
    let operations = operations(thread, at, count)?;
    if int(id) < 0 {
        return Err(Errno::INVAL);
    }
    let until = wanted.transpose()?.and_then(time::after);
    let alters = operations.iter().any(|operation| operation.change != 0);
    let undone = operations.iter().filter(|operation| operation.is_undone()).count();
    let world = thread.world.clone();
    let waiter = {
        let mut sets = lock(&world.semaphores.0);
        let set = sets.get(id)?;
        if operations.iter().any(|operation| usize::from(operation.number) >= set.semaphores.len()) {
            return Err(Errno::FBIG);
        }
        thread.may_share(set, if alters { owners::WRITE } else { owners::READ })?;
        if undone > 0 {
            world.may_keep(undone * set::UNDO)?;
        }
        let Some(blocking) = set.attempt(thread.process.id, &operations)? else {
            set.operated = world.seconds();
            if alters {
                set.update(|| world.seconds());
            }
            return Ok(0);
        };
        let waiter = Arc::new(Waiter::new());
        let process = thread.process.id;
        set.waiting.push(Waiting { process, operations, alters, blocking, waiter: waiter.clone() });
        waiter
    };
    let broken_off = match thread.wait(&[], until, || waiter.answer()) {
        Ok(answer) => return answer.map(|()| 0),
        Err(errno) => errno,
    };
    let mut sets = lock(&world.semaphores.0);
    if let Ok(set) = sets.get(id) {
        set.waiting.retain(|waiting| !Arc::ptr_eq(&waiting.waiter, &waiter));
    }
    match waiter.answer() {
        // It was done in the last moment, and counts.
        Some(answer) => answer.map(|()| 0),
        None if broken_off == Errno::TIMEDOUT => Err(Errno::AGAIN),
        None => Err(broken_off),
    }
}

/// Reads `struct sembuf`s.
fn operations(thread: &Thread, at: u64, count: u64) -> Result<Arc<[Operation]>, Errno> {
    let count = count as u32 as usize;
    if count > MOST_OPERATIONS {
        return Err(Errno::TOOBIG);
    }
    if count == 0 {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; count * 6];
    thread.process.space()?.read(at, &mut bytes)?;
    Ok(bytes.chunks_exact(6).map(Operation::of).collect())
}
