//! Segments of memory that processes share by a number: `sysvipc(7)`, `shmget(2)`, `shmop(2)`, `shmctl(2)`.

use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::ipc::{IPC_INFO, Owned, Table};
use super::process::lock;
use super::thread::Thread;
use super::world::World;
use super::{Answer, Arguments, int, owners};
use crate::kvm::{Kept, PAGE, USER_END};
use crate::memory::{Backing, Marks, Placement, Protection, Reach, Segment};

/// How many there are at most: `SHMMNI`.
const MOST: usize = 4096;
/// The longest, in bytes, as Linux has it: `SHMMAX`.
const LONGEST: u64 = u64::MAX - (1 << 24);
/// About what the host keeps for each beside its pages.
const EACH: usize = 256;
/// What a mode says of one that is removed when nobody has it any more: `SHM_DEST`.
const REMOVED: u32 = 0o1000;

/// Those of an instance, by their numbers.
#[derive(Default)]
pub(super) struct Segments(Mutex<Known>);

type Known = Table<Shared>;

struct Shared {
    owned: Owned,
    size: u64,
    /// The process that made it, and the last that did something with it.
    made_by: u32,
    used_by: u32,
    /// When it was attached, detached and changed, in seconds.
    times: [u64; 3],
    pages: Arc<Segment>,
    _kept: Kept,
}

impl AsRef<Owned> for Shared {
    fn as_ref(&self) -> &Owned {
        &self.owned
    }
}

impl Known {
    /// One that was removed is gone when nobody has it any more.
    fn sweep(&mut self) {
        self.all.retain(|_, shared| shared.owned.mode & REMOVED == 0 || Arc::strong_count(&shared.pages) > 1);
    }
}

impl Segments {
    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        let mut known = lock(&self.0);
        known.sweep();
        known.all.is_empty()
    }
}

impl World {
    /// How often a segment is attached.
    fn attached(&self, pages: &Arc<Segment>) -> u64 {
        let processes: Vec<_> = self.processes().values().cloned().collect();
        let spaces = processes.iter().filter_map(|process| process.space().ok());
        spaces.map(|space| space.attached(pages)).sum()
    }
}

/// `shmget(2)`
pub(super) fn get(thread: &mut Thread, [key, size, flags, ..]: Arguments) -> Answer {
    let (key, flags) = (int(key), int(flags));
    let world = thread.world.clone();
    let mut known = lock(&world.segments.0);
    known.sweep();
    if let Some(id) = known.find(thread, key, flags, |shared| size <= shared.size)? {
        return Ok(id);
    }
    if size == 0 || size > LONGEST {
        return Err(Errno::INVAL);
    }
    if flags & libc::SHM_HUGETLB != 0 || size > USER_END {
        return Err(Errno::NOMEM);
    }
    world.may_keep(EACH)?;
    known.add(MOST, || Shared {
        owned: thread.owned(key, flags),
        size,
        made_by: thread.process.id,
        used_by: 0,
        times: [0, 0, world.seconds()],
        pages: Segment::new(world.machine.clone()),
        _kept: Kept::of(&world.machine, EACH),
    })
}

/// `shmat(2)`
pub(super) fn attach(thread: &mut Thread, [id, at, flags, ..]: Arguments) -> Answer {
    let flags = int(flags);
    let world = thread.world.clone();
    let mut known = lock(&world.segments.0);
    known.sweep();
    let now = world.seconds();
    let shared = known.get(id)?;
    let reads_only = flags & libc::SHM_RDONLY != 0;
    let runs = flags & libc::SHM_EXEC != 0;
    let wanted = if reads_only { owners::READ } else { owners::READ | owners::WRITE };
    thread.may_share(shared, wanted | if runs { owners::SEARCH } else { 0 })?;
    let placement = match at {
        0 if flags & libc::SHM_REMAP != 0 => return Err(Errno::INVAL),
        0 => Placement::Hint(0),
        at => {
            let at = match at % PAGE {
                0 => at,
                into if flags & libc::SHM_RND != 0 => at - into,
                _ => return Err(Errno::INVAL),
            };
            if flags & libc::SHM_REMAP != 0 { Placement::Fixed(at) } else { Placement::Free(at) }
        }
    };
    let mut protection = Protection::READ;
    protection.set(Protection::WRITE, !reads_only);
    protection.set(Protection::EXECUTE, runs);
    let reach = if reads_only { Reach::ReadOnly } else { Reach::All };
    let backing = Backing::Shared(shared.pages.clone(), 0, reach);
    let space = thread.process.space()?;
    let mapped = space.map_marked(placement, shared.size, protection, backing, Marks::empty());
    let start = mapped.map_err(|errno| if errno == Errno::EXIST { Errno::INVAL } else { errno })?;
    (shared.times[0], shared.used_by) = (now, thread.process.id);
    Ok(start)
}

/// `shmdt(2)`
pub(super) fn detach(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    if !at.is_multiple_of(PAGE) {
        return Err(Errno::INVAL);
    }
    let world = thread.world.clone();
    let mut known = lock(&world.segments.0);
    let now = world.seconds();
    let space = thread.process.space()?;
    let begins = space.begins_at(at).ok_or(Errno::INVAL)?;
    let shared = known.all.values_mut().find(|shared| Arc::ptr_eq(&shared.pages, &begins)).ok_or(Errno::INVAL)?;
    space.detach(at, shared.size, &begins)?;
    (shared.times[1], shared.used_by) = (now, thread.process.id);
    drop(begins);
    known.sweep();
    Ok(0)
}

/// `struct shmid_ds`
fn bytes_of(world: &World, shared: &Shared) -> Vec<u8> {
    let mut bytes = shared.owned.bytes();
    bytes.extend(shared.size.to_le_bytes());
    for time in shared.times {
        bytes.extend(time.to_le_bytes());
    }
    bytes.extend(shared.made_by.to_le_bytes());
    bytes.extend(shared.used_by.to_le_bytes());
    bytes.extend(world.attached(&shared.pages).to_le_bytes());
    bytes.resize(112, 0);
    bytes
}

/// `shmctl(2)`
pub(super) fn control(thread: &mut Thread, [id, command, at, ..]: Arguments) -> Answer {
    /// From `sys/shm.h`, which `libc` does not name on every system.
    const SHM_STAT: i32 = 13;
    const SHM_INFO: i32 = 14;
    const SHM_STAT_ANY: i32 = 15;
    let command = int(command);
    if int(id) < 0 {
        return Err(Errno::INVAL);
    }
    let wanted = if command == libc::IPC_SET { Some(thread.wanted(at, 112)?) } else { None };
    let world = thread.world.clone();
    let mut known = lock(&world.segments.0);
    known.sweep();
    let space = thread.process.space()?;
    match command {
        IPC_INFO => {
            let limits = [LONGEST, 1, MOST as u64, MOST as u64, LONGEST];
            let bytes: Vec<u8> = limits.into_iter().chain([0; 4]).flat_map(u64::to_le_bytes).collect();
            space.write(at, &bytes)?;
            return Ok(known.last());
        }
        SHM_INFO => {
            let pages = |shared: &Shared| shared.size.div_ceil(PAGE);
            let all = known.all.values().map(pages).fold(0, u64::saturating_add);
            let words = [known.all.len() as u64, all, 0, 0, 0, 0];
            space.write(at, &words.map(u64::to_le_bytes).concat())?;
            return Ok(known.last());
        }
        _ => {}
    }
    let shared = known.get(id)?;
    match command {
        libc::IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            thread.may_look(shared, command, SHM_STAT_ANY)?;
            space.write(at, &bytes_of(&world, shared))?;
            Ok(if command == libc::IPC_STAT { 0 } else { id })
        }
        libc::IPC_SET => {
            thread.may_manage(shared)?;
            shared.owned.set(&wanted.ok_or(Errno::INVAL)?)?;
            shared.times[2] = world.seconds();
            Ok(0)
        }
        libc::IPC_RMID => {
            thread.may_manage(shared)?;
            (shared.owned.key, shared.owned.mode) = (libc::IPC_PRIVATE, shared.owned.mode | REMOVED);
            known.sweep();
            Ok(0)
        }
        libc::SHM_LOCK | libc::SHM_UNLOCK => {
            thread.may_manage(shared)?;
            // That it stays is the host's concern.
            thread.may_lock().map(|()| 0)
        }
        _ => Err(Errno::INVAL),
    }
}
