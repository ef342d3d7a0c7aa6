//! Valid modules and components, run with little fuel: twice, and the same comes of it.
#![no_main]

#[path = "../../crates/ringfence/tests/chance/host.rs"]
mod host;
#[path = "../../crates/ringfence/tests/chance/smith.rs"]
mod smith;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static HOST: host::Host = host::Host::new();
}

fuzz_target!(|chance: &[u8]| {
    let mut chance = Unstructured::new(chance);
    let program = match chance.ratio(7, 8) {
        Ok(true) => smith::module(&mut chance),
        Ok(false) => smith::component(&mut chance),
        Err(error) => Err(error),
    };
    let Ok(program) = program else { return };
    HOST.with(|host| {
        let (end, again) = (host.run(&program), host.run(&program));
        assert!(end == again || end.by_the_clock() || again.by_the_clock(), "{end:?}, {again:?}");
    });
});
