//! Memory that stays: `mlock(2)`, `mlockall(2)`. Its pages are made; that they stay is the host's concern. How much of it
//! there may be, `RLIMIT_MEMLOCK` says to whoever is not user 0.

use rustix::io::Errno;

use super::process::lock;
use super::thread::Thread;
use super::{Answer, Arguments, int};
use crate::kvm::PAGE;
use crate::memory::{LOCKS, Marks, Protection, Touch};

/// How much is made before it is looked whether the thread is to end.
const STEP: u64 = 16 << 20;

impl Thread {
    /// How much may be locked; `None` is any amount.
    fn most_locked(&self) -> Option<u64> {
        let [most, _] = lock(&self.process.limits).of(libc::RLIMIT_MEMLOCK);
        let is_free = most == u64::MAX || lock(&self.process.credentials).is_privileged();
        (!is_free).then_some(most)
    }

    /// Whether anything may be locked: `EPERM`.
    pub(super) fn may_lock(&self) -> Result<(), Errno> {
        if self.most_locked() == Some(0) { Err(Errno::PERM) } else { Ok(()) }
    }

    /// Whether so much more may be locked than is already.
    pub(super) fn may_lock_more(&self, length: u64) -> Result<bool, Errno> {
        let Some(most) = self.most_locked() else { return Ok(true) };
        let locked = self.process.space()?.locked(0..u64::MAX).bytes;
        Ok(locked.saturating_add(length) <= most / PAGE * PAGE)
    }

    /// Makes the pages of a range, each of which has to be for this.
    pub(super) fn make_pages(&self, start: u64, length: u64, wanted: Protection) -> Result<(), Touch> {
        let space = self.process.space().map_err(|_| Touch::Nothing)?;
        let end = start.saturating_add(length);
        let mut at = start;
        while at < end && !self.has_to_end() {
            let part = (end - at).min(STEP);
            space.populate_all(at, part, wanted)?;
            at += part;
        }
        Ok(())
    }
}

/// The pages that an address range touches, whose length may come to nothing as in Linux; `EINVAL` when it has no end.
fn pages(start: u64, length: u64) -> Result<(u64, u64), Errno> {
    let into = start % PAGE;
    let length = length.wrapping_add(into);
    let length = length.checked_next_multiple_of(PAGE).unwrap_or(0);
    let start = start - into;
    match start.checked_add(length) {
        Some(_) => Ok((start, length)),
        None => Err(Errno::INVAL),
    }
}

fn lock_pages(thread: &Thread, start: u64, length: u64, marks: Marks) -> Answer {
    thread.may_lock()?;
    let (start, length) = pages(start, length)?;
    let space = thread.process.space()?;
    let already = space.locked(start..start + length).bytes;
    if !thread.may_lock_more(length - already.min(length))? {
        return Err(Errno::NOMEM);
    }
    space.lock(start, length, marks)?;
    if marks.contains(Marks::ON_FAULT) {
        return Ok(0);
    }
    thread.make_pages(start, length, Protection::empty()).map(|()| 0).map_err(|touch| match touch {
        Touch::NoMemory => Errno::AGAIN,
        _ => Errno::NOMEM,
    })
}

/// `mlock(2)`
pub(super) fn mlock(thread: &mut Thread, [start, length, ..]: Arguments) -> Answer {
    lock_pages(thread, start, length, Marks::LOCKED)
}

/// `mlock2(2)`
pub(super) fn mlock2(thread: &mut Thread, [start, length, flags, ..]: Arguments) -> Answer {
    match flags as u32 {
        0 => lock_pages(thread, start, length, Marks::LOCKED),
        // `MLOCK_ONFAULT`
        1 => lock_pages(thread, start, length, LOCKS),
        _ => Err(Errno::INVAL),
    }
}

/// `munlock(2)`
pub(super) fn munlock(thread: &mut Thread, [start, length, ..]: Arguments) -> Answer {
    let (start, length) = pages(start, length)?;
    thread.process.space()?.lock(start, length, Marks::empty()).map(|()| 0)
}

/// `mlockall(2)`
pub(super) fn mlockall(thread: &mut Thread, [flags, ..]: Arguments) -> Answer {
    let flags = int(flags);
    let has = |flag: i32| flags & flag != 0;
    let known = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    if flags & !known != 0 || flags == 0 || flags == libc::MCL_ONFAULT {
        return Err(Errno::INVAL);
    }
    thread.may_lock()?;
    let space = thread.process.space()?;
    let now = has(libc::MCL_CURRENT);
    if now && thread.most_locked().is_some_and(|most| space.locked(0..u64::MAX).mapped > most) {
        return Err(Errno::NOMEM);
    }
    let marks = if has(libc::MCL_ONFAULT) { LOCKS } else { Marks::LOCKED };
    let future = if has(libc::MCL_FUTURE) { marks } else { Marks::empty() };
    space.lock_everything(now.then_some(marks), future);
    if now {
        for range in space.to_populate() {
            // What cannot be made is made when it is touched, as in Linux.
            let _ = thread.make_pages(range.start, range.end - range.start, Protection::empty());
        }
    }
    Ok(0)
}

/// `munlockall(2)`
pub(super) fn munlockall(thread: &mut Thread, _: Arguments) -> Answer {
    thread.process.space()?.lock_everything(Some(Marks::empty()), Marks::empty());
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_the_pages_it_touches() {
        assert_eq!(pages(0x1010, 0x1000), Ok((0x1000, 0x2000)));
        assert_eq!(pages(0x1000, 0), Ok((0x1000, 0)));
        assert_eq!(pages(0x1000, u64::MAX), Ok((0x1000, 0)));
        assert_eq!(pages(0x2000, PAGE.wrapping_neg()), Err(Errno::INVAL));
    }
}
