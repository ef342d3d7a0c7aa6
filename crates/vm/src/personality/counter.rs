//! A number that can be waited for: `eventfd(2)`.

use std::sync::Mutex;

use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::lock;
use super::readiness::{IN, OUT, Watch};
use super::thread::Thread;
use super::waiting::Bell;
use super::{Answer, Arguments};

/// The largest number it holds.
const MOST: u64 = u64::MAX - 1;

/// A number that is added to and taken.
pub(super) struct Counter {
    number: Mutex<u64>,
    /// Taken one at a time: `EFD_SEMAPHORE`.
    by_one: bool,
    /// Rung at every change.
    pub(super) bell: Bell,
}

impl Counter {
    /// Its number, and whether it is taken one at a time.
    pub(super) fn captured(&self) -> (u64, bool) {
        (*lock(&self.number), self.by_one)
    }

    /// The reverse of [`captured`](Self::captured).
    pub(super) fn of(number: u64, by_one: bool) -> Counter {
        Counter { number: Mutex::new(number.min(MOST)), by_one, bell: Bell::default() }
    }

    pub(super) fn readiness(&self, watch: &Watch<'_>) -> i16 {
        watch.enlist(&self.bell);
        let number = *lock(&self.number);
        (if number > 0 { IN } else { 0 }) | if number < MOST { OUT } else { 0 }
    }

    fn try_take(&self) -> Option<u64> {
        let mut number = lock(&self.number);
        let taken = if self.by_one { (*number).min(1) } else { *number };
        *number -= taken;
        (taken > 0).then_some(taken)
    }

    fn try_add(&self, more: u64) -> Option<()> {
        let mut number = lock(&self.number);
        *number = number.checked_add(more).filter(|&sum| sum <= MOST)?;
        Some(())
    }

    pub(super) fn read(&self, thread: &Thread, into: &mut [u8], at_once: bool) -> Result<usize, Errno> {
        let place = into.get_mut(..8).ok_or(Errno::INVAL)?;
        let taken = match (self.try_take(), at_once) {
            (Some(taken), _) => taken,
            (None, true) => return Err(Errno::AGAIN),
            (None, false) => thread.wait(&[&self.bell], None, || self.try_take())?,
        };
        self.bell.ring();
        place.copy_from_slice(&taken.to_le_bytes());
        Ok(8)
    }

    pub(super) fn write(&self, thread: &Thread, from: &[u8], at_once: bool) -> Result<usize, Errno> {
        let bytes: [u8; 8] = from.try_into().map_err(|_| Errno::INVAL)?;
        let more = u64::from_le_bytes(bytes);
        if more > MOST {
            return Err(Errno::INVAL);
        }
        match (self.try_add(more), at_once) {
            (Some(()), _) => {}
            (None, true) => return Err(Errno::AGAIN),
            (None, false) => thread.wait(&[&self.bell], None, || self.try_add(more))?,
        }
        self.bell.ring();
        Ok(8)
    }
}

/// `eventfd(2)`
pub(super) fn eventfd(thread: &mut Thread, [first, ..]: Arguments) -> Answer {
    eventfd2(thread, [first, 0, 0, 0, 0, 0])
}

/// `eventfd2(2)`
pub(super) fn eventfd2(thread: &mut Thread, [first, flags, ..]: Arguments) -> Answer {
    let known = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE;
    let flags = flags as i32;
    if flags & !known != 0 {
        return Err(Errno::INVAL);
    }
    let number = Mutex::new(u64::from(first as u32));
    let counter = Counter { number, by_one: flags & libc::EFD_SEMAPHORE != 0, bell: Bell::default() };
    let how = libc::O_RDWR | flags & libc::EFD_NONBLOCK;
    let open = Open::new(&thread.world, Kind::Counter(counter), b"anon_inode:[eventfd]", how as u32);
    thread.process.descriptors().add(open, 0, flags & libc::EFD_CLOEXEC != 0)
}
