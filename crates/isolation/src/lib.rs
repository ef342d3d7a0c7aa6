//! The seam: what the runtime and the backends know of each other.
//!
//! ```text
//! Spec ──Backend::prepare──▶ Prepared ──build(host)──▶ Instance ──start──▶ … ──▶ Exit
//!            │ promised                   │ enforced
//!            └ Refusal                    └ Refusal
//! ```
//!
//! A [`Backend`] provides one [`Level`] on this machine. It never names the runtime, and the runtime
//! never names a backend. What a backend promised for a spec is compared with what it enforced
//! ([`Enforcement::shortfall`]) before the first instruction of the capsule runs.
//!
//! What this crate does not protect: it holds no mechanism. It is the contract by which mechanisms
//! are judged.
#![forbid(unsafe_code)]

mod activity;
mod address;
mod backend;
mod denial;
mod enforcement;
mod exit;
mod fact;
mod host;
pub mod names;
#[cfg(unix)]
mod program;
mod remnant;
#[cfg(target_os = "linux")]
mod stream;
pub mod system;
mod usage;

use std::future::Future;
use std::pin::Pin;

pub use activity::{Activity, Count, Served, SystemCall};
pub use address::canonical;
pub use backend::{
    Attest, Backend, BuildError, CallError, Command, Exec, Feature, Instance, Invoke, Pause, Prepared, Running,
    Snapshot, StartError, Stop, Terminal, Then,
};
pub use denial::Denial;
pub use enforcement::{Enforcement, Held, Refusal, Shortfall};
pub use exit::{Exit, LostReason, Trap};
pub use fact::Fact;
pub use host::{Answer, FileUse, Folder, Host, Verdict};
#[cfg(unix)]
pub use program::check_linux_program;
pub use remnant::Remnant;
pub use ringfence_manifest::{Guarantee, Level, Point, Spec, Strength};
#[cfg(target_os = "linux")]
pub use stream::open_of_folder;
pub use usage::{Limit, LimitKind, Usage};

/// A future that can be sent between threads and forgets its type.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
