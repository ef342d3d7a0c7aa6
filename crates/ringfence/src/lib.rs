//! Run any program behind the isolation it deserves.
//!
//! ```text
//! Load ─resolve─▶ Spec ─prepare─▶ Capsule ─start─▶ Instance ─exited─▶ Report
//! ```
//!
//! A [`Runtime`] knows the backends of this build. It takes a manifest, or a bare program that is
//! granted nothing, to a [`Capsule`]: resolved, checked, compiled. A capsule is run as a whole
//! ([`Capsule::run`]) or started as an [`Instance`] whose exported functions are called. Instances
//! are independent of each other: each has its own memory, handles and limits.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ringfence::{Load, Runtime, StreamOut};
//!
//! let runtime = Runtime::builder().build()?;
//! let load = Load::path("tool.wasm")?
//!     .allow("fs.read,fs.list=/data")
//!     .mount("./data:/data:ro")
//!     .limit("memory=64MiB")
//!     .args(["--summary", "/data"])
//!     .stdout(StreamOut::Capture);
//! let report = runtime.load_with(load)?.run_blocking()?;
//! println!("{}: {}", report.capsule.name, report.exit);
//! for denied in &report.denials {
//!     println!("{}", denied.denial); // which rule, and the line that would grant it
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A component may be called, and may call back:
//!
#![cfg_attr(feature = "wasm", doc = "```")]
#![cfg_attr(not(feature = "wasm"), doc = "```ignore")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ringfence::{Load, Runtime};
//!
//! let runtime = Runtime::builder()
//!     .function("acme:greeter/lookup#name-of", |(id,): (u32,)| async move {
//!         if id == 7 { Ok("Ada".to_owned()) } else { Err(format!("nobody has the number {id}")) }
//!     })
//!     .function("acme:greeter/log#record", |(line,): (String,)| async move { println!("{line}") })
//! #   .data_home(std::env::temp_dir().join("ringfence-doc"))
//!     .build()?;
//! # let greeter = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/programs/greeter.wasm");
//! let instance = runtime.load(greeter)?.start()?;
//! let greeting: Result<String, String> = instance.call_blocking("greet", (7u32,))?;
//! assert!(greeting?.contains("Ada"));
//! let sum: i64 = instance.call_blocking("sum", (vec![1i64, 2, 3],))?;
//! assert_eq!(sum, 6);
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: nothing is ever weaker than asked for without being refused; an instance whose last
//! handle is dropped is killed; nothing of an instance outlives it.
//!
//! What it does not protect: a function that the embedder offers runs with the embedder's rights, and
//! its arguments come from the capsule.
#![forbid(unsafe_code)]

mod backends;
mod builder;
mod capsule;
mod executor;
mod function;
mod instance;
mod load;
mod places;
#[cfg(all(feature = "wasm", feature = "sandbox", target_os = "linux"))]
pub mod runner;
mod runtime;
mod value;

pub use backends::{Progress, Setup, backends};
pub use builder::{Builder, SetupError};
pub use capsule::{Capsule, StartError};
pub use function::HostFunction;
pub use instance::{CallError, Instance, SnapshotError};
pub use load::{Load, LoadError};
pub use places::Places;
pub use ringfence_abi::{ErrorCode, Value};
pub use ringfence_isolation::CallError as InstanceError;
pub use ringfence_isolation::{
    Activity, Backend, BuildError, Command, Count, Denial, Enforcement, Exit, Fact, Guarantee, Held, Level, Limit,
    LimitKind, LostReason, Refusal, Remnant, Running, Served, Stop, Strength, SystemCall, Trap, Usage,
};
#[cfg(all(feature = "sandbox", target_os = "linux"))]
pub use ringfence_linux::{program_path, protect_program};
pub use ringfence_manifest::{
    self as manifest, Diagnostic, Diagnostics, Identity, Manifest, Overrides, Permission, ReadError, ResolveError,
    Spec, StreamIn, StreamOut, WindowSize,
};
pub use ringfence_runtime::{Denied, NotHeld, Report, Resolver, SystemResolver, Timings};
#[cfg(feature = "wasm")]
pub use ringfence_wasm::{Cache, CacheEntry, CacheError};
pub use runtime::{Examination, Resolved, Runtime};
pub use value::{FromValue, FromValues, IntoValue, IntoValues, ValueError};
