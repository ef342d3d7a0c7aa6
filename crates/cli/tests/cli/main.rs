//! The `ringfence` command as its users see it: what it prints, and how it exits.

mod check;
mod hostile;
mod lab;
mod learn;
mod listings;
mod manifests;
#[cfg(feature = "wasm")]
mod run;
mod sandbox;
#[cfg(feature = "wasm")]
mod signals;
