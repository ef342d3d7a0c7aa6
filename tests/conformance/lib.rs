//! One suite of cases for every backend: the same manifest has the same verdicts at every level.
//!
//! Every case runs the probe (`tests/programs/probe`) behind a manifest and compares what it prints,
//! how it ends, which denials are reported, and what the host looks like afterwards. The same source
//! is the program at every level: as WebAssembly, or made for this machine when the suite begins.
//!
//! A case passes, fails, or is skipped with what is missing; where something cannot be equal at every
//! level, the case says what it is instead and why.
#![forbid(unsafe_code)]

mod case;
pub mod cases;
mod place;
mod probe;
mod run;

pub use case::{Case, Ends, Natively, Otherwise, Stdin};
pub use place::Place;
pub use probe::Probe;
pub use run::{Outcome, Passed, Setting, Skipped, run};
