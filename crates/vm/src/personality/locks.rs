//! Locks on files, between the processes of an instance: `flock(2)`, `F_SETLK` of `fcntl(2)`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustix::io::Errno;

use super::open::Open;
use super::process::lock;
use super::shared::Identity;
use super::thread::Thread;
use super::waiting::Bell;
use super::{Answer, Arguments, int};
use crate::words::u64_at;

/// How many there can be.
const MOST: usize = 16384;

/// Who has a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A process: `F_SETLK`.
    Process(u32),
    /// What was opened: `F_OFD_SETLK`.
    Open(usize),
    /// What was opened: `flock(2)`, which is of no concern to the others.
    Whole(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    owner: Owner,
    start: u64,
    /// The last byte.
    end: u64,
    exclusive: bool,
}

/// What somebody waits for: a lock on a file.
type Wanted = (Identity, Held);

/// All locks of an instance.
#[derive(Default)]
pub(super) struct Locks {
    held: Mutex<HashMap<Identity, Vec<Held>>>,
    /// Who waits for whom, and for what. Taken while what is held is.
    waiting: Mutex<Vec<(Owner, Owner, Wanted)>>,
    count: AtomicUsize,
    /// Rung when one is given up.
    bell: Bell,
}

fn conflict(one: &Held, other: &Held) -> bool {
    let whole = |held: &Held| matches!(held.owner, Owner::Whole(_));
    one.owner != other.owner
        && whole(one) == whole(other)
        && (one.exclusive || other.exclusive)
        && one.start <= other.end
        && other.start <= one.end
}

/// Takes a range out of what an owner holds.
fn cut(held: &mut Vec<Held>, wanted: &Held) {
    let cut = held.drain(..).flat_map(|old| {
        if old.owner != wanted.owner || old.end < wanted.start || wanted.end < old.start {
            return [Some(old), None];
        }
        let before = (old.start < wanted.start).then(|| Held { end: wanted.start - 1, ..old });
        let behind = (old.end > wanted.end).then(|| Held { start: wanted.end + 1, ..old });
        [before, behind]
    });
    *held = cut.flatten().collect();
}

/// Puts an owner's locks in the order of their places, where its first one was, and joins those of one sort that touch.
fn join(held: &mut Vec<Held>, owner: Owner) {
    let Some(at) = held.iter().position(|held| held.owner == owner) else { return };
    let mut own: Vec<Held> = held.extract_if(.., |held| held.owner == owner).collect();
    own.sort_by_key(|held| held.start);
    own.dedup_by(|next, last| {
        let touches = last.exclusive == next.exclusive && last.end.checked_add(1) == Some(next.start);
        if touches {
            last.end = next.end;
        }
        touches
    });
    held.splice(at..at, own);
}

impl Locks {
    /// Sets one, or gives it up; whoever is in the way otherwise.
    fn set(&self, file: Identity, wanted: Held, release: bool) -> Result<Option<Held>, Errno> {
        self.set_or(file, wanted, release, |_| Ok(()))
    }

    /// The same; while whoever is in the way still is, something is done about that.
    fn set_or(
        &self,
        file: Identity,
        wanted: Held,
        release: bool,
        otherwise: impl FnOnce(&Held) -> Result<(), Errno>,
    ) -> Result<Option<Held>, Errno> {
        let mut files = lock(&self.held);
        let held = files.entry(file).or_default();
        if !release && let Some(&other) = held.iter().find(|other| conflict(other, &wanted)) {
            return otherwise(&other).map(|()| Some(other));
        }
        let within = |held: &Held| held.owner == wanted.owner && held.start < wanted.start && wanted.end < held.end;
        if self.count.load(SeqCst) >= MOST && (!release || held.iter().any(within)) {
            return Err(Errno::NOLCK);
        }
        let before = held.len();
        cut(held, &wanted);
        if !release {
            held.push(wanted);
            join(held, wanted.owner);
        }
        let after = held.len();
        if after == 0 {
            files.remove(&file);
        }
        self.count.fetch_add(after, SeqCst);
        self.count.fetch_sub(before, SeqCst);
        if release || !wanted.exclusive {
            self.gave_up(&files, wanted.owner);
        }
        drop(files);
        // Less may be held now, also when a shared lock took the place of an exclusive one.
        self.bell.ring();
        Ok(None)
    }

    /// All that are held: the file, who, from, to, and whether it is exclusive.
    pub(super) fn captured(&self) -> Vec<(Identity, Owner, u64, u64, bool)> {
        let files = lock(&self.held);
        let all = files.iter().flat_map(|(&file, held)| held.iter().map(move |held| (file, *held)));
        all.map(|(file, held)| (file, held.owner, held.start, held.end, held.exclusive)).collect()
    }

    /// Takes one that was held; `EAGAIN` when somebody else has it.
    pub(super) fn revive(&self, file: Identity, owner: Owner, range: (u64, u64), exclusive: bool) -> Result<(), Errno> {
        let (start, end) = range;
        if start > end {
            return Err(Errno::INVAL);
        }
        match self.set(file, Held { owner, start, end, exclusive }, false)? {
            None => Ok(()),
            Some(_) => Err(Errno::AGAIN),
        }
    }

    /// Everything of an owner is given up, on one file or on all.
    pub(super) fn release(&self, owner: Owner, file: Option<Identity>) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut files = lock(&self.held);
        files.retain(|&identity, held| {
            if file.is_none_or(|file| file == identity) {
                let before = held.len();
                held.retain(|held| held.owner != owner);
                self.count.fetch_sub(before - held.len(), SeqCst);
            }
            !held.is_empty()
        });
        self.gave_up(&files, owner);
        drop(files);
        self.bell.ring();
    }

    /// A process closes a descriptor: its locks on that file are gone, however often it has it open.
    pub(super) fn closed(&self, process: u32, open: &Open) {
        if self.count.load(SeqCst) > 0
            && let Ok(identity) = open.identity()
        {
            self.release(Owner::Process(process), Some(identity));
        }
    }

    fn acquire(&self, thread: &Thread, file: Identity, wanted: Held, wait: bool) -> Answer {
        match (self.set(file, wanted, false)?, wait) {
            (None, _) => Ok(0),
            (Some(_), false) => Err(Errno::AGAIN),
            (Some(_), true) => {
                let got = thread.wait(&[&self.bell], None, || {
                    let waits = |other: &Held| self.await_other(wanted.owner, other.owner, (file, wanted));
                    match self.set_or(file, wanted, false, waits) {
                        Ok(Some(_)) => None,
                        Ok(None) => Some(Ok(0)),
                        Err(errno) => Some(Err(errno)),
                    }
                });
                self.await_nobody(wanted.owner);
                got.flatten()
            }
        }
    }

    /// From here on `one` waits for `other`; `EDEADLK` when that one waits for the first already. Of processes only, as
    /// everywhere: `fcntl(2)`.
    fn await_other(&self, one: Owner, other: Owner, what: Wanted) -> Result<(), Errno> {
        if !matches!((one, other), (Owner::Process(_), Owner::Process(_))) {
            return Ok(());
        }
        let mut waiting = lock(&self.waiting);
        waiting.retain(|(waits, ..)| *waits != one);
        let mut last = other;
        for _ in 0..waiting.len() {
            match waiting.iter().find(|(waits, ..)| *waits == last) {
                Some((_, next, _)) if *next == one => return Err(Errno::DEADLK),
                Some((_, next, _)) => last = *next,
                None => break,
            }
        }
        waiting.push((one, other, what));
        Ok(())
    }

    /// Who waited for what it has no longer waits for it no longer.
    fn gave_up(&self, files: &HashMap<Identity, Vec<Held>>, holder: Owner) {
        lock(&self.waiting).retain(|(_, waits_for, (file, wanted))| {
            let is_in_the_way = |held: &Held| held.owner == holder && conflict(held, wanted);
            *waits_for != holder || files.get(file).is_some_and(|held| held.iter().any(is_in_the_way))
        });
    }

    fn await_nobody(&self, one: Owner) {
        lock(&self.waiting).retain(|(waits, ..)| *waits != one);
    }
}

/// `flock(2)`
pub(super) fn flock(thread: &mut Thread, [number, operation, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    let operation = int(operation);
    let exclusive = match operation & !libc::LOCK_NB {
        libc::LOCK_SH | libc::LOCK_UN => false,
        libc::LOCK_EX => true,
        _ => return Err(Errno::INVAL),
    };
    let wanted = Held { owner: Owner::Whole(open.address()), start: 0, end: u64::MAX, exclusive };
    let file = open.identity()?;
    let locks = &thread.world.locks;
    if operation & libc::LOCK_UN != 0 {
        return locks.set(file, wanted, true).map(|_| 0);
    }
    // A lock of the other sort is given up first.
    locks.set(file, wanted, true)?;
    locks.acquire(thread, file, wanted, operation & libc::LOCK_NB == 0)
}

/// `F_SETLK`, `F_SETLKW`, `F_GETLK` of `fcntl(2)` and those of what was opened.
pub(super) fn fcntl(thread: &Thread, open: &Open, command: i32, at: u64) -> Answer {
    let space = thread.process.space()?;
    let mut bytes = [0; 32];
    space.read(at, &mut bytes)?;
    let word = |at: usize| u64_at(&bytes, at) as i64;
    let (kind, whence) = (i32::from(i16::from_le_bytes([bytes[0], bytes[1]])), i32::from(bytes[2]));
    let from = match whence {
        libc::SEEK_SET => 0,
        libc::SEEK_CUR => *lock(&open.position),
        libc::SEEK_END => open.size()?,
        _ => return Err(Errno::INVAL),
    };
    let is_of_open = matches!(command, libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW);
    if is_of_open && bytes[24..28] != [0; 4] {
        return Err(Errno::INVAL);
    }
    let start = from.checked_add_signed(word(8)).ok_or(Errno::INVAL)?;
    let (start, end) = match word(16) {
        _ if start > i64::MAX as u64 => return Err(Errno::OVERFLOW),
        0 => (start, u64::MAX),
        length if length > 0 => {
            let end = start.checked_add_signed(length - 1).filter(|&end| end <= i64::MAX as u64);
            (start, end.ok_or(Errno::OVERFLOW)?)
        }
        length => (start.checked_add_signed(length).ok_or(Errno::INVAL)?, start.checked_sub(1).ok_or(Errno::INVAL)?),
    };
    let owner = if is_of_open { Owner::Open(open.address()) } else { Owner::Process(thread.process.id) };
    let mode = open.flags() as i32 & libc::O_ACCMODE;
    let wanted = Held { owner, start, end, exclusive: kind == libc::F_WRLCK };
    let (file, locks) = (open.identity()?, &thread.world.locks);
    match (command, kind) {
        (_, kind) if ![libc::F_RDLCK, libc::F_WRLCK, libc::F_UNLCK].contains(&kind) => Err(Errno::INVAL),
        (libc::F_GETLK, libc::F_UNLCK) => Err(Errno::INVAL),
        (libc::F_GETLK | libc::F_OFD_GETLK, _) => {
            let other =
                lock(&locks.held).get(&file).and_then(|held| held.iter().find(|one| conflict(one, &wanted)).copied());
            match other {
                None => bytes[..2].copy_from_slice(&(libc::F_UNLCK as i16).to_le_bytes()),
                Some(other) => {
                    let kind = if other.exclusive { libc::F_WRLCK } else { libc::F_RDLCK };
                    let length = if other.end == u64::MAX { 0 } else { other.end - other.start + 1 };
                    let process = if let Owner::Process(id) = other.owner { id as i32 } else { -1 };
                    bytes[..2].copy_from_slice(&(kind as i16).to_le_bytes());
                    bytes[2..4].fill(0);
                    bytes[8..16].copy_from_slice(&other.start.to_le_bytes());
                    bytes[16..24].copy_from_slice(&length.to_le_bytes());
                    bytes[24..28].copy_from_slice(&process.to_le_bytes());
                }
            }
            space.write(at, &bytes).map(|()| 0)
        }
        (_, libc::F_UNLCK) => locks.set(file, wanted, true).map(|_| 0),
        (_, libc::F_RDLCK) if mode == libc::O_WRONLY => Err(Errno::BADF),
        (_, libc::F_WRLCK) if mode == libc::O_RDONLY => Err(Errno::BADF),
        _ => locks.acquire(thread, file, wanted, matches!(command, libc::F_SETLKW | libc::F_OFD_SETLKW)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(process: u32, start: u64, end: u64, exclusive: bool) -> Held {
        Held { owner: Owner::Process(process), start, end, exclusive }
    }

    #[test]
    fn readers_share_and_a_writer_is_alone_where_it_writes() {
        let (locks, file) = (Locks::default(), (1, 1));
        assert_eq!(locks.set(file, held(1, 0, 9, false), false), Ok(None));
        assert_eq!(locks.set(file, held(2, 5, 9, false), false), Ok(None));
        assert_eq!(locks.set(file, held(3, 9, 20, true), false), Ok(Some(held(1, 0, 9, false))));
        assert_eq!(locks.set(file, held(3, 10, 20, true), false), Ok(None));
        assert_eq!(locks.set((1, 2), held(3, 0, 20, true), false), Ok(None));
    }

    #[test]
    fn locks_of_one_sort_that_touch_are_one_and_lie_in_their_order() {
        let (locks, file) = (Locks::default(), (1, 1));
        for (start, end) in [(10, 14), (30, 39), (5, 9), (12, 20)] {
            locks.set(file, held(1, start, end, true), false).unwrap();
        }
        locks.set(file, held(1, 21, 25, false), false).unwrap();
        let all: Vec<_> =
            locks.captured().into_iter().map(|(_, _, start, end, exclusive)| (start, end, exclusive)).collect();
        assert_eq!(all, [(5, 20, true), (21, 25, false), (30, 39, true)]);
        assert_eq!(locks.count.load(SeqCst), 3);
    }

    #[test]
    fn who_waits_for_who_waits_for_it_is_told() {
        let (locks, process) = (Locks::default(), Owner::Process);
        assert_eq!(locks.await_other(process(1), process(2), ((1, 1), held(0, 0, 9, true))), Ok(()));
        assert_eq!(locks.await_other(process(2), process(3), ((1, 1), held(0, 0, 9, true))), Ok(()));
        assert_eq!(locks.await_other(process(3), process(1), ((1, 1), held(0, 0, 9, true))), Err(Errno::DEADLK));
        locks.await_nobody(process(2));
        assert_eq!(locks.await_other(process(3), process(1), ((1, 1), held(0, 0, 9, true))), Ok(()));
    }

    #[test]
    fn who_waited_for_what_is_given_up_waits_for_nobody() {
        let (locks, file) = (Locks::default(), (1, 1));
        let wait = |process| {
            let waits = |other: &Held| {
                locks.await_other(Owner::Process(process), other.owner, (file, held(process, 0, 9, true)))
            };
            locks.set_or(file, held(process, 0, 9, true), false, waits)
        };
        let unlock: fn(&Locks) = |locks| assert_eq!(locks.set((1, 1), held(2, 0, 9, true), true), Ok(None));
        let close: fn(&Locks) = |locks| locks.release(Owner::Process(2), None);
        for give_up in [unlock, close] {
            locks.set(file, held(2, 0, 9, true), false).unwrap();
            assert_eq!(wait(1), Ok(Some(held(2, 0, 9, true))));
            assert_eq!(
                locks.await_other(Owner::Process(2), Owner::Process(1), ((1, 1), held(0, 0, 9, true))),
                Err(Errno::DEADLK)
            );
            locks.set((1, 2), held(2, 0, 9, true), false).unwrap();
            locks.set((1, 2), held(2, 0, 9, true), true).unwrap();
            assert_eq!(locks.waiting.lock().unwrap().len(), 1);
            give_up(&locks);
            assert_eq!(locks.await_other(Owner::Process(2), Owner::Process(1), ((1, 1), held(0, 0, 9, true))), Ok(()));
            locks.await_nobody(Owner::Process(2));
        }
    }

    #[test]
    fn giving_up_the_middle_keeps_both_sides() {
        let (locks, file) = (Locks::default(), (1, 1));
        locks.set(file, held(1, 0, 99, true), false).unwrap();
        locks.set(file, held(1, 40, 59, true), true).unwrap();
        assert_eq!(locks.set(file, held(2, 40, 59, true), false), Ok(None));
        assert!(locks.set(file, held(2, 39, 39, true), false).unwrap().is_some());
        assert!(locks.set(file, held(2, 60, 60, true), false).unwrap().is_some());
        locks.release(Owner::Process(1), None);
        locks.release(Owner::Process(2), None);
        assert_eq!(locks.count.load(SeqCst), 0);
    }
}
