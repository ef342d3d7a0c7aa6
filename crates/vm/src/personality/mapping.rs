//! Memory: `mmap(2)`, `munmap(2)`, `mprotect(2)`, `mremap(2)`, `brk(2)`, `madvise(2)`.

use std::sync::Arc;

use rustix::io::Errno;

use super::open::{Charged, Kind, Mapped};
use super::special::Device;
use super::thread::Thread;
use super::{Answer, Arguments, int};
use crate::memory::{Backing, Content, Placement, Protection, Reach, Segment};

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
            true => Backing::Shared(Segment::new(thread.world.machine.clone()), 0, Reach::All),
            false => Backing::Anonymous,
        }
    } else {
        let open = thread.process.descriptors().get(int(number))?;
        if !offset.is_multiple_of(crate::kvm::PAGE)
            || offset.checked_add(length).is_none_or(|end| end > i64::MAX as u64)
        {
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
    };
    let space = thread.process.space()?;
    let start = space.map(placement, length, protection, backing)?;
    thread.world.shared.settle();
    if has(libc::MAP_POPULATE) && !protection.is_empty() {
        space.populate(start, length.min(16 << 20));
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

/// `mincore(2)`: every page that is mapped is there when it is touched.
pub(super) fn mincore(thread: &mut Thread, [start, length, at, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let pages = length.div_ceil(crate::kvm::PAGE).min(1 << 20);
    if !start.is_multiple_of(crate::kvm::PAGE) {
        return Err(Errno::INVAL);
    }
    if !space.covers(start, length) {
        return Err(Errno::NOMEM);
    }
    space.write(at, &vec![1; pages as usize]).map(|()| 0)
}

/// `msync(2)`: what was written to shared files reaches them.
pub(super) fn msync(thread: &mut Thread, [start, length, flags, ..]: Arguments) -> Answer {
    let both = (libc::MS_ASYNC | libc::MS_SYNC) as u64;
    if flags & !(both | libc::MS_INVALIDATE as u64) != 0 || flags & both == both {
        return Err(Errno::INVAL);
    }
    thread.process.space()?.synchronize(start, length).map(|()| 0)
}

/// `mlock(2)`, `munlock(2)`: nothing leaves memory.
pub(super) fn nothing(_: &mut Thread, _: Arguments) -> Answer {
    Ok(0)
}
