//! What a capsule's network has before anything runs in it.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_manifest::Spec;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, bind, listen,
    sendmsg, socket_with,
};

use super::streams::{DOORS, Inward};
use super::{NAME_SERVER, Wire, name_server};
use crate::sys;

/// What leads from a place to its supervisor.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Where the filter of system calls asks.
    pub(crate) listener: OwnedFd,
    /// Where names are asked for.
    pub(crate) names: Option<OwnedFd>,
    /// Where datagrams come out, if the kernel has what it takes.
    pub(crate) wire: Option<OwnedFd>,
    /// Where connections begin and arrive whose bytes are counted.
    pub(super) streams: [Option<OwnedFd>; DOORS],
}

/// How many there can be.
pub(crate) const MOST_DOORS: usize = 3 + DOORS;

/// Which doors a place is to have.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    names: bool,
    wire: Option<Wire>,
    counts: bool,
    inward: Option<Inward>,
}

/// How many of them may wait; they are taken one by one.
const BACKLOG: i32 = 16;

impl Opening {
    /// For a spec that is granted anything of the network.
    pub(crate) fn new(spec: &Spec) -> Option<Self> {
        let network = &spec.permissions.network;
        // To learn what is needed, everything is needed.
        let learn = spec.permissions.learn;
        let wire = (learn || super::has_datagrams(network)).then(Wire::new);
        let (names, counts) = (spec.permissions.has_names(), super::is_counted(spec));
        let inward = (counts && super::is_listening(spec)).then(Inward::new);
        (learn || super::is_granted(network)).then_some(Opening { names, wire, counts, inward })
    }

    /// Switches the loopback device on and opens the doors, all but the filter's. Runs after a clone, in a
    /// new network namespace: it allocates nothing.
    pub(crate) fn open(&self) -> Result<Beside, Errno> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        sys::loopback_up(socket.as_fd())?;
        let wire = self.wire.as_ref().map(Wire::lay).transpose()?.flatten();
        let names = self.names.then_some(socket);
        if let Some(names) = &names {
            bind(names, &name_server())?;
        }
        let counted = self.counts.then(listen_within).transpose()?;
        let inward = self.inward.as_ref().map(Inward::lay).transpose()?.unwrap_or_default();
        let mut streams = [const { None }; DOORS];
        for (door, made) in streams.iter_mut().zip([counted].into_iter().chain(inward)) {
            *door = made;
        }
        Ok(Beside { names, wire, streams })
    }
}

/// The doors beside the filter's.
#[derive(Debug)]
pub(crate) struct Beside {
    names: Option<OwnedFd>,
    wire: Option<OwnedFd>,
    streams: [Option<OwnedFd>; DOORS],
}

fn listen_within() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let door = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&door, &SocketAddrV4::new(NAME_SERVER, 0))?;
    listen(&door, BACKLOG)?;
    Ok(door)
}

impl Doors {
    pub(crate) fn new(listener: OwnedFd, beside: Option<Beside>) -> Self {
        let Some(Beside { names, wire, streams }) = beside else {
            return Doors { listener, names: None, wire: None, streams: Default::default() };
        };
        Doors { listener, names, wire, streams }
    }

    /// Which of those there can be are there: what [`Doors::from`] takes.
    pub(crate) fn which(&self) -> i32 {
        let Doors { names, wire, streams, .. } = self;
        let all = [names, wire].into_iter().chain(streams);
        all.enumerate().fold(0, |which, (bit, door)| which | i32::from(door.is_some()) << bit)
    }

    /// The doors that were sent.
    pub(crate) fn from(which: i32, mut sent: impl Iterator<Item = OwnedFd>) -> Option<Self> {
        let listener = sent.next()?;
        let mut next = |bit: i32| if which & bit == 0 { None } else { sent.next() };
        let (names, wire) = (next(1), next(2));
        let streams = std::array::from_fn(|index| next(4 << index));
        Some(Doors { listener, names, wire, streams })
    }

    /// Sends them, with `message`. Runs after a clone: it allocates nothing.
    pub(crate) fn send(&self, message: &[u8], to: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DOORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let mut all = [self.listener.as_fd(); MOST_DOORS];
        let mut count = 1;
        for door in [&self.names, &self.wire].into_iter().chain(&self.streams).flatten() {
            all[count] = door.as_fd();
            count += 1;
        }
        if !ancillary.push(SendAncillaryMessage::ScmRights(&all[..count])) {
            return Err(Errno::NOBUFS);
        }
        sendmsg(to, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
    }
}
