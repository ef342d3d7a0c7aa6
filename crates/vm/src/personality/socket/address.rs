//! Addresses as system calls have them: `ip(7)`, `ipv6(7)`, `unix(7)`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

pub(super) use ringfence_isolation::canonical;
use rustix::io::Errno;

use crate::memory::Space;

/// The most a system call takes: `struct sockaddr_storage`.
const MOST: u64 = 128;

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An address of the internet.
    Internet(SocketAddr),
    /// A name of a Unix socket: a path, or with a leading NUL a name without a file.
    Unix(Vec<u8>),
    /// The number and the groups of a netlink socket.
    Netlink([u32; 2]),
    /// `AF_UNSPEC`: nobody any more.
    Nobody,
    /// Of a family that is not here.
    Foreign,
}

/// Reads what a program gives as an address.
pub(super) fn read(space: &Space, at: u64, length: u64) -> Result<Target, Errno> {
    if length > MOST {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; length as usize];
    space.read(at, &mut bytes)?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Target, Errno> {
    let [low, high, rest @ ..] = bytes else { return Err(Errno::INVAL) };
    match i32::from(u16::from_le_bytes([*low, *high])) {
        libc::AF_UNSPEC => Ok(Target::Nobody),
        libc::AF_INET => match rest {
            [first, second, a, b, c, d, ..] if bytes.len() >= 16 => {
                let port = u16::from_be_bytes([*first, *second]);
                Ok(Target::Internet(SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), port))))
            }
            _ => Err(Errno::INVAL),
        },
        libc::AF_INET6 => {
            let address: [u8; 16] = bytes.get(8..24).and_then(|part| part.try_into().ok()).ok_or(Errno::INVAL)?;
            let port = u16::from_be_bytes([bytes[2], bytes[3]]);
            let scope = bytes.get(24..28).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes);
            Ok(Target::Internet(SocketAddrV6::new(Ipv6Addr::from(address), port, 0, scope).into()))
        }
        // `struct sockaddr_un`
        libc::AF_UNIX if bytes.len() > 110 => Err(Errno::INVAL),
        libc::AF_UNIX => Ok(Target::Unix(match rest {
            [0, ..] => rest.to_vec(),
            path => path.split(|&byte| byte == 0).next().unwrap_or_default().to_vec(),
        })),
        libc::AF_NETLINK => match bytes {
            [_, _, _, _, a, b, c, d, groups @ ..] if bytes.len() >= 12 => {
                let groups = groups.first_chunk().copied().map_or(0, u32::from_le_bytes);
                Ok(Target::Netlink([u32::from_le_bytes([*a, *b, *c, *d]), groups]))
            }
            _ => Err(Errno::INVAL),
        },
        _ => Ok(Target::Foreign),
    }
}

/// An address as a socket of this family has it.
pub(super) fn internet(address: SocketAddr, ipv6: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    let port = address.port().to_be_bytes();
    let (ip, scope) = match address {
        SocketAddr::V4(address) if !ipv6 => {
            bytes.extend((libc::AF_INET as u16).to_le_bytes());
            bytes.extend(port);
            bytes.extend(address.ip().octets());
            bytes.extend([0; 8]);
            return bytes;
        }
        // The unspecified address carries nothing.
        SocketAddr::V4(address) if address.ip().is_unspecified() => (Ipv6Addr::UNSPECIFIED, 0),
        SocketAddr::V4(address) => (address.ip().to_ipv6_mapped(), 0),
        SocketAddr::V6(address) => (*address.ip(), address.scope_id()),
    };
    bytes.extend((libc::AF_INET6 as u16).to_le_bytes());
    bytes.extend(port);
    bytes.extend([0; 4]);
    bytes.extend(ip.octets());
    bytes.extend(scope.to_le_bytes());
    bytes
}

/// The name of a Unix socket; none for most.
pub(super) fn unix(name: &[u8]) -> Vec<u8> {
    let mut bytes = (libc::AF_UNIX as u16).to_le_bytes().to_vec();
    bytes.extend_from_slice(name);
    if !name.is_empty() && name[0] != 0 {
        bytes.push(0);
    }
    bytes
}

/// Gives an address to a program that wants it.
pub(super) fn write(space: &Space, at: u64, length_at: u64, address: &[u8]) -> Result<(), Errno> {
    if at == 0 { Ok(()) } else { give(space, at, length_at, address) }
}

/// Gives an address to a program: as much as there is room for, and how long it is.
pub(super) fn give(space: &Space, at: u64, length_at: u64, address: &[u8]) -> Result<(), Errno> {
    let room = usize::try_from(space.read_u32(length_at)? as i32).map_err(|_| Errno::INVAL)?;
    let part = &address[..address.len().min(room)];
    if !part.is_empty() {
        space.write(at, part)?;
    }
    space.write_u32(length_at, address.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (text, ipv6) in [("192.0.2.7:443", false), ("[2001:db8::1]:80", true)] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(parse(&internet(address, ipv6)), Ok(Target::Internet(address)));
        }
        let carried = internet("192.0.2.7:443".parse().unwrap(), true);
        let Ok(Target::Internet(read)) = parse(&carried) else { panic!("{carried:?}") };
        assert_eq!((read.is_ipv6(), canonical(read)), (true, "192.0.2.7:443".parse().unwrap()));
        for name in [&b"/run/socket"[..], b"\0without a file"] {
            assert_eq!(parse(&unix(name)), Ok(Target::Unix(name.to_vec())));
        }
    }

    #[test]
    fn addresses_that_are_too_short_are_none() {
        for (text, ipv6, shortest) in [("192.0.2.7:443", false, 16), ("[2001:db8::1]:80", true, 24)] {
            let bytes = internet(text.parse().unwrap(), ipv6);
            for length in 0..shortest {
                assert_eq!(parse(&bytes[..length]), Err(Errno::INVAL), "{text} {length}");
            }
        }
    }
}
