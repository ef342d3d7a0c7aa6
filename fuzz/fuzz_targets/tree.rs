//! Sequences of file operations, of a hostile program and of a hostile neighbour, through the scoped hal.
#![no_main]

#[path = "../../crates/runtime/tests/tree/lab.rs"]
mod lab;
#[path = "../../crates/runtime/tests/tree/operation.rs"]
mod operation;
#[path = "../../crates/runtime/tests/tree/outside.rs"]
mod outside;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|chance: &[u8]| {
    lab::Lab::new().run(&operation::sequence(chance));
});
