//! What is told and said of sets of semaphores: `semctl(2)`.

use rustix::io::Errno;

use super::set::{HIGHEST, Semaphore, Set};
use super::{MOST, MOST_IN_ALL, MOST_IN_ONE, MOST_OPERATIONS};
use crate::personality::ipc::{IPC_INFO, Table};
use crate::personality::process::lock;
use crate::personality::thread::Thread;
use crate::personality::{Answer, Arguments, int, owners};

/// From `sys/sem.h`, which `libc` does not name on every system.
const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const GETALL: i32 = 13;
const GETNCNT: i32 = 14;
const GETZCNT: i32 = 15;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;
const SEM_STAT: i32 = 18;
const SEM_INFO: i32 = 19;
const SEM_STAT_ANY: i32 = 20;
/// How long `struct semid64_ds` is.
const STATUS: usize = 104;

/// `struct seminfo`
fn limits(sets: &Table<Set>, command: i32) -> Vec<u8> {
    let (mut size, mut highest) = (20, HIGHEST as usize);
    if command == SEM_INFO {
        size = sets.all.len();
        highest = sets.all.values().map(|set| set.semaphores.len()).sum();
    }
    let all = MOST_IN_ALL;
    let words = [all, MOST, all, all, MOST_IN_ONE, MOST_OPERATIONS, MOST_OPERATIONS, size, HIGHEST as usize, highest];
    words.into_iter().flat_map(|word| (word as u32).to_le_bytes()).collect()
}

/// `struct semid64_ds`
fn status(set: &Set) -> Vec<u8> {
    let mut bytes = set.owned.bytes();
    for word in [set.operated, 0, set.changed, 0, set.semaphores.len() as u64] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.resize(STATUS, 0);
    bytes
}

/// `semctl(2)`
pub(in crate::personality) fn control(thread: &mut Thread, [id, number, command, at, ..]: Arguments) -> Answer {
    if int(id) < 0 {
        return Err(Errno::INVAL);
    }
    let world = thread.world.clone();
    let space = thread.process.space()?;
    let (number, command) = (int(number), int(command));
    let wanted = if command == libc::IPC_SET { Some(thread.wanted(at, STATUS)?) } else { None };
    if command == SETVAL && !(0..=HIGHEST).contains(&int(at)) {
        return Err(Errno::RANGE);
    }
    let mut sets = lock(&world.semaphores.0);
    if matches!(command, IPC_INFO | SEM_INFO) {
        let (bytes, last) = (limits(&sets, command), sets.last());
        drop(sets);
        return space.write(at, &bytes).map(|()| last);
    }
    let set = sets.get(id)?;
    let place = usize::try_from(number).ok().filter(|&number| number < set.semaphores.len());
    match command {
        libc::IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            thread.may_look(set, command, SEM_STAT_ANY)?;
            let bytes = status(set);
            drop(sets);
            space.write(at, &bytes)?;
            Ok(if command == libc::IPC_STAT { 0 } else { id })
        }
        libc::IPC_SET => {
            thread.may_manage(set)?;
            set.owned.set(&wanted.ok_or(Errno::INVAL)?)?;
            set.changed = world.seconds();
            Ok(0)
        }
        libc::IPC_RMID => {
            thread.may_manage(set)?;
            if let Some(set) = sets.all.remove(&int(id)) {
                set.removed();
            }
            Ok(0)
        }
        SETVAL => {
            let place = place.ok_or(Errno::INVAL)?;
            thread.may_share(set, owners::WRITE)?;
            set.semaphores[place] = Semaphore { value: int(at), used_by: thread.process.id };
            set.forget_undo(Some(place as u16));
            set.changed = world.seconds();
            set.update(|| world.seconds());
            Ok(0)
        }
        SETALL => {
            thread.may_share(set, owners::WRITE)?;
            let mut bytes = vec![0; set.semaphores.len() * 2];
            // What is read may take long to be there, and the set may be gone then.
            drop(sets);
            space.read(at, &mut bytes)?;
            let values: Vec<i32> =
                bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]).into()).collect();
            if values.iter().any(|&value| value > HIGHEST) {
                return Err(Errno::RANGE);
            }
            let mut sets = lock(&world.semaphores.0);
            let set = sets.get(id).map_err(|_| Errno::IDRM)?;
            let used_by = thread.process.id;
            set.semaphores = values.into_iter().map(|value| Semaphore { value, used_by }).collect();
            set.forget_undo(None);
            set.changed = world.seconds();
            set.update(|| world.seconds());
            Ok(0)
        }
        GETALL => {
            thread.may_share(set, owners::READ)?;
            let bytes: Vec<u8> = set.semaphores.iter().flat_map(|one| (one.value as u16).to_le_bytes()).collect();
            drop(sets);
            space.write(at, &bytes).map(|()| 0)
        }
        GETVAL | GETPID | GETNCNT | GETZCNT => {
            thread.may_share(set, owners::READ)?;
            let place = place.ok_or(Errno::INVAL)?;
            let Semaphore { value, used_by } = set.semaphores[place];
            Ok(match command {
                GETVAL => value as u64,
                GETPID => used_by.into(),
                _ => set.waiting_for(place as u16, command == GETZCNT) as u64,
            })
        }
        _ => Err(Errno::INVAL),
    }
}
