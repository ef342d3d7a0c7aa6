//! Who runs where and when: `sched(7)`. The host decides; what programs ask for is checked and answered.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};

use rustix::io::Errno;

use super::process::{Member, Process, lock};
use super::thread::Thread;
use super::{Answer, Arguments, int};

/// `sched_yield(2)`
pub(super) fn sched_yield(_: &mut Thread, _: Arguments) -> Answer {
    std::thread::yield_now();
    Ok(0)
}

/// How many processors programs are told of: those of the host's that there are at the beginning.
pub(super) fn processors() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, |count| count.get().min(64)))
}

/// A bit for each.
fn everyone() -> u64 {
    u64::MAX >> (64 - processors())
}

/// The number of who began the instance, which is no process of it.
const BEGINNER: i32 = 1;

/// The process or thread of that number; 0 is the calling one.
fn check(thread: &Thread, id: u64) -> Result<Arc<Process>, Errno> {
    match int(id) {
        0 => Ok(thread.process.clone()),
        id if id < 0 => Err(Errno::INVAL),
        id => {
            let id = id.unsigned_abs();
            let processes = thread.world.processes();
            let found = processes.values().find(|process| lock(&process.threads).contains_key(&id));
            found.cloned().ok_or(Errno::SRCH)
        }
    }
}

/// The thread of that number, which a process has too; 0 is the calling one.
fn member(thread: &Thread, id: u64) -> Result<Arc<Member>, Errno> {
    let process = check(thread, id)?;
    let id = if int(id) == 0 { thread.member.id } else { id as u32 };
    lock(&process.threads).get(&id).cloned().ok_or(Errno::SRCH)
}

/// The processors a thread may run on: those it was given, or all.
pub(super) fn allowed(member: &Member) -> u64 {
    match member.affinity.load(SeqCst) & everyone() {
        0 => everyone(),
        some => some,
    }
}

/// `sched_getaffinity(2)`
pub(super) fn sched_getaffinity(thread: &mut Thread, [id, length, at, ..]: Arguments) -> Answer {
    if length < 8 || !length.is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    let member = if int(id) < 0 { Err(Errno::SRCH) } else { member(thread, id) }?;
    thread.process.space()?.write_u64(at, allowed(&member))?;
    Ok(8)
}

/// `sched_setaffinity(2)`: one of its processors has to be there.
pub(super) fn sched_setaffinity(thread: &mut Thread, [id, length, at, ..]: Arguments) -> Answer {
    let mut mask = [0; 8];
    let length = usize::try_from(length).unwrap_or(8).min(8);
    thread.process.space()?.read(at, &mut mask[..length])?;
    let member = if int(id) < 0 { Err(Errno::SRCH) } else { member(thread, id) }?;
    may_schedule(thread, &*check(thread, id)?)?;
    let wanted = u64::from_le_bytes(mask) & everyone();
    if wanted == 0 {
        return Err(Errno::INVAL);
    }
    member.affinity.store(wanted, SeqCst);
    if member.id == thread.member.id {
        // Others are told when they begin; what they were told stays theirs alone.
        thread.tell_processor()?;
    }
    Ok(0)
}

/// `sched_getscheduler(2)`: whoever began the instance is an ordinary process.
pub(super) fn sched_getscheduler(thread: &mut Thread, [id, ..]: Arguments) -> Answer {
    if int(id) == BEGINNER {
        return Ok(libc::SCHED_OTHER as u64);
    }
    check(thread, id).map(|process| process.policy.load(SeqCst) as u64)
}

/// Whether a process is one's own to say where and when it runs; `EPERM`.
fn may_schedule(thread: &Thread, process: &Process) -> Result<(), Errno> {
    let mine = lock(&thread.process.credentials).clone();
    let theirs = lock(&process.credentials).clone();
    let may = mine.is_privileged() || [theirs.users[0], theirs.users[1]].contains(&mine.users[1]);
    if may { Ok(()) } else { Err(Errno::PERM) }
}

/// Gives a process a policy, which the host knows nothing of. Only user 0 gets one of real time: `sched(7)`.
fn set_policy(thread: &Thread, process: &Process, policy: i32, priority: u32) -> Answer {
    match policy & !libc::SCHED_RESET_ON_FORK {
        libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE if priority == 0 => {}
        libc::SCHED_FIFO | libc::SCHED_RR if (1..=99).contains(&priority) => {
            let mine = lock(&thread.process.credentials).clone();
            let [_, most] = lock(&process.limits).of(libc::RLIMIT_RTPRIO);
            if !mine.is_privileged() && u64::from(priority) > most {
                return Err(Errno::PERM);
            }
        }
        _ => return Err(Errno::INVAL),
    }
    may_schedule(thread, process)?;
    process.policy.store(policy, SeqCst);
    process.priority.store(priority, SeqCst);
    Ok(0)
}

/// `sched_setscheduler(2)`
pub(super) fn sched_setscheduler(thread: &mut Thread, [id, policy, at, ..]: Arguments) -> Answer {
    if at == 0 || int(policy) < 0 || int(id) < 0 {
        return Err(Errno::INVAL);
    }
    let priority = thread.process.space()?.read_u32(at)?;
    let process = check(thread, id)?;
    set_policy(thread, &process, int(policy), priority)
}

/// `sched_setparam(2)`
pub(super) fn sched_setparam(thread: &mut Thread, [id, at, ..]: Arguments) -> Answer {
    if at == 0 || int(id) < 0 {
        return Err(Errno::INVAL);
    }
    let priority = thread.process.space()?.read_u32(at)?;
    let process = check(thread, id)?;
    let policy = process.policy.load(SeqCst);
    set_policy(thread, &process, policy, priority)
}

/// `sched_getparam(2)`
pub(super) fn sched_getparam(thread: &mut Thread, [id, at, ..]: Arguments) -> Answer {
    if at == 0 {
        return Err(Errno::INVAL);
    }
    let priority = check(thread, id)?.priority.load(SeqCst);
    thread.process.space()?.write_u32(at, priority).map(|()| 0)
}

/// `SCHED_EXT`, which `libc` does not name.
const EXTENSIBLE: i32 = 7;

/// `sched_get_priority_max(2)`
pub(super) fn sched_get_priority_max(_: &mut Thread, [policy, ..]: Arguments) -> Answer {
    match int(policy) {
        libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE | libc::SCHED_DEADLINE | EXTENSIBLE => Ok(0),
        libc::SCHED_FIFO | libc::SCHED_RR => Ok(99),
        _ => Err(Errno::INVAL),
    }
}

/// `sched_get_priority_min(2)`
pub(super) fn sched_get_priority_min(thread: &mut Thread, arguments: Arguments) -> Answer {
    sched_get_priority_max(thread, arguments).map(|most| most.min(1))
}

/// `sched_rr_get_interval(2)`: a slice as an ordinary process has one.
pub(super) fn sched_rr_get_interval(thread: &mut Thread, [id, at, ..]: Arguments) -> Answer {
    let slice = match check(thread, id)?.policy.load(SeqCst) & !libc::SCHED_RESET_ON_FORK {
        libc::SCHED_FIFO => 0,
        libc::SCHED_RR => 100_000_000,
        _ => 4_000_000,
    };
    thread.process.space()?.write(at, &[0_u64, slice].map(u64::to_le_bytes).concat()).map(|()| 0)
}

/// How long `struct sched_attr` is, of the first version.
const ATTRIBUTES: u32 = 48;

/// `sched_getattr(2)`
pub(super) fn sched_getattr(thread: &mut Thread, [id, at, size, flags, ..]: Arguments) -> Answer {
    if at == 0 || int(id) < 0 || flags as u32 != 0 || (size as u32) < ATTRIBUTES || size as u32 > 4096 {
        return Err(Errno::INVAL);
    }
    let process = check(thread, id)?;
    let niceness = process.niceness.load(SeqCst);
    let mut bytes = [0; ATTRIBUTES as usize];
    bytes[..4].copy_from_slice(&ATTRIBUTES.to_le_bytes());
    let policy = process.policy.load(SeqCst);
    bytes[4..8].copy_from_slice(&(policy & !libc::SCHED_RESET_ON_FORK).to_le_bytes());
    bytes[8..16].copy_from_slice(&u64::from(policy & libc::SCHED_RESET_ON_FORK != 0).to_le_bytes());
    bytes[20..24].copy_from_slice(&process.priority.load(SeqCst).to_le_bytes());
    bytes[16..20].copy_from_slice(&niceness.to_le_bytes());
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// `sched_setattr(2)`
pub(super) fn sched_setattr(thread: &mut Thread, [id, at, flags, ..]: Arguments) -> Answer {
    if at == 0 || int(id) < 0 || flags as u32 != 0 {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let word = |offset: u64| space.read_u32(at.wrapping_add(offset));
    if !matches!(word(0)?, 0 | ATTRIBUTES..=4096) {
        return Err(Errno::INVAL);
    }
    let (policy, niceness, priority) = (word(4)? as i32, word(16)? as i32, word(20)?);
    let process = check(thread, id)?;
    set_policy(thread, &process, policy, priority)?;
    nicer(thread, &process, niceness, Errno::PERM)
}

/// Nobody but user 0 becomes more important than before, or makes others so.
fn nicer(thread: &Thread, process: &Process, niceness: i32, refused: Errno) -> Answer {
    let niceness = niceness.clamp(-20, 19);
    // One after the other: they may be the same.
    let mine = lock(&thread.process.credentials).clone();
    let theirs = lock(&process.credentials).clone();
    if !mine.is_privileged() && ![theirs.users[0], theirs.users[1]].contains(&mine.users[1]) {
        return Err(Errno::PERM);
    }
    if niceness < process.niceness.load(SeqCst) && !mine.is_privileged() {
        return Err(refused);
    }
    process.niceness.store(niceness, SeqCst);
    Ok(0)
}

/// Those that `getpriority(2)` means.
fn meant(thread: &Thread, which: u64, who: u64) -> Result<Vec<Arc<Process>>, Errno> {
    let all: Vec<Arc<Process>> = thread.world.processes().values().cloned().collect();
    let found: Vec<_> = match which as u32 {
        libc::PRIO_PROCESS if int(who) < 0 => Vec::new(),
        libc::PRIO_PROCESS => vec![check(thread, who)?],
        libc::PRIO_PGRP => {
            let group = if who == 0 { thread.process.group.load(SeqCst) } else { who as u32 };
            all.into_iter().filter(|process| process.group.load(SeqCst) == group).collect()
        }
        libc::PRIO_USER if who == 0 || who as u32 == rustix::process::getuid().as_raw() => all,
        libc::PRIO_USER => Vec::new(),
        _ => return Err(Errno::INVAL),
    };
    if found.is_empty() { Err(Errno::SRCH) } else { Ok(found) }
}

/// `getpriority(2)`: 20 less the niceness, which changes nothing.
pub(super) fn getpriority(thread: &mut Thread, [which, who, ..]: Arguments) -> Answer {
    let least = meant(thread, which, who)?.iter().map(|process| process.niceness.load(SeqCst)).min().unwrap_or(0);
    Ok((20 - least) as u64)
}

/// `setpriority(2)`
pub(super) fn setpriority(thread: &mut Thread, [which, who, niceness, ..]: Arguments) -> Answer {
    let meant = meant(thread, which, who)?;
    meant.iter().try_fold(0, |_, process| nicer(thread, process, int(niceness), Errno::ACCESS))
}

/// `ioprio_get(2)`: none is set.
pub(super) fn ioprio_get(thread: &mut Thread, [which, who, ..]: Arguments) -> Answer {
    meant(thread, which.wrapping_sub(1), who).map(|_| 0)
}

/// `ioprio_set(2)`: checked, and changes nothing.
pub(super) fn ioprio_set(thread: &mut Thread, [which, who, wanted, ..]: Arguments) -> Answer {
    meant(thread, which.wrapping_sub(1), who)?;
    match wanted >> 13 {
        0 | 2 | 3 => Ok(0),
        1 => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}

/// `getcpu(2)`: one of those the thread may run on, and node 0. Other threads may be told the same.
pub(super) fn getcpu(thread: &mut Thread, [processor, node, ..]: Arguments) -> Answer {
    let allowed = allowed(&thread.member);
    let turn = thread.member.processor.load(SeqCst) % allowed.count_ones();
    let mut left = (0..64).filter(|bit| allowed >> bit & 1 != 0);
    let chosen = left.nth(turn as usize).unwrap_or(0);
    let space = thread.process.space()?;
    for (at, value) in [(processor, chosen), (node, 0)] {
        if at != 0 {
            space.write_u32(at, value)?;
        }
    }
    Ok(0)
}
