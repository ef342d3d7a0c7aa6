//! The end of threads and processes: `exit(2)`, `exit_group(2)`, `wait4(2)`, `waitid(2)`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ringfence_isolation::Exit;
use rustix::io::Errno;

use super::locks::Owner;
use super::process::{Image, Process, lock};
use super::signals;
use super::thread::{Next, Thread};
use super::world::{FIRST, World};
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

/// A thread is gone; with the last one its process is.
pub(super) fn forget(world: &World, process: &Arc<Process>, id: u32) {
    let is_last = {
        let mut threads = lock(&process.threads);
        threads.remove(&id);
        threads.is_empty()
    };
    process.fewer.ring();
    world.end_thread();
    if is_last {
        over(world, process);
    }
}

fn over(world: &World, process: &Arc<Process>) {
    if process.id == FIRST {
        // Everything ends with it: its memory need not be sorted out first.
        world.machine.retire();
    }
    process.alarms.clear(true);
    process.set_descriptors(Arc::default());
    process.set_space(None);
    process.set_image(Image::default());
    world.locks.release(Owner::Process(process.id), None);
    world.shared.settle();
    process.has_left.store(true, SeqCst);
    process.left.ring();
    let _ = process.status.compare_exchange(-1, 0, SeqCst, SeqCst);
    let parent = {
        let mut processes = world.processes();
        process.is_over.store(true, SeqCst);
        // Its children belong to nobody: nobody asks for those that are over.
        processes.retain(|_, child| {
            let orphan = child.parent.load(SeqCst) == process.id && child.id != process.id;
            if orphan {
                child.parent.store(1, SeqCst);
            }
            let is_gone = orphan && child.is_over.load(SeqCst);
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
    if let Some(parent) = parent {
        signals::send(world, &parent, libc::SIGCHLD);
        parent.children.ring();
    }
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
            std::thread::park();
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
    pub(super) fn leave(mut self) -> Processor {
        self.give_up_locks();
        if self.clear_at_end != 0
            && let Ok(space) = self.process.space()
            && let Ok((place, _)) = space.change(self.clear_at_end, |_| Some(0))
        {
            self.world.futexes.wake(place, 1, u32::MAX);
        }
        self.processor
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

/// The child that is asked for and is over; `ECHILD` when there is none to wait for.
fn look(world: &World, process: &Process, wanted: i32, keep: bool) -> Option<Result<(u32, i32), Errno>> {
    let mut processes = world.processes();
    let group = process.group.load(SeqCst);
    let mine = |child: &Process| {
        child.parent.load(SeqCst) == process.id
            && match wanted {
                -1 => true,
                0 => child.group.load(SeqCst) == group,
                wanted if wanted > 0 => child.id == wanted.unsigned_abs(),
                wanted => child.group.load(SeqCst) == wanted.unsigned_abs(),
            }
    };
    let mut any = false;
    let mut found = None;
    for child in processes.values().filter(|child| mine(child)) {
        any = true;
        if child.is_over.load(SeqCst) {
            found = Some((child.id, child.status.load(SeqCst)));
            break;
        }
    }
    match found {
        Some((id, status)) => {
            if !keep && processes.remove(&id).is_some() {
                world.asked_for();
            }
            Some(Ok((id, status)))
        }
        None if !any => Some(Err(Errno::CHILD)),
        None => None,
    }
}

fn wait_for(thread: &Thread, wanted: i32, options: i32, keep: bool) -> Result<Option<(u32, i32)>, Errno> {
    let (world, process) = (&thread.world, &thread.process);
    if options & libc::WNOHANG != 0 {
        return look(world, process, wanted, keep).transpose();
    }
    thread.wait(&[&process.children], None, || look(world, process, wanted, keep))?.map(Some)
}

/// `wait4(2)`
pub(super) fn wait4(thread: &mut Thread, [wanted, status, options, usage, ..]: Arguments) -> Answer {
    let Some((id, ended)) = wait_for(thread, int(wanted), int(options), false)? else { return Ok(0) };
    let space = thread.process.space()?;
    if status != 0 {
        space.write_u32(status, ended as u32)?;
    }
    if usage != 0 {
        space.write(usage, &[0; 144])?;
    }
    Ok(u64::from(id))
}

/// `waitid(2)`
pub(super) fn waitid(thread: &mut Thread, [kind, wanted, info, options, ..]: Arguments) -> Answer {
    let wanted = match kind {
        0 => -1,
        1 if int(wanted) > 0 => int(wanted),
        2 if int(wanted) >= 0 => -int(wanted),
        _ => return Err(Errno::INVAL),
    };
    let keep = int(options) & libc::WNOWAIT != 0;
    let found = wait_for(thread, wanted, int(options), keep)?;
    if info != 0 {
        let mut bytes = [0; 128];
        if let Some((id, status)) = found {
            let (code, value) = if status & 0x7f == 0 { (1, status >> 8) } else { (2, status & 0x7f) };
            for (at, word) in [(0, libc::SIGCHLD), (8, code), (16, id as i32), (24, value)] {
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
        thread.process.space()?.write(info, &bytes)?;
    }
    Ok(0)
}
