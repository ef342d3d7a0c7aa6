//! Addresses as programs write them.

use std::net::{IpAddr, SocketAddr};

/// An IPv4 address in the place of an IPv6 address that carries it (RFC 4291, 2.5.5.2): it is where the
/// packets go.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}
