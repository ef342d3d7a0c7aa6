//! Any bytes as a program: refused, or run with little fuel.
#![no_main]

#[path = "../../crates/ringfence/tests/chance/host.rs"]
mod host;

use libfuzzer_sys::fuzz_target;

thread_local! {
    static HOST: host::Host = host::Host::new();
}

fuzz_target!(|program: &[u8]| {
    HOST.with(|host| host.run(program));
});
