//! A program's connection, led to the relay.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, connect, getpeername, getsockname, sockopt};
use rustix::process::{Resource, getrlimit};
use tokio::sync::Mutex;

use super::{Bucket, Relay};
use crate::network::NAME_SERVER;
use crate::network::address::canonical;
use crate::network::ask::Own;
use crate::network::connect::set_waiting;
use crate::network::slots::Slots;

/// How long two sockets of one network may take to be connected. A program can set on its own what keeps
/// it from ever being (`SO_BINDTODEVICE`), and makes nobody wait but itself.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How many there can be at once.
const MOST: usize = 4096;
const LEAST: usize = 16;

/// Where connections whose bytes are counted begin.
pub(in crate::network) struct Counted {
    /// Listens in the capsule's network. One connection at a time, so that who is accepted is who was sent.
    door: Arc<Mutex<OwnedFd>>,
    at: SocketAddr,
    /// Each connection takes two descriptors of the supervisor for as long as it lasts.
    connections: Slots,
    relay: Relay,
}

impl Counted {
    pub(in crate::network) fn new(door: OwnedFd, bucket: Arc<Bucket>) -> io::Result<Self> {
        let port = SocketAddr::try_from(getsockname(&door)?)?.port();
        let at = SocketAddrV4::new(NAME_SERVER, port).into();
        Ok(Counted {
            door: Arc::new(Mutex::new(door)),
            at,
            connections: Slots::new(most())?,
            relay: Relay::start(bucket)?,
        })
    }

    /// Connects the program's socket to one of ours, and lets the relay pass on between that and the host's.
    pub(in crate::network) async fn join(&self, own: &Own, host: OwnedFd) -> Result<(), Errno> {
        let connection = self.connections.take().ok_or(Errno::NFILE)?;
        let door = self.door.clone().lock_owned().await;
        let at = match (own.is_ipv6(), self.at) {
            (true, SocketAddr::V4(at)) => {
                // It speaks to itself; what is spoken elsewhere is the host's socket's affair.
                sockopt::set_ipv6_v6only(&own.socket, false)?;
                SocketAddr::from((at.ip().to_ipv6_mapped(), at.port()))
            }
            (_, at) => at,
        };
        let socket = own.socket.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let waits = own.waits;
        // It takes the door along: it goes on when who asked is gone and nobody waits for it here.
        let meeting = tokio::task::spawn_blocking(move || {
            let met = meet(&socket, &door, &at);
            set_waiting(&socket, waits).and(met)
        });
        let ours = meeting.await.map_err(|_| Errno::IO)??;
        self.relay.join(ours, host, connection);
        Ok(())
    }
}

/// So many that they have a quarter of the descriptors there are.
fn most() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 8).unwrap_or(MOST).clamp(LEAST, MOST)
}

/// Connects a socket to the door; the other end.
fn meet(socket: &OwnedFd, door: &OwnedFd, at: &SocketAddr) -> Result<OwnedFd, Errno> {
    set_waiting(socket, false)?;
    match connect(socket, at) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    wait(socket, PollFlags::OUT)?;
    sockopt::socket_error(socket)??;
    let here = canonical(SocketAddr::try_from(getsockname(socket)?)?);
    loop {
        wait(door, PollFlags::IN)?;
        let ours = accept_with(door, SocketFlags::CLOEXEC)?;
        // Another is one that came too late before.
        if getpeername(&ours)?.and_then(|there| SocketAddr::try_from(there).ok()).map(canonical) == Some(here) {
            return Ok(ours);
        }
    }
}

fn wait(socket: &OwnedFd, until: PollFlags) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(socket, until)], Some(&PATIENCE))? {
        0 => Err(Errno::TIMEDOUT),
        _ => Ok(()),
    }
}
