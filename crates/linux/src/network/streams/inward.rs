//! Connections that come in, made once more within the capsule's network.
//!
//! ```text
//! who connects ─▶ the host's socket ═ pair ═ ours, with the address of who connects ─▶ the program's own, which listens
//! ```
//!
//! In the capsule's network every packet of TCP arrives where it left, whatever its address: nothing but what
//! is made here goes by TCP there. So the program sees of both ends what it would see on the host.
//!
//! The supervisor is in another network, and who is not root cannot enter this one. It needs no more than two
//! sockets from there: one connects to the other, and what is accepted, and then disconnected, is a new one.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept_with, bind, connect, connect_unspec, getsockname, listen,
    socket_with, sockopt,
};

use super::counted::wait;
use crate::network::NAME_SERVER;
use crate::network::address::canonical;
use crate::network::datagrams::{Requests, line};
use crate::sys;

/// The loopback interface, by which all of it goes.
const LOOPBACK: i32 = 1;
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// What is asked of the kernel before anything runs in the place.
#[derive(Clone, Debug)]
pub(in crate::network) struct Inward {
    ipv4: Requests,
    ipv6: Requests,
}

/// How many sockets [`Inward::lay`] makes.
pub(in crate::network) const SOCKETS: usize = 4;

impl Inward {
    pub(in crate::network) fn new() -> Self {
        let within = |family| Requests::default().keep_streams_within(family, LOOPBACK);
        Inward { ipv4: within(libc::AF_INET), ipv6: within(libc::AF_INET6) }
    }

    /// Sets the capsule's network up, and makes what [`Within`] needs. Fails where the kernel has no routes by rules
    /// (`CONFIG_IP_MULTIPLE_TABLES`). Runs after a clone: it allocates nothing.
    pub(in crate::network) fn lay(&self) -> Result<[Option<OwnedFd>; SOCKETS], Errno> {
        let line = line()?;
        self.ipv4.serve(&line)?;
        let [door, knocker] = pair(NAME_SERVER.into())?;
        // A kernel may be without IPv6: then nobody connects by it.
        let [door_ipv6, knocker_ipv6] = match self.ipv6.serve(&line) {
            Ok(()) => pair(Ipv6Addr::LOCALHOST.into())?.map(Some),
            Err(_) => [None, None],
        };
        Ok([Some(door), Some(knocker), door_ipv6, knocker_ipv6])
    }
}

/// One that listens at an address and one that can connect to it.
fn pair(ip: IpAddr) -> Result<[OwnedFd; 2], Errno> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let bound = || {
        let socket = socket_with(family, SocketType::STREAM, FLAGS, None)?;
        bind_anywhere(socket.as_fd(), ip.is_ipv6(), SocketAddr::new(ip, 0)).map(|()| socket)
    };
    let (door, knocker) = (bound()?, bound()?);
    listen(&door, 1)?;
    Ok([door, knocker])
}

/// Binds a socket of the capsule's network to an address which is none of that network (`IP_TRANSPARENT`, `ip(7)`).
pub(in crate::network) fn bind_anywhere(
    socket: BorrowedFd<'_>,
    is_ipv6: bool,
    address: SocketAddr,
) -> Result<(), Errno> {
    let (level, option) = match is_ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
        false => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
    };
    sys::set_socket_option(socket, level, option, &1_i32.to_ne_bytes())?;
    // Somebody from outside must not keep a port from being bound by connecting from the same one.
    sockopt::set_socket_reuseaddr(socket, true)?;
    bind(socket, &of_loopback(address))
}

/// The same address as it is within: a link's own address belongs to the only link there.
fn of_loopback(mut address: SocketAddr) -> SocketAddr {
    if let SocketAddr::V6(ipv6) = &mut address {
        ipv6.set_scope_id(if ipv6.ip().is_unicast_link_local() { LOOPBACK.unsigned_abs() } else { 0 });
    }
    address
}

/// Connects to the program's sockets within its network.
pub(super) struct Within {
    ipv4: Maker,
    ipv6: Option<Maker>,
}

impl Within {
    /// With what [`Inward::lay`] made.
    pub(super) fn new([door, knocker, door_ipv6, knocker_ipv6]: [Option<OwnedFd>; SOCKETS]) -> Option<Self> {
        let maker = |(door, knocker)| Maker { door, knocker };
        Some(Within { ipv4: door.zip(knocker).map(maker)?, ipv6: door_ipv6.zip(knocker_ipv6).map(maker) })
    }

    /// A connection to the program's socket at `at`, from somebody at `peer`. It may not be finished yet. When its own
    /// port is in use there, another one is shown.
    pub(super) fn connect(&self, peer: SocketAddr, at: SocketAddr) -> Result<OwnedFd, Errno> {
        let (peer, at) = (canonical(peer), canonical(at));
        let maker = if peer.is_ipv4() { &self.ipv4 } else { self.ipv6.as_ref().ok_or(Errno::AFNOSUPPORT)? };
        let socket = maker.make()?;
        match bind_anywhere(socket.as_fd(), peer.is_ipv6(), peer) {
            Err(Errno::ADDRINUSE) => bind(&socket, &of_loopback(SocketAddr::new(peer.ip(), 0)))?,
            bound => bound?,
        }
        match connect(&socket, &of_loopback(at)) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(errno) => Err(errno),
        }
    }
}

/// Makes sockets of a network of which it has two.
struct Maker {
    door: OwnedFd,
    knocker: OwnedFd,
}

impl Maker {
    fn make(&self) -> Result<OwnedFd, Errno> {
        match connect(&self.knocker, &SocketAddr::try_from(getsockname(&self.door)?)?) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::ALREADY | Errno::ISCONN) => {}
            Err(errno) => return Err(errno),
        }
        let accepted = wait(&self.door).and_then(|()| accept_with(&self.door, FLAGS));
        let_go(&self.knocker)?;
        let accepted = accepted?;
        let_go(&accepted)?;
        Ok(accepted)
    }
}

/// Makes a connected socket one that is not: `connect(2)`, `AF_UNSPEC`.
fn let_go(socket: &OwnedFd) -> Result<(), Errno> {
    connect_unspec(socket)?;
    // What became of the connection is not to be told of the next one.
    sockopt::socket_error(socket).map(drop)
}
