//! The pair of interfaces that datagrams leave a capsule's network by.
//!
//! ```text
//! the program ─▶ net ═══ out ─▶ packet socket ─▶ Relay
//!      ▲          ▲    lo ◀──────────────┘ IPv6
//!      └──────────┴────────────────────────┘ IPv4
//! ```
//!
//! Both ends lie in the capsule's namespace: nobody needs to be root for that (`veth(4)`). Every way
//! leads there, that to the host's loopback addresses too; only where names are answered stays on `lo`.
//! `net` does without neighbours (`IFF_NOARP`): what leaves it is addressed to its own station, so the
//! kernel takes none of what arrives at `out` for its own, and sends nothing on.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socket_with,
    socketpair, sockopt,
};

use super::netlink::{Requests, attribute, interface, line, nested};
use crate::network::NAME_SERVER;
use crate::sys;

/// The capsule's own addresses (RFC 7335, RFC 4193): what it hears is sent there.
pub(super) const OWN_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);
pub(super) const OWN_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd72, 0x696e, 0x6766, 0, 0, 0, 0, 2);
const GATEWAY_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
const GATEWAY_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd72, 0x696e, 0x6766, 0, 0, 0, 0, 1);

/// The interfaces. With modules for tunnels the kernel puts some of its own first into a new namespace.
const LOOPBACK: i32 = 1;
const INSIDE: i32 = 1000;
const OUTSIDE: i32 = 1001;
const STATION: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The largest packet there is, so that no datagram is cut into fragments.
const LARGEST: u32 = 65_535;
/// How much may wait for the relay.
const WAITING: usize = 1 << 20;

// `linux/if_link.h`, `linux/ip.h`, `linux/veth.h`
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;
const IFLA_GSO_MAX_SEGS: u16 = 40;

/// What is asked of the kernel to lay it.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    make: Requests,
    no_address: Requests,
    ipv4: Requests,
    ipv6: Requests,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let size = || attribute(IFLA_MTU, &LARGEST.to_ne_bytes());
        // One segment at a time: the kernel cuts what a program has cut by it (`UDP_SEGMENT`) before the wire.
        let whole = || attribute(IFLA_GSO_MAX_SEGS, &1_u32.to_ne_bytes());
        let name = |name: &[u8]| attribute(IFLA_IFNAME, name);
        let peer = [interface(OUTSIDE, 0), name(b"out\0"), size(), whole()].concat();
        let pair = [attribute(IFLA_INFO_KIND, b"veth"), nested(IFLA_INFO_DATA, &[attribute(VETH_INFO_PEER, &peer)])];
        let inside = [name(b"net\0"), size(), whole(), attribute(IFLA_ADDRESS, &STATION), nested(IFLA_LINKINFO, &pair)];
        let loopback_leaves = attribute(IPV4_DEVCONF_ROUTE_LOCALNET, &1_u32.to_ne_bytes());
        let loopback_leaves = nested(libc::AF_INET as u16, &[nested(IFLA_INET_CONF, &[loopback_leaves])]);
        let no_address = attribute(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_NONE]);
        let no_address = nested(IFLA_AF_SPEC, &[nested(libc::AF_INET6 as u16, &[no_address])]);
        let up = (libc::IFF_UP | libc::IFF_NOARP) as u32;
        Wire {
            make: Requests::default().make(INSIDE, &inside),
            // Before they are up: an address the kernel gives by itself would be the source of some datagrams.
            no_address: Requests::default().change(OUTSIDE, 0, std::slice::from_ref(&no_address)).change(
                INSIDE,
                0,
                &[no_address],
            ),
            ipv4: Requests::default()
                .change(INSIDE, 0, &[nested(IFLA_AF_SPEC, &[loopback_leaves])])
                .give(LOOPBACK, NAME_SERVER.into())
                .take(LOOPBACK, Ipv4Addr::LOCALHOST.into(), 8)
                .change(OUTSIDE, up, &[])
                .change(INSIDE, up, &[])
                .give(INSIDE, OWN_IPV4.into())
                .route_everything(INSIDE, GATEWAY_IPV4.into()),
            ipv6: Requests::default()
                .take(LOOPBACK, Ipv6Addr::LOCALHOST.into(), 128)
                .give(INSIDE, OWN_IPV6.into())
                .route_everything(INSIDE, GATEWAY_IPV6.into()),
        }
    }

    /// Lays it in the namespace of the caller, which must be new; what leaves by it is read from the socket.
    /// `None` where the machine has no such pairs or gives no such socket. Runs after a clone: it allocates
    /// nothing.
    pub(crate) fn lay(&self) -> Result<Option<OwnedFd>, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None) {
            Err(Errno::PERM | Errno::ACCESS | Errno::AFNOSUPPORT) => return Ok(None),
            made => made?,
        };
        let line = line()?;
        if let Err(errno) = self.make.serve(&line) {
            return if matches!(errno, Errno::OPNOTSUPP | Errno::NODEV) { Ok(None) } else { Err(errno) };
        }
        // A kernel may be without IPv6.
        let has_ipv6 = self.no_address.serve(&line).is_ok();
        self.ipv4.serve(&line)?;
        if has_ipv6 {
            let _ = self.ipv6.serve(&line);
        }
        // The usual amount does as well, only datagrams are lost earlier.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, WAITING);
        sys::packet_bind(socket.as_fd(), OUTSIDE)?;
        Ok(Some(socket))
    }
}

/// Lets the kernel close the socket in its own time. Whoever closes a packet socket waits until every
/// processor has noticed, some ten milliseconds. What only a message refers to that nobody can receive any
/// more is closed by the kernel's own collector (`unix(7)`).
pub(super) fn leave(socket: OwnedFd) {
    let Ok((ours, theirs)) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None) else {
        return;
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let both = [socket.as_fd(), theirs.as_fd()];
    if ancillary.push(SendAncillaryMessage::ScmRights(&both)) {
        // Not sent, it is closed here.
        let _ = sendmsg(&ours, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::DONTWAIT);
    }
}

/// Whether an address is the capsule's own.
pub(super) fn is_own(ip: IpAddr) -> bool {
    ip == IpAddr::V4(OWN_IPV4) || ip == IpAddr::V6(OWN_IPV6)
}

/// Sends a packet into the capsule's network. One of IPv6 arrives at `lo`, where alone the kernel takes a
/// packet from `::1`; one of IPv4 at `net`, where the way back leads.
pub(super) fn deliver(socket: &OwnedFd, is_ipv6: bool, packet: &[u8]) -> Result<(), Errno> {
    if is_ipv6 {
        return sys::packet_send(socket.as_fd(), LOOPBACK, libc::ETH_P_IPV6, [0; 6], packet);
    }
    sys::packet_send(socket.as_fd(), OUTSIDE, libc::ETH_P_IP, STATION, packet)
}
