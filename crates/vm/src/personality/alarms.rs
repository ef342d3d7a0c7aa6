//! Timers that send signals: `alarm(2)`, `setitimer(2)`, `timer_create(2)`, `RLIMIT_CPU` of `getrlimit(2)`.

mod running;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::task::AbortHandle;

use running::{Running, expire};

use super::process::{Process, lock};
use super::signals::Cause;
use super::thread::Thread;
use super::world::World;
use super::{Answer, Arguments, int, time};
use crate::snapshot::state;

/// How many a process can have.
const MOST: usize = 32;
/// Those of `setitimer(2)`, by what they measure; those of `timer_create(2)` are numbered from 0 on.
const REAL: i32 = -1;
const VIRTUAL: i32 = -2;
const PROFILE: i32 = -3;
/// The one of `RLIMIT_CPU`.
const LIMIT: i32 = -4;

/// How often timers were set.
static TURNS: AtomicU64 = AtomicU64::new(1);

/// The timers of a process.
#[derive(Default)]
pub(super) struct Alarms(Mutex<BTreeMap<i32, Alarm>>);

/// What time a timer measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// What a clock shows.
    Clock(i32),
    /// Processor time of the process.
    Process,
    /// Processor time of a thread.
    Thread(u32),
}

impl Measure {
    /// Since when time is counted, which no one can tell from outside; `None` when nobody lives who has it.
    fn now(self, process: &Process, start: Instant) -> Option<Duration> {
        match self {
            Measure::Clock(_) => Some(start.elapsed()),
            Measure::Process => Some(process.cpu_time()),
            Measure::Thread(id) => process.thread_time(id),
        }
    }
}

/// What happens when a timer expires.
#[derive(Clone, Copy)]
struct Effect {
    /// None is sent, or this one.
    cause: Option<Cause>,
    /// To this thread, or to the process.
    thread: Option<u32>,
}

/// What was set of a timer.
#[derive(Clone, Copy)]
struct Setting {
    measure: Measure,
    effect: Effect,
    start: Instant,
    /// When it expires next, as its measure counts.
    next: Option<Duration>,
    interval: Duration,
    /// No other setting has the same: what was begun by one that is not the last has no effect any more.
    turn: u64,
}

struct Alarm {
    set: Setting,
    /// What waits for the moment.
    running: Option<AbortHandle>,
    /// Its place among those that run, as long as anything of it does.
    counted: Weak<Running>,
}

impl Alarm {
    fn new(measure: Measure, effect: Effect) -> Alarm {
        let (start, next, interval, turn) = (Instant::now(), None, Duration::ZERO, 0);
        let set = Setting { measure, effect, start, next, interval, turn };
        Alarm { set, running: None, counted: Weak::new() }
    }

    fn left(&self, process: &Process) -> Duration {
        let Setting { measure, start, next, interval, .. } = self.set;
        let Some(next) = next else { return Duration::ZERO };
        let Some(now) = measure.now(process, start) else { return Duration::ZERO };
        if now < next || interval.is_zero() {
            return next.saturating_sub(now);
        }
        let period = interval.as_nanos().max(1);
        let into = (now - next).as_nanos() % period;
        Duration::from_nanos(u64::try_from(period - into).unwrap_or(u64::MAX))
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
    pub(super) fn captured(&self, process: &Process) -> Vec<state::Alarm> {
        let alarm = |(&number, alarm): (&i32, &Alarm)| {
            let left = alarm.left(process);
            // One that has expired and whose signal was not sent yet does that when it goes on.
            let waits = alarm.running.as_ref().is_some_and(|running| !running.is_finished());
            state::Alarm {
                number,
                measure: match alarm.set.measure {
                    Measure::Clock(clock) => state::Measure::Clock(clock),
                    Measure::Process => state::Measure::Process,
                    Measure::Thread(id) => state::Measure::Thread(id),
                },
                cause: alarm.set.effect.cause.map(|Cause { signal, code, words }| state::Cause { signal, code, words }),
                thread: alarm.set.effect.thread,
                left: if waits { left.max(Duration::from_nanos(1)) } else { left },
                interval: alarm.set.interval,
            }
        };
        lock(&self.0).iter().map(alarm).collect()
    }

    /// Those there were go on.
    pub(super) fn revive(&self, world: &Arc<World>, process: &Arc<Process>, captured: &[state::Alarm]) {
        for alarm in captured.iter().take(MOST + 5) {
            let measure = match alarm.measure {
                state::Measure::Clock(clock) => Measure::Clock(clock),
                state::Measure::Process => Measure::Process,
                state::Measure::Thread(id) => Measure::Thread(id),
            };
            let effect = Effect { cause: alarm.cause.as_ref().and_then(Cause::of), thread: alarm.thread };
            lock(&self.0).insert(alarm.number, Alarm::new(measure, effect));
            // The executor is there, and so is the alarm.
            let _ = set_of(world, process, alarm.number, alarm.left, alarm.interval);
        }
    }

    /// All of them are gone, as after `execve(2)` those of `timer_create(2)`.
    pub(super) fn clear(&self, all: bool) {
        lock(&self.0).retain(|&number, _| number < 0 && !all);
    }
}

/// Sets one; how long it still had, and its interval.
fn set(thread: &Thread, number: i32, left: Duration, interval: Duration) -> Result<(Duration, Duration), Errno> {
    set_of(&thread.world, &thread.process, number, left, interval)
}

fn set_of(
    world: &Arc<World>,
    process: &Arc<Process>,
    number: i32,
    left: Duration,
    interval: Duration,
) -> Result<(Duration, Duration), Errno> {
    let mut alarms = lock(&process.alarms.0);
    let alarm = alarms.get_mut(&number).ok_or(Errno::INVAL)?;
    let before = (alarm.left(process), alarm.set.interval);
    let next = match left.is_zero() {
        true => None,
        // Beyond all counting is never.
        false => alarm.set.measure.now(process, alarm.set.start).and_then(|now| now.checked_add(left)),
    };
    let runs = next.is_some() && alarm.set.effect.cause.is_some();
    let counted = match alarm.counted.upgrade() {
        _ if !runs => None,
        None => Some(Arc::new(Running::new(&world.alarms)?)),
        counted => counted,
    };
    alarm.set.turn = TURNS.fetch_add(1, SeqCst);
    if let Some(running) = alarm.running.take() {
        running.abort();
    }
    (alarm.set.next, alarm.set.interval) = (next, interval);
    let Some(counted) = counted else { return Ok(before) };
    let (living, owner) = (Arc::downgrade(world), Arc::downgrade(process));
    let executor = world.executor.get().ok_or(Errno::AGAIN)?;
    alarm.counted = Arc::downgrade(&counted);
    let expiring = expire(counted, living, owner, number, alarm.set);
    alarm.running = Some(executor.spawn(expiring).abort_handle());
    Ok(before)
}

/// There is one of `setitimer(2)` whenever somebody asks; its number.
fn interval_timer(thread: &Thread, which: u64) -> Result<i32, Errno> {
    let (number, measure, signal) = match int(which) {
        libc::ITIMER_REAL => (REAL, Measure::Clock(libc::CLOCK_MONOTONIC), libc::SIGALRM),
        libc::ITIMER_VIRTUAL => (VIRTUAL, Measure::Process, libc::SIGVTALRM),
        libc::ITIMER_PROF => (PROFILE, Measure::Process, libc::SIGPROF),
        _ => return Err(Errno::INVAL),
    };
    let effect = Effect { cause: Some(Cause::own(signal)), thread: None };
    lock(&thread.process.alarms.0).entry(number).or_insert_with(|| Alarm::new(measure, effect));
    Ok(number)
}

/// Sends `SIGXCPU` when the process has used so many seconds, and each second afterwards: `RLIMIT_CPU`.
/// When it has used `hard`, it ends.
pub(super) fn limit_processor(world: &Arc<World>, process: &Arc<Process>) -> Result<(), Errno> {
    let [soft, hard] = lock(&process.limits).of(libc::RLIMIT_CPU);
    let effect = |signal| Effect { cause: Some(Cause::own(signal)), thread: None };
    let used = process.cpu_time();
    for (number, seconds, signal, interval) in
        [(LIMIT, soft, libc::SIGXCPU, Duration::from_secs(1)), (LIMIT - 1, hard, libc::SIGKILL, Duration::ZERO)]
    {
        lock(&process.alarms.0).insert(number, Alarm::new(Measure::Process, effect(signal)));
        // At the hard limit nothing else comes first.
        let is_behind = signal == libc::SIGXCPU && soft >= hard;
        if seconds != u64::MAX && !is_behind {
            // What is used up is used up now, which is not never.
            let left = Duration::from_secs(seconds).saturating_sub(used).max(Duration::from_nanos(1));
            set_of(world, process, number, left, interval)?;
        }
    }
    Ok(())
}

/// `alarm(2)`
pub(super) fn alarm(thread: &mut Thread, [seconds, ..]: Arguments) -> Answer {
    let number = interval_timer(thread, libc::ITIMER_REAL as u64)?;
    let (left, _) = set(thread, number, Duration::from_secs(u64::from(seconds as u32)), Duration::ZERO)?;
    // To the nearest second; zero would say that there was none.
    let rounded = left.as_secs() + u64::from(left.subsec_millis() >= 500);
    Ok(if left.is_zero() { 0 } else { rounded.max(1) })
}

/// `struct itimerval`
fn bytes_of(interval: Duration, left: Duration) -> Vec<u8> {
    let words = [interval, left].map(|time| [time.as_secs(), time.subsec_micros().into()]);
    words.into_iter().flatten().flat_map(u64::to_le_bytes).collect()
}

/// `setitimer(2)`
pub(super) fn setitimer(thread: &mut Thread, [which, new, old, ..]: Arguments) -> Answer {
    let number = interval_timer(thread, which)?;
    let space = thread.process.space()?;
    let time = |at: u64| match (space.read_u64(at)?, space.read_u64(at.wrapping_add(8))?) {
        (seconds, micros) if (seconds as i64) < 0 || micros >= 1_000_000 => Err(Errno::INVAL),
        (seconds, micros) => Ok(Duration::new(seconds, micros as u32 * 1000)),
    };
    let (interval, left) = if new == 0 { Default::default() } else { (time(new)?, time(new.wrapping_add(16))?) };
    // A real timer that is not armed has no interval, either.
    let interval = if number == REAL && left.is_zero() { Duration::ZERO } else { interval };
    let (left, interval) = set(thread, number, left, interval)?;
    if old == 0 { Ok(0) } else { space.write(old, &bytes_of(interval, left)).map(|()| 0) }
}

/// `getitimer(2)`
pub(super) fn getitimer(thread: &mut Thread, [which, at, ..]: Arguments) -> Answer {
    let number = interval_timer(thread, which)?;
    let alarms = lock(&thread.process.alarms.0);
    let alarm = alarms.get(&number).ok_or(Errno::INVAL)?;
    let bytes = bytes_of(alarm.set.interval, alarm.left(&thread.process));
    drop(alarms);
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// `timer_create(2)`
pub(super) fn create(thread: &mut Thread, [clock, event, at, ..]: Arguments) -> Answer {
    let measure = match int(clock) {
        clock @ (libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME | libc::CLOCK_TAI) => {
            Measure::Clock(clock)
        }
        libc::CLOCK_MONOTONIC_RAW..=libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_REALTIME_ALARM
        | libc::CLOCK_BOOTTIME_ALARM => return Err(Errno::OPNOTSUPP),
        clock => match time::processor_clock(thread, clock) {
            Some(time::Used::Process(process)) if process.id == thread.process.id => Measure::Process,
            Some(time::Used::Thread(_, id)) => Measure::Thread(id),
            _ => return Err(Errno::INVAL),
        },
    };
    let space = thread.process.space()?;
    // What is said of the signal, but for the number, which is not known yet.
    let (signal, value, to) = match event {
        0 => (libc::SIGALRM, None, None),
        event => {
            let value = space.read_u64(event)?;
            let signal = space.read_u32(event.wrapping_add(8))? as i32;
            let to = match space.read_u32(event.wrapping_add(12))? as i32 {
                libc::SIGEV_NONE => (0, None),
                // The C library makes the thread itself.
                libc::SIGEV_SIGNAL | libc::SIGEV_THREAD if signal != 0 => (signal, None),
                libc::SIGEV_THREAD_ID => {
                    let id = space.read_u32(event.wrapping_add(16))?;
                    if !lock(&thread.process.threads).contains_key(&id) {
                        return Err(Errno::INVAL);
                    }
                    (signal, Some(id))
                }
                _ => return Err(Errno::INVAL),
            };
            (to.0, Some(value), to.1)
        }
    };
    if !(0..=64).contains(&signal) || (signal == 0 && to.is_some()) {
        return Err(Errno::INVAL);
    }
    let mut alarms = lock(&thread.process.alarms.0);
    if alarms.len() >= MOST {
        return Err(Errno::AGAIN);
    }
    let number = (0..).find(|number| !alarms.contains_key(number)).ok_or(Errno::AGAIN)?;
    let cause = (signal != 0).then(|| Cause::timer(signal, number, value.unwrap_or(number as u64)));
    alarms.insert(number, Alarm::new(measure, Effect { cause, thread: to }));
    drop(alarms);
    space.write_u32(at, number as u32).map(|()| 0).inspect_err(|_| {
        lock(&thread.process.alarms.0).remove(&number);
    })
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
    if new == 0 {
        return Err(Errno::INVAL);
    }
    let (interval, wanted) = (thread.duration(new)?, thread.duration(new.wrapping_add(16))?);
    let number = check(number)?;
    let measure = lock(&thread.process.alarms.0).get(&number).ok_or(Errno::INVAL)?.set.measure;
    let left = match flags & libc::TIMER_ABSTIME as u64 {
        _ if wanted.is_zero() => wanted,
        0 => wanted,
        // A moment that has passed is now, which is not never.
        _ => {
            let shown = match measure {
                Measure::Clock(clock) => time::shown(thread, clock)?,
                measure => measure.now(&thread.process, Instant::now()).unwrap_or_default(),
            };
            wanted.saturating_sub(shown).max(Duration::from_nanos(1))
        }
    };
    let (left, interval) = set(thread, number, left, interval)?;
    if old == 0 { Ok(0) } else { thread.process.space()?.write(old, &spec_of(interval, left)).map(|()| 0) }
}

/// `timer_gettime(2)`
pub(super) fn gettime(thread: &mut Thread, [number, at, ..]: Arguments) -> Answer {
    let alarms = lock(&thread.process.alarms.0);
    let alarm = alarms.get(&check(number)?).ok_or(Errno::INVAL)?;
    let bytes = spec_of(alarm.set.interval, alarm.left(&thread.process));
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
