//! The manifest of a capsule: what was written, and the [`Spec`] it resolves to.
//!
//! ```text
//! capsule.toml ─Manifest::parse─▶ Manifest ─resolve(flags, surroundings)─▶ Spec
//!                    │                            │
//!                    └ Diagnostics                └ ResolveError
//! ```
//!
//! - Everything that is wrong is told at once, with its place and what to write instead.
//! - Nothing is granted that is not written: the one list of what is granted by default is
//!   `clock` and `random`.
//! - A flag of the command line has the name and the syntax of the manifest's key.
//! - Matching against rules happens here and nowhere else ([`FilePermissions::allows`],
//!   [`NetworkPermissions::allows_address`], …), so that every level comes to the same verdict.
//!
//! What this crate does not protect: it decides and enforces nothing by itself. Who matches a path
//! against a rule must have resolved links and `..` before.
#![forbid(unsafe_code)]

mod diagnostic;
mod document;
mod guarantee;
mod level;
mod manifest;
mod overrides;
mod permissions;
mod resolve;
mod schema;
pub mod section;
mod shape;
mod spec;
mod suggestion;
mod system_calls;
mod text;
mod units;
mod written;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use guarantee::Guarantee;
pub use level::{Level, Strength};
pub use manifest::{Manifest, ReadError};
pub use overrides::Overrides;
pub use permissions::{
    Block, ConnectRule, EnvironmentRule, FilePermissions, HostPattern, HostRule, ListenRule, NamePattern,
    NetworkPermissions, PathRule, Permission, Permissions, Ports, RuleError, Source,
};
pub use resolve::{Rejected, Rejection, ResolveError, Surroundings, find_program, folder_of};
pub use spec::{
    Identity, Isolation, Kind, Limits, Mount, MountMode, Point, Program, Session, Spec, Stdio, StreamIn, StreamOut,
    WindowSize,
};
pub use system_calls::SystemCalls;
pub use text::visible;
pub use units::{BitRate, Bytes, Cores, QuantityError, read_duration};
pub use written::{Place, Written};
