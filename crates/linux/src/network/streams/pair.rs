//! Two sockets, and the bytes between them.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};

use super::Bucket;
use crate::network::slots::Slot;

/// How much is taken at once.
const CHUNK: usize = 16 * 1024;

/// Two connected sockets: what one says, the other is to say.
#[derive(Debug)]
pub(super) struct Pair {
    /// The program's side and the host's.
    ends: [OwnedFd; 2],
    /// From the program and to it.
    ways: [Way; 2],
    /// Free for another when both ends are closed.
    _slot: Slot,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// Taken and not yet passed on.
    waiting: Vec<u8>,
    passed: usize,
    state: State,
}

/// ```text
/// Open ──end of input──▶ Closing ──everything passed on──▶ Closed
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Closing,
    Closed,
}

/// Neither end can be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Pair {
    pub(super) fn new(program: OwnedFd, host: OwnedFd, slot: Slot) -> Self {
        // The program may want to wait until all was sent when it closes its end; nobody waits here.
        let _ = sockopt::set_socket_linger(&host, None);
        Pair { ends: [program, host], ways: Default::default(), _slot: slot }
    }

    /// Whether everything was said in both directions.
    pub(super) fn is_over(&self) -> bool {
        self.ways.iter().all(|way| way.state == State::Closed)
    }

    /// Whether everything the program said was passed on.
    pub(super) fn has_said_everything(&self) -> bool {
        self.ways[0].state == State::Closed
    }

    /// Whether there is something to take, should the bucket allow it.
    pub(super) fn wants_to_take(&self) -> bool {
        self.ways.iter().any(|way| way.state == State::Open && way.waiting.is_empty())
    }

    /// What to wait for in one direction; nothing is taken while the bucket is empty.
    pub(super) fn interest(&self, way: usize, may_take: bool) -> Option<(&OwnedFd, PollFlags)> {
        let Way { waiting, state, .. } = &self.ways[way];
        match state {
            _ if !waiting.is_empty() => Some((&self.ends[1 - way], PollFlags::OUT)),
            State::Open if may_take => Some((&self.ends[way], PollFlags::IN)),
            _ => None,
        }
    }

    /// Passes on in one direction what can be.
    pub(super) fn pass(&mut self, way: usize, bucket: &Bucket) -> Result<(), Broken> {
        let (from, to) = (&self.ends[way], &self.ends[1 - way]);
        let way = &mut self.ways[way];
        if way.waiting.is_empty() && way.state == State::Open {
            way.take(from, bucket)?;
        }
        way.give(to)
    }

    /// Ends both connections as one that broke.
    pub(super) fn reset(self) {
        self.ends.iter().for_each(reset);
    }
}

/// Has a connection end as one that broke when it is closed: else it ends as one that was closed.
pub(super) fn reset(end: &OwnedFd) {
    let _ = sockopt::set_socket_linger(end, Some(Duration::ZERO));
}

impl Way {
    fn take(&mut self, from: &OwnedFd, bucket: &Bucket) -> Result<(), Broken> {
        let allowed = bucket.take(CHUNK, Instant::now());
        if allowed == 0 {
            return Ok(());
        }
        self.waiting.resize(allowed, 0);
        let taken = recv(from, &mut self.waiting[..], RecvFlags::DONTWAIT);
        let length = taken.map_or(0, |(length, _)| length.min(allowed));
        self.waiting.truncate(length);
        self.passed = 0;
        bucket.give_back(allowed - length);
        match taken {
            Ok((0, _)) => self.state = State::Closing,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Err(Broken),
        }
        Ok(())
    }

    fn give(&mut self, to: &OwnedFd) -> Result<(), Broken> {
        while !self.waiting.is_empty() {
            match send(to, &self.waiting[self.passed..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(length) => self.passed += length,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(_) => return Err(Broken),
            }
            if self.passed >= self.waiting.len() {
                self.waiting.clear();
            }
        }
        if self.state == State::Closing {
            self.state = State::Closed;
            // When the other end is gone, so is who would learn of it.
            let _ = shutdown(to, Shutdown::Write);
        }
        Ok(())
    }
}
