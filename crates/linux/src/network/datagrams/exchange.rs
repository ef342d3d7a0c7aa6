//! What the relay does with each packet and each answer.

mod arrive;
mod leave;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{Resource, getrlimit};

use super::flows::Flows;
use super::packet::Ends;
use super::ports::Port;
use super::unreachable::{self, Why};
use super::wire::deliver;
use crate::network::broker::Desk;
use crate::network::signal::Signal;
use crate::network::streams::Bucket;

/// How many destinations are served at once: each takes a descriptor of the supervisor's, of which no
/// instance is to have more than an eighth.
pub(super) const MOST_FLOWS: usize = 256;
const LEAST_FLOWS: usize = 16;
/// How long one is kept that nothing is sent to or comes from (RFC 4787, 4.3).
const IDLE: Duration = Duration::from_secs(300);
/// How many denied destinations are remembered, so that each is told of once.
const MOST_DENIED: usize = 1024;
/// How many datagrams wait until it is known what `localhost` is.
const MOST_HELD: usize = 16;
/// How many are taken from one socket before the others have their turn.
const AT_ONCE: usize = 32;
/// How many turns what is left at the end has: more than there can be.
const LAST_TURNS: usize = 128;
const LARGEST: usize = 1 << 16;

const DEVICE: u64 = u64::MAX;
const SIGNAL: u64 = u64::MAX - 1;

/// What is added to the number of a port that is heard.
const PORT: u64 = 1 << 62;
/// Where the family is kept in it.
const OF_IPV6: u64 = 1 << 16;

/// How a datagram leaves.
#[derive(Debug)]
enum Way {
    /// By a socket of its own, connected to the destination.
    Connected(OwnedFd),
    /// By the one that is bound to its port.
    Bound(Port),
}

/// What the thread works with.
pub(super) struct Exchange {
    device: OwnedFd,
    desk: Arc<Desk>,
    signal: Arc<Signal>,
    bucket: Option<Arc<Bucket>>,
    ready: OwnedFd,
    flows: Flows<Way>,
    denied: HashSet<SocketAddr>,
    /// The answers to questions for names when the last verdict was given: each can change verdicts.
    answers: u64,
    held: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    packet: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(
        device: OwnedFd,
        desk: Arc<Desk>,
        signal: Arc<Signal>,
        bucket: Option<Arc<Bucket>>,
    ) -> io::Result<Self> {
        let ready = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&ready, &device, EventData::new_u64(DEVICE), EventFlags::IN)?;
        epoll::add(&ready, signal.descriptor(), EventData::new_u64(SIGNAL), EventFlags::IN)?;
        Ok(Exchange {
            device,
            desk,
            signal,
            bucket,
            ready,
            flows: Flows::new(most_flows(), IDLE),
            denied: HashSet::new(),
            answers: 0,
            held: Vec::new(),
            buffer: vec![0; LARGEST],
            packet: Vec::new(),
        })
    }

    /// Passes on until it is over; the device that is left then.
    pub(super) fn run(mut self) -> OwnedFd {
        let mut events = Vec::with_capacity(AT_ONCE);
        while !self.signal.is_over() {
            if let Some(due) = self.due() {
                // Nothing may pass until then.
                let mut called = [PollFd::new(self.signal.descriptor(), PollFlags::IN)];
                let _ = poll(&mut called, Timespec::try_from(due).ok().as_ref());
                if called[0].revents().contains(PollFlags::IN) {
                    self.look_again();
                }
                continue;
            }
            let next = self.flows.expire(Instant::now()).and_then(|next| Timespec::try_from(next).ok());
            events.clear();
            let waited = epoll::wait(&self.ready, rustix::buffer::spare_capacity(&mut events), next.as_ref());
            if waited.is_err_and(|errno| errno != Errno::INTR) {
                break;
            }
            for event in &events {
                match event.data.u64() {
                    DEVICE => {
                        self.take();
                    }
                    SIGNAL => self.look_again(),
                    number if number >= PORT => self.hear(number),
                    number => self.answer(number),
                }
            }
        }
        // The program is gone; what it sent last goes where it was to go.
        let _ = (0..LAST_TURNS).find(|_| !self.take());
        self.device
    }

    /// Takes what the program sent; whether there may be more.
    fn take(&mut self) -> bool {
        for _ in 0..AT_ONCE {
            if self.due().is_some() {
                return false;
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            let taken = recv(&self.device, &mut buffer[..], RecvFlags::DONTWAIT);
            if let Ok((length, _)) = taken {
                self.pass(&buffer[..length.min(LARGEST)]);
            }
            self.buffer = buffer;
            if taken.is_err() {
                return false;
            }
        }
        true
    }

    /// Takes up what was held back.
    fn look_again(&mut self) {
        self.signal.hear();
        // What the program sent from ports that it has closed.
        let _ = (0..LAST_TURNS).find(|_| !self.take());
        if self.due().is_none() {
            self.desk.ports.give_back();
        }
        let Exchange { desk, ready, flows, .. } = self;
        desk.ports.show_new(|port, socket| {
            let number = PORT | u64::from(port.number) | if port.is_ipv6 { OF_IPV6 } else { 0 };
            let _ = epoll::add(&*ready, socket, EventData::new_u64(number), EventFlags::IN);
            // What left by another socket leaves by this one now.
            flows.forget(|ends| Port::of(ends.from) == port);
        });
        for packet in std::mem::take(&mut self.held) {
            self.pass(&packet);
        }
    }

    /// How long nothing may pass, if so.
    fn due(&self) -> Option<Duration> {
        self.bucket.as_ref().map(|bucket| bucket.due(Instant::now())).filter(|due| !due.is_zero())
    }

    fn owe(&self, bytes: usize) {
        if let Some(bucket) = &self.bucket {
            bucket.owe(bytes, Instant::now());
        }
    }

    fn tell(&mut self, why: Why, ends: Ends, packet: &[u8]) {
        unreachable::write(why, ends.to.ip(), ends.from.ip(), packet, &mut self.packet);
        // What is not heard is lost, as datagrams are.
        let _ = deliver(&self.device, ends.from.is_ipv6(), &self.packet);
    }
}

fn most_flows() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 8).unwrap_or(MOST_FLOWS).clamp(LEAST_FLOWS, MOST_FLOWS)
}

/// What an error of the host's socket says of the destination, if it does.
fn why(errno: Errno) -> Option<Why> {
    match errno {
        Errno::CONNREFUSED => Some(Why::Refused),
        Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN | Errno::HOSTDOWN => Some(Why::NoRoute),
        Errno::ACCESS | Errno::PERM => Some(Why::Denied),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
