//! The thread that passes the bytes of connections on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with, getsockname};
use tokio::sync::oneshot;

use super::Bucket;
use super::inward::Within;
use super::pair::Pair;
use crate::network::signal::Signal;
use crate::network::slots::{Slot, Slots};

/// How long what a program said last is passed on after its end.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nobody is accepted when there was no descriptor or memory for it.
const REST: Duration = Duration::from_millis(100);
const STACK: usize = 128 * 1024;

/// The relay of one instance. Dropping it ends its thread.
pub(super) struct Relay {
    orders: Sender<Order>,
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Join(Pair),
    Listen(Listener),
    /// Lets go of the listeners with these keys, and says so.
    Forget(Vec<u64>, oneshot::Sender<()>),
}

/// A socket of the host's that listens in the place of the program's own.
struct Listener {
    key: u64,
    host: OwnedFd,
}

impl Relay {
    /// `within` is where connections that come in are made once more; each takes one of `connections`.
    pub(super) fn start(bucket: Arc<Bucket>, within: Option<Within>, connections: Slots) -> io::Result<Self> {
        let signal = Arc::new(Signal::new()?);
        let (orders, received) = channel();
        let (pairs, listeners) = (Vec::new(), Vec::new());
        let board = Board {
            bucket,
            within,
            connections,
            signal: signal.clone(),
            received,
            pairs,
            listeners,
            rests_until: None,
        };
        let builder = thread::Builder::new().name("ringfence-tcp".into()).stack_size(STACK);
        Ok(Relay { orders, signal, thread: Some(builder.spawn(move || board.run())?) })
    }

    /// Passes on between a program's connection and one of the host's from now on.
    pub(super) fn join(&self, program: OwnedFd, host: OwnedFd, slot: Slot) {
        self.order(Order::Join(Pair::new(program, host, slot)));
    }

    /// Accepts for the program's socket of this key from now on.
    pub(super) fn listen(&self, key: u64, host: OwnedFd) {
        self.order(Order::Listen(Listener { key, host }));
    }

    /// Closes these, and returns when that is done.
    pub(super) async fn forget(&self, keys: Vec<u64>) {
        let (done, closed) = oneshot::channel();
        self.order(Order::Forget(keys, done));
        let _ = closed.await;
    }

    fn order(&self, order: Order) {
        // It is gone only when the instance is.
        let _ = self.orders.send(order);
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
    within: Option<Within>,
    connections: Slots,
    signal: Arc<Signal>,
    received: Receiver<Order>,
    pairs: Vec<Pair>,
    listeners: Vec<Listener>,
    /// Nobody is accepted until then.
    rests_until: Option<Instant>,
}

/// What is waited for.
#[derive(Clone, Copy)]
enum Awaited {
    Way(usize, usize),
    Listener(usize),
}

impl Board {
    fn run(mut self) {
        let mut until = None;
        loop {
            while let Ok(order) = self.received.try_recv() {
                self.obey(order);
            }
            if self.signal.is_over() {
                self.listeners.clear();
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

    fn obey(&mut self, order: Order) {
        match order {
            Order::Join(pair) => self.pairs.push(pair),
            Order::Listen(listener) => self.listeners.push(listener),
            Order::Forget(keys, done) => {
                self.listeners.retain(|listener| !keys.contains(&listener.key));
                // Who asked may be gone.
                let _ = done.send(());
            }
        }
    }

    /// Waits until something can be passed on, and does.
    fn turn(&mut self, until: Option<Instant>) {
        let now = Instant::now();
        let due = self.bucket.due(now);
        self.rests_until = self.rests_until.filter(|&until| until > now);
        let accepts = self.rests_until.is_none() && self.connections.is_free();
        let mut ready = vec![
            PollFd::new(self.signal.descriptor(), PollFlags::IN),
            PollFd::new(self.connections.freed(), PollFlags::IN),
        ];
        let before = ready.len();
        let mut waits = Vec::new();
        for (index, pair) in self.pairs.iter().enumerate() {
            for way in 0..2 {
                if let Some((end, interest)) = pair.interest(way, due.is_zero()) {
                    ready.push(PollFd::new(end, interest));
                    waits.push(Awaited::Way(index, way));
                }
            }
        }
        for (index, listener) in self.listeners.iter().enumerate().filter(|_| accepts) {
            ready.push(PollFd::new(&listener.host, PollFlags::IN));
            waits.push(Awaited::Listener(index));
        }
        let lacks = !due.is_zero() && self.pairs.iter().any(Pair::wants_to_take);
        let left = until.into_iter().chain(self.rests_until).map(|until| until.saturating_duration_since(now));
        let timeout = lacks.then_some(due).into_iter().chain(left).min();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let Ok(_) = poll(&mut ready, timeout.as_ref()) else { return };
        let is_ready: Vec<bool> = ready.iter().map(|ready| !ready.revents().is_empty()).collect();
        if is_ready[0] {
            self.signal.hear();
        }
        if is_ready[1] {
            self.connections.hear();
        }
        let mut broken = Vec::new();
        for (&awaited, _) in waits.iter().zip(&is_ready[before..]).filter(|(_, ready)| **ready) {
            match awaited {
                Awaited::Way(index, way) if self.pairs[index].pass(way, &self.bucket).is_err() => broken.push(index),
                Awaited::Way(..) => {}
                Awaited::Listener(index) => self.accept(index),
            }
        }
        broken.dedup();
        for index in broken.into_iter().rev() {
            self.pairs.swap_remove(index).reset();
        }
        self.pairs.retain(|pair| !pair.is_over());
    }

    /// Takes one connection that came in.
    fn accept(&mut self, index: usize) {
        let (Some(within), Some(slot)) = (&self.within, self.connections.take()) else { return };
        let (host, peer) =
            match acceptfrom_with(&self.listeners[index].host, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((host, Some(peer))) => (host, peer),
                // Whoever it was is gone.
                Ok((_, None)) | Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
                Err(_) => return self.rests_until = Some(Instant::now() + REST),
            };
        let ends = SocketAddr::try_from(peer).and_then(|peer| Ok((peer, SocketAddr::try_from(getsockname(&host)?)?)));
        match ends.and_then(|(peer, at)| within.connect(peer, at)) {
            Ok(program) => self.pairs.push(Pair::new(program, host, slot)),
            Err(_) => super::pair::reset(&host),
        }
    }
}
