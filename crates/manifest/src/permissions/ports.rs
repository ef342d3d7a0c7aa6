//! Ranges of ports.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::RuleError;

/// Ports: all of them, or an inclusive range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Ports {
    /// Every port, `*`.
    pub const ALL: Ports = Ports { first: 0, last: u16::MAX };

    /// One port.
    pub const fn one(port: u16) -> Ports {
        Ports { first: port, last: port }
    }

    /// Whether `port` is one of them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for Ports {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text == "*" {
            return Ok(Ports::ALL);
        }
        // Digits only: `parse` alone would take a sign.
        let port = |digits: &str| match digits.parse() {
            Ok(port) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
            _ => Err(RuleError::NotAPort(text.to_owned())),
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ports = Ports { first: port(first)?, last: port(last)? };
        if ports.first > ports.last { Err(RuleError::BackwardPorts(text.to_owned())) } else { Ok(ports) }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Ports::ALL => write!(f, "*"),
            Ports { first, last } if first == last => write!(f, "{first}"),
            Ports { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_both_its_ends() {
        let ports: Ports = "8000-8999".parse().unwrap();
        assert!(ports.contains(8000) && ports.contains(8999) && !ports.contains(7999) && !ports.contains(9000));
    }

    #[test]
    fn a_star_is_every_port() {
        let ports: Ports = "*".parse().unwrap();
        assert!(ports.contains(0) && ports.contains(443) && ports.contains(65535));
    }

    #[test]
    fn what_is_not_a_port_is_refused() {
        for text in ["", "65536", "-1", "+1", "80-", "-", "http", "80,81", "1-2-3", " 80"] {
            assert_eq!(text.parse::<Ports>(), Err(RuleError::NotAPort(text.into())), "{text}");
        }
        assert_eq!("9-8".parse::<Ports>(), Err(RuleError::BackwardPorts("9-8".into())));
    }

    #[test]
    fn ports_are_written_as_they_are_read() {
        for text in ["*", "443", "8000-8999", "0"] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), text);
        }
    }
}
