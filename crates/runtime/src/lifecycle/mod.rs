//! The life of an instance, from a spec to a report.
//!
//! ```text
//!              build             start             exit
//!  Prepared ─────────▶ Built ─────────▶ Running ─────────▶ Ended
//!     │                  │ refused         ▲   │
//!     │ refused          │ stopped         └───┘ stop
//!     └──────────────────┴──────────────────────────────────▲
//! ```
//!
//! A [`Plan`] is a spec that a backend is ready to build. [`Plan::build`] builds one instance of it
//! and compares what the backend promised with what it enforces now; nothing of the capsule has run
//! when that fails. [`Built::start`] starts the program and gives the one task that owns the
//! instance from then on, [`Supervision`]: it watches the deadline, the verdict of the hal and the
//! wishes of [`Controls`], and resolves to the [`Report`] when nothing of the instance is left.
//!
//! Whoever owns the instance ends it by being dropped: a [`Built`] that is not started, a
//! `Supervision` in the middle. Dropping every [`Controls`] kills it too: an instance that nobody can
//! stop any more must not go on.

mod hal;
mod phase;
mod plan;
mod report;
mod supervise;
#[cfg(test)]
mod tests;

pub use hal::Hal;
pub use phase::{Event, Phase, Unexpected};
pub use plan::{Built, Plan, Started};
pub use report::{Denied, NotHeld, Report, Timings};
pub use supervise::{Controls, Supervision};
