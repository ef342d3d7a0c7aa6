//! A program's connection, led to the relay.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, connect, getpeername, getsockname, sockopt};
use rustix::process::{Resource, getrlimit};
use tokio::sync::Mutex;

use super::inward::{self, Within};
use super::{Bucket, Relay};
use crate::network::NAME_SERVER;
use crate::network::address::canonical;
use crate::network::ask::Own;
use crate::network::closing::Lent;
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
    /// Whether connections come in.
    listens: bool,
}

/// How many doors it has.
pub(in crate::network) const DOORS: usize = 1 + inward::SOCKETS;

impl Counted {
    /// With the doors that a place has for it: where connections are to begin, and what [`inward::Inward::lay`] made.
    pub(in crate::network) fn new(doors: [Option<OwnedFd>; DOORS], bucket: Arc<Bucket>) -> io::Result<Option<Self>> {
        let [door, inward @ ..] = doors;
        let Some(door) = door else { return Ok(None) };
        let port = SocketAddr::try_from(getsockname(&door)?)?.port();
        let at = SocketAddrV4::new(NAME_SERVER, port).into();
        let (within, connections) = (Within::new(inward), Slots::new(most())?);
        let listens = within.is_some();
        let relay = Relay::start(bucket, within, connections.clone())?;
        Ok(Some(Counted { door: Arc::new(Mutex::new(door)), at, connections, relay, listens }))
    }

    /// Whether connections come in.
    pub(in crate::network) fn listens(&self) -> bool {
        self.listens
    }

    /// Accepts at a socket of the host's, for the program's own of this cookie, which listens at the same address.
    pub(in crate::network) fn listen(&self, cookie: u64, host: OwnedFd) {
        self.relay.listen(cookie, host);
    }

    /// Closes those of the host's, and returns when that is done.
    pub(in crate::network) async fn forget(&self, cookies: Vec<u64>) {
        self.relay.forget(cookies).await;
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
        let socket = own.socket.as_fd().try_clone_to_owned();
        let socket = Lent::from(socket.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?);
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
fn meet(socket: &Lent, door: &OwnedFd, at: &SocketAddr) -> Result<OwnedFd, Errno> {
    set_waiting(socket, false)?;
    match connect(socket, at) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    wait_for(socket, PollFlags::OUT)?;
    sockopt::socket_error(socket)??;
    let here = canonical(SocketAddr::try_from(getsockname(socket)?)?);
    loop {
        wait(door)?;
        let ours = accept_with(door, SocketFlags::CLOEXEC)?;
        // Another is one that came too late before.
        if getpeername(&ours)?.and_then(|there| SocketAddr::try_from(there).ok()).map(canonical) == Some(here) {
            return Ok(ours);
        }
    }
}

/// Waits until a socket of the capsule's network has somebody to accept.
pub(super) fn wait(door: &OwnedFd) -> Result<(), Errno> {
    wait_for(door, PollFlags::IN)
}

fn wait_for(socket: &impl AsFd, until: PollFlags) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(socket, until)], Some(&PATIENCE))? {
        0 => Err(Errno::TIMEDOUT),
        _ => Ok(()),
    }
}
