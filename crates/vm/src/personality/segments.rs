//! Segments of memory that processes share by a number: `sysvipc(7)`, `shmget(2)`, `shmop(2)`, `shmctl(2)`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

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
/// What a mode says of permissions, and that it is removed when nobody has it any more (`SHM_DEST`).
const PERMISSIONS: u32 = 0o777;
const REMOVED: u32 = 0o1000;

/// Those of an instance, by their numbers.
#[derive(Default)]
pub(super) struct Segments(Mutex<Known>);

#[derive(Default)]
struct Known {
    next: i32,
    all: BTreeMap<i32, Shared>,
}

struct Shared {
    /// The key it is found by; `IPC_PRIVATE` when it is not, or not any more.
    key: i32,
    size: u64,
    mode: u32,
    /// The user and the group it belongs to, and who made it.
    owner: (u32, u32),
    maker: (u32, u32),
    /// The process that made it, and the last that did something with it.
    made_by: u32,
    used_by: u32,
    /// When it was attached, detached and changed, in seconds.
    times: [u64; 3],
    pages: Arc<Segment>,
    _kept: Kept,
}

impl Known {
    /// One that was removed is gone when nobody has it any more.
    fn sweep(&mut self) {
        self.all.retain(|_, shared| shared.mode & REMOVED == 0 || Arc::strong_count(&shared.pages) > 1);
    }

    fn get(&mut self, id: u64) -> Result<&mut Shared, Errno> {
        self.sweep();
        self.all.get_mut(&int(id)).ok_or(Errno::INVAL)
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
    fn seconds(&self) -> u64 {
        u64::try_from(self.now() / 1_000_000_000).unwrap_or(0)
    }

    /// How often a segment is attached.
    fn attached(&self, pages: &Arc<Segment>) -> u64 {
        let processes: Vec<_> = self.processes().values().cloned().collect();
        let spaces = processes.iter().filter_map(|process| process.space().ok());
        spaces.map(|space| space.attached(pages)).sum()
    }
}

impl Thread {
    /// Whether it may do this with a segment: bits of [`owners`].
    fn may_share(&self, shared: &Shared, wanted: u32) -> Result<(), Errno> {
        let credentials = lock(&self.process.credentials);
        let user = credentials.users[1];
        let shift = match () {
            () if user == 0 => return Ok(()),
            () if user == shared.owner.0 || user == shared.maker.0 => 6,
            () if credentials.has(shared.owner.1) || credentials.has(shared.maker.1) => 3,
            () => 0,
        };
        if shared.mode >> shift & wanted == wanted { Ok(()) } else { Err(Errno::ACCESS) }
    }

    /// Whether it may say whose a segment is, and remove it.
    fn has_segment(&self, shared: &Shared) -> Result<(), Errno> {
        let user = lock(&self.process.credentials).users[1];
        if user == 0 || user == shared.owner.0 || user == shared.maker.0 { Ok(()) } else { Err(Errno::PERM) }
    }
}

/// `shmget(2)`
pub(super) fn get(thread: &mut Thread, [key, size, flags, ..]: Arguments) -> Answer {
    let (key, flags) = (int(key), int(flags));
    let world = thread.world.clone();
    let mut known = lock(&world.segments.0);
    known.sweep();
    let found = known.all.iter().find(|(_, shared)| key != libc::IPC_PRIVATE && shared.key == key);
    if let Some((&id, shared)) = found {
        if flags & libc::IPC_CREAT != 0 && flags & libc::IPC_EXCL != 0 {
            return Err(Errno::EXIST);
        }
        if size > shared.size {
            return Err(Errno::INVAL);
        }
        let wanted = flags as u32 & PERMISSIONS;
        thread.may_share(shared, (wanted >> 6 | wanted >> 3 | wanted) & (owners::READ | owners::WRITE))?;
        return Ok(id as u64);
    }
    if key != libc::IPC_PRIVATE && flags & libc::IPC_CREAT == 0 {
        return Err(Errno::NOENT);
    }
    if size == 0 || size > LONGEST {
        return Err(Errno::INVAL);
    }
    if flags & libc::SHM_HUGETLB != 0 || size > USER_END {
        return Err(Errno::NOMEM);
    }
    if known.all.len() >= MOST {
        return Err(Errno::NOSPC);
    }
    world.may_keep(EACH)?;
    let owner = {
        let credentials = lock(&thread.process.credentials);
        (credentials.users[1], credentials.groups[1])
    };
    let id = known.next;
    known.next = known.next.checked_add(1).ok_or(Errno::NOSPC)?;
    let shared = Shared {
        key,
        size,
        mode: flags as u32 & PERMISSIONS,
        owner,
        maker: owner,
        made_by: thread.process.id,
        used_by: 0,
        times: [0, 0, world.seconds()],
        pages: Segment::new(world.machine.clone()),
        _kept: Kept::of(&world.machine, EACH),
    };
    known.all.insert(id, shared);
    Ok(id as u64)
}

/// `shmat(2)`
pub(super) fn attach(thread: &mut Thread, [id, at, flags, ..]: Arguments) -> Answer {
    let flags = int(flags);
    let world = thread.world.clone();
    let mut known = lock(&world.segments.0);
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
    let ((user, group), (maker, makers)) = (shared.owner, shared.maker);
    let mut bytes = Vec::with_capacity(112);
    for word in [shared.key as u32, user, group, maker, makers, shared.mode] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.resize(48, 0);
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
    /// From `sys/shm.h` and `sys/ipc.h`, which `libc` does not name on every system.
    const SHM_STAT: i32 = 13;
    const SHM_INFO: i32 = 14;
    const SHM_STAT_ANY: i32 = 15;
    const IPC_INFO: i32 = 3;
    let world = thread.world.clone();
    let mut known = lock(&world.segments.0);
    known.sweep();
    let space = thread.process.space()?;
    let command = int(command);
    match command {
        IPC_INFO => {
            let limits = [LONGEST, 1, MOST as u64, MOST as u64, LONGEST / PAGE];
            let bytes: Vec<u8> = limits.into_iter().chain([0; 4]).flat_map(u64::to_le_bytes).collect();
            space.write(at, &bytes)?;
            return Ok(known.all.last_key_value().map_or(0, |(&id, _)| id as u64));
        }
        SHM_INFO => {
            let pages = |shared: &Shared| shared.size.div_ceil(PAGE);
            let all = known.all.values().map(pages).fold(0, u64::saturating_add);
            let words = [known.all.len() as u64, all, 0, 0, 0, 0];
            space.write(at, &words.map(u64::to_le_bytes).concat())?;
            return Ok(known.all.last_key_value().map_or(0, |(&id, _)| id as u64));
        }
        _ => {}
    }
    let shared = known.get(id)?;
    match command {
        libc::IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            if command != SHM_STAT_ANY {
                thread.may_share(shared, owners::READ)?;
            }
            space.write(at, &bytes_of(&world, shared))?;
            Ok(if command == libc::IPC_STAT { 0 } else { id })
        }
        libc::IPC_SET => {
            let word = |at_word: u64| space.read_u32(at.wrapping_add(at_word));
            let (user, group, mode) = (word(4)?, word(8)?, word(20)?);
            thread.has_segment(shared)?;
            (shared.owner, shared.mode) = ((user, group), shared.mode & REMOVED | mode & PERMISSIONS);
            shared.times[2] = world.seconds();
            Ok(0)
        }
        libc::IPC_RMID => {
            thread.has_segment(shared)?;
            (shared.key, shared.mode) = (libc::IPC_PRIVATE, shared.mode | REMOVED);
            known.sweep();
            Ok(0)
        }
        libc::SHM_LOCK | libc::SHM_UNLOCK => {
            thread.has_segment(shared)?;
            // That it stays is the host's concern.
            thread.may_lock().map(|()| 0)
        }
        _ => Err(Errno::INVAL),
    }
}
