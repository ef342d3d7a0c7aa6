//! A component that has no other imports than those of its world: it cannot reach files, clocks or
//! output. It is built for `wasm32-unknown-unknown` for that reason.

use std::sync::atomic::{AtomicU32, Ordering};

use acme::greeter::{log, lookup};

wit_bindgen::generate!({ path: "wit", world: "greeter" });

struct Greeter;

/// Greetings given so far. An instance has its own memory, and with it its own count.
static GIVEN: AtomicU32 = AtomicU32::new(0);

impl Guest for Greeter {
    fn greet(id: u32) -> Result<String, String> {
        let name = lookup::name_of(id)?;
        log::record(&format!("greeting {name}"));
        GIVEN.fetch_add(1, Ordering::Relaxed);
        Ok(format!("Hello, {name}!"))
    }

    fn count() -> u32 {
        GIVEN.load(Ordering::Relaxed)
    }

    fn sum(numbers: Vec<i64>) -> i64 {
        numbers.into_iter().fold(0, i64::wrapping_add)
    }
}

export!(Greeter);
