//! Packets of IPv4 and IPv6 with a datagram in them: RFC 791, RFC 8200, RFC 768.

use std::net::{IpAddr, SocketAddr};

/// The numbers of UDP and TCP among the protocols.
pub(super) const UDP: u8 = 17;
pub(super) const TCP: u8 = 6;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const HOPS: u8 = 64;

/// A datagram on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram<'a> {
    pub(super) ends: Ends,
    pub(super) payload: &'a [u8],
}

/// Who sends and who is sent to, both of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

impl Ends {
    /// The way back.
    pub(super) fn back(self) -> Self {
        Ends { from: self.to, to: self.from }
    }
}

impl<'a> Datagram<'a> {
    /// Reads a packet; `None` when it is no whole datagram. One with options or further headers is none:
    /// they say where else it should go. Its checksum is not looked at: the kernel it comes from has
    /// not computed it yet.
    pub(super) fn read(packet: &'a [u8]) -> Option<Self> {
        let (ends, protocol, rest) = read(packet)?;
        let (header, rest) = rest.split_at_checked(UDP_HEADER)?;
        let length = usize::from(number(header, 4)?).checked_sub(UDP_HEADER)?;
        let payload = rest.get(..length).filter(|_| protocol == UDP)?;
        Some(Datagram { ends, payload })
    }

    /// Writes the packet, in place of what was in `into`. A payload that is too long for one is cut short.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let most = usize::from(u16::MAX) - UDP_HEADER - IPV4_HEADER;
        let payload = &self.payload[..self.payload.len().min(most)];
        let length = UDP_HEADER + payload.len();
        write_header(into, self.ends.from.ip(), self.ends.to.ip(), UDP, length);
        let header = into.len();
        into.extend(self.ends.from.port().to_be_bytes());
        into.extend(self.ends.to.port().to_be_bytes());
        into.extend((length as u16).to_be_bytes());
        into.extend([0, 0]);
        into.extend(payload);
        let pseudo = pseudo_header(self.ends.from.ip(), self.ends.to.ip(), UDP, length);
        // 0 would say that there is none.
        let sum = match checksum(&[&pseudo, &into[header..]]) {
            0 => u16::MAX,
            sum => sum,
        };
        into[header + 6..header + 8].copy_from_slice(&sum.to_be_bytes());
    }
}

/// What a packet of TCP wants to be; `None` when it is of something else.
pub(super) fn read_stream(packet: &[u8]) -> Option<Ends> {
    read(packet).filter(|(_, protocol, _)| *protocol == TCP).map(|(ends, ..)| ends)
}

/// The ends of a packet, its protocol, and what follows its header: two ports first.
fn read(packet: &[u8]) -> Option<(Ends, u8, &[u8])> {
    let (from, to, protocol, rest) = match packet.first()? >> 4 {
        4 => read_ipv4(packet)?,
        6 => read_ipv6(packet)?,
        _ => return None,
    };
    let ends = Ends { from: SocketAddr::new(from, number(rest, 0)?), to: SocketAddr::new(to, number(rest, 2)?) };
    Some((ends, protocol, rest))
}

/// Writes the header of a packet with so much in it, in place of what was in `into`.
pub(super) fn write_header(into: &mut Vec<u8>, from: IpAddr, to: IpAddr, protocol: u8, length: usize) {
    into.clear();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            into.extend([0x45, 0]);
            into.extend(((IPV4_HEADER + length) as u16).to_be_bytes());
            // Whole, and not to be cut.
            into.extend([0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
            into.extend(from.octets());
            into.extend(to.octets());
            let sum = checksum(&[into]);
            into[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {
            into.extend([0x60, 0, 0, 0]);
            into.extend((length as u16).to_be_bytes());
            into.extend([protocol, HOPS]);
            into.extend(in_ipv6(from));
            into.extend(in_ipv6(to));
        }
    }
}

/// What a checksum covers of the packet's header (RFC 768; RFC 8200, 8.1).
pub(super) fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IPV6_HEADER);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        _ => {
            bytes.extend(in_ipv6(from));
            bytes.extend(in_ipv6(to));
        }
    }
    bytes.extend((length as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

/// The checksum of the internet (RFC 1071); every part but the last has an even length.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        let mut pairs = part.chunks_exact(2);
        sum += pairs.by_ref().map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u64>();
        sum += pairs.remainder().first().map_or(0, |&last| u64::from(last) << 8);
    }
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

type Read<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn read_ipv4(packet: &[u8]) -> Option<Read<'_>> {
    let (header, _) = packet.split_first_chunk::<IPV4_HEADER>()?;
    let is_plain = header[0] == 0x45;
    // Neither more fragments nor a place among them.
    let is_whole = number(header, 6)? & 0x3fff == 0;
    let rest = packet.get(IPV4_HEADER..usize::from(number(header, 2)?))?;
    let ip = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    (is_plain && is_whole).then(|| (ip(12), ip(16), header[9], rest))
}

fn read_ipv6(packet: &[u8]) -> Option<Read<'_>> {
    let (header, rest) = packet.split_first_chunk::<IPV6_HEADER>()?;
    let rest = rest.get(..usize::from(number(header, 4)?))?;
    let ip = |at: usize| header[at..].first_chunk::<16>().map(|octets| IpAddr::from(*octets));
    Some((ip(8)?, ip(24)?, header[6], rest))
}

fn in_ipv6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

#[cfg(test)]
mod tests;
