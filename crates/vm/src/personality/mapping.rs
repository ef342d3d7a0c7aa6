//! Memory: `mmap(2)`, `munmap(2)`, `mprotect(2)`, `mremap(2)`, `brk(2)`, `madvise(2)`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::open::{Charged, Kind, Mapped};
use super::special::Device;
use super::thread::Thread;
use super::identity::READ_IMPLIES_EXEC;
use super::{Answer, Arguments, int};
use crate::memory::{Backing, Content, Placement, Protection, Reach, Segment};

/// What an argument asks for: what of it is nothing of memory says nothing, and a personality may add to it.
fn protection(thread: &Thread, argument: u64) -> Protection {
    let mut protection = Protection::from_bits_truncate(argument as u8);
    let runs = thread.process.persona.load(SeqCst) & READ_IMPLIES_EXEC != 0;
    protection.set(
        Protection::EXECUTE,
        protection.contains(Protection::EXECUTE) || runs && protection.contains(Protection::READ),
    );
    protection
}

/// The flags of `mmap(2)` that `MAP_SHARED_VALIDATE` admits.
const KNOWN: i32 = libc::MAP_TYPE
    | libc::MAP_FIXED
    | libc::MAP_ANONYMOUS
    | libc::MAP_DENYWRITE
    | libc::MAP_EXECUTABLE
    | libc::MAP_GROWSDOWN
    | libc::MAP_LOCKED
    | libc::MAP_NORESERVE
    | libc::MAP_POPULATE
    | libc::MAP_NONBLOCK
    | libc::MAP_STACK
    | libc::MAP_HUGETLB;
/// How much of what is asked for is made ahead of time.
const AHEAD: u64 = 16 << 20;

/// `mmap(2)`
pub(super) fn mmap(thread: &mut Thread, [at, length, wanted, flags, number, offset]: Arguments) -> Answer {
    let protection = protection(thread, wanted);
    let flags = int(flags);
    let has = |flag: i32| flags & flag == flag;
    if !offset.is_multiple_of(crate::kvm::PAGE) {
        return Err(Errno::INVAL);
    }
    let file = if has(libc::MAP_ANONYMOUS) { None } else { Some(thread.process.descriptors().file(int(number))?) };
    let shared = match flags & libc::MAP_TYPE {
        libc::MAP_PRIVATE => false,
        libc::MAP_SHARED => true,
        libc::MAP_SHARED_VALIDATE if file.is_none() => return Err(Errno::INVAL),
        libc::MAP_SHARED_VALIDATE if flags & !KNOWN != 0 => return Err(Errno::OPNOTSUPP),
        libc::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::INVAL),
    };
    if length == 0 {
        return Err(Errno::INVAL);
    }
    let placement = if has(libc::MAP_FIXED_NOREPLACE) {
        Placement::Free(at)
    } else if has(libc::MAP_FIXED) {
        Placement::Fixed(at)
    } else {
        Placement::Hint(at)
    };
    let backing = if let Some(open) = file {
        if offset.checked_add(length).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::INVAL);
        }
        let write = shared && protection.contains(Protection::WRITE);
        let reach = if open.check_mapping(true).is_ok() { Reach::All } else { Reach::ReadOnly };
        let content: Arc<dyn Content> = match &open.kind {
            Kind::Device(Device::Zero) if !shared => return anonymous(thread, placement, length, protection),
            Kind::System(_) | Kind::Text(_) if write => return Err(Errno::ACCESS),
            Kind::System(file) => Arc::new(Charged(thread.world.clone(), file.clone())),
            Kind::File(_) | Kind::Text(_) | Kind::Memory(_) => Arc::new(Mapped(open.clone())),
            _ => return Err(Errno::NODEV),
        };
        open.check_mapping(write)?;
        match &open.kind {
            Kind::Memory(node) if shared => {
                let sealed = node.state().seals as i32 & (libc::F_SEAL_WRITE | libc::F_SEAL_FUTURE_WRITE) != 0;
                if sealed && write {
                    return Err(Errno::PERM);
                }
                let reach = if sealed { Reach::ReadOnly } else { reach };
                Backing::Shared(node.content()?.clone(), offset, reach)
            }
            Kind::File(_) if shared => Backing::Shared(thread.world.shared.map(&thread.world, &open)?, offset, reach),
            _ => Backing::File(content, offset),
        }
    } else if shared {
        Backing::Shared(Segment::new(thread.world.machine.clone()), 0, Reach::All)
    } else {
        Backing::Anonymous
    };
    let space = thread.process.space()?;
    let start = space.map(placement, length, protection, backing)?;
    thread.world.shared.settle();
    if has(libc::MAP_POPULATE) && !protection.is_empty() {
        space.populate(start, length.min(AHEAD));
    }
    Ok(start)
}

fn anonymous(thread: &Thread, placement: Placement, length: u64, protection: Protection) -> Answer {
    thread.process.space()?.map(placement, length, protection, Backing::Anonymous)
}

/// `munmap(2)`
pub(super) fn munmap(thread: &mut Thread, [start, length, ..]: Arguments) -> Answer {
    let end = start.checked_add(length).filter(|&end| end <= crate::kvm::USER_END).ok_or(Errno::INVAL)?;
    debug_assert!(end >= start);
    thread.process.space()?.unmap(start, length)?;
    thread.world.shared.settle();
    Ok(0)
}

/// `mprotect(2)`
pub(super) fn mprotect(thread: &mut Thread, [start, length, wanted, ..]: Arguments) -> Answer {
    const SEMAPHORES: u64 = 8;
    if wanted & !(u64::from(Protection::all().bits()) | SEMAPHORES) != 0 {
        return Err(Errno::INVAL);
    }
    thread.process.space()?.protect(start, length, protection(thread, wanted)).map(|()| 0)
}

/// `mremap(2)`
pub(super) fn mremap(thread: &mut Thread, [old, length, wanted, flags, new, ..]: Arguments) -> Answer {
    let to = match flags {
        0 => None,
        1 => Some(Placement::Hint(0)),
        3 => Some(Placement::Fixed(new)),
        _ => return Err(Errno::INVAL),
    };
    thread.process.space()?.remap(old, length, wanted, to)
}

/// `brk(2)`
pub(super) fn brk(thread: &mut Thread, [wanted, ..]: Arguments) -> Answer {
    Ok(thread.process.space()?.move_break(wanted))
}

/// `madvise(2)`: only what changes content, and what makes pages, is done.
pub(super) fn madvise(thread: &mut Thread, [start, length, advice, ..]: Arguments) -> Answer {
    const GUARDS: std::ops::RangeInclusive<i32> = libc::MADV_DONTDUMP..=libc::MADV_DODUMP;
    let advice = int(advice);
    match advice {
        libc::MADV_NORMAL..=libc::MADV_DONTNEED | libc::MADV_FREE => {}
        libc::MADV_MERGEABLE..=libc::MADV_NOHUGEPAGE => {}
        libc::MADV_COLD..=libc::MADV_POPULATE_WRITE | DONTNEED_LOCKED => {}
        advice if GUARDS.contains(&advice) => {}
        _ => return Err(Errno::INVAL),
    }
    let rounded = length.checked_next_multiple_of(crate::kvm::PAGE).ok_or(Errno::INVAL)?;
    if !start.is_multiple_of(crate::kvm::PAGE) || start.checked_add(rounded).is_none() {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    match advice {
        _ if length == 0 => return Ok(0),
        libc::MADV_DONTNEED | DONTNEED_LOCKED => return space.discard(start, length).map(|()| 0),
        _ if !space.covers(start, length) => return Err(Errno::NOMEM),
        libc::MADV_FREE if space.shares(start, length) => return Err(Errno::INVAL),
        libc::MADV_POPULATE_READ | libc::MADV_POPULATE_WRITE => space.populate(start, length.min(AHEAD)),
        _ => {}
    }
    Ok(0)
}

/// `MADV_DONTNEED_LOCKED`, which `libc` does not name.
const DONTNEED_LOCKED: i32 = 24;

/// `mincore(2)`
pub(super) fn mincore(thread: &mut Thread, [start, length, at, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    if !start.is_multiple_of(crate::kvm::PAGE) {
        return Err(Errno::INVAL);
    }
    if start.checked_add(length).is_none() {
        return Err(Errno::NOMEM);
    }
    // So many at once: the host keeps no more for one call.
    const STEP: u64 = 1 << 30;
    let mut done = 0;
    while done < length {
        let part = (length - done).min(STEP);
        let found = space.residents(start + done, part)?;
        space.write(at.wrapping_add(done / crate::kvm::PAGE), &found)?;
        done += part;
    }
    Ok(0)
}

/// `msync(2)`: what was written to shared files reaches them.
pub(super) fn msync(thread: &mut Thread, [start, length, flags, ..]: Arguments) -> Answer {
    let both = (libc::MS_ASYNC | libc::MS_SYNC) as u64;
    if flags & !(both | libc::MS_INVALIDATE as u64) != 0 || flags & both == both {
        return Err(Errno::INVAL);
    }
    thread.process.space()?.synchronize(start, length).map(|()| 0)
}

/// The pages that an address range touches; `ENOMEM` unless all of them are mapped, `EINVAL` when it has no end.
fn locked(thread: &Thread, start: u64, length: u64) -> Result<(u64, u64), Errno> {
    let into = start % crate::kvm::PAGE;
    let length = length.checked_add(into).and_then(|length| length.checked_next_multiple_of(crate::kvm::PAGE));
    let start = start - into;
    let length = length.filter(|&length| start.checked_add(length).is_some()).ok_or(Errno::INVAL)?;
    match thread.process.space()?.covers(start, length) {
        true => Ok((start, length)),
        false => Err(Errno::NOMEM),
    }
}

/// `mlock(2)`: the pages are made; that they stay is the host's concern.
pub(super) fn mlock(thread: &mut Thread, [start, length, ..]: Arguments) -> Answer {
    let (start, length) = locked(thread, start, length)?;
    thread.process.space()?.populate(start, length.min(AHEAD));
    Ok(0)
}

/// `mlock2(2)`
pub(super) fn mlock2(thread: &mut Thread, arguments: Arguments) -> Answer {
    match arguments[2] {
        0 => mlock(thread, arguments),
        // `MLOCK_ONFAULT`
        1 => locked(thread, arguments[0], arguments[1]).map(|_| 0),
        _ => Err(Errno::INVAL),
    }
}

/// `munlock(2)`
pub(super) fn munlock(thread: &mut Thread, [start, length, ..]: Arguments) -> Answer {
    locked(thread, start, length).map(|_| 0)
}

/// `mlockall(2)`
pub(super) fn mlockall(_: &mut Thread, [flags, ..]: Arguments) -> Answer {
    match int(flags) {
        flags if flags & !(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) != 0 => Err(Errno::INVAL),
        0 | libc::MCL_ONFAULT => Err(Errno::INVAL),
        _ => Ok(0),
    }
}

/// `munlockall(2)`, `sync(2)`: nothing is locked, and what is written is with the host.
pub(super) fn nothing(_: &mut Thread, _: Arguments) -> Answer {
    Ok(0)
}
