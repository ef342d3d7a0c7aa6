//! The end of threads and processes: `exit(2)`, `exit_group(2)`, `wait4(2)`, `waitid(2)`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringfence_isolation::Exit;
use rustix::io::Errno;

use super::locks::Owner;
use super::open::Kind;
use super::process::{Image, Place, Process, lock};
use super::signals::{self, Cause};
use super::stopping::{self, News};
use super::thread::{Next, Thread};
use super::world::{Counted, FIRST, World};
use super::{Answer, Arguments, int};
use crate::kvm::Processor;

/// A status of `wait(2)` as a shell shows it; `None` when there is none.
pub(super) fn shell_status(status: i32) -> Option<i32> {
    match status {
        status if status < 0 => None,
        status if status & 0x7f == 0 => Some(status >> 8 & 0xff),
        status => Some(128 + (status & 0x7f)),
    }
}

/// Ends a process with this status; the first one counts.
pub(super) fn end(world: &World, process: &Process, status: i32) {
    let _ = process.status.compare_exchange(-1, status, SeqCst, SeqCst);
    for member in lock(&process.threads).values() {
        world.control.interrupt(member.number.load(SeqCst));
    }
}

/// A thread is gone, and so is its place among those that are `counted`; with the last one its process is.
pub(super) fn forget(world: &World, process: &Arc<Process>, id: u32, counted: Option<Counted>) {
    let is_last = {
        let mut threads = lock(&process.threads);
        if let Some(member) = threads.remove(&id) {
            *lock(&process.ended_time) += member.time().unwrap_or_default();
        }
        threads.is_empty()
    };
    process.fewer.ring();
    drop(counted);
    if is_last {
        over(world, process);
    } else {
        process.left.ring();
    }
}

fn over(world: &World, process: &Arc<Process>) {
    let was_orphaned = !world.has_stopped() || world.is_orphaned(process);
    if process.id == FIRST {
        // Everything ends with it: its memory need not be sorted out first.
        world.machine.retire();
    }
    process.alarms.clear(true);
    process.set_descriptors(Arc::default());
    process.set_space(None);
    let name = process.name();
    process.set_image(Image::default());
    // Whoever looks at what is left of it sees that.
    process.name_it(Some(name));
    world.locks.release(Owner::Process(process.id), None);
    world.semaphores.ended(world, process.id);
    world.shared.settle();
    if process.session.load(SeqCst) == process.id {
        world.terminals.leader_ended(world, process.id);
    }
    process.has_left.store(true, SeqCst);
    process.left.ring();
    let _ = process.status.compare_exchange(-1, 0, SeqCst, SeqCst);
    let (orphans, adopter);
    let parent = {
        let mut processes = world.processes();
        process.is_over.store(true, SeqCst);
        // What is left of it may be kept for long, by its parent or a descriptor.
        process.queue.empty(&process.pending);
        *lock(&process.actions) = Arc::default();
        *lock(&process.place) = Arc::new(Mutex::new(Place { folder: b"/".to_vec(), mask: 0 }));
        // Its children go to whoever adopts them, or belong to nobody: nobody asks for those that are over.
        adopter = adopter_of(&processes, process);
        let guardian = adopter.as_ref().map_or(1, |adopter| adopter.id);
        orphans =
            processes.values().filter(|child| child.parent.load(SeqCst) == process.id).cloned().collect::<Vec<_>>();
        processes.retain(|_, child| {
            let orphan = child.parent.load(SeqCst) == process.id && child.id != process.id;
            if orphan {
                child.parent.store(guardian, SeqCst);
            }
            let is_gone = orphan && guardian == 1 && child.is_over.load(SeqCst);
            if is_gone {
                world.asked_for();
            }
            !is_gone
        });
        let parent = processes.get(&process.parent.load(SeqCst)).cloned();
        let unasked = parent.as_ref().is_none_or(|parent| lock(&parent.actions()).ignores_children());
        if process.id != FIRST {
            match unasked {
                true => drop(processes.remove(&process.id)),
                false => world.left_over(),
            }
        }
        parent
    };
    if process.id == FIRST
        && let Some(status) = shell_status(process.status.load(SeqCst))
    {
        world.control.stop(Exit::Returned(status));
    }
    let (own, session) = (process.group.load(SeqCst), process.session.load(SeqCst));
    // Those it could have let go on, being of their session and not of their group.
    let held = |orphan: &&Arc<Process>| orphan.session.load(SeqCst) == session && orphan.group.load(SeqCst) != own;
    let mut groups: Vec<u32> = orphans.iter().filter(held).map(|orphan| orphan.group.load(SeqCst)).collect();
    if !was_orphaned {
        groups.push(own);
    }
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        stopping::orphaned(world, group);
    }
    for orphan in orphans {
        let signal = orphan.at_parents_end.load(SeqCst) as i32;
        if signal != 0 && orphan.id != process.id {
            let _ = signals::send(world, &orphan, Cause::sent(signal, libc::SI_USER, process.id));
        }
        if let Some(adopter) = &adopter
            && orphan.is_over.load(SeqCst)
        {
            tell_end(world, adopter, &orphan);
        }
    }
    let status = process.status.load(SeqCst);
    if let Some(awaited) = lock(&process.awaited).take() {
        // Whoever asked may have gone.
        let _ = awaited.send(status);
    }
    if let Some(parent) = parent {
        tell_end(world, &parent, process);
    }
    process.children.ring();
}

/// Tells a process that a child of it is over.
fn tell_end(world: &World, parent: &Process, child: &Process) {
    let (code, value) = code_of(child.status.load(SeqCst));
    let signal = child.last_signal.load(SeqCst);
    if (1..=64).contains(&signal) {
        // One that waits already is enough.
        let _ = signals::send(world, parent, Cause { signal, ..Cause::child(code, child.id, value) });
    }
    parent.children.ring();
}

/// The nearest of those a process descends from that adopts: `PR_SET_CHILD_SUBREAPER` of `prctl(2)`.
fn adopter_of(processes: &BTreeMap<u32, Arc<Process>>, process: &Process) -> Option<Arc<Process>> {
    let mut above = processes.get(&process.parent.load(SeqCst));
    // Each step leads to one that is older, or has adopted: there are no more steps than processes.
    for _ in 0..processes.len() {
        let found = above?;
        if found.adopts.load(SeqCst) && !found.is_over.load(SeqCst) {
            return Some(found.clone());
        }
        above = processes.get(&found.parent.load(SeqCst));
    }
    None
}

impl Thread {
    /// Ends the other threads of the process and waits until they have: `execve(2)`. The one that goes on
    /// has the number of the process from then on. `EINTR` when it is itself to end.
    pub(super) fn end_others(&mut self) -> Result<(), Errno> {
        let process = self.process.clone();
        let id = self.member.id;
        process.alone.compare_exchange(0, id, SeqCst, SeqCst).map_err(|_| Errno::INTR)?;
        for member in lock(&process.threads).values().filter(|member| member.id != id) {
            self.world.control.interrupt(member.number.load(SeqCst));
        }
        loop {
            process.fewer.enlist();
            if lock(&process.threads).len() <= 1 {
                break;
            }
            if self.has_to_end() {
                return Err(Errno::INTR);
            }
            self.world.control.parked(std::thread::park);
        }
        if id != process.id {
            self.member = Arc::new(self.member.renumbered(process.id));
            *lock(&process.threads) = std::iter::once((process.id, self.member.clone())).collect();
        }
        process.alone.store(0, SeqCst);
        Ok(())
    }

    /// Ends the whole process by a signal.
    pub(super) fn end_process(&mut self, signal: i32) {
        end(&self.world, &self.process, signal);
        self.next = Next::End;
    }

    /// The thread has ended; what is left of it is its processor. [`forget`] comes after that has been
    /// put back: there are as many processors as threads.
    pub(super) fn leave(&mut self) -> Option<Processor> {
        self.give_desk_up();
        self.give_up_locks();
        self.leave_locks();
        self.processor.take()
    }

    /// Whoever waits for its end may begin another thread in its place.
    pub(super) fn tell_end(self) {
        if self.clear_at_end != 0
            && let Ok(space) = self.process.space()
            && let Ok((place, _)) = space.change(self.clear_at_end, |_| Some(0))
        {
            self.world.futexes.wake(place, 1, u32::MAX);
        }
    }
}

/// `exit(2)`
pub(super) fn exit(thread: &mut Thread, [status, ..]: Arguments) -> Answer {
    thread.next = Next::End;
    if lock(&thread.process.threads).len() == 1 {
        end(&thread.world, &thread.process, (int(status) & 0xff) << 8);
    }
    Ok(0)
}

/// `exit_group(2)`
pub(super) fn exit_group(thread: &mut Thread, [status, ..]: Arguments) -> Answer {
    thread.next = Next::End;
    end(&thread.world, &thread.process, (int(status) & 0xff) << 8);
    Ok(0)
}

/// A status as `siginfo_t` has it: `CLD_*`, and the status or the signal.
fn code_of(status: i32) -> (i32, i32) {
    match status & 0x7f {
        0 => (libc::CLD_EXITED, status >> 8 & 0xff),
        signal => (libc::CLD_KILLED, signal),
    }
}

/// Which children are meant.
#[derive(Clone, Copy)]
enum Whom {
    Any,
    Process(u32),
    Group(u32),
}

/// What a wait is for: `waitid(2)`.
#[derive(Clone, Copy)]
struct Wish {
    whom: Whom,
    ended: bool,
    stopped: bool,
    continued: bool,
    keep: bool,
    at_once: bool,
    /// Those whose end is told by `SIGCHLD`, and those whose end is told otherwise.
    ordinary: bool,
    cloned: bool,
}

/// What became of a child.
enum Found {
    /// With this status, after so much processor time, with so much memory at once.
    Ended(i32, Duration, u64),
    Halted(News),
}

/// The child that is asked for and of which there is news; `ECHILD` when there is none to wait for.
fn look(world: &World, process: &Process, wish: Wish) -> Option<Result<(u32, Found), Errno>> {
    let mut processes = world.processes();
    let mine = |child: &Process| {
        let is_ordinary = child.last_signal.load(SeqCst) == libc::SIGCHLD;
        child.parent.load(SeqCst) == process.id
            && (if is_ordinary { wish.ordinary } else { wish.cloned })
            && match wish.whom {
                Whom::Any => true,
                Whom::Process(id) => child.id == id,
                Whom::Group(group) => child.group.load(SeqCst) == group,
            }
    };
    let mut any = false;
    let mut found = None;
    for child in processes.values().filter(|child| mine(child)) {
        any = true;
        if child.is_over.load(SeqCst) {
            if wish.ended {
                let used = *lock(&child.ended_time) + *lock(&child.children_time);
                let peak = child.peaks().into_iter().fold(0, u64::max);
                found = Some((child.id, Found::Ended(child.status.load(SeqCst), used, peak)));
                break;
            }
        } else if let Some(news) = child.halt.news(wish.stopped, wish.continued, wish.keep) {
            found = Some((child.id, Found::Halted(news)));
            break;
        }
    }
    match found {
        Some(found) => {
            if let Found::Ended(_, used, peak) = found.1
                && !wish.keep
                && processes.remove(&found.0).is_some()
            {
                *lock(&process.children_time) += used;
                process.had_child(peak);
                world.asked_for();
            }
            Some(Ok(found))
        }
        None if !any => Some(Err(Errno::CHILD)),
        None => None,
    }
}

fn wait_for(thread: &Thread, wish: Wish) -> Result<Option<(u32, Found)>, Errno> {
    let (world, process) = (&thread.world, &thread.process);
    if wish.at_once {
        return look(world, process, wish).transpose();
    }
    thread.wait(&[&process.children], None, || look(world, process, wish))?.map(Some)
}

/// Options for children made by `clone(2)`: all are waited for.
const CLONED: i32 = libc::__WALL | libc::__WCLONE | libc::__WNOTHREAD;

/// Whether children are meant whose end is told by `SIGCHLD`, as that of most.
fn is_ordinary(options: i32) -> bool {
    options & libc::__WALL != 0 || options & libc::__WCLONE == 0
}

/// Whether others are.
fn is_cloned(options: i32) -> bool {
    options & (libc::__WALL | libc::__WCLONE) != 0
}

/// `wait4(2)`
pub(super) fn wait4(thread: &mut Thread, [wanted, status, options, usage, ..]: Arguments) -> Answer {
    let options = int(options);
    if options & !(libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED | CLONED) != 0 {
        return Err(Errno::INVAL);
    }
    let whom = match int(wanted) {
        i32::MIN => return Err(Errno::SRCH),
        -1 => Whom::Any,
        0 => Whom::Group(thread.process.group.load(SeqCst)),
        wanted if wanted > 0 => Whom::Process(wanted.unsigned_abs()),
        wanted => Whom::Group(wanted.unsigned_abs()),
    };
    let wish = Wish {
        whom,
        ended: true,
        stopped: options & libc::WUNTRACED != 0,
        continued: options & libc::WCONTINUED != 0,
        keep: false,
        at_once: options & libc::WNOHANG != 0,
        ordinary: is_ordinary(options),
        cloned: is_cloned(options),
    };
    let Some((id, found)) = wait_for(thread, wish)? else { return Ok(0) };
    let space = thread.process.space()?;
    let word = match found {
        Found::Ended(status, ..) => status,
        Found::Halted(News::Stopped(signal)) => signal << 8 | 0x7f,
        Found::Halted(News::Continued) => 0xffff,
    };
    if status != 0 {
        space.write_u32(status, word as u32)?;
    }
    if usage != 0 {
        let mut bytes = [0; 144];
        if let Found::Ended(_, used, peak) = found {
            bytes[..8].copy_from_slice(&used.as_secs().to_le_bytes());
            bytes[8..16].copy_from_slice(&u64::from(used.subsec_micros()).to_le_bytes());
            bytes[32..40].copy_from_slice(&(peak / 1024).to_le_bytes());
        }
        space.write(usage, &bytes)?;
    }
    Ok(u64::from(id))
}

/// `waitid(2)`
pub(super) fn waitid(thread: &mut Thread, [kind, wanted, info, options, ..]: Arguments) -> Answer {
    let options = int(options);
    let states = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED;
    if options & !(states | libc::WNOHANG | libc::WNOWAIT | CLONED) != 0 || options & states == 0 {
        return Err(Errno::INVAL);
    }
    let mut at_once = options & libc::WNOHANG != 0;
    let mut nonblocking = false;
    let whom = match (kind as u32, int(wanted)) {
        (libc::P_ALL, _) => Whom::Any,
        (libc::P_PID, wanted) if wanted > 0 => Whom::Process(wanted.unsigned_abs()),
        (libc::P_PGID, 0) => Whom::Group(thread.process.group.load(SeqCst)),
        (libc::P_PGID, wanted) if wanted > 0 => Whom::Group(wanted.unsigned_abs()),
        (libc::P_PIDFD, number) if number >= 0 => {
            let open = thread.process.descriptors().get(number)?;
            let Kind::Process(process) = &open.kind else { return Err(Errno::BADF) };
            nonblocking = open.is_nonblocking() && !at_once;
            at_once |= nonblocking;
            Whom::Process(process.id)
        }
        _ => return Err(Errno::INVAL),
    };
    let wish = Wish {
        whom,
        ended: options & libc::WEXITED != 0,
        stopped: options & libc::WSTOPPED != 0,
        continued: options & libc::WCONTINUED != 0,
        keep: options & libc::WNOWAIT != 0,
        at_once,
        ordinary: is_ordinary(options),
        cloned: is_cloned(options),
    };
    let found = wait_for(thread, wish)?;
    if found.is_none() && nonblocking {
        return Err(Errno::AGAIN);
    }
    if info != 0 {
        let bytes = found.map_or([0; 128], |(id, found)| {
            let (code, value) = match found {
                Found::Ended(status, ..) => code_of(status),
                Found::Halted(News::Stopped(signal)) => (libc::CLD_STOPPED, signal),
                Found::Halted(News::Continued) => (libc::CLD_CONTINUED, libc::SIGCONT),
            };
            Cause::child(code, id, value).bytes()
        });
        thread.process.space()?.write(info, &bytes)?;
    }
    Ok(0)
}
