//! One suite of cases for every backend: the same manifest has the same verdicts at every level.
//!
//! Every case runs the probe (`tests/programs/probe`) behind a manifest and compares what it prints,
//! how it ends, which denials are reported, and what the host looks like afterwards.
#![forbid(unsafe_code)]

mod case;
pub mod cases;
mod place;
mod run;

pub use case::{Case, Ends};
pub use place::Place;
pub use run::{Outcome, run};
