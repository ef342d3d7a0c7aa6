//! Addresses that stand for something other than a host on the public internet.

use std::net::{IpAddr, Ipv6Addr};

use serde::Serialize;

use super::cidr::Network;

/// A block of addresses that stand for something other than a host on the public internet
/// (IANA special-purpose registries, RFC 6890), or for a cloud's metadata service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// 0.0.0.0/8, ::
    Unspecified,
    /// 127.0.0.0/8, ::1
    Loopback,
    /// 169.254.0.0/16, fe80::/10: also where clouds keep their metadata service.
    LinkLocal,
    /// 10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7
    Private,
    /// 224.0.0.0/4, ff00::/8
    Multicast,
    /// 255.255.255.255
    Broadcast,
    /// What else is reserved, documentation and translation prefixes included.
    Reserved,
}

impl Block {
    /// The block an address belongs to; `None` for a host on the public internet.
    ///
    /// An IPv6 address that carries an IPv4 address (mapped, compatible, translated, NAT64, 6to4,
    /// Teredo) belongs where that one does: it is where the packets end up.
    pub fn of(address: IpAddr) -> Option<Block> {
        Block::around(Network::only(address))
    }

    /// The block that all addresses of `network` belong to. `None` when there is none, and when
    /// they may belong to different ones.
    pub(super) fn around(network: Network) -> Option<Block> {
        let network = network.canonical();
        if let IpAddr::V6(address) = network.address
            && let Some(carried) = carried(network, address)
        {
            return carried.into_iter().find_map(Block::around);
        }
        // The narrowest one: 255.255.255.255 lies in 240.0.0.0/4 too.
        let around = SPECIAL.iter().filter(|(_, special)| network.is_inside(*special));
        around.max_by_key(|(_, special)| special.prefix).map(|(block, _)| *block)
    }
}

/// The IPv4 blocks that addresses of `network` carry; `None` when they carry none.
fn carried(network: Network, address: Ipv6Addr) -> Option<Vec<Network>> {
    const UNSPECIFIED_AND_LOOPBACK: Network = Network::v6([0; 8], 127);
    /// `::a.b.c.d`, `::ffff:0:a.b.c.d` and `64:ff9b::a.b.c.d`; mapped ones are canonical by now.
    const AT_THE_END: [Network; 3] = [
        Network::v6([0; 8], 96),
        Network::v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),
        Network::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
    ];
    const SIX_TO_FOUR: Network = Network::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);
    const TEREDO: Network = Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);

    let bits = address.to_bits();
    if AT_THE_END.iter().any(|end| network.is_inside(*end)) && !network.is_inside(UNSPECIFIED_AND_LOOPBACK) {
        Some(vec![network.embedded(bits as u32, 96)])
    } else if network.is_inside(SIX_TO_FOUR) {
        Some(vec![network.embedded((bits >> 80) as u32, 16)])
    } else if network.is_inside(TEREDO) {
        // The client's address is inverted; it is known only where the whole address is.
        let client = (network.prefix == 128).then(|| network.embedded(!(bits as u32), 96));
        Some(client.into_iter().chain([network.embedded((bits >> 64) as u32, 32)]).collect())
    } else {
        None
    }
}

/// Every block. Those the registries mark as globally reachable are not here.
#[rustfmt::skip]
const SPECIAL: &[(Block, Network)] = &[
    (Block::Unspecified, Network::v4([0, 0, 0, 0], 8)),
    (Block::Private,     Network::v4([10, 0, 0, 0], 8)),
    (Block::Private,     Network::v4([100, 64, 0, 0], 10)),       // carriers' own; Alibaba's metadata service
    (Block::Loopback,    Network::v4([127, 0, 0, 0], 8)),
    (Block::LinkLocal,   Network::v4([168, 63, 129, 16], 32)),    // Azure's metadata and wire server
    (Block::LinkLocal,   Network::v4([169, 254, 0, 0], 16)),      // most clouds' metadata service
    (Block::Private,     Network::v4([172, 16, 0, 0], 12)),
    (Block::Reserved,    Network::v4([192, 0, 0, 0], 24)),        // protocol assignments; Oracle's metadata service
    (Block::Reserved,    Network::v4([192, 0, 2, 0], 24)),        // documentation
    (Block::Reserved,    Network::v4([192, 88, 99, 0], 24)),      // 6to4 relays
    (Block::Private,     Network::v4([192, 168, 0, 0], 16)),
    (Block::Reserved,    Network::v4([198, 18, 0, 0], 15)),       // benchmarks
    (Block::Reserved,    Network::v4([198, 51, 100, 0], 24)),     // documentation
    (Block::Reserved,    Network::v4([203, 0, 113, 0], 24)),      // documentation
    (Block::Multicast,   Network::v4([224, 0, 0, 0], 4)),
    (Block::Reserved,    Network::v4([240, 0, 0, 0], 4)),
    (Block::Broadcast,   Network::v4([255, 255, 255, 255], 32)),

    (Block::Unspecified, Network::v6([0; 8], 128)),
    (Block::Loopback,    Network::v6([0, 0, 0, 0, 0, 0, 0, 1], 128)),
    (Block::Reserved,    Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23)),      // protocol assignments
    (Block::Reserved,    Network::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32)),  // documentation
    (Block::Reserved,    Network::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20)),      // documentation
    (Block::Private,     Network::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7)),       // fd00:ec2::254 is Amazon's metadata service
    (Block::LinkLocal,   Network::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10)),
    (Block::Private,     Network::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10)),      // site-local, deprecated
    (Block::Multicast,   Network::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8)),
    // Everything but 2000::/3 is reserved until it is assigned.
    (Block::Reserved,    Network::v6([0, 0, 0, 0, 0, 0, 0, 0], 3)),
    (Block::Reserved,    Network::v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2)),
    (Block::Reserved,    Network::v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1)),
];

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Option<Block> {
        Block::of(text.parse().unwrap())
    }

    #[test]
    fn special_addresses_are_in_their_blocks() {
        for (text, block) in [
            ("0.0.0.0", Block::Unspecified),
            ("0.1.2.3", Block::Unspecified),
            ("::", Block::Unspecified),
            ("127.0.0.1", Block::Loopback),
            ("127.255.255.255", Block::Loopback),
            ("::1", Block::Loopback),
            ("169.254.169.254", Block::LinkLocal),
            ("168.63.129.16", Block::LinkLocal),
            ("fe80::1", Block::LinkLocal),
            ("febf::1", Block::LinkLocal),
            ("10.0.0.1", Block::Private),
            ("172.16.0.1", Block::Private),
            ("172.31.255.255", Block::Private),
            ("192.168.1.1", Block::Private),
            ("100.100.100.200", Block::Private),
            ("fd00:ec2::254", Block::Private),
            ("fc00::", Block::Private),
            ("fec0::1", Block::Private),
            ("224.0.0.1", Block::Multicast),
            ("ff02::1", Block::Multicast),
            ("255.255.255.255", Block::Broadcast),
            ("240.0.0.1", Block::Reserved),
            ("192.0.2.1", Block::Reserved),
            ("198.19.255.255", Block::Reserved),
            ("2001:db8::1", Block::Reserved),
            ("100::1", Block::Reserved),
            ("64:ff9b:1::1", Block::Reserved),
            ("5f00::1", Block::Reserved),
            ("2001:1ff:ffff::1", Block::Reserved),
        ] {
            assert_eq!(of(text), Some(block), "{text}");
        }
    }

    #[test]
    fn addresses_beside_a_block_are_public() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2606:4700::1111",
            "3ffe::1",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    /// Ways to carry an IPv4 address in an IPv6 one.
    fn carriers(address: Ipv4Addr) -> [Ipv6Addr; 6] {
        let v4 = u128::from(address.to_bits());
        let [a, b, c, d, ..] = [0x2001u16, 0, 0x0808, 0x0808]; // by way of the public 8.8.8.8
        let server = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits();
        [
            address.to_ipv6_mapped(),
            Ipv6Addr::from_bits(0xffff_0000_0000_0000 | v4),
            Ipv6Addr::from_bits(0x0064_ff9b << 96 | v4),
            Ipv6Addr::from_bits(0x2002 << 112 | v4 << 80 | 1),
            Ipv6Addr::from_bits(server | (v4 ^ 0xffff_ffff)),
            Ipv6Addr::from_bits(0x2001_0000 << 96 | v4 << 64 | (0x0808_0808 ^ 0xffff_ffff)),
        ]
    }

    #[test]
    fn a_carried_address_of_the_host_is_found() {
        assert_eq!(of("::ffff:127.0.0.1"), Some(Block::Loopback));
        assert_eq!(of("::127.0.0.1"), Some(Block::Loopback));
        assert_eq!(of("64:ff9b::a9fe:a9fe"), Some(Block::LinkLocal));
        assert_eq!(of("2002:7f00:1::1"), Some(Block::Loopback));
        assert_eq!(of("64:ff9b::808:808"), None);
    }

    /// The oracle for IPv4: the standard library's own opinion, where it has one.
    fn known(address: Ipv4Addr) -> bool {
        let [a, b, c, _] = address.octets();
        address.is_loopback()
            || address.is_private()
            || address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_documentation()
            || a == 0
            || a >= 240
            || (a == 100 && (64..128).contains(&b))
            || (a == 198 && (18..20).contains(&b))
            || (a, b, c) == (192, 0, 0)
            || (a, b, c) == (192, 88, 99)
            || address == Ipv4Addr::new(168, 63, 129, 16)
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_special_when_the_registry_says_so(near in prop::sample::select(SPECIAL), noise: u32, far: bool) {
            let bits = match near.1.address {
                IpAddr::V4(address) if !far => address.to_bits().wrapping_add(noise & 0x1ff).wrapping_sub(0x80),
                _ => noise,
            };
            let address = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(Block::of(IpAddr::V4(address)).is_some(), known(address), "{}", address);
        }

        #[test]
        fn a_carrier_belongs_where_its_address_does(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            for carrier in carriers(address) {
                prop_assert_eq!(Block::of(IpAddr::V6(carrier)), Block::of(IpAddr::V4(address)), "{} {}", carrier, address);
            }
        }

        #[test]
        fn every_address_in_a_network_has_its_block_or_a_narrower_one(near in prop::sample::select(SPECIAL), bits: u128, longer in 0u8..8) {
            let network = Network { prefix: near.1.prefix.saturating_add(longer).min(super::super::cidr::width(near.1.address)), ..near.1 };
            if Block::around(network).is_none() {
                let member = match network.address {
                    IpAddr::V6(address) if network.prefix < 128 => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() | (bits & (u128::MAX >> network.prefix)))),
                    address => address,
                };
                // Only blocks that carry others have no block of their own inside a special one.
                prop_assert!(matches!(member, IpAddr::V6(_)));
            }
        }
    }
}
