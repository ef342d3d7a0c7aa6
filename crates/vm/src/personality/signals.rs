//! Signals: `signal(7)`, `sigaction(2)`, `sigprocmask(2)`, `kill(2)`, `sigreturn(2)`, `sigaltstack(2)`.

mod handler;
mod sending;

use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

pub(super) use handler::{Alternate, sigaltstack, sigreturn};
pub(super) use sending::{kill, send, send_by, send_to, sigqueue, tgkill, tgsigqueue, tkill};

pub(super) use super::causes::Cause;
use super::causes::bit;
use super::process::{Process, lock};
use super::thread::Thread;
use super::{Answer, Arguments, int};

/// What a process does at each signal, by number.
#[derive(Clone)]
pub(super) struct Actions([Action; 65]);

/// `struct sigaction` of the kernel.
#[derive(Clone, Copy, Default)]
struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

impl Default for Actions {
    fn default() -> Self {
        Actions([Action::default(); 65])
    }
}

impl Actions {
    /// What is left of it after `execve(2)`: what is ignored stays ignored.
    pub(super) fn after_exec(&self) -> Actions {
        let mut actions = self.clone();
        for action in &mut actions.0 {
            *action = Action { handler: if action.handler == IGNORE { IGNORE } else { DEFAULT }, ..Action::default() };
        }
        actions
    }

    /// As words: handler, flags, restorer, mask.
    pub(super) fn words(&self) -> Vec<[u64; 4]> {
        self.0.iter().map(|action| [action.handler, action.flags, action.restorer, action.mask]).collect()
    }

    /// The reverse of [`words`](Self::words); `None` for another number of them.
    pub(super) fn of(words: &[[u64; 4]]) -> Option<Actions> {
        let action = |&[handler, flags, restorer, mask]: &[u64; 4]| Action { handler, flags, restorer, mask };
        let actions: Vec<Action> = words.iter().map(action).collect();
        actions.try_into().ok().map(Actions)
    }

    /// Whether children that end leave nothing behind.
    pub(super) fn ignores_children(&self) -> bool {
        let action = &self.0[libc::SIGCHLD as usize];
        action.handler == IGNORE || action.flags & libc::SA_NOCLDWAIT as u64 != 0
    }
}

const DEFAULT: u64 = 0;
const IGNORE: u64 = 1;

/// Signals that nothing stops.
pub(super) fn never_blocked() -> u64 {
    bit(libc::SIGKILL) | bit(libc::SIGSTOP)
}

/// What is nothing to worry about.
fn is_ignored_by_default(signal: i32) -> bool {
    matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT)
}

/// Whether one waits for a process already.
pub(super) fn is_pending(process: &Process, signal: i32) -> bool {
    process.pending.load(SeqCst) & bit(signal) != 0
}

/// The signals a process ignores, and those it catches.
pub(super) fn sets(process: &Process) -> (u64, u64) {
    let actions = process.actions();
    let actions = lock(&actions);
    let of = |is: fn(u64) -> bool| {
        (1..=64).filter(|&signal| is(actions.0[signal as usize].handler)).fold(0, |set, signal| set | bit(signal))
    };
    (of(|handler| handler == IGNORE), of(|handler| handler > IGNORE))
}

/// Whether a process does not want to hear of children that stop: `SA_NOCLDSTOP`.
pub(super) fn ignores_stops(process: &Process) -> bool {
    lock(&process.actions()).0[libc::SIGCHLD as usize].flags & libc::SA_NOCLDSTOP as u64 != 0
}

/// Whether a signal is ignored or blocked by a thread: `credentials(7)`, reading from behind.
pub(super) fn is_ignored(thread: &Thread, signal: i32) -> bool {
    let is_blocked = thread.member.blocked.load(SeqCst) & bit(signal) != 0;
    is_blocked || lock(&thread.process.actions()).0[signal as usize].handler == IGNORE
}

impl Thread {
    /// The signals that wait for this thread or its process.
    pub(super) fn pending(&self) -> u64 {
        self.member.pending.load(SeqCst) | self.process.pending.load(SeqCst)
    }

    /// Takes one of these signals that waits, without its handler.
    pub(super) fn take_signal(&self, mask: u64) -> Option<Cause> {
        let (member, process) = (&self.member, &self.process);
        member.queue.take(&member.pending, mask).or_else(|| process.queue.take(&process.pending, mask))
    }

    fn deliverable(&self) -> u64 {
        self.pending() & !self.member.blocked.load(SeqCst)
    }

    /// Whether a signal waits that does something.
    pub(super) fn is_signalled(&self) -> bool {
        let waiting = self.deliverable();
        if waiting == 0 {
            return false;
        }
        let actions = self.process.actions();
        let actions = lock(&actions);
        (1..=64).filter(|&signal| waiting & bit(signal) != 0).any(|signal| {
            let handler = actions.0[signal as usize].handler;
            handler > IGNORE || (handler == DEFAULT && !is_ignored_by_default(signal))
        })
    }

    /// Raises a signal for this thread.
    pub(super) fn raise(&self, cause: &Cause) {
        // One that waits already is enough.
        let _ = self.member.queue.put(&self.member.pending, *cause);
    }

    /// Blocks other signals for one call: `sigsuspend(2)`, `ppoll(2)`.
    pub(super) fn mask_while_waiting(&mut self, mask: u64, size: u64) -> Result<(), Errno> {
        if mask == 0 {
            return Ok(());
        }
        if size != 8 {
            return Err(Errno::INVAL);
        }
        let mask = self.process.space()?.read_u64(mask)? & !never_blocked();
        let before = self.member.blocked.swap(mask, SeqCst);
        self.restore_mask.get_or_insert(before);
        Ok(())
    }
}

fn checked(signal: u64) -> Result<i32, Errno> {
    if (1..=64).contains(&signal) { Ok(signal as i32) } else { Err(Errno::INVAL) }
}

/// `sigaction(2)`
pub(super) fn sigaction(thread: &mut Thread, [signal, new, old, size, ..]: Arguments) -> Answer {
    let signal = checked(signal)?;
    if size != 8 || (new != 0 && bit(signal) & never_blocked() != 0) {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let wanted = match new {
        0 => None,
        at => {
            let mut words = [0; 4];
            for (index, word) in words.iter_mut().enumerate() {
                *word = space.read_u64(at + index as u64 * 8)?;
            }
            let [handler, flags, restorer, mask] = words;
            Some(Action { handler, flags, restorer, mask: mask & !never_blocked() })
        }
    };
    let actions = thread.process.actions();
    let before = lock(&actions).0[signal as usize];
    if old != 0 {
        let words = [before.handler, before.flags, before.restorer, before.mask];
        space.write(old, &words.map(u64::to_le_bytes).concat())?;
    }
    if let Some(wanted) = wanted {
        lock(&actions).0[signal as usize] = wanted;
        if wanted.handler == IGNORE || (wanted.handler == DEFAULT && is_ignored_by_default(signal)) {
            // What waits is not seen any more.
            thread.process.queue.clear(&thread.process.pending, bit(signal));
            thread.member.queue.clear(&thread.member.pending, bit(signal));
        }
    }
    Ok(0)
}

/// `sigprocmask(2)`
pub(super) fn sigprocmask(thread: &mut Thread, [how, new, old, size, ..]: Arguments) -> Answer {
    if size != 8 {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let before = thread.member.blocked.load(SeqCst);
    if new != 0 {
        let set = space.read_u64(new)?;
        let mask = match int(how) {
            libc::SIG_BLOCK => before | set,
            libc::SIG_UNBLOCK => before & !set,
            libc::SIG_SETMASK => set,
            _ => return Err(Errno::INVAL),
        };
        thread.member.blocked.store(mask & !never_blocked(), SeqCst);
    }
    if old != 0 {
        space.write_u64(old, before)?;
    }
    Ok(0)
}

/// `sigpending(2)`
pub(super) fn sigpending(thread: &mut Thread, [at, size, ..]: Arguments) -> Answer {
    if size > 8 {
        return Err(Errno::INVAL);
    }
    let pending = thread.pending() & thread.member.blocked.load(SeqCst);
    thread.process.space()?.write(at, &pending.to_le_bytes()[..size as usize]).map(|()| 0)
}

/// `sigsuspend(2)`
pub(super) fn sigsuspend(thread: &mut Thread, [mask, size, ..]: Arguments) -> Answer {
    thread.mask_while_waiting(mask, size)?;
    thread.wait(&[], None, || None::<u64>)
}

/// `pause(2)`
pub(super) fn pause(thread: &mut Thread, _: Arguments) -> Answer {
    thread.wait(&[], None, || None::<u64>)
}
