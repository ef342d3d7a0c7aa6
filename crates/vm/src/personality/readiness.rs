//! What is ready, and waiting for some of several things: `poll(2)`, "events"; `epoll(7)`.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Waker};
use std::thread;
use std::time::Instant;

use ringfence_abi::{Call, ErrorCode, Handle, Interest, Reply};
use ringfence_isolation::{Answer as Answered, BoxFuture};
use ringfence_manifest::Point;
use rustix::io::Errno;

use super::open::{Kind, Open};
use super::thread::Thread;
use super::waiting::{Bell, waker};

/// There is something to read.
pub(super) const IN: i16 = libc::POLLIN | libc::POLLRDNORM;
/// There is room to write.
pub(super) const OUT: i16 = libc::POLLOUT | libc::POLLWRNORM;
/// The other end is gone.
pub(super) const HUP: i16 = libc::POLLHUP;
/// Something failed.
pub(super) const ERR: i16 = libc::POLLERR;
/// The other end writes no more.
pub(super) const RDHUP: i16 = 0x2000;

/// How deep sets of `epoll(7)` may lie in each other.
pub(super) const DEPTH: u32 = 5;

/// One look after the other at several things, until one of them is as it should be.
pub(super) struct Watch<'a> {
    pub(super) thread: &'a Thread,
    waker: Waker,
    /// What the hal was asked and has not answered: once for as long as the watch lasts.
    asked: HashMap<(Handle, bool), BoxFuture<'a, Result<Reply, ErrorCode>>>,
    /// What of it this look asked for: the rest is let go, or it would keep open what is closed.
    wanted: HashSet<(Handle, bool)>,
    /// When something becomes ready by itself.
    next: Option<Instant>,
    depth: u32,
    /// What sets were found to be in this look, by their address and depth.
    sets: HashMap<(usize, u32), bool>,
}

impl Watch<'_> {
    /// The next ring wakes the thread. Enlist first and look then.
    pub(super) fn enlist(&self, bell: &Bell) {
        bell.enlist();
    }

    /// There is something to see at this moment.
    pub(super) fn look_at(&mut self, moment: Instant) {
        self.next = Some(self.next.map_or(moment, |next| next.min(moment)));
    }

    /// Whether a handle of the hal's is ready; if not, the thread is woken when it is.
    pub(super) fn is_ready(&mut self, handle: Handle, interest: Interest) -> bool {
        let key = (handle, interest == Interest::Writable);
        self.wanted.insert(key);
        let mut future = match self.asked.remove(&key) {
            Some(future) => future,
            None => match self.thread.world.host.call(Call::Ready { handle, interest }) {
                Answered::Now(_) => return true,
                Answered::Later(future) => future,
            },
        };
        let is_ready = Pin::new(&mut future).poll(&mut Context::from_waker(&self.waker)).is_ready();
        if !is_ready {
            self.asked.insert(key, future);
        }
        is_ready
    }

    /// What of `wanted` holds for something open. That it is broken or gone is said unasked.
    pub(super) fn readiness(&mut self, open: &Open, wanted: i16) -> i16 {
        match &open.kind {
            Kind::Reader(pipe) => {
                self.enlist(&pipe.bell);
                let readable = if pipe.length() > 0 { IN } else { 0 };
                readable & wanted | if pipe.is_hung_up() { HUP } else { 0 }
            }
            Kind::Writer(pipe) => {
                self.enlist(&pipe.bell);
                let writable = if pipe.is_writable() { OUT } else { 0 };
                writable & wanted | if pipe.has_readers() { 0 } else { ERR }
            }
            Kind::Both(pipe) => {
                self.enlist(&pipe.bell);
                let readable = if pipe.length() > 0 { IN } else { 0 };
                let writable = if pipe.is_writable() { OUT } else { 0 };
                (readable | writable) & wanted
            }
            Kind::Stream(_) if self.thread.arrive(Point::Start) => 0,
            Kind::Stream(handle) => self.both(*handle, wanted),
            Kind::Socket(socket) => socket.readiness(self, wanted),
            Kind::Counter(counter) => counter.readiness(self) & wanted,
            Kind::Timer(timer) => timer.readiness(self) & wanted,
            Kind::Signals(signals) => signals.readiness(self) & wanted,
            Kind::Set(set) if self.depth < DEPTH => {
                let key = (std::ptr::from_ref(set).addr(), self.depth);
                let any = match self.sets.get(&key) {
                    Some(&any) => any,
                    None => {
                        self.depth += 1;
                        let any = set.has_ready(self);
                        self.depth -= 1;
                        self.sets.insert(key, any);
                        any
                    }
                };
                if any { IN & wanted } else { 0 }
            }
            Kind::Watches(watches) => watches.readiness(self) & wanted,
            Kind::Set(_) => 0,
            Kind::Terminal(terminal) => terminal.readiness(self, false) & (wanted | HUP | ERR),
            Kind::Master(terminal) => terminal.readiness(self, true) & (wanted | HUP | ERR),
            Kind::Process(process) => {
                self.enlist(&process.children);
                if process.is_over.load(SeqCst) { IN & wanted } else { 0 }
            }
            _ => (IN | OUT) & wanted,
        }
    }

    /// The same of a handle of the hal's, in both directions.
    pub(super) fn both(&mut self, handle: Handle, wanted: i16) -> i16 {
        let mut found = 0;
        for (interest, events) in [(Interest::Readable, IN), (Interest::Writable, OUT)] {
            if wanted & events != 0 && self.is_ready(handle, interest) {
                found |= events & wanted;
            }
        }
        found
    }
}

impl Thread {
    /// Looks until `check` finds something: at first, and whenever something it looked at may have
    /// changed. `ETIMEDOUT` after the deadline, `EINTR` when something else is to be done first.
    pub(super) fn watch<T>(
        &self,
        deadline: Option<Instant>,
        mut check: impl FnMut(&mut Watch<'_>) -> Option<T>,
    ) -> Result<T, Errno> {
        let deadline = self.lasting(deadline);
        let (asked, wanted, sets) = (HashMap::new(), HashSet::new(), HashMap::new());
        let mut watch = Watch { thread: self, waker: waker(), asked, wanted, next: None, depth: 0, sets };
        loop {
            self.world.control.hold();
            watch.next = None;
            watch.sets.clear();
            watch.wanted.clear();
            if let Some(found) = check(&mut watch) {
                return Ok(found);
            }
            let Watch { asked, wanted, .. } = &mut watch;
            asked.retain(|key, _| wanted.contains(key));
            if self.breaks_off(deadline) {
                return Err(Errno::INTR);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Errno::TIMEDOUT);
            }
            match deadline.into_iter().chain(watch.next).min() {
                None => self.asleep(thread::park),
                Some(moment) => {
                    let left = moment.saturating_duration_since(now);
                    self.asleep(|| thread::park_timeout(left));
                }
            }
        }
    }

    /// Waits until something open is ready for `wanted`, or has failed.
    pub(super) fn wait_ready(&self, open: &Open, wanted: i16, deadline: Option<Instant>) -> Result<(), Errno> {
        self.watch(deadline, |watch| (watch.readiness(open, wanted) != 0).then_some(()))
    }
}
