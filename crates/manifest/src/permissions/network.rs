//! `net.*`: which hosts may be reached, and where may be listened.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::cidr::Network;
use super::{Block, ConnectRule, HostPattern, HostRule, ListenRule};

/// `net.*`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NetworkPermissions {
    /// `net.connect`
    pub connect: Vec<ConnectRule>,
    /// `net.listen`
    pub listen: Vec<ListenRule>,
    /// `net.resolve`
    pub resolve: Vec<HostPattern>,
}

impl NetworkPermissions {
    /// Whether this address may be connected to when no name led to it.
    ///
    /// A special address ([`Block::of`]) is covered only by a rule whose own network lies in the
    /// same block: neither `*` nor `0.0.0.0/0` reaches the host itself, its neighbours, or the
    /// metadata service of its cloud.
    pub fn allows_address(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        let block = Block::of(address);
        self.connect.iter().filter(|rule| rule.ports.contains(port)).any(|rule| match rule.host {
            HostRule::Any => block.is_none(),
            HostRule::Name(_) => false,
            HostRule::Network { address: of_rule, prefix } => {
                let network = Network { address: of_rule, prefix }.canonical();
                network.contains(address) && (block.is_none() || Block::around(network) == block)
            }
        })
    }

    /// The first rule by which this name may be connected to. Where it leads is checked by
    /// [`NetworkPermissions::name_covers_address`].
    pub fn allows_name(&self, name: &str, port: u16) -> Option<&ConnectRule> {
        self.connect.iter().find(|rule| rule.ports.contains(port) && rule.host.covers_name(name))
    }

    /// Whether `address`, which `name` resolved to, may be connected to.
    ///
    /// A name may lead to no special address, or who answers for the name could send the capsule to
    /// the host itself; except that a rule for the very name `localhost` covers loopback addresses,
    /// and that a rule for the address grants it under any name.
    pub fn name_covers_address(&self, name: &str, address: IpAddr, port: u16) -> bool {
        let by_name = match Block::of(address) {
            None => self.allows_name(name, port).is_some(),
            Some(Block::Loopback) => is_localhost(name) && self.names_localhost(port),
            Some(_) => false,
        };
        by_name || self.allows_address(address, port)
    }

    /// Whether this name may be looked up: it is in `net.resolve`, or may be connected to.
    pub fn may_resolve(&self, name: &str) -> bool {
        self.resolve.iter().any(|pattern| pattern.matches(name))
            || self.connect.iter().any(|rule| rule.host.covers_name(name))
    }

    /// Whether this socket address may be listened on.
    pub fn allows_listen(&self, address: SocketAddr) -> bool {
        self.listen.iter().any(|rule| rule.covers(address))
    }

    fn names_localhost(&self, port: u16) -> bool {
        self.connect.iter().any(|rule| {
            rule.ports.contains(port) && matches!(&rule.host, HostRule::Name(pattern) if is_localhost(&pattern.0))
        })
    }
}

fn is_localhost(name: &str) -> bool {
    name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn granted(rules: &[&str]) -> NetworkPermissions {
        let connect = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        NetworkPermissions { connect, ..NetworkPermissions::default() }
    }

    fn reaches(rule: &str, address: &str) -> bool {
        granted(&[rule]).allows_address(address.parse().unwrap(), 80)
    }

    #[test]
    fn nothing_is_allowed_when_nothing_is_written() {
        let nothing = NetworkPermissions::default();
        assert!(!nothing.allows_address("8.8.8.8".parse().unwrap(), 53));
        assert!(nothing.allows_name("example.com", 443).is_none());
        assert!(!nothing.may_resolve("example.com"));
        assert!(!nothing.allows_listen("127.0.0.1:0".parse().unwrap()));
    }

    #[test]
    fn a_wide_rule_covers_public_addresses_only() {
        for rule in ["*", "*:80", "0.0.0.0/0:80", "0.0.0.0/1:80", "[::/0]:80", "[::ffff:0:0/96]:80"] {
            for address in [
                "127.0.0.1",
                "10.0.0.1",
                "169.254.169.254",
                "0.0.0.0",
                "::1",
                "::",
                "fd00::1",
                "fe80::1",
                "255.255.255.255",
                "::ffff:127.0.0.1",
                "64:ff9b::7f00:1",
                "2002:7f00:1::",
                "::127.0.0.1",
                "224.0.0.1",
                "ff02::1",
            ] {
                assert!(!reaches(rule, address), "{rule} {address}");
            }
        }
        assert!(reaches("*:80", "8.8.8.8") && reaches("*", "2600::1") && reaches("0.0.0.0/0:80", "8.8.8.8"));
        assert!(reaches("[::/0]:80", "2600::1") && reaches("[::ffff:0:0/96]:80", "8.8.8.8"));
    }

    #[test]
    fn a_rule_inside_a_block_covers_it() {
        assert!(reaches("127.0.0.1:80", "127.0.0.1"));
        assert!(reaches("127.0.0.1:80", "::ffff:127.0.0.1"));
        assert!(reaches("[::ffff:127.0.0.1]:80", "127.0.0.1"));
        assert!(reaches("10.0.0.0/8:80", "10.1.2.3"));
        assert!(!reaches("10.0.0.0/7:80", "10.1.2.3"));
        assert!(reaches("10.0.0.0/7:80", "11.1.2.3"));
        assert!(reaches("169.254.169.254:80", "169.254.169.254"));
        assert!(!reaches("240.0.0.0/4:80", "255.255.255.255"));
        assert!(reaches("[fd00::/8]:80", "fd00:ec2::254"));
        assert!(reaches("[64:ff9b::7f00:1]:80", "64:ff9b::7f00:1"));
        assert!(!reaches("127.0.0.0/8:80", "64:ff9b::7f00:1"));
    }

    #[test]
    fn ports_count() {
        let rules = granted(&["8.8.8.8:53", "example.com:443"]);
        assert!(!rules.allows_address("8.8.8.8".parse().unwrap(), 54));
        assert!(rules.allows_name("example.com", 80).is_none());
        assert_eq!(rules.allows_name("Example.com.", 443), Some(&rules.connect[1]));
    }

    #[test]
    fn a_name_leads_to_public_addresses_only() {
        let covers = |rules: &[&str], name, address: &str| {
            granted(rules).name_covers_address(name, address.parse().unwrap(), 80)
        };
        assert!(covers(&["a.com:80"], "a.com", "8.8.8.8"));
        assert!(!covers(&["a.com:80"], "b.com", "8.8.8.8"));
        assert!(!covers(&["a.com:80"], "a.com", "127.0.0.1"));
        assert!(!covers(&["a.com:80"], "a.com", "::ffff:10.0.0.1"));
        assert!(!covers(&["*:80"], "localhost", "127.0.0.1"));
        assert!(!covers(&["*.localhost:80"], "a.localhost", "127.0.0.1"));
        assert!(covers(&["localhost:80"], "localhost", "127.0.0.1"));
        assert!(covers(&["localhost:80"], "LOCALHOST.", "::1"));
        assert!(!covers(&["localhost:80"], "localhost", "10.0.0.1"));
        assert!(!covers(&["localhost:81", "*:80"], "localhost", "127.0.0.1"));
        assert!(covers(&["a.com:80", "127.0.0.0/8:80"], "a.com", "127.0.0.1"));
        assert!(!covers(&["a.com:80", "127.0.0.0/8:81"], "a.com", "127.0.0.1"));
    }

    #[test]
    fn what_may_be_connected_to_may_be_looked_up() {
        let mut rules = granted(&["a.com:443", "*.b.com:*", "10.0.0.0/8:80"]);
        rules.resolve.push("c.com".parse().unwrap());
        for (name, may) in [("a.com", true), ("x.b.com", true), ("b.com", false), ("c.com", true), ("10.0.0.1", false)]
        {
            assert_eq!(rules.may_resolve(name), may, "{name}");
        }
        assert!(granted(&["*:443"]).may_resolve("anything.org"));
    }

    proptest! {
        #[test]
        fn a_name_never_leads_to_a_special_address(bits: u128, v4: bool, name in "[a-z]{1,8}(\\.[a-z]{1,3})?") {
            let address = if v4 { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) };
            let rules = granted(&["*", &format!("{name}:*")]);
            prop_assume!(name != "localhost");
            prop_assert_eq!(rules.name_covers_address(&name, address, 80), Block::of(address).is_none());
        }
    }
}
