//! The address types of `wasi:sockets/network`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use wasmtime::component::{ComponentType, Lift, Lower};

pub(super) type V4 = (u8, u8, u8, u8);
pub(super) type V6 = (u16, u16, u16, u16, u16, u16, u16, u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the component sends every case")]
pub(super) enum Family {
    #[component(name = "ipv4")]
    V4,
    #[component(name = "ipv6")]
    V6,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum Address {
    #[component(name = "ipv4")]
    V4(V4),
    #[component(name = "ipv6")]
    V6(V6),
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct SocketAddressV4 {
    port: u16,
    address: V4,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct SocketAddressV6 {
    port: u16,
    #[component(name = "flow-info")]
    flow_info: u32,
    address: V6,
    #[component(name = "scope-id")]
    scope_id: u32,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum SocketAddress {
    #[component(name = "ipv4")]
    V4(SocketAddressV4),
    #[component(name = "ipv6")]
    V6(SocketAddressV6),
}

fn v4(address: Ipv4Addr) -> V4 {
    let [a, b, c, d] = address.octets();
    (a, b, c, d)
}

fn v6(address: Ipv6Addr) -> V6 {
    let [a, b, c, d, e, f, g, h] = address.segments();
    (a, b, c, d, e, f, g, h)
}

fn from_v6((a, b, c, d, e, f, g, h): V6) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(four) => Address::V4(v4(four)),
            IpAddr::V6(six) => Address::V6(v6(six)),
        }
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(four) => SocketAddress::V4(SocketAddressV4 { port: four.port(), address: v4(*four.ip()) }),
            SocketAddr::V6(six) => SocketAddress::V6(SocketAddressV6 {
                port: six.port(),
                flow_info: six.flowinfo(),
                address: v6(*six.ip()),
                scope_id: six.scope_id(),
            }),
        }
    }
}

impl From<SocketAddress> for SocketAddr {
    fn from(address: SocketAddress) -> Self {
        match address {
            SocketAddress::V4(SocketAddressV4 { port, address: (a, b, c, d) }) => {
                SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)
            }
            SocketAddress::V6(SocketAddressV6 { port, flow_info, address, scope_id }) => {
                SocketAddrV6::new(from_v6(address), port, flow_info, scope_id).into()
            }
        }
    }
}
