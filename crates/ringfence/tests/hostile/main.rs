//! Compiled code that was tampered with.
#![cfg(feature = "wasm")]

mod tampered;
