//! Rules for connecting: `host:ports`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::Serialize;

use super::cidr::Network;
use super::{HostPattern, Ports, RuleError};

/// `host:ports`: who may be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ConnectRule {
    /// Whom.
    pub host: HostRule,
    /// On which ports.
    pub ports: Ports,
}

/// The host part of a connect rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HostRule {
    /// A name, or a wildcard for names.
    Name(HostPattern),
    /// An address (`prefix` is its full length) or a CIDR block.
    Network {
        /// The address.
        address: IpAddr,
        /// How many leading bits count.
        prefix: u8,
    },
    /// `*`: any name and any address that is not special.
    Any,
}

impl HostRule {
    /// Whether the rule covers this name.
    pub fn covers_name(&self, name: &str) -> bool {
        match self {
            HostRule::Name(pattern) => pattern.matches(name),
            HostRule::Any => true,
            HostRule::Network { .. } => false,
        }
    }
}

impl FromStr for ConnectRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text == "*" {
            return Ok(ConnectRule { host: HostRule::Any, ports: Ports::ALL });
        }
        let (host, ports) = split_port(text)?;
        let ports: Ports = ports.parse()?;
        if ports == Ports::one(0) {
            return Err(RuleError::ConnectToPortZero(text.to_owned()));
        }
        let host = match host {
            Host::Plain("*") => HostRule::Any,
            Host::Bracketed(network) => network_of(network)?,
            Host::Plain(host) if host.contains('/') || host.parse::<IpAddr>().is_ok() => network_of(host)?,
            Host::Plain(host) => HostRule::Name(host.parse()?),
        };
        Ok(ConnectRule { host, ports })
    }
}

fn network_of(text: &str) -> Result<HostRule, RuleError> {
    let Network { address, prefix } = Network::parse(text)?;
    Ok(HostRule::Network { address, prefix })
}

impl fmt::Display for ConnectRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostRule::Any if self.ports == Ports::ALL => write!(f, "*"),
            HostRule::Any => write!(f, "*:{}", self.ports),
            HostRule::Name(pattern) => write!(f, "{pattern}:{}", self.ports),
            &HostRule::Network { address, prefix } => {
                write!(f, "{}:{}", Network { address, prefix }.before_port(), self.ports)
            }
        }
    }
}

/// What stands before the port.
pub(super) enum Host<'a> {
    /// As it is.
    Plain(&'a str),
    /// Out of its brackets: IPv6.
    Bracketed(&'a str),
}

/// `host:ports` in its parts.
pub(super) fn split_port(text: &str) -> Result<(Host<'_>, &str), RuleError> {
    if text.contains("://") {
        return Err(RuleError::Url(text.to_owned()));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or_else(|| RuleError::NotAnAddress(text.to_owned()))?;
        let ports = after.strip_prefix(':').ok_or_else(|| RuleError::NoPort(text.to_owned()))?;
        let address = inside.split('/').next().unwrap_or(inside);
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(RuleError::NotAnAddress(text.to_owned()));
        }
        return Ok((Host::Bracketed(inside), ports));
    }
    match text.rsplit_once(':') {
        None => Err(RuleError::NoPort(text.to_owned())),
        Some((host, _)) if host.contains(':') => Err(RuleError::NoBrackets(text.to_owned())),
        Some((host, ports)) => Ok((Host::Plain(host), ports)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "api.example.com:443",
            "*.example.com:8000-8999",
            "localhost:*",
            "*:443",
            "*",
            "10.0.0.0/8:5432",
            "10.1.2.3:80",
            "[::1]:80",
            "[fd00::/8]:80",
            "0.0.0.0/0:53",
        ] {
            assert_eq!(text.parse::<ConnectRule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_mistake_is_told_by_its_own_name() {
        let error = |text: &str| text.parse::<ConnectRule>().unwrap_err();
        assert!(matches!(error("example.com"), RuleError::NoPort(_)));
        assert!(matches!(error("https://example.com/"), RuleError::Url(_)));
        assert!(matches!(error("fd00::1:80"), RuleError::NoBrackets(_)));
        assert!(matches!(error("[::1]"), RuleError::NoPort(_)));
        assert!(matches!(error("[::1"), RuleError::NotAnAddress(_)));
        assert!(matches!(error("[10.0.0.1]:80"), RuleError::NotAnAddress(_)));
        assert!(matches!(error("[fe80::1%eth0]:80"), RuleError::NotAnAddress(_)));
        assert!(matches!(error("example.com:http"), RuleError::NotAPort(_)));
        assert!(matches!(error("example.com:0"), RuleError::ConnectToPortZero(_)));
        assert!(matches!(error("10.0.0.1/8:80"), RuleError::HostBits { .. }));
        assert!(matches!(error(":80"), RuleError::NotAHostName(_)));
        assert!(matches!(error("127.1:80"), RuleError::NotAHostName(_)));
        assert!(matches!(error("a/b:80"), RuleError::NotAnAddress(_)));
    }
}
