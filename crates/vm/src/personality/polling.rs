//! Waiting for several descriptors: `poll(2)`, `ppoll(2)`, `select(2)`, `pselect(2)`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use ringfence_abi::{Call, Interest};
use ringfence_isolation::Answer as Answered;
use rustix::io::Errno;

use super::files::MOST;
use super::open::{Kind, Open};
use super::thread::Thread;
use super::waiting::{Bell, waker};
use super::{Answer, Arguments, int, time};

const IN: i16 = libc::POLLIN | libc::POLLRDNORM;
const OUT: i16 = libc::POLLOUT | libc::POLLWRNORM;

/// What is asked of one descriptor.
struct Asked {
    number: i32,
    events: i16,
    open: Option<Arc<Open>>,
}

/// What holds for one descriptor now.
fn ready(asked: &Asked) -> i16 {
    let Some(open) = &asked.open else { return if asked.number < 0 { 0 } else { libc::POLLNVAL } };
    match &open.kind {
        Kind::Reader(pipe) => {
            let readable = if pipe.is_readable() && !(pipe.is_hung_up() && pipe.length() == 0) { IN } else { 0 };
            readable & asked.events | if pipe.is_hung_up() { libc::POLLHUP } else { 0 }
        }
        Kind::Writer(pipe) => {
            if pipe.is_writable() {
                OUT & asked.events
            } else {
                0
            }
        }
        Kind::Stream(_) => 0,
        _ => (IN | OUT) & asked.events,
    }
}

impl Thread {
    /// Waits until something of what is asked holds, and says for each what does.
    fn poll(&self, asked: &[Asked], until: Option<Instant>) -> Result<Vec<i16>, Errno> {
        let bells: Vec<&Bell> = asked
            .iter()
            .filter_map(|asked| match &asked.open.as_ref()?.kind {
                Kind::Reader(pipe) | Kind::Writer(pipe) => Some(&pipe.bell),
                _ => None,
            })
            .collect();
        let mut streams = Vec::new();
        for (index, asked) in asked.iter().enumerate() {
            let Some(Kind::Stream(handle)) = asked.open.as_ref().map(|open| &open.kind) else { continue };
            for (interest, events) in [(Interest::Readable, IN), (Interest::Writable, OUT)] {
                if asked.events & events != 0 {
                    streams.push((
                        index,
                        events & asked.events,
                        self.world.host.call(Call::Ready { handle: *handle, interest }),
                    ));
                }
            }
        }
        let waker = waker();
        let mut context = Context::from_waker(&waker);
        let found = self.wait(&bells, until, || {
            let mut found: Vec<i16> = asked.iter().map(ready).collect();
            for (index, events, answer) in &mut streams {
                let is_ready = match answer {
                    Answered::Now(_) => true,
                    Answered::Later(future) => Pin::new(future).poll(&mut context).is_ready(),
                };
                if is_ready {
                    *answer = Answered::Now(Ok(ringfence_abi::Reply::Done));
                    found[*index] |= *events;
                }
            }
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
            let events = [libc::POLLIN, libc::POLLOUT, 0];
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
            let hung_up = events & libc::POLLHUP != 0;
            for (set, hit) in
                [events & libc::POLLIN != 0 || hung_up, events & libc::POLLOUT != 0].into_iter().enumerate()
            {
                if hit && is_in(&asked_sets[set], number) {
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

    fn until(&self, at: u64) -> Result<Option<Instant>, Errno> {
        if at == 0 { Ok(None) } else { Ok(time::after(self.duration(at)?)) }
    }
}

/// `poll(2)`
pub(super) fn poll(thread: &mut Thread, [at, count, milliseconds, ..]: Arguments) -> Answer {
    let until = u64::try_from(int(milliseconds)).ok().and_then(|left| time::after(Duration::from_millis(left)));
    thread.poll_at(at, count, until)
}

/// `ppoll(2)`
pub(super) fn ppoll(thread: &mut Thread, [at, count, left, mask, size, _]: Arguments) -> Answer {
    let until = thread.until(left)?;
    thread.mask_while_waiting(mask, size)?;
    thread.poll_at(at, count, until)
}

/// `select(2)`
pub(super) fn select(thread: &mut Thread, [count, read, write, except, left, _]: Arguments) -> Answer {
    let until = match left {
        0 => None,
        left => {
            let space = thread.process.space()?;
            let (seconds, microseconds) = (space.read_u64(left)?, space.read_u64(left + 8)?);
            if seconds as i64 <= -1 || microseconds >= 1_000_000 {
                return Err(Errno::INVAL);
            }
            time::after(Duration::from_secs(seconds).saturating_add(Duration::from_micros(microseconds)))
        }
    };
    thread.select(count, [read, write, except], until)
}

/// `pselect(2)`
pub(super) fn pselect(thread: &mut Thread, [count, read, write, except, left, mask]: Arguments) -> Answer {
    let until = thread.until(left)?;
    if mask != 0 {
        let space = thread.process.space()?;
        let (at, size) = (space.read_u64(mask)?, space.read_u64(mask + 8)?);
        thread.mask_while_waiting(at, size)?;
    }
    thread.select(count, [read, write, except], until)
}
