//! The `ringfence` command as its users see it: what it prints, and how it exits.

#[cfg(feature = "sandbox")]
mod changes;
mod check;
mod clean;
mod hostile;
#[cfg(feature = "sandbox")]
mod instances;
mod lab;
mod learn;
mod listings;
#[cfg(all(feature = "wasm", feature = "microvm"))]
mod machine;
mod manifests;
#[cfg(feature = "sandbox")]
mod pty;
#[cfg(feature = "wasm")]
mod run;
mod sandbox;
#[cfg(feature = "sandbox")]
mod seccomp;
#[cfg(feature = "wasm")]
mod signals;
mod snapshot;
#[cfg(feature = "sandbox")]
mod terminal;
