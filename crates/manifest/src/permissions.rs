//! What a capsule may do: rules as data, and the one place that matches against them.
//!
//! Everything that is not granted by a rule is denied. The two exceptions are `clock` and `random`,
//! which show nothing of the host and are on unless the manifest says `false`.
//!
//! Matching knows nothing of [`Permissions::learn`]: who sets it asks it first.

mod block;
mod cidr;
mod connect;
mod error;
mod files;
mod grant;
mod host;
mod listen;
mod name;
mod network;
mod path;
mod permission;
mod ports;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

pub use block::Block;
pub use connect::{ConnectRule, HostRule};
pub use error::RuleError;
pub use files::FilePermissions;
pub use host::HostPattern;
pub use listen::ListenRule;
pub use name::{EnvironmentRule, NamePattern};
pub use network::NetworkPermissions;
pub use path::PathRule;
pub(crate) use path::normal_path;
pub use permission::Permission;
pub use ports::Ports;

/// All permissions of one capsule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Permissions {
    /// `fs.*`
    pub files: FilePermissions,
    /// `net.*`
    pub network: NetworkPermissions,
    /// `env`: variables of the host the capsule sees (their values are in `Spec::environment`).
    pub environment: Vec<EnvironmentRule>,
    /// `args`
    pub args: bool,
    /// `clock`
    pub clock: bool,
    /// `random`
    pub random: bool,
    /// `channel.send`: names, `*` at the end matches any rest.
    pub channel_send: Vec<NamePattern>,
    /// `channel.receive`
    pub channel_receive: Vec<NamePattern>,
    /// `log`
    pub log: bool,
    /// Where each permission was written, for those that were.
    pub sources: BTreeMap<Permission, Source>,
    /// Grant every file operation inside the tree and every network operation but those to link-local
    /// addresses and metadata services, and let the caller record what was used. Only ever set by `--learn`.
    pub learn: bool,
}

impl Permissions {
    /// Whether any name of a host may be looked up.
    pub fn has_names(&self) -> bool {
        self.learn || !self.network.connect.is_empty() || !self.network.resolve.is_empty()
    }
}

/// Where a list of rules was written, for messages: `capsule.toml:14`, or the flag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Source(pub String);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
