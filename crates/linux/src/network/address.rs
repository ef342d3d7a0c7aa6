//! Addresses as system calls take them: `ip(7)`, `ipv6(7)`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

pub(super) use ringfence_isolation::canonical;
use rustix::io::Errno;

/// The most a system call takes: `struct sockaddr_storage`.
pub(super) const MOST: usize = 128;
/// Up to the address; `sin6_scope_id` may be missing (RFC 2133).
const SHORTEST_IPV6: usize = 24;

/// What an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An address of the internet.
    Internet(SocketAddr),
    /// `AF_UNSPEC`: nobody any more.
    Nobody,
    /// A Unix socket.
    Within(Name),
    /// The kernel, and the groups whose news are to be heard: `netlink(7)`.
    Kernel { groups: u32 },
    /// Of another family.
    Foreign,
}

/// The most a name of a Unix socket has: `sun_path` (`unix(7)`).
const MOST_OF_NAME: usize = 108;

/// The name of a Unix socket: a path, or an abstract name behind a NUL, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    bytes: [u8; MOST_OF_NAME],
    length: usize,
}

impl Name {
    fn new(bytes: &[u8]) -> Result<Self, Errno> {
        let mut name = Name { bytes: [0; MOST_OF_NAME], length: bytes.len() };
        name.bytes.get_mut(..bytes.len()).ok_or(Errno::INVAL)?.copy_from_slice(bytes);
        if !bytes.starts_with(&[0]) {
            name.length = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        }
        Ok(name)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Target {
    /// The same of who is to be reached: the unspecified address means the host itself (`ip(7)`), and is judged as that.
    pub(super) fn reached(self) -> Target {
        match self {
            Target::Internet(mut address) if address.ip().to_canonical().is_unspecified() => {
                address.set_ip(match address.ip() {
                    IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
                });
                Target::Internet(address)
            }
            other => other,
        }
    }
}

/// What the bytes of an address name, as the kernel reads them.
pub(super) fn parse(bytes: &[u8]) -> Result<Target, Errno> {
    let [low, high, rest @ ..] = bytes else { return Err(Errno::INVAL) };
    match i32::from(u16::from_ne_bytes([*low, *high])) {
        libc::AF_UNSPEC => Ok(Target::Nobody),
        libc::AF_INET => {
            let [port_high, port_low, a, b, c, d, ..] = rest else { return Err(Errno::INVAL) };
            if bytes.len() < size_of::<libc::sockaddr_in>() {
                return Err(Errno::INVAL);
            }
            let port = u16::from_be_bytes([*port_high, *port_low]);
            Ok(Target::Internet(SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), port))))
        }
        libc::AF_INET6 => {
            if bytes.len() < SHORTEST_IPV6 {
                return Err(Errno::INVAL);
            }
            let port = u16::from_be_bytes([bytes[2], bytes[3]]);
            let mut address = [0; 16];
            address.copy_from_slice(&bytes[8..24]);
            let scope = match bytes.get(24..28) {
                Some(&[a, b, c, d]) => u32::from_ne_bytes([a, b, c, d]),
                _ => 0,
            };
            Ok(Target::Internet(SocketAddrV6::new(Ipv6Addr::from(address), port, 0, scope).into()))
        }
        libc::AF_UNIX => Name::new(rest).map(Target::Within),
        libc::AF_NETLINK => {
            let [_, _, _, _, _, _, a, b, c, d, ..] = rest else { return Err(Errno::INVAL) };
            Ok(Target::Kernel { groups: u32::from_ne_bytes([*a, *b, *c, *d]) })
        }
        _ => Ok(Target::Foreign),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4() -> Vec<u8> {
        let mut bytes = 2_u16.to_ne_bytes().to_vec();
        bytes.extend([0x01, 0xbb, 192, 0, 2, 7]);
        bytes.extend([0; 8]);
        bytes
    }

    fn ipv6(last: [u8; 16]) -> Vec<u8> {
        let mut bytes = 10_u16.to_ne_bytes().to_vec();
        bytes.extend([0, 80, 0, 0, 0, 0]);
        bytes.extend(last);
        bytes.extend(3_u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        assert_eq!(parse(&ipv4()), Ok(Target::Internet("192.0.2.7:443".parse().unwrap())));
        let address = parse(&ipv6(Ipv6Addr::LOCALHOST.octets()));
        let expected = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 3);
        assert_eq!(address, Ok(Target::Internet(expected.into())));
        assert_eq!(parse(&0_u16.to_ne_bytes()), Ok(Target::Nobody));
        assert_eq!(parse(&17_u16.to_ne_bytes()), Ok(Target::Foreign));
        let kernel = [16, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(parse(&kernel), Ok(Target::Kernel { groups: 1 }));
        assert_eq!(parse(&kernel[..11]), Err(Errno::INVAL));
    }

    #[test]
    fn names_are_read_as_the_kernel_reads_them() {
        let parse = |name: &[u8]| parse(&[&1_u16.to_ne_bytes(), name].concat());
        let read = |name: &[u8]| match parse(name) {
            Ok(Target::Within(name)) => name.bytes().to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(b""), b"");
        assert_eq!(read(b"/tmp/s"), b"/tmp/s");
        assert_eq!(read(b"/tmp/s\0rest"), b"/tmp/s");
        assert_eq!(read(b"\0name\0rest"), b"\0name\0rest");
        assert_eq!(read(&[b'x'; 108]), [b'x'; 108]);
        assert_eq!(parse(&[b'x'; 109]), Err(Errno::INVAL));
    }

    #[test]
    fn who_is_unspecified_is_the_host_itself() {
        let reached = |text: &str| Target::Internet(text.parse().unwrap()).reached();
        for (named, meant) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("[::ffff:0.0.0.0]:80", "[::ffff:127.0.0.1]:80"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(reached(named), Target::Internet(meant.parse().unwrap()));
        }
        assert_eq!(Target::Nobody.reached(), Target::Nobody);
    }

    #[test]
    fn addresses_that_are_too_short_are_none() {
        for bytes in [ipv4(), ipv6([0; 16])] {
            let shortest = if bytes.len() == 16 { 16 } else { 24 };
            for length in 2..shortest {
                assert_eq!(parse(&bytes[..length]), Err(Errno::INVAL), "{length}");
            }
            assert!(parse(&bytes[..shortest]).is_ok());
        }
        assert_eq!(parse(&[]), Err(Errno::INVAL));
        assert_eq!(parse(&[2]), Err(Errno::INVAL));
    }

    #[test]
    fn a_carried_address_is_the_one_it_carries() {
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:80".parse().unwrap();
        assert_eq!(canonical(mapped), "127.0.0.1:80".parse().unwrap());
        let plain: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(canonical(plain), plain);
    }
}
