//! The thread that passes the bytes of connections on.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Bucket;
use super::pair::Pair;
use crate::network::signal::Signal;
use crate::network::slots::Slot;

/// How long what a program said last is passed on after its end.
const PATIENCE: Duration = Duration::from_secs(2);
const STACK: usize = 128 * 1024;

/// The relay of one instance. Dropping it ends its thread.
pub(super) struct Relay {
    pairs: Sender<Pair>,
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    pub(super) fn start(bucket: Arc<Bucket>) -> io::Result<Self> {
        let signal = Arc::new(Signal::new()?);
        let (pairs, added) = channel();
        let board = Board { bucket, signal: signal.clone(), added, pairs: Vec::new() };
        let builder = thread::Builder::new().name("ringfence-tcp".into()).stack_size(STACK);
        Ok(Relay { pairs, signal, thread: Some(builder.spawn(move || board.run())?) })
    }

    /// Passes on between a program's connection and one of the host's from now on.
    pub(super) fn join(&self, program: OwnedFd, host: OwnedFd, slot: Slot) {
        // It is gone only when the instance is.
        let _ = self.pairs.send(Pair::new(program, host, slot));
        self.signal.ring();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.signal.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Board {
    bucket: Arc<Bucket>,
    signal: Arc<Signal>,
    added: Receiver<Pair>,
    pairs: Vec<Pair>,
}

impl Board {
    fn run(mut self) {
        let mut until = None;
        loop {
            self.pairs.extend(self.added.try_iter());
            if self.signal.is_over() {
                // Nobody is left who would read.
                self.pairs.retain(|pair| !pair.has_said_everything());
                let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
                if self.pairs.is_empty() || Instant::now() >= until {
                    break;
                }
            }
            self.turn(until);
        }
        self.pairs.into_iter().for_each(Pair::reset);
    }

    /// Waits until something can be passed on, and does.
    fn turn(&mut self, until: Option<Instant>) {
        let now = Instant::now();
        let due = self.bucket.due(now);
        let mut ready = vec![PollFd::new(self.signal.descriptor(), PollFlags::IN)];
        let mut waits = Vec::new();
        for (index, pair) in self.pairs.iter().enumerate() {
            for way in 0..2 {
                if let Some((end, interest)) = pair.interest(way, due.is_zero()) {
                    ready.push(PollFd::new(end, interest));
                    waits.push((index, way));
                }
            }
        }
        let lacks = !due.is_zero() && self.pairs.iter().any(Pair::wants_to_take);
        let left = until.map(|until| until.saturating_duration_since(now));
        let timeout = lacks.then_some(due).into_iter().chain(left).min();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let Ok(_) = poll(&mut ready, timeout.as_ref()) else { return };
        let is_ready: Vec<bool> = ready.iter().map(|ready| !ready.revents().is_empty()).collect();
        if is_ready[0] {
            self.signal.hear();
        }
        let mut broken = Vec::new();
        for (&(index, way), _) in waits.iter().zip(&is_ready[1..]).filter(|(_, ready)| **ready) {
            if self.pairs[index].pass(way, &self.bucket).is_err() {
                broken.push(index);
            }
        }
        broken.dedup();
        for index in broken.into_iter().rev() {
            self.pairs.swap_remove(index).reset();
        }
        self.pairs.retain(|pair| !pair.is_over());
    }
}
