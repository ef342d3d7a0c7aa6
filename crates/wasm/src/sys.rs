//! The one place that runs code from a file: loading compiled code.
#![allow(unsafe_code)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Loads compiled code from memory that [`crate::cache`] has verified, or that was compiled just now.
///
/// The caller must have checked that `bytes` are what this engine's `precompile_component` wrote.
pub(crate) fn load_compiled(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the cache stores only the output of `precompile_component` and has just verified a keyed
    // hash over these bytes, which are the process's own and cannot change under us.
    unsafe { Component::deserialize(engine, bytes) }
}
