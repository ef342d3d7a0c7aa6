//! Datagrams: UDP sockets stay in the capsule's own network, and a relay passes on what they send.
//!
//! ```text
//! sendto ─▶ net ═ out ─▶ packet::read ─▶ flows ──there──▶ the host's socket, connected to the destination
//!                                           └─new─▶ verdict of the scoped hal ─▶ granted: such a socket
//! reply  ◀─ packet::write ◀─────────────────────────────        └─▶ denied: ICMP, and an event
//! ```
//!
//! `connect` and `bind` are judged before ([`calls`]), so that a program is told at once. The verdict
//! that counts is the relay's: it is given on the destination of the packet itself, which nobody can
//! change any more.
//!
//! A socket that is bound by `net.listen` has one of the host's that is bound to the same port: what
//! comes there is passed in, and what the program sends from it leaves by it. Within, it is bound to the
//! unspecified address, as the program sees by `getsockname`. The port is given back at the next `bind`
//! after it was closed, and at the end.
//!
//! Nothing but UDP is passed on, by sockets that are connected to what was judged. What a datagram was
//! sent with besides its bytes (hops, type of service, options) is not passed on; one that IPv6 had to cut
//! into fragments, beyond 65,487 bytes, is dropped. Who sends to more than [`exchange::MOST_FLOWS`]
//! destinations at once loses the answers of those that were quiet the longest.

mod calls;
mod exchange;
mod flows;
mod netlink;
mod packet;
mod ports;
mod relay;
mod unreachable;
mod wire;

pub(super) use netlink::{Requests, line};
pub(super) use ports::Ports;
pub(super) use relay::Relay;
pub(crate) use wire::Wire;
