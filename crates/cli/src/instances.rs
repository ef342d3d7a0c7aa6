//! The instances that run, and the way to each of them.
//!
//! There is no daemon: each `ringfence run` listens on a socket of its own, in a folder that has the name of the
//! instance and lives as long as that process holds it.
//!
//! ```text
//! $XDG_RUNTIME_DIR/ringfence/ or /tmp/ringfence-UID/   0700, of this user
//!     NAME/          locked by the process that runs it
//!         control    its socket
//! ```
//!
//! `door` is the side of the process that runs an instance, `visitor` the side of the commands that reach it,
//! `wire` what goes between them, and `folder` where they meet.

mod door;
mod folder;
mod hidden;
mod moment;
mod visitor;
mod wire;

pub(crate) use door::Door;
pub(crate) use folder::left;
pub(crate) use hidden::hide;
pub(crate) use moment::{ago, rfc3339};
pub(crate) use visitor::{Visit, all, refused};
pub(crate) use wire::{Answer, Ask, Status, Streams};
