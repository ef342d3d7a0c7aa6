//! Descriptors: `open(2)`, "open file descriptions"; `dup(2)`, `fcntl(2)`, `close(2)`.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::lock;
use super::thread::Thread;
use super::{Answer, Arguments, int};

/// How many descriptors a process can have: `RLIMIT_NOFILE`.
pub(super) const MOST: usize = 4096;

/// The descriptors of a process.
pub(super) struct Descriptors(Mutex<Vec<Option<Slot>>>, AtomicUsize);

impl Default for Descriptors {
    fn default() -> Self {
        Descriptors(Mutex::default(), AtomicUsize::new(MOST))
    }
}

#[derive(Clone)]
struct Slot {
    open: Arc<Open>,
    close_on_exec: bool,
}

impl Descriptors {
    /// No new one has this number or a higher one: the soft limit of `RLIMIT_NOFILE`.
    pub(super) fn set_most(&self, most: u64) {
        self.1.store(usize::try_from(most).unwrap_or(MOST).min(MOST), SeqCst);
    }

    pub(super) fn most(&self) -> usize {
        self.1.load(SeqCst)
    }

    /// What a descriptor stands for.
    pub(super) fn get(&self, number: i32) -> Result<Arc<Open>, Errno> {
        let slots = lock(&self.0);
        let slot = usize::try_from(number).ok().and_then(|number| slots.get(number)?.as_ref());
        slot.map(|slot| slot.open.clone()).ok_or(Errno::BADF)
    }

    /// The same, but for one that only names a file: `O_PATH` of `open(2)`.
    pub(super) fn file(&self, number: i32) -> Result<Arc<Open>, Errno> {
        self.get(number).and_then(|open| if open.is_path() { Err(Errno::BADF) } else { Ok(open) })
    }

    /// A new descriptor, the lowest from `least` on.
    pub(super) fn add(&self, open: Arc<Open>, least: usize, close_on_exec: bool) -> Result<u64, Errno> {
        let mut slots = lock(&self.0);
        let free = (least..slots.len()).find(|&number| slots[number].is_none()).unwrap_or(slots.len().max(least));
        if free >= self.most() {
            return Err(Errno::MFILE);
        }
        if slots.len() <= free {
            slots.resize(free + 1, None);
        }
        slots[free] = Some(Slot { open, close_on_exec });
        Ok(free as u64)
    }

    /// Lets this very descriptor stand for something; what it stood for before.
    fn put(&self, open: Arc<Open>, number: i32, close_on_exec: bool) -> Result<u64, Errno> {
        let number = usize::try_from(number).ok().filter(|&number| number < self.most()).ok_or(Errno::BADF)?;
        let mut slots = lock(&self.0);
        if slots.len() <= number {
            slots.resize(number + 1, None);
        }
        let old = slots[number].replace(Slot { open, close_on_exec });
        drop(slots);
        drop(old);
        Ok(number as u64)
    }

    fn close(&self, number: i32) -> Result<(), Errno> {
        let mut slots = lock(&self.0);
        let slot = usize::try_from(number).ok().and_then(|number| slots.get_mut(number)?.take());
        drop(slots);
        slot.map(drop).ok_or(Errno::BADF)
    }

    /// A copy for a child.
    pub(super) fn duplicate(&self) -> Descriptors {
        Descriptors(Mutex::new(lock(&self.0).clone()), AtomicUsize::new(self.most()))
    }

    /// What each stands for, and whether it is closed by `execve(2)`.
    pub(super) fn slots(&self) -> Vec<Option<(Arc<Open>, bool)>> {
        lock(&self.0).iter().map(|slot| slot.as_ref().map(|slot| (slot.open.clone(), slot.close_on_exec))).collect()
    }

    /// The folders among them.
    pub(super) fn folders(&self) -> Vec<Arc<Open>> {
        lock(&self.0).iter().flatten().filter(|slot| slot.open.is_folder()).map(|slot| slot.open.clone()).collect()
    }

    /// The files among them that can be written to.
    pub(super) fn written(&self) -> Vec<Arc<Open>> {
        let is_written =
            |open: &Open| matches!(open.kind, Kind::File(_) | Kind::Memory(_)) && open.check_access(true).is_ok();
        lock(&self.0).iter().flatten().filter(|slot| is_written(&slot.open)).map(|slot| slot.open.clone()).collect()
    }

    /// The reverse of [`slots`](Self::slots).
    pub(super) fn of(slots: Vec<Option<(Arc<Open>, bool)>>) -> Descriptors {
        let slot = |(open, close_on_exec)| Slot { open, close_on_exec };
        Descriptors(Mutex::new(slots.into_iter().map(|there| there.map(slot)).collect()), AtomicUsize::new(MOST))
    }

    /// Closes what is not to be there after `execve(2)`.
    pub(super) fn close_on_exec(&self) {
        let closed: Vec<Option<Slot>> = lock(&self.0)
            .iter_mut()
            .filter(|slot| slot.as_ref().is_some_and(|slot| slot.close_on_exec))
            .map(Option::take)
            .collect();
        drop(closed);
    }

    /// The numbers in use.
    pub(super) fn numbers(&self) -> Vec<usize> {
        let slots = lock(&self.0);
        (0..slots.len()).filter(|&number| slots[number].is_some()).collect()
    }

    fn close_on_exec_of(&self, number: i32, set: Option<bool>) -> Result<bool, Errno> {
        let mut slots = lock(&self.0);
        let slot = usize::try_from(number).ok().and_then(|number| slots.get_mut(number)?.as_mut());
        let slot = slot.ok_or(Errno::BADF)?;
        if let Some(set) = set {
            slot.close_on_exec = set;
        }
        Ok(slot.close_on_exec)
    }
}

/// `close(2)`
pub(super) fn close(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    let descriptors = thread.process.descriptors();
    if let Ok(open) = descriptors.file(int(number)) {
        thread.world.locks.closed(thread.process.id, &open);
    }
    descriptors.close(int(number)).map(|()| 0)
}

/// `close_range(2)`
pub(super) fn close_range(thread: &mut Thread, [first, last, flags, ..]: Arguments) -> Answer {
    if first > last || flags & !0b110 != 0 {
        return Err(Errno::INVAL);
    }
    if flags & u64::from(libc::CLOSE_RANGE_UNSHARE) != 0 {
        // A copy, where others have the same ones: `CLONE_FILES` of `clone(2)`.
        thread.process.set_descriptors(Arc::new(thread.process.descriptors().duplicate()));
    }
    let descriptors = thread.process.descriptors();
    for number in descriptors.numbers() {
        if !(first..=last).contains(&(number as u64)) {
            continue;
        }
        match flags & 4 {
            0 => drop(close(thread, [number as u64, 0, 0, 0, 0, 0])?),
            _ => drop(descriptors.close_on_exec_of(number as i32, Some(true))?),
        }
    }
    Ok(0)
}

/// `dup(2)`
pub(super) fn dup(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    let descriptors = thread.process.descriptors();
    descriptors.add(descriptors.get(int(number))?, 0, false)
}

/// `dup2(2)`
pub(super) fn dup2(thread: &mut Thread, [from, to, ..]: Arguments) -> Answer {
    let descriptors = thread.process.descriptors();
    let open = descriptors.get(int(from))?;
    if from as u32 == to as u32 {
        return Ok(to);
    }
    descriptors.put(open, int(to), false)
}

/// `dup3(2)`
pub(super) fn dup3(thread: &mut Thread, [from, to, flags, ..]: Arguments) -> Answer {
    let close_on_exec = u64::from(libc::O_CLOEXEC.unsigned_abs());
    if from as u32 == to as u32 || flags & !close_on_exec != 0 {
        return Err(Errno::INVAL);
    }
    let descriptors = thread.process.descriptors();
    descriptors.put(descriptors.get(int(from))?, int(to), flags != 0)
}

/// From `asm-generic/fcntl.h`.
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
const F_OWNER_PID: u32 = 1;
const F_OWNER_PGRP: u32 = 2;
/// From `linux/fcntl.h`.
const F_DUPFD_QUERY: i32 = 1027;

/// Whether a process, or a group where it is negative, is there to be told; `ESRCH`.
fn check_owner(thread: &Thread, owner: i32) -> Result<(), Errno> {
    let processes = thread.world.processes();
    let is_there = match owner {
        0 => true,
        owner if owner > 0 => processes.contains_key(&owner.unsigned_abs()),
        group => processes.values().any(|process| process.group.load(SeqCst) == group.unsigned_abs()),
    };
    if is_there { Ok(()) } else { Err(Errno::SRCH) }
}

/// Who is to be told when something becomes ready: `fcntl(2)`, "Managing signals". It is kept.
fn owner(thread: &Thread, open: &Open, command: i32, argument: u64) -> Answer {
    let space = thread.process.space()?;
    match command {
        libc::F_SETOWN if int(argument) == i32::MIN => return Err(Errno::INVAL),
        libc::F_SETOWN => {
            check_owner(thread, int(argument))?;
            open.set_owner(int(argument));
        }
        libc::F_GETOWN => return Ok(open.owner() as u64),
        // `struct f_owner_ex`: what sort of number, and the number.
        F_SETOWN_EX => {
            let (sort, number) = (space.read_u32(argument)?, space.read_u32(argument.wrapping_add(4))? as i32);
            let owner = match sort {
                F_OWNER_PID => number,
                F_OWNER_PGRP => number.checked_neg().ok_or(Errno::INVAL)?,
                _ => return Err(Errno::INVAL),
            };
            check_owner(thread, owner)?;
            open.set_owner(owner);
        }
        _ => {
            let sort = if open.owner() < 0 { F_OWNER_PGRP } else { F_OWNER_PID };
            let words = [sort.to_le_bytes(), open.owner().unsigned_abs().to_le_bytes()];
            space.write(argument, words.as_flattened())?;
        }
    }
    Ok(0)
}

/// `fcntl(2)`
pub(super) fn fcntl(thread: &mut Thread, [number, command, argument, ..]: Arguments) -> Answer {
    let descriptors = thread.process.descriptors();
    let open = descriptors.get(int(number))?;
    let of_a_name = [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL];
    if open.is_path() && !of_a_name.contains(&int(command)) {
        return Err(Errno::BADF);
    }
    match int(command) {
        command @ (libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) => {
            let least = usize::try_from(int(argument)).ok().filter(|&least| least < descriptors.most());
            let least = least.ok_or(Errno::INVAL)?;
            descriptors.add(open, least, command == libc::F_DUPFD_CLOEXEC)
        }
        libc::F_GETFD => descriptors.close_on_exec_of(int(number), None).map(u64::from),
        libc::F_SETFD => descriptors.close_on_exec_of(int(number), Some(argument & 1 != 0)).map(|_| 0),
        F_DUPFD_QUERY => descriptors.get(int(argument)).map(|other| u64::from(Arc::ptr_eq(&open, &other))),
        libc::F_GETFL => Ok(u64::from(open.flags())),
        libc::F_SETFL => {
            open.set_flags(argument as u32);
            Ok(0)
        }
        command @ (libc::F_SETOWN | libc::F_GETOWN | F_SETOWN_EX | F_GETOWN_EX) => {
            owner(thread, &open, command, argument)
        }
        command @ (libc::F_SETLK
        | libc::F_SETLKW
        | libc::F_GETLK
        | libc::F_OFD_SETLK
        | libc::F_OFD_SETLKW
        | libc::F_OFD_GETLK) => super::locks::fcntl(thread, &open, command, argument),
        libc::F_ADD_SEALS => super::memory_files::add_seals(&open, argument),
        libc::F_GET_SEALS => super::memory_files::seals(&open),
        command @ (libc::F_GETPIPE_SZ | libc::F_SETPIPE_SZ) => match &open.kind {
            Kind::Reader(pipe) | Kind::Writer(pipe) if command == libc::F_SETPIPE_SZ => {
                pipe.set_room(u64::from(argument as u32))
            }
            Kind::Reader(pipe) | Kind::Writer(pipe) => Ok(pipe.room() as u64),
            _ => Err(Errno::BADF),
        },
        _ => Err(Errno::INVAL),
    }
}
