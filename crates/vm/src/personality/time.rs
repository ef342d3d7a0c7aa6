//! Time: `clock_gettime(2)`, `nanosleep(2)`, `gettimeofday(2)`, `time(2)`, `times(2)`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_abi::{Call, Clock, Reply, Timestamp};
use rustix::io::Errno;

use super::process::{Process, lock};
use super::thread::Thread;
use super::{Answer, Arguments, int};

fn now(thread: &Thread, clock: i32) -> Result<Timestamp, Errno> {
    let (clock, ahead) = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_REALTIME_ALARM | libc::CLOCK_TAI => {
            (Clock::Wall, 0)
        }
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME
        | libc::CLOCK_BOOTTIME_ALARM => (Clock::Monotonic, thread.world.ahead()),
        clock => {
            return match processor_clock(thread, clock).ok_or(Errno::INVAL)? {
                Used::Process(process) => Ok(process.cpu_time().as_nanos() as Timestamp),
                Used::Thread(process, id) => Ok(process.thread_time(id).ok_or(Errno::INVAL)?.as_nanos() as Timestamp),
            };
        }
    };
    let Reply::Time(time) = thread.world.call(Call::Now { clock })? else { return Err(Errno::IO) };
    // What the page of time shows may differ a little: nobody is to see two clocks.
    Ok(thread.world.vdso.as_ref().map_or(time + ahead, |vdso| vdso.now(clock).into()))
}

/// Whose processor time a clock measures.
pub(super) enum Used {
    Process(Arc<Process>),
    /// A thread of this process's.
    Thread(Arc<Process>, u32),
}

/// Whose processor time this clock measures: one of the two with names, or one that a C library makes of the
/// number of a process or thread, `clock_getcpuclockid(3)`.
pub(super) fn processor_clock(thread: &Thread, clock: i32) -> Option<Used> {
    let me = &thread.process;
    match clock {
        libc::CLOCK_PROCESS_CPUTIME_ID => Some(Used::Process(me.clone())),
        libc::CLOCK_THREAD_CPUTIME_ID => Some(Used::Thread(me.clone(), thread.member.id)),
        clock if clock < 0 && clock & 3 != 3 => {
            let id = !(clock >> 3) as u32;
            match clock & 4 {
                0 if id == 0 => Some(Used::Process(me.clone())),
                0 => thread.world.process(id).map(Used::Process),
                _ if id == 0 => Some(Used::Thread(me.clone(), thread.member.id)),
                _ => lock(&me.threads).contains_key(&id).then(|| Used::Thread(me.clone(), id)),
            }
        }
        _ => None,
    }
}

/// What a clock shows, as a duration since its start.
pub(super) fn shown(thread: &Thread, clock: i32) -> Result<Duration, Errno> {
    Ok(Duration::from_nanos(now(thread, clock)?.try_into().unwrap_or(0)))
}

fn write_time(thread: &Thread, at: u64, seconds: i64, fraction: u64) -> Answer {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seconds.to_le_bytes());
    bytes[8..].copy_from_slice(&fraction.to_le_bytes());
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

impl Thread {
    /// A `struct timespec`.
    pub(super) fn duration(&self, at: u64) -> Result<Duration, Errno> {
        let space = self.process.space()?;
        let (seconds, nanoseconds) = (space.read_u64(at)?, space.read_u64(at + 8)?);
        if seconds as i64 <= -1 || nanoseconds >= 1_000_000_000 {
            return Err(Errno::INVAL);
        }
        Ok(Duration::new(seconds, nanoseconds as u32))
    }
}

/// When a duration from now is over; `None` for one that nobody lives to see.
pub(super) fn after(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}

/// `clock_gettime(2)`
pub(super) fn clock_gettime(thread: &mut Thread, [clock, at, ..]: Arguments) -> Answer {
    let time = now(thread, int(clock))?;
    write_time(thread, at, time.div_euclid(1_000_000_000) as i64, time.rem_euclid(1_000_000_000) as u64)
}

/// `clock_getres(2)`
pub(super) fn clock_getres(thread: &mut Thread, [clock, at, ..]: Arguments) -> Answer {
    now(thread, int(clock))?;
    // The coarse ones go on by ticks.
    let step = match int(clock) {
        libc::CLOCK_REALTIME_COARSE | libc::CLOCK_MONOTONIC_COARSE => 4_000_000,
        _ => 1,
    };
    if at == 0 { Ok(0) } else { write_time(thread, at, 0, step) }
}

/// `clock_settime(2)`: nobody sets a clock.
pub(super) fn clock_settime(thread: &mut Thread, [clock, at, ..]: Arguments) -> Answer {
    if int(clock) != libc::CLOCK_REALTIME {
        return Err(Errno::INVAL);
    }
    thread.duration(at)?;
    Err(Errno::PERM)
}

/// `gettimeofday(2)`
pub(super) fn gettimeofday(thread: &mut Thread, [at, zone, ..]: Arguments) -> Answer {
    let time = now(thread, libc::CLOCK_REALTIME)?;
    if at != 0 {
        write_time(thread, at, time.div_euclid(1_000_000_000) as i64, time.rem_euclid(1_000_000_000) as u64 / 1000)?;
    }
    if zone != 0 {
        // `struct timezone`: the clock knows none.
        thread.process.space()?.write_u64(zone, 0)?;
    }
    Ok(0)
}

/// `time(2)`
pub(super) fn time(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    let seconds = now(thread, libc::CLOCK_REALTIME)?.div_euclid(1_000_000_000) as u64;
    if at != 0 {
        thread.process.space()?.write_u64(at, seconds)?;
    }
    Ok(seconds)
}

/// `times(2)`
pub(super) fn times(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    let ticks = |time: Duration| (time.as_millis() / 10) as u64;
    if at != 0 {
        let words = [ticks(thread.process.cpu_time()), 0, ticks(*lock(&thread.process.children_time)), 0];
        thread.process.space()?.write(at, &words.map(u64::to_le_bytes).concat())?;
    }
    Ok((now(thread, libc::CLOCK_MONOTONIC)? / 10_000_000) as u64)
}

/// `nanosleep(2)`
pub(super) fn nanosleep(thread: &mut Thread, [at, left, ..]: Arguments) -> Answer {
    let duration = thread.duration(at)?;
    sleep(thread, after(duration), left)
}

/// `clock_nanosleep(2)`
pub(super) fn clock_nanosleep(thread: &mut Thread, [clock, flags, at, left, ..]: Arguments) -> Answer {
    match int(clock) {
        libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME | libc::CLOCK_TAI => {}
        libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_REALTIME_COARSE
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_THREAD_CPUTIME_ID
        | libc::CLOCK_REALTIME_ALARM
        | libc::CLOCK_BOOTTIME_ALARM => return Err(Errno::OPNOTSUPP),
        libc::CLOCK_PROCESS_CPUTIME_ID => return sleep_busy(thread, flags & 1 != 0, thread.duration(at)?),
        _ => return Err(Errno::INVAL),
    }
    let wanted = thread.duration(at)?;
    if flags & 1 == 0 {
        return sleep(thread, after(wanted), left);
    }
    let now = shown(thread, int(clock))?;
    sleep(thread, after(wanted.saturating_sub(now)), 0)
}

/// Until the process has used so much processor time.
fn sleep_busy(thread: &Thread, absolute: bool, wanted: Duration) -> Answer {
    let end = if absolute { wanted } else { thread.process.cpu_time().saturating_add(wanted) };
    loop {
        let left = end.saturating_sub(thread.process.cpu_time());
        if left.is_zero() {
            return Ok(0);
        }
        // Each wait is a look at the processor time, and none has a deadline of the call's.
        thread.deadlines.forget();
        match thread.wait(&[], after(left.max(Duration::from_millis(4))), || None::<()>) {
            Err(Errno::TIMEDOUT) => {}
            Err(Errno::INTR) if thread.world.rest.is_wanted() && !thread.is_interrupted() => {
                thread.world.rest.object("a thread sleeps until its process has used processor time");
                thread.world.control.parked(|| std::thread::park_timeout(Duration::from_millis(1)));
            }
            other => return other.map(|()| 0),
        }
    }
}

fn sleep(thread: &Thread, until: Option<Instant>, left: u64) -> Answer {
    let until = thread.lasting(until);
    match thread.wait(&[], until, || None::<()>) {
        Err(Errno::TIMEDOUT) | Ok(()) => Ok(0),
        Err(errno) => {
            if left != 0
                && let Some(until) = until
            {
                let left_time = until.saturating_duration_since(Instant::now());
                write_time(thread, left, left_time.as_secs() as i64, left_time.subsec_nanos().into())?;
            }
            Err(errno)
        }
    }
}
