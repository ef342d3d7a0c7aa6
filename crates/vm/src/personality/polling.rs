//! Waiting for descriptors: `poll(2)`, `ppoll(2)`, `select(2)`, `pselect(2)`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::files::MOST;
use super::open::Open;
use super::readiness::{ERR, HUP, IN, OUT};
use super::thread::Thread;
use super::{Answer, Arguments, int, time};

/// What is asked of one descriptor.
struct Asked {
    number: i32,
    events: i16,
    open: Option<Arc<Open>>,
}

impl Thread {
    /// Waits until something of what is asked holds, and says for each what does.
    fn poll(&self, asked: &[Asked], until: Option<Instant>) -> Result<Vec<i16>, Errno> {
        let found = self.watch(until, |watch| {
            let found: Vec<i16> = asked
                .iter()
                .map(|asked| match &asked.open {
                    Some(open) => watch.readiness(open, asked.events),
                    None if asked.number < 0 => 0,
                    None => libc::POLLNVAL,
                })
                .collect();
            found.iter().any(|&events| events != 0).then_some(found)
        });
        match found {
            Err(Errno::TIMEDOUT) => Ok(vec![0; asked.len()]),
            other => other,
        }
    }

    fn poll_at(&self, at: u64, count: u64, until: Option<Instant>) -> Answer {
        if count > MOST as u64 {
            return Err(Errno::INVAL);
        }
        let space = self.process.space()?;
        let mut bytes = vec![0; count as usize * 8];
        space.read(at, &mut bytes)?;
        let descriptors = self.process.descriptors();
        let asked: Vec<Asked> = bytes
            .chunks_exact(8)
            .map(|part| {
                let number = i32::from_le_bytes([part[0], part[1], part[2], part[3]]);
                Asked { number, events: i16::from_le_bytes([part[4], part[5]]), open: descriptors.get(number).ok() }
            })
            .collect();
        let found = self.poll(&asked, until)?;
        for (index, events) in found.iter().enumerate() {
            space.write(at + index as u64 * 8 + 6, &events.to_le_bytes())?;
        }
        Ok(found.iter().filter(|&&events| events != 0).count() as u64)
    }

    fn select(&self, count: u64, sets: [u64; 3], until: Option<Instant>) -> Answer {
        if count > MOST as u64 {
            return Err(Errno::INVAL);
        }
        let space = self.process.space()?;
        let length = count.div_ceil(64) as usize * 8;
        let mut asked_sets = [vec![0; length], vec![0; length], vec![0; length]];
        for (set, &at) in asked_sets.iter_mut().zip(&sets) {
            if at != 0 {
                space.read(at, set)?;
            }
        }
        let is_in = |set: &[u8], number: usize| set[number / 8] >> (number % 8) & 1 != 0;
        let descriptors = self.process.descriptors();
        let mut asked = Vec::new();
        for number in 0..count as usize {
            let events = [IN, OUT, 0];
            let wanted = (0..3).filter(|&set| is_in(&asked_sets[set], number)).map(|set| events[set]);
            let (mut any, mut events) = (false, 0);
            wanted.for_each(|event| (any, events) = (true, events | event));
            if any {
                let open = descriptors.get(number as i32)?;
                asked.push(Asked { number: number as i32, events, open: Some(open) });
            }
        }
        let found = self.poll(&asked, until)?;
        let mut given = [vec![0; length], vec![0; length], vec![0; length]];
        let mut total = 0;
        for (asked, events) in asked.iter().zip(found) {
            let number = asked.number as usize;
            // What is broken or gone makes neither reading nor writing wait.
            for (set, mask) in [IN | HUP | ERR, OUT | ERR].into_iter().enumerate() {
                if events & mask != 0 && is_in(&asked_sets[set], number) {
                    given[set][number / 8] |= 1 << (number % 8);
                    total += 1;
                }
            }
        }
        for (set, &at) in given.iter().zip(&sets) {
            if at != 0 {
                space.write(at, set)?;
            }
        }
        Ok(total)
    }

    /// Says how much of the time was left, in parts of a second of so many nanoseconds: `select(2)`, NOTES.
    fn tell_rest(&self, at: u64, until: Option<Instant>, unit: u32) {
        let (Some(until), Ok(space)) = (until, self.process.space()) else { return };
        let is_zero = |at| space.read_u64(at).is_ok_and(|word| word == 0);
        if at == 0 || is_zero(at) && is_zero(at.wrapping_add(8)) {
            return;
        }
        let left = until.saturating_duration_since(Instant::now());
        // Where that cannot be written, nothing is said.
        let _ = space.write_u64(at, left.as_secs());
        let _ = space.write_u64(at.wrapping_add(8), u64::from(left.subsec_nanos() / unit));
    }

    /// When a `struct timespec` of waiting is over; `None` for never.
    pub(super) fn until(&self, at: u64) -> Result<Option<Instant>, Errno> {
        if at == 0 { Ok(None) } else { Ok(time::after(self.duration(at)?)) }
    }
}

/// The end of a wait of so many milliseconds; `None` for a negative number, which means for ever.
pub(super) fn milliseconds(argument: u64) -> Option<Instant> {
    u64::try_from(int(argument)).ok().and_then(|left| time::after(Duration::from_millis(left)))
}

/// `poll(2)`
pub(super) fn poll(thread: &mut Thread, [at, count, left, ..]: Arguments) -> Answer {
    thread.poll_at(at, count, milliseconds(left))
}

/// `ppoll(2)`
pub(super) fn ppoll(thread: &mut Thread, [at, count, left, mask, size, _]: Arguments) -> Answer {
    let until = thread.until(left)?;
    thread.mask_while_waiting(mask, size)?;
    let answer = thread.poll_at(at, count, until);
    thread.tell_rest(left, until, 1);
    answer
}

/// `select(2)`
pub(super) fn select(thread: &mut Thread, [count, read, write, except, left, _]: Arguments) -> Answer {
    let until = match left {
        0 => None,
        left => {
            let space = thread.process.space()?;
            let (seconds, microseconds) = (space.read_u64(left)?, space.read_u64(left.wrapping_add(8))?);
            // More than a second of them is taken as it is.
            if seconds as i64 <= -1 || microseconds as i64 <= -1 {
                return Err(Errno::INVAL);
            }
            time::after(Duration::from_secs(seconds).saturating_add(Duration::from_micros(microseconds)))
        }
    };
    let answer = thread.select(count, [read, write, except], until);
    thread.tell_rest(left, until, 1_000);
    answer
}

/// `pselect(2)`
pub(super) fn pselect(thread: &mut Thread, [count, read, write, except, left, mask]: Arguments) -> Answer {
    let until = thread.until(left)?;
    if mask != 0 {
        let space = thread.process.space()?;
        let (at, size) = (space.read_u64(mask)?, space.read_u64(mask + 8)?);
        thread.mask_while_waiting(at, size)?;
    }
    let answer = thread.select(count, [read, write, except], until);
    thread.tell_rest(left, until, 1);
    answer
}
