//! Which addresses make sense for which socket, as WASI 0.2 has it
//! (`wasi:sockets`, `tcp.wit` and `udp.wit`: `invalid-argument`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ringfence_abi::ErrorCode;
use ringfence_manifest::Block;

/// The address and port without what only IPv6 has, and IPv4 in IPv6 clothes undressed
/// (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2): what rules are matched against.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// An address a socket of this family can be bound to. With `unicast`, not to that of a group.
pub(super) fn check_local(ipv6: bool, unicast: bool, address: SocketAddr) -> Result<(), ErrorCode> {
    if of_family(ipv6, address.ip()) && (!unicast || is_unicast(address.ip())) {
        return Ok(());
    }
    Err(ErrorCode::Invalid)
}

/// An address a socket of this family can reach. The unspecified address is none: the kernel takes it
/// for the loopback address, and a rule never means that. Neither is one of the other family, nor an
/// IPv4 address in an IPv6 one. With `unicast`, neither is that of a group.
pub(super) fn check_remote(ipv6: bool, unicast: bool, address: SocketAddr) -> Result<(), ErrorCode> {
    let ip = address.ip();
    if of_family(ipv6, ip) && !ip.is_unspecified() && address.port() != 0 && (!unicast || is_unicast(ip)) {
        return Ok(());
    }
    Err(ErrorCode::Invalid)
}

/// Whether taking this local address gives nothing a program has not anyway: the system would choose
/// the same when the socket connects or sends (`ip(7)`).
pub(super) fn is_what_the_system_would_choose(address: SocketAddr) -> bool {
    address.ip().is_unspecified() && address.port() == 0
}

/// Whether the address must stay out of reach even when everything else is granted in order to learn
/// what a program needs: link-local ones, and where clouds keep the machine's own credentials.
pub(super) fn is_never_learned(ip: IpAddr) -> bool {
    const METADATA: [IpAddr; 3] = [
        // AWS over IPv6
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
        // Alibaba Cloud
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        // Oracle Cloud
        IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    ];
    let ip = ip.to_canonical();
    Block::of(ip) == Some(Block::LinkLocal) || METADATA.contains(&ip)
}

/// What a block of addresses is, in words.
pub(super) fn in_words(block: Block) -> &'static str {
    match block {
        Block::Unspecified => "the unspecified address",
        Block::Loopback => "a loopback address",
        Block::LinkLocal => "a link-local address",
        Block::Private => "a private address",
        Block::Multicast => "a multicast address",
        Block::Broadcast => "the broadcast address",
        Block::Reserved => "a reserved address",
    }
}

fn of_family(ipv6: bool, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => !ipv6,
        IpAddr::V6(ip) => ipv6 && ip.to_ipv4_mapped().is_none() && !is_ipv4_compatible(ip),
    }
}

/// `::a.b.c.d`, deprecated (RFC 4291 §2.5.5.1) and understood differently by different systems.
fn is_ipv4_compatible(ip: Ipv6Addr) -> bool {
    ip.segments()[..6] == [0; 6] && !ip.is_unspecified() && !ip.is_loopback()
}

fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(ipv6: bool, unicast: bool, address: &str) -> Result<(), ErrorCode> {
        check_remote(ipv6, unicast, address.parse().expect("an address"))
    }

    #[test]
    fn an_address_must_be_of_the_family_of_the_socket() {
        assert_eq!(remote(false, true, "192.0.2.1:80"), Ok(()));
        assert_eq!(remote(true, true, "[2001:db8::1]:80"), Ok(()));
        assert_eq!(remote(true, true, "[::1]:80"), Ok(()));
        assert_eq!(remote(true, true, "192.0.2.1:80"), Err(ErrorCode::Invalid));
        assert_eq!(remote(false, true, "[2001:db8::1]:80"), Err(ErrorCode::Invalid));
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_is_no_address() {
        assert_eq!(remote(true, true, "[::ffff:127.0.0.1]:80"), Err(ErrorCode::Invalid));
        assert_eq!(remote(true, true, "[::127.0.0.1]:80"), Err(ErrorCode::Invalid));
        let local = "[::ffff:127.0.0.1]:0".parse().expect("an address");
        assert_eq!(check_local(true, true, local), Err(ErrorCode::Invalid));
    }

    #[test]
    fn nobody_is_at_the_unspecified_address_or_at_port_zero() {
        assert_eq!(remote(false, true, "0.0.0.0:80"), Err(ErrorCode::Invalid));
        assert_eq!(remote(true, false, "[::]:80"), Err(ErrorCode::Invalid));
        assert_eq!(remote(false, true, "192.0.2.1:0"), Err(ErrorCode::Invalid));
    }

    #[test]
    fn only_datagrams_go_to_groups() {
        for address in ["224.0.0.1:5353", "255.255.255.255:67"] {
            assert_eq!(remote(false, true, address), Err(ErrorCode::Invalid));
            assert_eq!(remote(false, false, address), Ok(()));
        }
        assert_eq!(remote(true, true, "[ff02::1]:5353"), Err(ErrorCode::Invalid));
    }

    #[test]
    fn metadata_services_are_never_learned() {
        for ip in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "168.63.129.16"] {
            assert!(is_never_learned(ip.parse().expect("an address")), "{ip}");
        }
        for ip in ["127.0.0.1", "10.0.0.1", "192.0.2.1", "::1", "fd00::1"] {
            assert!(!is_never_learned(ip.parse().expect("an address")), "{ip}");
        }
    }
}
