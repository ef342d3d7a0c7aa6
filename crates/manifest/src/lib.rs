//! The manifest of a capsule: what was written, and the [`Spec`] it resolves to.
#![forbid(unsafe_code)]

mod guarantee;
mod level;
mod permissions;
mod spec;
mod units;

pub use guarantee::Guarantee;
pub use level::{Level, Strength};
pub use permissions::{
    Block, ConnectRule, EnvironmentRule, FilePermissions, HostPattern, HostRule, ListenRule, NamePattern,
    NetworkPermissions, PathRule, Permission, Permissions, Ports, Source,
};
pub use spec::{Identity, Isolation, Kind, Limits, Mount, MountMode, Program, Spec, Stdio, StreamIn, StreamOut};
pub use units::{BitRate, Bytes, Cores};
