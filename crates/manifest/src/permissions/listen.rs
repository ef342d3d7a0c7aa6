//! Rules for listening: `address:ports`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::cidr::Network;
use super::connect::{Host, split_port};
use super::{Ports, RuleError};

/// `address:ports`: where may be listened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ListenRule {
    /// The local address, as a network. With its full length, `0.0.0.0` and `::` match exactly these
    /// unspecified addresses; `*` is the two networks of length 0, which match every local address
    /// and the unspecified ones.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
    /// On which ports; port 0 (the system chooses) is matched by a rule that has port 0 or `*`.
    pub ports: Ports,
}

impl ListenRule {
    /// The rules a text stands for: two for `*`, which is every IPv4 and every IPv6 address.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Vec<ListenRule>, RuleError> {
        if text == "*" {
            return Ok(ListenRule::everywhere(Ports::ALL).into());
        }
        let is_port = |text: &str| text.strip_prefix(':').unwrap_or(text).parse::<Ports>().is_ok();
        if is_port(text) {
            return Err(RuleError::NoAddress(text.to_owned()));
        }
        let (host, ports) = split_port(text)?;
        let ports: Ports = ports.parse()?;
        let network = match host {
            Host::Plain("*") => return Ok(ListenRule::everywhere(ports).into()),
            Host::Bracketed(network) | Host::Plain(network) => Network::parse(network),
        };
        match network {
            Ok(Network { address, prefix }) => Ok(vec![ListenRule { address, prefix, ports }]),
            Err(RuleError::NotAnAddress(name)) if name.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
                Err(RuleError::ListenOnName(text.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Every address of both families.
    fn everywhere(ports: Ports) -> [ListenRule; 2] {
        [Network::v4([0; 4], 0), Network::v6([0; 8], 0)].map(|Network { address, prefix }| ListenRule {
            address,
            prefix,
            ports,
        })
    }

    /// Whether this socket address may be listened on.
    pub fn covers(&self, address: SocketAddr) -> bool {
        let network = Network { address: self.address, prefix: self.prefix }.canonical();
        network.contains(address.ip().to_canonical()) && self.ports.contains(address.port())
    }

    /// The texts that stand for `rules`: the two rules of a `*` are one text.
    pub(crate) fn texts(rules: &[ListenRule]) -> Vec<String> {
        let mut texts = Vec::new();
        let mut rest = rules;
        while let [first, after @ ..] = rest {
            let everywhere = ListenRule::everywhere(first.ports);
            if rest.starts_with(&everywhere) {
                texts.push(match first.ports {
                    Ports::ALL => "*".to_owned(),
                    ports => format!("*:{ports}"),
                });
                rest = &rest[2..];
            } else {
                texts.push(first.to_string());
                rest = after;
            }
        }
        texts
    }
}

impl fmt::Display for ListenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = Network { address: self.address, prefix: self.prefix };
        write!(f, "{}:{}", network.before_port(), self.ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rules: &str, address: &str) -> bool {
        ListenRule::parse(rules).unwrap().iter().any(|rule| rule.covers(address.parse().unwrap()))
    }

    #[test]
    fn an_address_is_covered_by_itself() {
        assert!(allows("127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(allows("127.0.0.1:8080", "[::ffff:127.0.0.1]:8080"));
        assert!(!allows("127.0.0.1:8080", "127.0.0.1:8081"));
        assert!(!allows("127.0.0.1:8080", "127.0.0.2:8080"));
        assert!(!allows("127.0.0.1:8080", "0.0.0.0:8080"));
    }

    #[test]
    fn the_unspecified_address_is_every_interface_and_only_itself() {
        assert!(allows("0.0.0.0:80", "0.0.0.0:80"));
        assert!(!allows("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!allows("0.0.0.0:80", "[::]:80"));
    }

    #[test]
    fn a_star_covers_every_address_of_both_families() {
        for address in ["0.0.0.0:80", "[::]:80", "127.0.0.1:80", "[fe80::1]:80"] {
            assert!(allows("*:80", address), "{address}");
        }
        assert!(!allows("*:80", "0.0.0.0:81"));
    }

    #[test]
    fn a_port_the_system_chooses_needs_port_0_or_every_port() {
        assert!(allows("[::1]:0", "[::1]:0"));
        assert!(allows("[::1]:*", "[::1]:0"));
        assert!(!allows("[::1]:8080", "[::1]:0"));
    }

    #[test]
    fn the_texts_of_rules_stand_for_the_same_rules() {
        for texts in [vec!["*:80"], vec!["*"], vec!["127.0.0.1:80", "*:443", "[::1]:0", "10.0.0.0/8:1-2"]] {
            let rules: Vec<_> = texts.iter().flat_map(|text| ListenRule::parse(text).unwrap()).collect();
            assert_eq!(ListenRule::texts(&rules), texts);
        }
    }

    #[test]
    fn names_cannot_be_listened_on() {
        assert!(matches!(ListenRule::parse("localhost:80"), Err(RuleError::ListenOnName(_))));
        assert!(matches!(ListenRule::parse(":80"), Err(RuleError::NoAddress(_))));
        assert!(matches!(ListenRule::parse("8080"), Err(RuleError::NoAddress(_))));
        assert!(matches!(ListenRule::parse("127.0.0.1"), Err(RuleError::NoPort(_))));
        assert!(matches!(ListenRule::parse(""), Err(RuleError::NoPort(_))));
    }
}
