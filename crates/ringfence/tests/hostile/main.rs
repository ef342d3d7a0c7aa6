//! What somebody beside the program may do: swap names while it runs, tamper with its compiled code.
#![cfg(feature = "wasm")]

mod outside;
mod swapped;
mod tampered;

/// A program the tests of this repository share.
fn program(name: &str) -> String {
    format!("{}/../../tests/programs/{name}", env!("CARGO_MANIFEST_DIR"))
}
