//! Between what a further command has open in the instance and the descriptors it was given outside: a thread
//! of the host for each direction, which ends with the command.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use ringfence_isolation::{Usage, Verdict};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, read, write};

use super::waiting::Bell;
use super::world::World;

/// How much a pipe takes without anybody having to wait, when it says that it takes something: `PIPE_BUF`.
const PIECE: usize = 4096;
/// How soon who writes to somebody who does not read sees that everything is ending.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Says that a command has ended, to threads that wait for a bell and to those that poll.
pub(super) struct Over {
    flag: AtomicBool,
    event: OwnedFd,
}

impl Over {
    pub(super) fn new() -> Result<Arc<Over>, Errno> {
        Ok(Arc::new(Over { flag: AtomicBool::new(false), event: eventfd(0, EventfdFlags::CLOEXEC)? }))
    }

    pub(super) fn is(&self) -> bool {
        self.flag.load(SeqCst)
    }

    /// It has ended. Whoever waits for a bell is woken by that bell.
    pub(super) fn say(&self) {
        self.flag.store(true, SeqCst);
        // The one thing it counts; there is room.
        let _ = write(&self.event, &1_u64.to_ne_bytes());
    }
}

/// Waits for the next ring, unless `done` holds by then.
fn wait(bell: &Bell, done: impl Fn() -> bool) {
    bell.enlist();
    if !done() {
        thread::park();
    }
}

/// Passes what comes to `put`, which says how much it took, until nobody has more or the command has ended.
/// Whether the last line was left open.
pub(super) fn feed(from: &OwnedFd, over: &Over, bell: &Bell, mut put: impl FnMut(&[u8]) -> usize) -> bool {
    let mut line_is_open = false;
    let mut chunk = [0; PIECE];
    loop {
        let mut ready = [PollFd::new(from, PollFlags::IN), PollFd::new(&over.event, PollFlags::IN)];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        if over.is() {
            return line_is_open;
        }
        let count = match read(from, &mut chunk) {
            Ok(count) if count > 0 => count,
            Err(Errno::INTR | Errno::AGAIN) => continue,
            _ => return line_is_open,
        };
        line_is_open = chunk[count - 1] != b'\n';
        let mut rest = &chunk[..count];
        while !rest.is_empty() && !over.is() {
            bell.enlist();
            let taken = put(rest);
            rest = &rest[taken..];
            if taken == 0 && !over.is() {
                thread::park();
            }
        }
    }
}

/// Passes on what `take` has, until that is the end of it; when the command has ended, what is there by then.
pub(super) fn drain(to: &OwnedFd, world: &World, over: &Over, bell: &Bell, take: impl Fn(usize) -> Option<Vec<u8>>) {
    loop {
        match take(PIECE) {
            Some(piece) if piece.is_empty() => return,
            Some(piece) => {
                if !pass(to, world, &piece) {
                    return;
                }
            }
            // Looked at once more, for what came in between.
            None if over.is() => match take(PIECE).filter(|piece| !piece.is_empty()) {
                Some(piece) if pass(to, world, &piece) => {}
                _ => return,
            },
            None => wait(bell, || over.is() || take(0).is_some()),
        }
    }
}

/// Writes all of it, after it was counted; `false` when nobody takes it or everything is ending.
fn pass(to: &OwnedFd, world: &World, mut rest: &[u8]) -> bool {
    let used = Usage { output: rest.len() as u64, ..Usage::default() };
    let verdict = world.host.charge(used);
    if verdict != Verdict::Continue {
        world.control.stop_by(verdict);
        return false;
    }
    while !rest.is_empty() {
        let mut ready = [PollFd::new(to, PollFlags::OUT)];
        match poll(&mut ready, Some(&LOOK)) {
            Ok(0) if world.control.is_stopping() => return false,
            Ok(0) | Err(_) => continue,
            Ok(_) => {}
        }
        match write(to, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}
