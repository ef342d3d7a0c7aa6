//! A program's connection, led to the relay.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, connect, getpeername, getsockname, sockopt};

use super::{Bucket, Relay};
use crate::network::NAME_SERVER;
use crate::network::address::canonical;
use crate::network::ask::Own;

/// Where connections whose bytes are counted begin.
pub(in crate::network) struct Counted {
    /// Listens in the capsule's network. One connection at a time, so that who is accepted is who was sent.
    door: Mutex<OwnedFd>,
    at: SocketAddr,
    relay: Relay,
}

impl Counted {
    pub(in crate::network) fn new(door: OwnedFd, bucket: Arc<Bucket>) -> io::Result<Self> {
        let port = SocketAddr::try_from(getsockname(&door)?)?.port();
        let at = SocketAddrV4::new(NAME_SERVER, port).into();
        Ok(Counted { door: Mutex::new(door), at, relay: Relay::start(bucket)? })
    }

    /// Connects the program's socket to one of ours, and lets the relay pass on between that and the host's.
    pub(in crate::network) fn join(&self, own: &Own, host: OwnedFd) -> Result<(), Errno> {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match (own.is_ipv6(), self.at) {
            (true, SocketAddr::V4(at)) => {
                // It speaks to itself; what is spoken elsewhere is the host's socket's affair.
                sockopt::set_ipv6_v6only(&own.socket, false)?;
                SocketAddr::from((at.ip().to_ipv6_mapped(), at.port()))
            }
            (_, at) => at,
        };
        match connect(&own.socket, &at) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        let ours = accept_with(&*door, SocketFlags::CLOEXEC)?;
        let there = getpeername(&ours)?.ok_or(Errno::NOTCONN)?;
        let here = getsockname(&own.socket)?;
        if canonical(SocketAddr::try_from(there)?) != canonical(SocketAddr::try_from(here)?) {
            return Err(Errno::CONNABORTED);
        }
        self.relay.join(ours, host);
        Ok(())
    }
}
