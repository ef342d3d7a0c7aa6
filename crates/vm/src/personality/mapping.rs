//! Memory: `mmap(2)`, `munmap(2)`, `mprotect(2)`, `mremap(2)`, `brk(2)`, `madvise(2)`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::identity::READ_IMPLIES_EXEC;
use super::open::{Charged, Kind, Mapped};
use super::special::Device;
use super::thread::Thread;
use super::{Answer, Arguments, int};
use crate::kvm::{PAGE, USER_END};
use crate::memory::{Advice, Backing, Content, LOCKS, Marks, Placement, Protection, Reach, Segment, Touch};

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
    if !offset.is_multiple_of(PAGE) {
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
    if length == 0 || has(libc::MAP_GROWSDOWN) && shared {
        return Err(Errno::INVAL);
    }
    if has(libc::MAP_HUGETLB) {
        // There are no such pages; of a file they are those of another file system.
        return Err(if file.is_none() { Errno::NOMEM } else { Errno::INVAL });
    }
    let rounded = length.checked_next_multiple_of(PAGE).filter(|&length| length < USER_END).ok_or(Errno::NOMEM)?;
    let marks = marks_of(thread, flags, rounded)?;
    let placement = if has(libc::MAP_FIXED_NOREPLACE) {
        Placement::Free(at)
    } else if has(libc::MAP_FIXED) {
        Placement::Fixed(at)
    } else if has(libc::MAP_32BIT) {
        Placement::Low(at)
    } else {
        Placement::Hint(at)
    };
    let backing = if let Some(open) = file {
        if offset.checked_add(length).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::OVERFLOW);
        }
        let write = shared && protection.contains(Protection::WRITE);
        let reach = if open.check_mapping(true).is_ok() { Reach::All } else { Reach::ReadOnly };
        let content: Arc<dyn Content> = match &open.kind {
            Kind::Device(Device::Zero) => {
                open.check_mapping(write)?;
                let zeroes = || Backing::Shared(Segment::new(thread.world.machine.clone()), 0, reach);
                let backing = if shared { zeroes() } else { Backing::Anonymous };
                return place(thread, placement, length, protection, backing, (flags, marks));
            }
            Kind::System(_) | Kind::Text(_) if write => return Err(Errno::ACCESS),
            Kind::System(file) => Arc::new(Charged(thread.world.clone(), file.clone())),
            Kind::File(_) | Kind::Text(_) | Kind::Memory(_) => Arc::new(Mapped(open.clone())),
            _ => return Err(Errno::NODEV),
        };
        open.check_mapping(write)?;
        match &open.kind {
            Kind::Memory(node) if shared => {
                // Until it counts as mapped no seal comes.
                let state = node.state();
                let sealed = state.seals as i32 & (libc::F_SEAL_WRITE | libc::F_SEAL_FUTURE_WRITE) != 0;
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
    place(thread, placement, length, protection, backing, (flags, marks))
}

/// What the flags of `mmap(2)` and `mlockall(2)` say of what is mapped; whether that may be locked.
fn marks_of(thread: &Thread, flags: i32, length: u64) -> Result<Marks, Errno> {
    let mut marks = thread.process.space()?.future();
    if flags & libc::MAP_LOCKED != 0 {
        thread.may_lock()?;
        marks |= Marks::LOCKED;
    }
    if !marks.is_empty() && !thread.may_lock_more(length)? {
        return Err(Errno::AGAIN);
    }
    marks.set(Marks::GROWS_DOWN, flags & libc::MAP_GROWSDOWN != 0);
    Ok(marks)
}

/// Maps it, and makes what is to be there at once.
fn place(
    thread: &Thread,
    placement: Placement,
    length: u64,
    protection: Protection,
    backing: Backing,
    (flags, marks): (i32, Marks),
) -> Answer {
    let mut marks = marks;
    // Only what has no file grows.
    marks.set(Marks::GROWS_DOWN, marks.contains(Marks::GROWS_DOWN) && matches!(backing, Backing::Anonymous));
    let space = thread.process.space()?;
    let start = space.map_marked(placement, length, protection, backing, marks)?;
    thread.world.shared.settle();
    if marks & LOCKS == Marks::LOCKED {
        // As in Linux it is mapped also when not all of it can be made.
        let _ = thread.make_pages(start, length, Protection::empty());
    } else if flags & libc::MAP_POPULATE != 0 && !protection.is_empty() {
        space.populate(start, length.min(AHEAD));
    }
    Ok(start)
}

/// `munmap(2)`
pub(super) fn munmap(thread: &mut Thread, [start, length, ..]: Arguments) -> Answer {
    let end = start.checked_add(length).filter(|&end| end <= USER_END).ok_or(Errno::INVAL)?;
    debug_assert!(end >= start);
    thread.process.space()?.unmap(start, length)?;
    thread.world.shared.settle();
    Ok(0)
}

/// `mprotect(2)`
pub(super) fn mprotect(thread: &mut Thread, [start, length, wanted, ..]: Arguments) -> Answer {
    const SEMAPHORES: u64 = 8;
    const DOWN: u64 = libc::PROT_GROWSDOWN as u64;
    const UP: u64 = libc::PROT_GROWSUP as u32 as u64;
    if wanted & (DOWN | UP) == DOWN | UP || !start.is_multiple_of(PAGE) {
        return Err(Errno::INVAL);
    }
    if length == 0 {
        return Ok(0);
    }
    if start.checked_add(length).is_none_or(|end| end.checked_next_multiple_of(PAGE).is_none()) {
        return Err(Errno::NOMEM);
    }
    if wanted & !(u64::from(Protection::all().bits()) | SEMAPHORES | DOWN | UP) != 0 {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let protection = protection(thread, wanted);
    match wanted & (DOWN | UP) {
        DOWN => {
            let from = space.grown_from(start, length)?;
            space.protect(from, (start + length).saturating_sub(from), protection)
        }
        // Nothing grows upwards.
        UP if space.covers(start, PAGE) => Err(Errno::INVAL),
        UP => Err(Errno::NOMEM),
        _ => space.protect(start, length, protection),
    }
    .map(|()| 0)
}

/// `mremap(2)`
pub(super) fn mremap(thread: &mut Thread, [old, length, wanted, flags, new, ..]: Arguments) -> Answer {
    const KEEPS: u64 = libc::MREMAP_DONTUNMAP as u64;
    let kept = flags & KEEPS != 0;
    let rounded = |length: u64| length.checked_next_multiple_of(PAGE);
    let to = match flags & !KEEPS {
        0 if !kept => None,
        1 => Some(Placement::Hint(if kept { new } else { 0 })),
        3 => Some(Placement::Fixed(new)),
        _ => return Err(Errno::INVAL),
    };
    if kept && (rounded(length) != rounded(wanted) || !new.is_multiple_of(PAGE)) {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let (start, more) = (old / PAGE * PAGE, wanted.saturating_sub(length));
    let is_locked = space.locked(start..start.saturating_add(PAGE)).bytes > 0;
    if is_locked && more > 0 && !thread.may_lock_more(more)? {
        return Err(Errno::AGAIN);
    }
    let there = space.remap(old, length, wanted, to, kept)?;
    if is_locked && more > 0 && space.locked(there..there.saturating_add(PAGE)).bytes > 0 {
        // As in Linux it is there also when not all of it can be made.
        let _ = thread.make_pages(there, wanted, Protection::empty());
    }
    Ok(there)
}

/// `brk(2)`
pub(super) fn brk(thread: &mut Thread, [wanted, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let before = space.move_break(0);
    let more = wanted.saturating_sub(before);
    let future = space.future();
    if !future.is_empty() && !thread.may_lock_more(more)? {
        return Ok(before);
    }
    let after = space.move_break(wanted);
    if future & LOCKS == Marks::LOCKED && after > before {
        let start = before.next_multiple_of(PAGE);
        let _ = thread.make_pages(start, after.saturating_sub(start), Protection::empty());
    }
    Ok(after)
}

/// `madvise(2)`: only what changes content, what makes pages, and what children have is done.
pub(super) fn madvise(thread: &mut Thread, [start, length, advice, ..]: Arguments) -> Answer {
    let advice = int(advice);
    let mark = |more, less, is_private| Some(Advice::Mark { more, less, is_private });
    let none = Marks::empty();
    let said = match advice {
        libc::MADV_NORMAL..=libc::MADV_WILLNEED => Some(Advice::Nothing),
        libc::MADV_DONTNEED => Some(Advice::Discard(false)),
        DONTNEED_LOCKED => Some(Advice::Discard(true)),
        libc::MADV_FREE => Some(Advice::Free),
        libc::MADV_REMOVE => Some(Advice::Remove),
        libc::MADV_DONTFORK => mark(Marks::NOT_FORKED, none, false),
        libc::MADV_DOFORK => mark(none, Marks::NOT_FORKED, false),
        libc::MADV_WIPEONFORK => mark(Marks::WIPED, none, true),
        libc::MADV_KEEPONFORK => mark(none, Marks::WIPED, false),
        libc::MADV_MERGEABLE..=libc::MADV_NOHUGEPAGE => Some(Advice::Nothing),
        libc::MADV_DONTDUMP | libc::MADV_DODUMP => Some(Advice::Nothing),
        libc::MADV_COLD | libc::MADV_PAGEOUT => Some(Advice::Idle),
        libc::MADV_POPULATE_READ | libc::MADV_POPULATE_WRITE | COLLAPSE => None,
        _ => return Err(Errno::INVAL),
    };
    let rounded = length.checked_next_multiple_of(PAGE).ok_or(Errno::INVAL)?;
    if !start.is_multiple_of(PAGE) || start.checked_add(rounded).is_none() {
        return Err(Errno::INVAL);
    }
    if length == 0 {
        return Ok(0);
    }
    let space = thread.process.space()?;
    match said {
        Some(said) => space.advise(start, length, said)?,
        None if advice == COLLAPSE => {
            // There are no larger pages that smaller ones could become.
            let there = space.covers(start, length);
            return Err(if there { Errno::INVAL } else { Errno::NOMEM });
        }
        None => {
            let writes = advice == libc::MADV_POPULATE_WRITE;
            let wanted = if writes { Protection::WRITE } else { Protection::READ };
            thread.make_pages(start, rounded, wanted).map_err(|touch| match touch {
                Touch::Forbidden => Errno::INVAL,
                Touch::BeyondFile => Errno::FAULT,
                _ => Errno::NOMEM,
            })?;
        }
    }
    Ok(0)
}

/// `MADV_COLLAPSE`, which `libc` does not name.
const COLLAPSE: i32 = 25;
/// `MADV_DONTNEED_LOCKED`, which `libc` does not name.
const DONTNEED_LOCKED: i32 = 24;

/// `mincore(2)`
pub(super) fn mincore(thread: &mut Thread, [start, length, at, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    if !start.is_multiple_of(PAGE) {
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
        space.write(at.wrapping_add(done / PAGE), &found)?;
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
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::INVAL);
    }
    // What is longer than there are addresses comes to nothing there.
    let length = length.checked_next_multiple_of(PAGE).unwrap_or(0);
    let space = thread.process.space()?;
    if flags & libc::MS_INVALIDATE as u64 != 0 && space.locked(start..start.saturating_add(length)).bytes > 0 {
        return Err(Errno::BUSY);
    }
    space.synchronize(start, length).map(|()| 0)
}

/// `sync(2)`: what is written is with the host.
pub(super) fn nothing(_: &mut Thread, _: Arguments) -> Answer {
    Ok(0)
}
