//! One observed property of this machine.

use std::borrow::Cow;

use serde::Serialize;

/// One observed property of this machine, with the remedy when it is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What was looked at: `landlock`, `kvm`, `cgroup`.
    pub name: Cow<'static, str>,
    /// What was found: `abi 7`, `usable`, `absent`.
    pub found: String,
    /// Whether it is as this backend needs it.
    pub usable: bool,
    /// What to do about it when it is not.
    pub remedy: Option<String>,
}

impl Fact {
    /// A property that is as it should be.
    pub fn good(name: &'static str, found: impl Into<String>) -> Self {
        Fact { name: name.into(), found: found.into(), usable: true, remedy: None }
    }

    /// A property that is missing or of no use, and what to do about it.
    pub fn missing(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Fact { name: name.into(), found: found.into(), usable: false, remedy: Some(remedy.into()) }
    }
}
