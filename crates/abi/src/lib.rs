//! What crosses a wall.
//!
//! A capsule at any level reaches the outside through one vocabulary: it names open resources by
//! [`Handle`], holds [`Rights`] on them that only shrink, and makes [`Call`]s that are answered by
//! a [`Reply`] or an [`ErrorCode`]. Functions a capsule exports, and functions an embedder offers to
//! it, pass [`Value`]s.
//!
//! Invariants: the crate is `no_std`, holds no policy, and nothing in it does input or output.
//!
//! What it does not protect: a `Call` is a request. Whether it is granted is decided by whoever
//! answers it (the scoped hal of `ringfence-runtime`).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod call;
mod error;
mod handle;
mod reply;
mod rights;
mod value;

pub use call::{Call, Clock, Interest, OpenHow, Position, Shutdown, SocketOption, Timestamp};
pub use error::ErrorCode;
pub use handle::Handle;
pub use reply::{Entry, FileKind, Reply, Stat};
pub use rights::Rights;
pub use value::Value;
