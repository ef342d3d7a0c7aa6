//! Blocks of IP addresses, by their leading bits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::RuleError;

/// A block of addresses: those that share the leading `prefix` bits of `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

impl Network {
    pub(super) const fn v4(address: [u8; 4], prefix: u8) -> Self {
        Network { address: IpAddr::V4(Ipv4Addr::new(address[0], address[1], address[2], address[3])), prefix }
    }

    pub(super) const fn v6(address: [u16; 8], prefix: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = address;
        Network { address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
    }

    /// The block of one address.
    pub(super) const fn only(address: IpAddr) -> Self {
        Network { address, prefix: width(address) }
    }

    /// Whether `address` lies in it. The two families never meet.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        width(self.address) == width(address) && self.masked(address) == self.masked(self.address)
    }

    /// Whether all of it lies in `other`.
    pub(super) fn is_inside(self, other: Network) -> bool {
        self.prefix >= other.prefix && other.contains(self.address)
    }

    /// IPv4 written as IPv6 (`::ffff:0:0/96`) as what it is.
    pub(super) fn canonical(self) -> Self {
        const MAPPED: Network = Network::v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);
        match self.address {
            IpAddr::V6(address) if self.is_inside(MAPPED) => self.embedded(address.to_bits() as u32, 96),
            _ => self,
        }
    }

    /// The IPv4 block that stands behind the first `skip` bits.
    pub(super) fn embedded(self, address: u32, skip: u8) -> Self {
        Network { address: IpAddr::V4(Ipv4Addr::from_bits(address)), prefix: (self.prefix - skip).min(32) }
    }

    /// The leading bits of `address`, the others cleared.
    fn masked(self, address: IpAddr) -> u128 {
        let bits = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        match self.prefix {
            0 => 0,
            prefix => bits & (u128::MAX << (128 - u32::from(prefix.min(128)))),
        }
    }

    /// `10.0.0.0/8`, `fd00::/8`, or an address alone.
    pub(super) fn parse(text: &str) -> Result<Self, RuleError> {
        let not_an_address = || RuleError::NotAnAddress(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| not_an_address())?;
        let bits = width(address);
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(not_an_address());
            }
            Some(digits) => match digits.parse() {
                Ok(prefix) if prefix <= bits => prefix,
                _ => return Err(RuleError::LongPrefix { text: text.to_owned(), bits }),
            },
        };
        let network = Network { address, prefix };
        let first = network.first();
        if first == address {
            Ok(network.canonical())
        } else {
            Err(RuleError::HostBits { text: text.to_owned(), block: format!("{first}/{prefix}") })
        }
    }

    /// Its first address.
    fn first(self) -> IpAddr {
        let bits = self.masked(self.address);
        match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }

    /// As it stands before `:port`.
    pub(super) fn before_port(self) -> String {
        let whole = self.prefix == width(self.address);
        match self.address {
            IpAddr::V4(address) if whole => address.to_string(),
            IpAddr::V4(address) => format!("{address}/{}", self.prefix),
            IpAddr::V6(address) if whole => format!("[{address}]"),
            IpAddr::V6(address) => format!("[{address}/{}]", self.prefix),
        }
    }
}

/// How many bits an address of this family has.
pub(super) const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(address: IpAddr) -> Vec<bool> {
        match address {
            IpAddr::V4(address) => (0..32).rev().map(|bit| address.to_bits() >> bit & 1 == 1).collect(),
            IpAddr::V6(address) => (0..128).rev().map(|bit| address.to_bits() >> bit & 1 == 1).collect(),
        }
    }

    /// An address that shares `shared` leading bits with `address`, and differs in the next.
    fn differing_at(address: u128, shared: u32, noise: u128) -> u128 {
        if shared >= 128 {
            return address;
        }
        let rest = u128::MAX >> shared;
        let flipped = address ^ (1 << (127 - shared));
        (flipped & !(rest >> 1)) | (noise & (rest >> 1))
    }

    proptest! {
        #[test]
        fn containing_is_sharing_the_leading_bits(address: u128, shared in 0u32..=128, noise: u128, prefix in 0u8..=128) {
            let network = Network { address: IpAddr::V6(Ipv6Addr::from_bits(address)), prefix };
            let other = IpAddr::V6(Ipv6Addr::from_bits(differing_at(address, shared, noise)));
            let same = bits(network.address)[..prefix.into()] == bits(other)[..prefix.into()];
            prop_assert_eq!(network.contains(other), same);
        }

        #[test]
        fn containing_holds_for_ipv4_too(address: u32, other: u32, prefix in 0u8..=32, near: bool) {
            let network = Network { address: IpAddr::V4(Ipv4Addr::from_bits(address)), prefix };
            let other = if near { address ^ (other & 0xf) } else { other };
            let other = IpAddr::V4(Ipv4Addr::from_bits(other));
            let same = bits(network.address)[..prefix.into()] == bits(other)[..prefix.into()];
            prop_assert_eq!(network.contains(other), same);
        }

        #[test]
        fn what_is_inside_has_no_address_outside(a: u128, p in 0u8..=128, q in 0u8..=128, noise: u128) {
            let inner = Network { address: IpAddr::V6(Ipv6Addr::from_bits(a)), prefix: p };
            let outer = Network { address: IpAddr::V6(Ipv6Addr::from_bits(a)), prefix: q };
            let member = IpAddr::V6(Ipv6Addr::from_bits(if p == 128 { a } else { (a & !(u128::MAX >> p)) | (noise & (u128::MAX >> p)) }));
            prop_assert!(inner.contains(member));
            if inner.is_inside(outer) {
                prop_assert!(outer.contains(member));
            }
            prop_assert_eq!(inner.is_inside(outer), p >= q);
        }
    }

    #[test]
    fn a_block_that_covers_everything_covers_its_own_family_only() {
        assert!(Network::v4([0; 4], 0).contains("8.8.8.8".parse().unwrap()));
        assert!(!Network::v4([0; 4], 0).contains("2600::1".parse().unwrap()));
    }

    #[test]
    fn ipv4_written_as_ipv6_is_ipv4() {
        assert_eq!(Network::parse("::ffff:10.0.0.1"), Ok(Network::v4([10, 0, 0, 1], 32)));
        assert_eq!(Network::parse("::ffff:10.0.0.0/104"), Ok(Network::v4([10, 0, 0, 0], 8)));
    }

    #[test]
    fn bits_behind_the_prefix_are_refused() {
        let block = "10.0.0.0/8".to_owned();
        assert_eq!(Network::parse("10.1.2.3/8"), Err(RuleError::HostBits { text: "10.1.2.3/8".into(), block }));
    }

    #[test]
    fn a_prefix_is_a_plain_number_no_longer_than_the_address() {
        assert!(matches!(Network::parse("10.0.0.0/33"), Err(RuleError::LongPrefix { bits: 32, .. })));
        assert!(matches!(Network::parse("10.0.0.0/300"), Err(RuleError::LongPrefix { .. })));
        for text in ["10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0/8", "0x7f.1", ""] {
            assert_eq!(Network::parse(text), Err(RuleError::NotAnAddress(text.into())), "{text}");
        }
    }
}
