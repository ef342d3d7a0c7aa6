//! Memory: `mmap(2)`, `munmap(2)`, `mprotect(2)`, `mremap(2)`, `brk(2)`, `madvise(2)`.

use std::sync::Arc;

use rustix::io::Errno;

use super::open::{Charged, Kind, Mapped};
use super::thread::Thread;
use super::{Answer, Arguments, int};
use crate::memory::{Backing, Content, Placement, Protection, Segment};

fn protection(argument: u64) -> Result<Protection, Errno> {
    // PROT_GROWSDOWN and PROT_GROWSUP are not here.
    Protection::from_bits(u8::try_from(argument).map_err(|_| Errno::INVAL)?).ok_or(Errno::INVAL)
}

/// `mmap(2)`
pub(super) fn mmap(thread: &mut Thread, [at, length, wanted, flags, number, offset]: Arguments) -> Answer {
    let protection = protection(wanted)?;
    let flags = int(flags);
    let has = |flag: i32| flags & flag == flag;
    let shared = match flags & libc::MAP_TYPE {
        libc::MAP_PRIVATE => false,
        libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::INVAL),
    };
    let placement = if has(libc::MAP_FIXED_NOREPLACE) {
        Placement::Free(at)
    } else if has(libc::MAP_FIXED) {
        Placement::Fixed(at)
    } else {
        Placement::Hint(at)
    };
    let backing = if has(libc::MAP_ANONYMOUS) {
        match shared {
            true => Backing::Shared(Segment::new(thread.world.machine.clone()), 0),
            false => Backing::Anonymous,
        }
    } else {
        let open = thread.process.descriptors().get(int(number))?;
        if !offset.is_multiple_of(crate::kvm::PAGE)
            || offset.checked_add(length).is_none_or(|end| end > i64::MAX as u64)
        {
            return Err(Errno::INVAL);
        }
        // What is written to a shared mapping of a file would have to reach the file.
        if shared && protection.contains(Protection::WRITE) {
            return Err(Errno::NODEV);
        }
        let content: Arc<dyn Content> = match &open.kind {
            Kind::System(file) => Arc::new(Charged(thread.world.clone(), file.clone())),
            Kind::File(_) | Kind::Text(_) => Arc::new(Mapped(open.clone())),
            _ => return Err(Errno::NODEV),
        };
        Backing::File(content, offset)
    };
    let space = thread.process.space()?;
    let start = space.map(placement, length, protection, backing)?;
    if has(libc::MAP_POPULATE) && !protection.is_empty() {
        space.populate(start, length.min(16 << 20));
    }
    Ok(start)
}

/// `munmap(2)`
pub(super) fn munmap(thread: &mut Thread, [start, length, ..]: Arguments) -> Answer {
    thread.process.space()?.unmap(start, length).map(|()| 0)
}

/// `mprotect(2)`
pub(super) fn mprotect(thread: &mut Thread, [start, length, wanted, ..]: Arguments) -> Answer {
    thread.process.space()?.protect(start, length, protection(wanted)?).map(|()| 0)
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

/// `madvise(2)`: only what changes content is done.
pub(super) fn madvise(thread: &mut Thread, [start, length, advice, ..]: Arguments) -> Answer {
    match int(advice) {
        libc::MADV_DONTNEED => thread.process.space()?.discard(start, length).map(|()| 0),
        libc::MADV_NORMAL..=libc::MADV_WILLNEED | libc::MADV_FREE | libc::MADV_MERGEABLE..=libc::MADV_DODUMP => Ok(0),
        _ => Err(Errno::INVAL),
    }
}

/// `msync(2)`, `mlock(2)`, `munlock(2)`: nothing leaves memory.
pub(super) fn nothing(_: &mut Thread, _: Arguments) -> Answer {
    Ok(0)
}
