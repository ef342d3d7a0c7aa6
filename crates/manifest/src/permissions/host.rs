//! Host names and wildcards for them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::RuleError;

/// A host name in lower case without a trailing dot; or `*.example.com`, which matches every name
/// below `example.com` but not `example.com` itself; or `*`, which matches every name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct HostPattern(pub String);

impl HostPattern {
    /// Whether `name` is covered. Case and a trailing dot make no difference.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            return false;
        }
        if self.0 == "*" {
            return true;
        }
        match self.0.strip_prefix("*.") {
            None => name.eq_ignore_ascii_case(&self.0),
            Some(domain) => {
                let Some(split) = name.len().checked_sub(domain.len() + 1) else { return false };
                split > 0
                    && name.as_bytes()[split] == b'.'
                    && name.as_bytes()[split + 1..].eq_ignore_ascii_case(domain.as_bytes())
            }
        }
    }
}

impl FromStr for HostPattern {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text == "*" {
            return Ok(HostPattern(text.to_owned()));
        }
        if !text.is_ascii() {
            return Err(RuleError::NotAscii(text.to_owned()));
        }
        let whole = text.strip_suffix('.').unwrap_or(text);
        let name = whole.strip_prefix("*.").unwrap_or(whole);
        if name.contains('*') {
            return Err(RuleError::Wildcard(text.to_owned()));
        }
        if is_host_name(name) {
            Ok(HostPattern(whole.to_ascii_lowercase()))
        } else {
            Err(RuleError::NotAHostName(text.to_owned()))
        }
    }
}

/// Whether a host can have this name. A last label that is a number makes resolvers read the name
/// as an IPv4 address in one of its odd forms, so such a name is none.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x");
    name.len() <= 253 && name.split('.').all(is_label) && !is_number
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn case_and_a_trailing_dot_make_no_difference() {
        assert!(pattern("API.example.com.").matches("api.Example.COM"));
        assert!(pattern("api.example.com").matches("api.example.com."));
    }

    #[test]
    fn a_wildcard_matches_what_is_below_and_not_the_name_itself() {
        let below = pattern("*.example.com");
        assert!(below.matches("a.example.com") && below.matches("a.b.example.com"));
        assert!(!below.matches("example.com"));
        assert!(!below.matches(".example.com"));
        assert!(!below.matches("badexample.com"));
        assert!(!below.matches("a.example.com.evil.org"));
    }

    #[test]
    fn a_star_matches_every_name_but_none() {
        assert!(pattern("*").matches("x") && !pattern("*").matches("") && !pattern("*").matches("."));
    }

    #[test]
    fn a_name_beyond_ascii_does_not_cut_a_character() {
        assert!(!pattern("*.example.com").matches("é.xample.com"));
        assert!(!pattern("*.b").matches("é"));
    }

    #[test]
    fn what_is_not_a_host_name_is_refused() {
        for text in ["", ".", "a..b", "-a.com", "a-.com", "a b", "10.0.0", "1.2.3.4", "2130706433", "a.0x7f", "a/b"] {
            assert!(matches!(text.parse::<HostPattern>(), Err(RuleError::NotAHostName(_))), "{text}");
        }
        assert!(matches!("münchen.de".parse::<HostPattern>(), Err(RuleError::NotAscii(_))));
        for text in ["a.*.com", "a*.com", "**", "*.*.com"] {
            assert!(matches!(text.parse::<HostPattern>(), Err(RuleError::Wildcard(_))), "{text}");
        }
    }

    /// The oracle: labels as lists.
    fn matches_by_labels(pattern: &str, name: &str) -> bool {
        let pattern: Vec<String> = pattern.to_lowercase().split('.').map(str::to_owned).collect();
        let name: Vec<String> = name.to_lowercase().split('.').map(str::to_owned).collect();
        if pattern[0] == "*" { name.len() >= pattern.len() && name.ends_with(&pattern[1..]) } else { name == pattern }
    }

    proptest! {
        #[test]
        fn matching_is_comparing_labels(
            wildcard: bool,
            of_pattern in prop::collection::vec("[ab]{1,2}", 1..4),
            of_name in prop::collection::vec("[abAB]{1,2}", 1..5),
        ) {
            let mut text = of_pattern.join(".");
            if wildcard {
                text.insert_str(0, "*.");
            }
            let name = of_name.join(".");
            prop_assert_eq!(pattern(&text).matches(&name), matches_by_labels(&text, &name));
        }
    }
}
