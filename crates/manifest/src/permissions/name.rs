//! Names of channels and of environment variables.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::RuleError;

/// A name, or a prefix followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct NamePattern(pub String);

impl NamePattern {
    /// Whether `name` is covered.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.0,
        }
    }
}

impl FromStr for NamePattern {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let fit = !text.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        if fit { Ok(NamePattern(text.to_owned())) } else { Err(RuleError::NotAChannelName(text.to_owned())) }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a variable of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct EnvironmentRule(pub String);

impl FromStr for EnvironmentRule {
    type Err = RuleError;

    /// Every visible ASCII character but `=` may stand in a name.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let fit = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=');
        if fit { Ok(EnvironmentRule(text.to_owned())) } else { Err(RuleError::NotAVariable(text.to_owned())) }
    }
}

impl fmt::Display for EnvironmentRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_matches_any_rest() {
        let pattern: NamePattern = "jobs.*".parse().unwrap();
        assert!(pattern.matches("jobs.") && pattern.matches("jobs.1") && !pattern.matches("jobs"));
    }

    #[test]
    fn a_name_without_a_star_matches_itself_only() {
        let pattern: NamePattern = "jobs".parse().unwrap();
        assert!(pattern.matches("jobs") && !pattern.matches("jobs.1") && !pattern.matches("job"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for text in ["", "a*b", "**", "a b", "é"] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
        for text in ["", "A=B", "A B", "A\0"] {
            assert!(text.parse::<EnvironmentRule>().is_err(), "{text}");
        }
    }
}
