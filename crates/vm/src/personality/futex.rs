//! `futex(2)`: waiting for a word of memory to change.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::io::Errno;

use super::process::lock;
use super::thread::Thread;
use super::{Answer, Arguments, int, time};
use crate::memory::Protection;

/// Who waits for which word. A word is known by its place in guest memory, which is the same for all
/// who share it.
#[derive(Default)]
pub(super) struct Futexes(Mutex<HashMap<u64, VecDeque<Arc<Waiter>>>>);

struct Waiter {
    thread: thread::Thread,
    mask: u32,
    woken: AtomicBool,
    /// Where it waits; a requeue changes it.
    place: AtomicU64,
}

const WAIT: i32 = 0;
const WAKE: i32 = 1;
const REQUEUE: i32 = 3;
const COMPARE_REQUEUE: i32 = 4;
const WAKE_OPERATION: i32 = 5;
const WAIT_MASK: i32 = 9;
const WAKE_MASK: i32 = 10;
const LOCK_PI: i32 = 6;
const UNLOCK_PI: i32 = 7;
const TRYLOCK_PI: i32 = 8;
const LOCK_PI2: i32 = 13;
/// Flags that change nothing here: private, realtime clock.
const FLAGS: i32 = 128 | 256;
const REALTIME: i32 = 256;

impl Futexes {
    /// Wakes up to `most` of those who wait for a word.
    pub(super) fn wake(&self, place: u64, most: u64, mask: u32) -> u64 {
        let mut waiting = lock(&self.0);
        let Some(queue) = waiting.get_mut(&place) else { return 0 };
        let mut woken = 0;
        queue.retain(|waiter| {
            if woken >= most || waiter.mask & mask == 0 {
                return true;
            }
            woken += 1;
            waiter.woken.store(true, SeqCst);
            waiter.thread.unpark();
            false
        });
        if queue.is_empty() {
            waiting.remove(&place);
        }
        woken
    }

    fn move_waiters(&self, from: u64, to: u64, most: u64) -> u64 {
        let mut waiting = lock(&self.0);
        let Some(mut queue) = waiting.remove(&from) else { return 0 };
        let count = queue.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let moved: Vec<_> = queue.drain(..count).collect();
        moved.iter().for_each(|waiter| waiter.place.store(to, SeqCst));
        if !queue.is_empty() {
            waiting.insert(from, queue);
        }
        if count > 0 {
            waiting.entry(to).or_default().extend(moved);
        }
        count as u64
    }

    fn forget(&self, waiter: &Arc<Waiter>) {
        let mut waiting = lock(&self.0);
        let place = waiter.place.load(SeqCst);
        if let Some(queue) = waiting.get_mut(&place) {
            queue.retain(|other| !Arc::ptr_eq(other, waiter));
            if queue.is_empty() {
                waiting.remove(&place);
            }
        }
    }
}

fn wait(thread: &Thread, at: u64, expected: u32, mask: u32, until: Option<std::time::Instant>) -> Answer {
    let space = thread.process.space()?;
    let futexes = &thread.world.futexes;
    let waiter = {
        // Between looking at the word and waiting nobody can wake.
        let mut waiting = lock(&futexes.0);
        let (place, word) = space.load(at)?;
        if word != expected {
            return Err(Errno::AGAIN);
        }
        let place_of = AtomicU64::new(place);
        let waiter =
            Arc::new(Waiter { thread: thread::current(), mask, woken: AtomicBool::new(false), place: place_of });
        waiting.entry(place).or_default().push_back(waiter.clone());
        waiter
    };
    let woken = thread.wait(&[], until, || waiter.woken.load(SeqCst).then_some(()));
    if woken.is_err() {
        futexes.forget(&waiter);
        // Woken in the last moment counts.
        if waiter.woken.load(SeqCst) {
            return Ok(0);
        }
    }
    woken.map(|()| 0)
}

/// Whether a call with this operation is made again after every handler, as the kernel does.
pub(super) fn takes_a_lock(operation: u64) -> bool {
    matches!(int(operation) & !FLAGS, LOCK_PI | LOCK_PI2)
}

/// `futex(2)`
pub(super) fn futex(thread: &mut Thread, [at, operation, value, time, other, third]: Arguments) -> Answer {
    let operation = int(operation);
    let command = operation & !FLAGS;
    if matches!(command, REQUEUE | COMPARE_REQUEUE) && (int(value) < 0 || int(time) < 0) {
        return Err(Errno::INVAL);
    }
    let futexes = &thread.world.futexes;
    let place = |at: u64| thread.process.space()?.place_of(at, Protection::READ);
    match command {
        WAIT | WAIT_MASK => {
            let mask = if command == WAIT { u32::MAX } else { third as u32 };
            if mask == 0 {
                return Err(Errno::INVAL);
            }
            let until = match time {
                0 => None,
                time => {
                    let wanted = thread.duration(time)?;
                    // `FUTEX_WAIT` takes a duration, `FUTEX_WAIT_BITSET` a moment.
                    let left = if command == WAIT {
                        wanted
                    } else {
                        let realtime = operation & REALTIME != 0;
                        let clock = if realtime { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
                        wanted.saturating_sub(time::shown(thread, clock)?)
                    };
                    time::after(left)
                }
            };
            wait(thread, at, value as u32, mask, until)
        }
        LOCK_PI | LOCK_PI2 => {
            let realtime = command == LOCK_PI || operation & REALTIME != 0;
            let clock = if realtime { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
            let until = match time {
                0 => None,
                time => time::after(thread.duration(time)?.saturating_sub(time::shown(thread, clock)?)),
            };
            thread.take_lock(at, until, true)
        }
        TRYLOCK_PI => thread.take_lock(at, None, false),
        UNLOCK_PI => thread.give_lock(at),
        WAKE => Ok(futexes.wake(place(at)?, u64::from(value as u32), u32::MAX)),
        WAKE_MASK if third as u32 == 0 => Err(Errno::INVAL),
        WAKE_MASK => Ok(futexes.wake(place(at)?, u64::from(value as u32), third as u32)),
        REQUEUE | COMPARE_REQUEUE => {
            let (from, to) = (place(at)?, place(other)?);
            if command == COMPARE_REQUEUE && thread.process.space()?.load(at)? != (from, third as u32) {
                return Err(Errno::AGAIN);
            }
            let woken = futexes.wake(from, u64::from(value as u32), u32::MAX);
            let moved = futexes.move_waiters(from, to, u64::from(time as u32));
            Ok(if command == COMPARE_REQUEUE { woken + moved } else { woken })
        }
        WAKE_OPERATION => {
            let space = thread.process.space()?;
            let first = place(at)?;
            let (second, before) = change(&space, other, third as u32)?;
            let woken = futexes.wake(first, u64::from(value as u32), u32::MAX);
            let also =
                if holds(before, third as u32) { futexes.wake(second, u64::from(time as u32), u32::MAX) } else { 0 };
            Ok(woken + also)
        }
        _ => Err(Errno::NOSYS),
    }
}

/// A 12-bit argument with its sign.
const fn signed(bits: u32) -> u32 {
    ((bits << 20) as i32 >> 20) as u32
}

fn change(space: &crate::memory::Space, at: u64, code: u32) -> Result<(u64, u32), Errno> {
    let argument = signed(code >> 12 & 0xfff);
    let argument = if code >> 31 != 0 { 1_u32 << (argument & 31) } else { argument };
    let operation = code >> 28 & 7;
    if operation > 4 {
        return Err(Errno::NOSYS);
    }
    space.change(at, |word| {
        Some(match operation {
            0 => argument,
            1 => word.wrapping_add(argument),
            2 => word | argument,
            3 => word & !argument,
            _ => word ^ argument,
        })
    })
}

fn holds(word: u32, code: u32) -> bool {
    let (word, against) = (word as i32, signed(code & 0xfff) as i32);
    match code >> 24 & 0xf {
        0 => word == against,
        1 => word != against,
        2 => word < against,
        3 => word <= against,
        4 => word > against,
        5 => word >= against,
        _ => false,
    }
}
