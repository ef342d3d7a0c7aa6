//! Sockets: `socket(7)`.
//!
//! A socket of the internet is the scoped hal's from the moment it is bound, connected or sent over;
//! until then nothing of the host's belongs to it. Every address is judged there by the `net`
//! permissions. A Unix socket connects programs of one capsule and never leaves it.
//!
//! Names are asked for as every Linux program does it, in datagrams to the server of
//! `/etc/resolv.conf`. There is none: what is sent there is answered from `Call::Resolve`.

mod address;
pub(super) mod calls;
mod credentials;
mod internet;
mod link;
pub(super) mod message;
mod names;
pub(super) mod netlink;
mod options;
mod unix;

use rustix::io::Errno;

pub(super) use internet::Internet;
pub(super) use link::Queues;
pub(super) use netlink::Netlink;
pub(in crate::personality) use unix::Names;
pub(super) use unix::Unix;

use super::open::Open;
use super::readiness::Watch;
use super::thread::Thread;

/// How much one call moves at most.
const MOST: usize = 1 << 20;
/// The largest datagram: `ip(7)`.
const LONGEST_DATAGRAM: usize = 65535;

/// A socket.
pub(super) enum Socket {
    /// Of the internet.
    Internet(Internet),
    /// Within the capsule.
    Unix(Unix),
    /// That tells of the network.
    Netlink(Netlink),
}

/// How bytes are taken or given: `MSG_*`.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) flags: i32,
    pub(super) at_once: bool,
}

impl How {
    fn has(self, flag: i32) -> bool {
        self.flags & flag != 0
    }

    fn new(open: &Open, flags: u64) -> How {
        let flags = flags as i32;
        How { flags, at_once: open.is_nonblocking() || flags & libc::MSG_DONTWAIT != 0 }
    }
}

impl Socket {
    pub(super) fn readiness(&self, watch: &mut Watch<'_>, wanted: i16) -> i16 {
        match self {
            Socket::Internet(socket) => socket.readiness(watch, wanted),
            Socket::Unix(socket) => socket.readiness(watch, wanted),
            Socket::Netlink(socket) => socket.readiness(watch, wanted),
        }
    }

    /// `read(2)`
    pub(super) fn read(&self, thread: &Thread, open: &Open, into: &mut [u8]) -> Result<usize, Errno> {
        let how = How::new(open, 0);
        match self {
            Socket::Internet(socket) => socket.receive(thread, open, into, how).map(|received| received.count),
            Socket::Unix(socket) => socket.receive(thread, open, into, how).map(|received| received.count),
            Socket::Netlink(socket) => socket.receive(thread, open, into, how).map(|(count, _)| count),
        }
    }

    /// `write(2)`
    pub(super) fn write(&self, thread: &Thread, open: &Open, from: &[u8]) -> Result<usize, Errno> {
        let how = How::new(open, 0);
        match self {
            Socket::Internet(socket) => socket.send(thread, open, from, None, how),
            Socket::Unix(socket) => socket.send(thread, open, from, link::Beside::of(thread), None, how),
            Socket::Netlink(socket) => socket.send(thread, from, None),
        }
    }

    /// How many bytes can be read at once, as far as that is known: `FIONREAD`.
    pub(super) fn length(&self) -> usize {
        match self {
            Socket::Internet(socket) => socket.length(),
            Socket::Unix(socket) => socket.length(),
            Socket::Netlink(socket) => socket.length(),
        }
    }

    /// Whether what is read next is behind bytes out of band, of which there are none: `SIOCATMARK`.
    pub(super) fn has_marks(&self) -> bool {
        match self {
            Socket::Internet(socket) => socket.stream,
            Socket::Unix(socket) => socket.style == unix::Style::Stream,
            Socket::Netlink(_) => false,
        }
    }

    /// How often it has changed by itself.
    pub(super) fn changes(&self) -> u64 {
        match self {
            Socket::Internet(socket) => socket.bell.rings(),
            Socket::Unix(socket) => socket.changes(),
            Socket::Netlink(socket) => socket.bell.rings(),
        }
    }

    /// Lets go of what it has of the hal's.
    pub(super) fn close(&self, world: &super::World) {
        match self {
            Socket::Internet(socket) => socket.close(world),
            Socket::Unix(socket) => socket.close(world),
            Socket::Netlink(_) => {}
        }
    }
}
