//! Stopping and continuing processes: `signal(7)`, "job control".

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::causes::{Cause, bit};
use super::ending;
use super::process::{Process, lock};
use super::signals;
use super::thread::Thread;
use super::world::World;

/// Whether a process is stopped, and what its parent has not been told.
#[derive(Default)]
pub(super) struct Halt {
    stopped: AtomicBool,
    /// Changes together with whether it is stopped and how often it was continued.
    news: Mutex<Option<News>>,
    continued: AtomicU64,
}

/// What a parent can ask for: `waitpid(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// By this signal.
    Stopped(i32),
    Continued,
}

impl Halt {
    /// Whether it is stopped, and what its parent has not been told: a signal that stopped it, or that it goes on.
    pub(super) fn captured(&self) -> (bool, Option<Option<i32>>) {
        let news = lock(&self.news).map(|news| match news {
            News::Stopped(signal) => Some(signal),
            News::Continued => None,
        });
        (self.is_stopped(), news)
    }

    /// The reverse of [`captured`](Self::captured).
    pub(super) fn revive(&self, stopped: bool, news: Option<Option<i32>>) {
        self.stopped.store(stopped, SeqCst);
        *lock(&self.news) = news.map(|signal| signal.map_or(News::Continued, News::Stopped));
    }

    /// Does something while nobody is stopped or told to go on, and how often the latter was.
    pub(super) fn meanwhile<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        let _news = lock(&self.news);
        (work(), self.continued.load(SeqCst))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    /// What is new, if it is wanted; once, unless it is to be kept.
    pub(super) fn news(&self, stopped: bool, continued: bool, keep: bool) -> Option<News> {
        let mut news = lock(&self.news);
        let found = (*news).filter(|news| if *news == News::Continued { continued } else { stopped });
        if found.is_some() && !keep {
            *news = None;
        }
        found
    }
}

const STOPS: u64 =
    1 << (libc::SIGSTOP - 1) | 1 << (libc::SIGTSTP - 1) | 1 << (libc::SIGTTIN - 1) | 1 << (libc::SIGTTOU - 1);

/// Whether a signal stops who does nothing about it.
pub(super) fn stops(signal: i32) -> bool {
    bit(signal) & STOPS != 0
}

/// A signal arrives at a process: what it does at once. Whether it has to wait for a thread to take it.
pub(super) fn arrives(world: &World, process: &Process, cause: &Cause) -> bool {
    match cause.signal {
        libc::SIGKILL => {
            ending::end(world, process, libc::SIGKILL);
            return false;
        }
        libc::SIGCONT => clear(process, STOPS),
        libc::SIGSTOP => {
            clear(process, bit(libc::SIGCONT));
            stop(world, process, libc::SIGSTOP, None);
            return false;
        }
        signal if stops(signal) => clear(process, bit(libc::SIGCONT)),
        _ => {}
    }
    true
}

/// It has arrived, and waits for a thread where it does: who was stopped finds it when it goes on.
pub(super) fn arrived(world: &World, process: &Process, signal: i32) {
    if signal == libc::SIGCONT {
        go_on(world, process);
    }
}

fn clear(process: &Process, mask: u64) {
    process.queue.clear(&process.pending, mask);
    for member in lock(&process.threads).values() {
        member.queue.clear(&member.pending, mask);
    }
}

/// Stops all threads of a process before their next instruction. One whose group nobody could continue is
/// only stopped by `SIGSTOP`; nor is one that was continued since it had been so often, when the signal was taken.
pub(super) fn stop(world: &World, process: &Process, signal: i32, continued: Option<u64>) {
    if signal != libc::SIGSTOP && world.is_orphaned(process) {
        return;
    }
    let stops = {
        let mut news = lock(&process.halt.news);
        let is_late = continued.is_some_and(|continued| continued != process.halt.continued.load(SeqCst));
        let stops = !is_late && !process.halt.stopped.swap(true, SeqCst);
        if stops {
            *news = Some(News::Stopped(signal));
        }
        stops
    };
    if stops {
        for member in lock(&process.threads).values() {
            world.control.interrupt(member.number.load(SeqCst));
        }
        tell(world, process, libc::CLD_STOPPED, signal);
    }
}

fn go_on(world: &World, process: &Process) {
    let goes_on = {
        let mut news = lock(&process.halt.news);
        process.halt.continued.fetch_add(1, SeqCst);
        let goes_on = process.halt.stopped.swap(false, SeqCst);
        if goes_on {
            *news = Some(News::Continued);
        }
        goes_on
    };
    if goes_on {
        for member in lock(&process.threads).values() {
            world.control.interrupt(member.number.load(SeqCst));
        }
        tell(world, process, libc::CLD_CONTINUED, libc::SIGCONT);
    }
}

fn tell(world: &World, process: &Process, code: i32, status: i32) {
    let Some(parent) = world.process(process.parent.load(SeqCst)) else { return };
    if !signals::ignores_stops(&parent) {
        // As in Linux: one that waits already is enough.
        let _ = signals::send(world, &parent, Cause::child(code, process.id, status));
    }
    parent.children.ring();
}

impl World {
    /// Whether any process is stopped.
    pub(super) fn has_stopped(&self) -> bool {
        self.processes().values().any(|process| process.halt.is_stopped())
    }

    /// Those of a group that are not over.
    fn members(&self, group: u32) -> Vec<Arc<Process>> {
        let is_member = |process: &&Arc<Process>| process.group.load(SeqCst) == group && !process.is_over.load(SeqCst);
        self.processes().values().filter(is_member).cloned().collect()
    }

    /// Whether nobody of the same session stands outside of a process's group and is its parent.
    pub(super) fn is_orphaned(&self, process: &Process) -> bool {
        let (group, session) = (process.group.load(SeqCst), process.session.load(SeqCst));
        let parents = self.members(group).into_iter().filter_map(|member| self.process(member.parent.load(SeqCst)));
        !{ parents }.any(|parent| parent.group.load(SeqCst) != group && parent.session.load(SeqCst) == session)
    }
}

/// A group that nobody can continue any more, and in which somebody is stopped, is told: `_exit(2)` of POSIX.
pub(super) fn orphaned(world: &World, group: u32) {
    let members = world.members(group);
    let is_orphaned = members.first().is_some_and(|member| world.is_orphaned(member));
    if is_orphaned && members.iter().any(|member| member.halt.is_stopped()) {
        for signal in [libc::SIGHUP, libc::SIGCONT] {
            for member in &members {
                // One that waits already is enough.
                let _ = signals::send(world, member, Cause::own(signal));
            }
        }
    }
}

impl Thread {
    /// Waits as long as the process is stopped or the whole instance is paused, but for who captures it.
    pub(super) fn rest(&self) {
        self.world.control.hold();
        while self.process.halt.is_stopped() && !self.has_to_end() && !self.world.rest.is_wanted() {
            self.world.control.parked(std::thread::park);
            self.world.control.hold();
        }
    }
}
