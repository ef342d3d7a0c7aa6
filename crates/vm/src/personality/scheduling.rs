//! Who runs where and when: `sched(7)`. The host decides; what programs ask for is checked and answered.

use rustix::io::Errno;

use super::thread::Thread;
use super::{Answer, Arguments, int};

/// `sched_yield(2)`
pub(super) fn sched_yield(_: &mut Thread, _: Arguments) -> Answer {
    std::thread::yield_now();
    Ok(0)
}

fn processors() -> u64 {
    let count = std::thread::available_parallelism().map_or(1, |count| count.get().min(64)) as u32;
    u64::MAX >> (64 - count)
}

/// `sched_getaffinity(2)`
pub(super) fn sched_getaffinity(thread: &mut Thread, [_, length, at, ..]: Arguments) -> Answer {
    if length < 8 || !length.is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    thread.process.space()?.write_u64(at, processors())?;
    Ok(8)
}

/// `sched_setaffinity(2)`: one of its processors has to be there.
pub(super) fn sched_setaffinity(thread: &mut Thread, [_, length, at, ..]: Arguments) -> Answer {
    let mut mask = [0; 8];
    let length = usize::try_from(length).unwrap_or(8).min(8);
    thread.process.space()?.read(at, &mut mask[..length])?;
    if u64::from_le_bytes(mask) & processors() == 0 { Err(Errno::INVAL) } else { Ok(0) }
}

/// `sched_getscheduler(2)`, `getpriority(2)` of an ordinary process: `SCHED_OTHER`.
pub(super) fn ordinary(_: &mut Thread, _: Arguments) -> Answer {
    Ok(0)
}

/// `sched_setscheduler(2)`: what is ordinary is granted.
pub(super) fn sched_setscheduler(_: &mut Thread, [_, policy, ..]: Arguments) -> Answer {
    match int(policy) {
        libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE => Ok(0),
        libc::SCHED_FIFO | libc::SCHED_RR => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}

/// `sched_getparam(2)`
pub(super) fn sched_getparam(thread: &mut Thread, [_, at, ..]: Arguments) -> Answer {
    thread.process.space()?.write_u32(at, 0).map(|()| 0)
}

/// `sched_get_priority_max(2)`, `sched_get_priority_min(2)`
pub(super) fn sched_get_priority(_: &mut Thread, [policy, ..]: Arguments) -> Answer {
    match int(policy) {
        libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE => Ok(0),
        libc::SCHED_FIFO | libc::SCHED_RR => Ok(1),
        _ => Err(Errno::INVAL),
    }
}

/// `getpriority(2)`: 20 less the niceness, which is 0.
pub(super) fn getpriority(_: &mut Thread, _: Arguments) -> Answer {
    Ok(20)
}

/// `setpriority(2)`: less is granted, and changes nothing.
pub(super) fn setpriority(_: &mut Thread, [_, _, niceness, ..]: Arguments) -> Answer {
    if int(niceness) < 0 { Err(Errno::ACCESS) } else { Ok(0) }
}

/// `getcpu(2)`
pub(super) fn getcpu(thread: &mut Thread, [processor, node, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    for at in [processor, node] {
        if at != 0 {
            space.write_u32(at, 0)?;
        }
    }
    Ok(0)
}

/// `membarrier(2)`: asked for, it says that nothing of it is here.
pub(super) fn membarrier(_: &mut Thread, [command, flags, ..]: Arguments) -> Answer {
    match (int(command), flags) {
        (0, 0) => Ok(0),
        _ => Err(Errno::INVAL),
    }
}
