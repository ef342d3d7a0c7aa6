//! Timers that send signals: `alarm(2)`, `setitimer(2)`, `timer_create(2)`. Those that measure
//! processor time, and those that signal one thread, are not there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::task::AbortHandle;

use super::process::{Process, lock};
use super::thread::Thread;
use super::world::World;
use super::{Answer, Arguments, int, signals, time};
use crate::snapshot::state;

/// How many a process can have.
const MOST: usize = 32;
/// They expire no more often than this: each time costs the host something.
const SHORTEST: Duration = Duration::from_millis(1);
/// The one of `alarm(2)`; those of `timer_create(2)` follow.
const ALARM: i32 = -1;

/// The timers of a process.
#[derive(Default)]
pub(super) struct Alarms(Mutex<BTreeMap<i32, Alarm>>);

struct Alarm {
    clock: i32,
    /// 0: none is sent.
    signal: i32,
    next: Option<Instant>,
    interval: Duration,
    /// What waits for the moment.
    running: Option<AbortHandle>,
}

impl Alarm {
    fn left(&self) -> Duration {
        let left = self.next.map(|next| match self.interval.is_zero() {
            true => next.saturating_duration_since(Instant::now()),
            false => {
                let late = Instant::now().saturating_duration_since(next).as_nanos();
                let periods = late.div_ceil(self.interval.as_nanos().max(1));
                let next = u32::try_from(periods).ok().and_then(|periods| next.checked_add(self.interval * periods));
                next.map_or(self.interval, |next| next.saturating_duration_since(Instant::now()))
            }
        });
        left.unwrap_or_default()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

impl Alarms {
    /// Those there are, with what they still have.
    pub(super) fn captured(&self) -> Vec<state::Alarm> {
        let alarm = |(&number, alarm): (&i32, &Alarm)| state::Alarm {
            number,
            clock: alarm.clock,
            signal: alarm.signal,
            left: alarm.left(),
            interval: alarm.interval,
        };
        lock(&self.0).iter().map(alarm).collect()
    }

    /// Those there were go on.
    pub(super) fn revive(&self, world: &Arc<World>, process: &Arc<Process>, captured: &[state::Alarm]) {
        for &state::Alarm { number, clock, signal, left, interval } in captured.iter().take(MOST) {
            let next = if left.is_zero() { None } else { time::after(left) };
            let (weak, of) = (Arc::downgrade(world), Arc::downgrade(process));
            let is_running = next.is_some() && (1..=64).contains(&signal);
            let executor = world.executor.get().filter(|_| is_running);
            let running =
                executor.map(|executor| executor.spawn(expire(weak, of, signal, next, interval)).abort_handle());
            lock(&self.0).insert(number, Alarm { clock, signal, next, interval, running });
        }
    }

    /// All of them are gone, as after `execve(2)` those of `timer_create(2)`.
    pub(super) fn clear(&self, all: bool) {
        lock(&self.0).retain(|&number, _| number == ALARM && !all);
    }
}

/// Sends the signal at each moment.
async fn expire(world: Weak<World>, process: Weak<Process>, signal: i32, first: Option<Instant>, interval: Duration) {
    let Some(mut next) = first else { return };
    loop {
        tokio::time::sleep_until(next.into()).await;
        let (Some(world), Some(process)) = (world.upgrade(), process.upgrade()) else { return };
        signals::send(&world, &process, signal);
        if interval.is_zero() {
            return;
        }
        let now = Instant::now();
        next = next.checked_add(interval.max(SHORTEST)).map_or(now, |next| next.max(now));
    }
}

/// Sets one; how long it still had, and its interval.
fn set(thread: &Thread, number: i32, left: Duration, interval: Duration) -> Result<(Duration, Duration), Errno> {
    let mut alarms = lock(&thread.process.alarms.0);
    let alarm = alarms.get_mut(&number).ok_or(Errno::INVAL)?;
    let before = (alarm.left(), alarm.interval);
    if let Some(running) = alarm.running.take() {
        running.abort();
    }
    alarm.next = if left.is_zero() { None } else { time::after(left) };
    alarm.interval = interval;
    if alarm.next.is_none() || alarm.signal == 0 {
        return Ok(before);
    }
    let (world, process) = (Arc::downgrade(&thread.world), Arc::downgrade(&thread.process));
    let executor = thread.world.executor.get().ok_or(Errno::AGAIN)?;
    alarm.running = Some(executor.spawn(expire(world, process, alarm.signal, alarm.next, interval)).abort_handle());
    Ok(before)
}

/// There is one for `alarm(2)`, whenever somebody asks.
fn real(thread: &Thread) {
    let (clock, signal) = (libc::CLOCK_MONOTONIC, libc::SIGALRM);
    let new = || Alarm { clock, signal, next: None, interval: Duration::ZERO, running: None };
    lock(&thread.process.alarms.0).entry(ALARM).or_insert_with(new);
}

/// `alarm(2)`
pub(super) fn alarm(thread: &mut Thread, [seconds, ..]: Arguments) -> Answer {
    real(thread);
    let (left, _) = set(thread, ALARM, Duration::from_secs(u64::from(seconds as u32)), Duration::ZERO)?;
    // Zero would say that there was none.
    Ok(left.as_secs() + u64::from(left.subsec_nanos() > 0))
}

/// `struct itimerval`
fn bytes_of(interval: Duration, left: Duration) -> Vec<u8> {
    let words = [interval, left].map(|time| [time.as_secs(), time.subsec_micros().into()]);
    words.into_iter().flatten().flat_map(u64::to_le_bytes).collect()
}

/// `setitimer(2)`
pub(super) fn setitimer(thread: &mut Thread, [which, new, old, ..]: Arguments) -> Answer {
    if which != 0 {
        return Err(Errno::INVAL);
    }
    real(thread);
    let space = thread.process.space()?;
    let time = |at: u64| match (space.read_u64(at)?, space.read_u64(at.wrapping_add(8))?) {
        (seconds, micros) if (seconds as i64) < 0 || micros >= 1_000_000 => Err(Errno::INVAL),
        (seconds, micros) => Ok(Duration::new(seconds, micros as u32 * 1000)),
    };
    let (interval, left) = if new == 0 { Default::default() } else { (time(new)?, time(new.wrapping_add(16))?) };
    let (left, interval) = set(thread, ALARM, left, interval)?;
    if old == 0 { Ok(0) } else { space.write(old, &bytes_of(interval, left)).map(|()| 0) }
}

/// `getitimer(2)`
pub(super) fn getitimer(thread: &mut Thread, [which, at, ..]: Arguments) -> Answer {
    if which != 0 {
        return Err(Errno::INVAL);
    }
    real(thread);
    let alarms = lock(&thread.process.alarms.0);
    let alarm = alarms.get(&ALARM).ok_or(Errno::INVAL)?;
    let bytes = bytes_of(alarm.interval, alarm.left());
    drop(alarms);
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// `timer_create(2)`
pub(super) fn create(thread: &mut Thread, [clock, event, at, ..]: Arguments) -> Answer {
    let clock = int(clock);
    if !matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME) {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let signal = match event {
        0 => libc::SIGALRM,
        event => {
            match (space.read_u32(event.wrapping_add(8))? as i32, space.read_u32(event.wrapping_add(12))? as i32) {
                (signal, libc::SIGEV_SIGNAL) if (1..=64).contains(&signal) => signal,
                (_, libc::SIGEV_NONE) => 0,
                _ => return Err(Errno::INVAL),
            }
        }
    };
    let mut alarms = lock(&thread.process.alarms.0);
    if alarms.len() >= MOST {
        return Err(Errno::AGAIN);
    }
    let number = (0..).find(|number| !alarms.contains_key(number)).ok_or(Errno::AGAIN)?;
    alarms.insert(number, Alarm { clock, signal, next: None, interval: Duration::ZERO, running: None });
    drop(alarms);
    space.write_u32(at, number as u32).map(|()| 0)
}

fn check(number: u64) -> Result<i32, Errno> {
    if int(number) >= 0 { Ok(int(number)) } else { Err(Errno::INVAL) }
}

/// `struct itimerspec`
fn spec_of(interval: Duration, left: Duration) -> Vec<u8> {
    let words = [interval, left].map(|time| [time.as_secs(), time.subsec_nanos().into()]);
    words.into_iter().flatten().flat_map(u64::to_le_bytes).collect()
}

/// `timer_settime(2)`
pub(super) fn settime(thread: &mut Thread, [number, flags, new, old, ..]: Arguments) -> Answer {
    let number = check(number)?;
    let clock = lock(&thread.process.alarms.0).get(&number).ok_or(Errno::INVAL)?.clock;
    let (interval, wanted) = (thread.duration(new)?, thread.duration(new.wrapping_add(16))?);
    let left = match flags & libc::TIMER_ABSTIME as u64 {
        _ if wanted.is_zero() => wanted,
        0 => wanted,
        // A moment that has passed is now, which is not never.
        _ => wanted.saturating_sub(time::shown(thread, clock)?).max(Duration::from_nanos(1)),
    };
    let (left, interval) = set(thread, number, left, interval)?;
    if old == 0 { Ok(0) } else { thread.process.space()?.write(old, &spec_of(interval, left)).map(|()| 0) }
}

/// `timer_gettime(2)`
pub(super) fn gettime(thread: &mut Thread, [number, at, ..]: Arguments) -> Answer {
    let alarms = lock(&thread.process.alarms.0);
    let alarm = alarms.get(&check(number)?).ok_or(Errno::INVAL)?;
    let bytes = spec_of(alarm.interval, alarm.left());
    drop(alarms);
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// `timer_getoverrun(2)`: a signal that was still pending is not counted.
pub(super) fn overrun(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    lock(&thread.process.alarms.0).get(&check(number)?).map(|_| 0).ok_or(Errno::INVAL)
}

/// `timer_delete(2)`
pub(super) fn delete(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    lock(&thread.process.alarms.0).remove(&check(number)?).map(|_| 0).ok_or(Errno::INVAL)
}
