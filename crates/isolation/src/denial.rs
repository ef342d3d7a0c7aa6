//! What was denied, by which rule, and what would grant it.

use std::fmt;

use ringfence_manifest::{Permission, Source};
use serde::Serialize;

/// One denied operation, as an event: which permission, which resource, which rule denied it, and
/// the line of the manifest that would grant it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Denial {
    /// The permission that was missing. `None` when no permission could grant it.
    pub permission: Option<Permission>,
    /// What it was asked for: a path in the capsule's tree, `address:port`, a name.
    pub resource: String,
    /// The rule that denied it, in words: `not in fs.read`, `mount /data is read-only`,
    /// `example.com resolves to 127.0.0.1, a loopback address`.
    pub rule: String,
    /// Where the rule was written, when it was.
    pub written: Option<Source>,
    /// The line that would grant it: `fs.read = ["/data", "/etc/passwd"]`. `None` when nothing can.
    pub grant: Option<String>,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied {}: {}", self.resource, self.rule)?;
        if let Some(written) = &self.written {
            write!(f, " ({})", written.0)?;
        }
        if let Some(grant) = &self.grant {
            write!(f, "; to grant it: {grant}")?;
        }
        Ok(())
    }
}
