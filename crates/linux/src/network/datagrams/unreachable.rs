//! What a program is told when a datagram does not arrive: RFC 792, RFC 4443.

use std::net::IpAddr;

use super::packet::{checksum, pseudo_header, write_header};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Why a datagram does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is not granted: `EHOSTUNREACH`, in IPv6 `EACCES`.
    Denied,
    /// Nobody is there: `ECONNREFUSED`.
    Refused,
    /// There is no way there: `ENETUNREACH`.
    NoRoute,
}

impl Why {
    /// The type and code of ICMP.
    fn code(self, is_ipv6: bool) -> [u8; 2] {
        match (self, is_ipv6) {
            (Why::Denied, false) => [3, 13],
            (Why::Refused, false) => [3, 3],
            (Why::NoRoute, false) => [3, 0],
            (Why::Denied, true) => [1, 1],
            (Why::Refused, true) => [1, 4],
            (Why::NoRoute, true) => [1, 0],
        }
    }
}

/// What is told of the packet that did not arrive: its headers, as far as senders look at them.
const QUOTED: usize = 40 + 8;

/// Writes the packet that tells `to` why `packet`, which it sent to `from`, did not arrive, in place of
/// what was in `into`.
pub(super) fn write(why: Why, from: IpAddr, to: IpAddr, packet: &[u8], into: &mut Vec<u8>) {
    let quoted = &packet[..packet.len().min(QUOTED)];
    let is_ipv6 = matches!(from, IpAddr::V6(_));
    let (protocol, length) = (if is_ipv6 { ICMPV6 } else { ICMP }, 8 + quoted.len());
    write_header(into, from, to, protocol, length);
    let at = into.len();
    into.extend(why.code(is_ipv6));
    into.extend([0; 6]);
    into.extend(quoted);
    let pseudo = if is_ipv6 { pseudo_header(from, to, protocol, length) } else { Vec::new() };
    let sum = checksum(&[&pseudo, &into[at..]]);
    into[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
}
