//! Sending signals, and who may: `kill(2)` and what is like it.

use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::{DEFAULT, IGNORE, checked, is_ignored_by_default};
use crate::personality::causes::{Cause, bit};
use crate::personality::process::{Member, Process, lock};
use crate::personality::thread::Thread;
use crate::personality::world::{OUTSIDE, World};
use crate::personality::{Answer, Arguments, int, stopping};

/// A signal for a process. `EAGAIN` when too many wait.
pub(in crate::personality) fn send(world: &World, process: &Process, cause: Cause) -> Result<(), Errno> {
    // As to a process that its parent has not asked for: it is there, and takes nothing.
    if process.is_over.load(SeqCst) || !stopping::arrives(world, process, &cause) {
        return Ok(());
    }
    let signal = cause.signal;
    let is_kept = !is_ignored(process, signal) || is_blocked_by_all(process, signal);
    if keep(world, process, signal, is_kept, || process.queue.put(&process.pending, cause))? {
        for member in lock(&process.threads).values() {
            if member.blocked.load(SeqCst) & bit(signal) == 0 {
                world.control.interrupt(member.number.load(SeqCst));
            }
        }
    }
    Ok(())
}

/// A signal for one thread of a process.
pub(in crate::personality) fn send_to(
    world: &World,
    process: &Process,
    member: &Member,
    cause: Cause,
) -> Result<(), Errno> {
    if !stopping::arrives(world, process, &cause) {
        return Ok(());
    }
    let signal = cause.signal;
    let is_kept = !is_ignored(process, signal) || member.blocked.load(SeqCst) & bit(signal) != 0;
    if keep(world, process, signal, is_kept, || member.queue.put(&member.pending, cause))? {
        world.control.interrupt(member.number.load(SeqCst));
    }
    Ok(())
}

/// Has a signal wait if it `is_kept`, which this returns, and then does what it does by having come.
fn keep(
    world: &World,
    process: &Process,
    signal: i32,
    is_kept: bool,
    put: impl FnOnce() -> Result<(), Errno>,
) -> Result<bool, Errno> {
    let queued = if is_kept { put() } else { Ok(()) };
    stopping::arrived(world, process, signal);
    queued?;
    if is_kept {
        process.signalled.ring();
    }
    Ok(is_kept)
}

/// Whether a process does nothing about a signal: one that nobody blocks is not kept then, `signal(7)`.
fn is_ignored(process: &Process, signal: i32) -> bool {
    match lock(&process.actions()).0[signal as usize].handler {
        IGNORE => true,
        DEFAULT => is_ignored_by_default(signal),
        _ => false,
    }
}

fn is_blocked_by_all(process: &Process, signal: i32) -> bool {
    lock(&process.threads).values().all(|member| member.blocked.load(SeqCst) & bit(signal) != 0)
}

impl Thread {
    /// Whether it may signal a process; those of its session it may always let go on. `EPERM`.
    fn may_signal(&self, other: &Process, signal: u64) -> Result<(), Errno> {
        if other.id == self.process.id {
            return Ok(());
        }
        let goes_on = signal == libc::SIGCONT as u64;
        if goes_on && other.session.load(SeqCst) == self.process.session.load(SeqCst) {
            return Ok(());
        }
        // One after the other: two may ask about each other.
        let mine = lock(&self.process.credentials).clone();
        let theirs = lock(&other.credentials).clone();
        if mine.may_signal(&theirs) { Ok(()) } else { Err(Errno::PERM) }
    }
}

/// `kill(2)`
pub(in crate::personality) fn kill(thread: &mut Thread, [to, signal, ..]: Arguments) -> Answer {
    let signal = u64::from(signal as u32);
    let check = || if signal == 0 { Ok(()) } else { checked(signal).map(drop) };
    let world = thread.world.clone();
    let group = match int(to) {
        i32::MIN => return Err(Errno::SRCH),
        0 => Some(thread.process.group.load(SeqCst)),
        -1 => None,
        to if to < 0 => Some(to.unsigned_abs()),
        to if to.unsigned_abs() == OUTSIDE => {
            check()?;
            // It hears nothing it has not asked for: `kill(2)`.
            let may = lock(&thread.process.credentials).is_privileged();
            return if may { Ok(0) } else { Err(Errno::PERM) };
        }
        to => {
            let number = to.unsigned_abs();
            // The number of any of its threads will do.
            let of_thread = || {
                let processes: Vec<_> = world.processes().values().cloned().collect();
                processes.into_iter().find(|process| lock(&process.threads).contains_key(&number))
            };
            let process = world.process(number).or_else(of_thread).ok_or(Errno::SRCH)?;
            check()?;
            thread.may_signal(&process, signal)?;
            if signal != 0 {
                send(&world, &process, Cause::sent(signal as i32, libc::SI_USER, thread.process.id))?;
            }
            return Ok(0);
        }
    };
    let processes: Vec<_> = world.processes().values().cloned().collect();
    let meant = |process: &&std::sync::Arc<Process>| match group {
        Some(group) => process.group.load(SeqCst) == group,
        None => process.id != thread.process.id,
    };
    let (mut any, mut forbidden) = (false, false);
    for process in processes.iter().filter(meant) {
        check()?;
        if thread.may_signal(process, signal).is_err() {
            forbidden = true;
            continue;
        }
        any = true;
        if signal != 0 {
            send(&world, process, Cause::sent(signal as i32, libc::SI_USER, thread.process.id))?;
        }
    }
    match any {
        true => Ok(0),
        false => Err(if forbidden { Errno::PERM } else { Errno::SRCH }),
    }
}

/// `tgkill(2)`
pub(in crate::personality) fn tgkill(thread: &mut Thread, [process, to, signal, ..]: Arguments) -> Answer {
    if int(process) <= 0 || int(to) <= 0 {
        return Err(Errno::INVAL);
    }
    let process = thread.world.process(process as u32).ok_or(Errno::SRCH)?;
    let cause = Cause::sent(signal as u32 as i32, SI_TKILL, thread.process.id);
    thread.may_signal(&process, signal)?;
    send_to_thread(&thread.world, &process, to, cause)
}

/// `tkill(2)`
pub(in crate::personality) fn tkill(thread: &mut Thread, [to, signal, ..]: Arguments) -> Answer {
    if int(to) <= 0 {
        return Err(Errno::INVAL);
    }
    let processes: Vec<_> = thread.world.processes().values().cloned().collect();
    let found = processes.iter().find(|process| lock(&process.threads).contains_key(&(to as u32)));
    let cause = Cause::sent(signal as u32 as i32, SI_TKILL, thread.process.id);
    let found = found.ok_or(Errno::SRCH)?;
    thread.may_signal(found, signal)?;
    send_to_thread(&thread.world, found, to, cause)
}

/// The kernel's, which `libc` does not name.
const SI_TKILL: i32 = -6;

fn send_to_thread(world: &World, process: &Process, to: u64, cause: Cause) -> Answer {
    if !(0..=64).contains(&cause.signal) {
        return Err(Errno::INVAL);
    }
    let member = lock(&process.threads).get(&(to as u32)).cloned().ok_or(Errno::SRCH)?;
    if cause.signal != 0 {
        send_to(world, process, &member, cause)?;
    }
    Ok(0)
}

/// What a program says of a signal it sends itself: only the kernel may say that it was the kernel.
fn told(thread: &Thread, signal: u64, at: u64, own: bool) -> Result<Cause, Errno> {
    let mut bytes = [0; 128];
    thread.process.space()?.read(at, &mut bytes)?;
    let signal = if signal == 0 { 0 } else { checked(signal)? };
    let cause = Cause::read(signal, &bytes);
    if (cause.code >= 0 || cause.code == SI_TKILL) && !own { Err(Errno::PERM) } else { Ok(cause) }
}

/// `rt_sigqueueinfo(2)`
pub(in crate::personality) fn sigqueue(thread: &mut Thread, [to, signal, at, ..]: Arguments) -> Answer {
    let cause = told(thread, signal, at, to as u32 == thread.process.id)?;
    let process = thread.world.process(to as u32).ok_or(Errno::SRCH)?;
    thread.may_signal(&process, signal)?;
    if cause.signal != 0 {
        send(&thread.world, &process, cause)?;
    }
    Ok(0)
}

/// `rt_tgsigqueueinfo(2)`
pub(in crate::personality) fn tgsigqueue(thread: &mut Thread, [process, to, signal, at, ..]: Arguments) -> Answer {
    if int(process) <= 0 || int(to) <= 0 {
        return Err(Errno::INVAL);
    }
    let cause = told(thread, signal, at, process as u32 == thread.process.id)?;
    let process = thread.world.process(process as u32).ok_or(Errno::SRCH)?;
    thread.may_signal(&process, signal)?;
    send_to_thread(&thread.world, &process, to, cause)
}

/// Sends what a descriptor of a process was asked to: `pidfd_send_signal(2)`.
pub(in crate::personality) fn send_by(thread: &Thread, process: &Process, signal: u64, at: u64) -> Answer {
    if signal != 0 {
        checked(signal)?;
    }
    let cause = match at {
        0 => Cause::sent(signal as i32, libc::SI_USER, thread.process.id),
        at => told(thread, signal, at, process.id == thread.process.id)?,
    };
    thread.may_signal(process, signal)?;
    if signal != 0 {
        send(&thread.world, process, cause)?;
    }
    Ok(0)
}
