//! Programs that mean harm to the host before they have done anything.

use crate::lab::{Lab, program};

#[track_caller]
fn ends(name: &str, limits: &[&str], code: i32, says: &str) {
    let lab = Lab::new();
    let program = program(name);
    let mut args = vec!["run", program.as_str()];
    for limit in limits {
        args.extend(["--limit", limit]);
    }
    let ran = lab.ringfence(&args).exits(code);
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_program_that_spins_before_it_starts_is_ended() {
    ends("start-spins.wat", &["wall_time=200ms"], 119, "exceeded wall_time");
    ends("start-spins.wat", &["cpu_time=200ms"], 119, "exceeded cpu_time");
    ends("start-spins.wat", &["fuel=1000000"], 119, "exceeded fuel");
}

#[test]
fn memory_and_tables_that_are_too_large_from_the_start_are_refused_by_the_limit() {
    ends("huge-memory.wat", &["memory=64MiB"], 119, "exceeded memory");
    ends("huge-table.wat", &["memory=64MiB"], 119, "exceeded memory");
}

#[test]
fn memory_and_tables_that_grow_without_end_trip_the_limit() {
    ends("growing-memory.wat", &["memory=64MiB"], 119, "exceeded memory");
    ends("growing-table.wat", &["memory=64MiB"], 119, "exceeded memory");
}

#[test]
fn data_outside_of_the_memory_is_a_trap() {
    ends("huge-data.wat", &[], 118, "out of bounds");
}

#[test]
fn recursion_without_end_is_a_trap() {
    ends("recursion.wat", &[], 118, "stack overflow");
}

#[test]
fn an_import_that_nobody_offers_is_named() {
    ends("bad-import.wat", &[], 120, "nobody::offers_this");
}

#[test]
fn a_library_is_not_run() {
    ends("greeter.wasm", &[], 120, "no program to run");
}

#[test]
fn bytes_that_are_no_program_are_refused() {
    let lab = Lab::new();
    for (name, bytes) in [
        ("empty.wasm", &b""[..]),
        ("short.wasm", b"\0asm"),
        ("old.wasm", b"\0asm\x0b\0\0\0"),
        ("cut.wasm", b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f"),
        ("noise.wasm", b"\xff\xfe\xfd\xfc\xfb\xfa"),
    ] {
        std::fs::write(lab.at(name), bytes).unwrap();
        let ran = lab.ringfence(&["run", name]).exits(120);
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
}

#[test]
fn output_without_end_trips_its_limit_and_no_more_than_that_comes_out() {
    let lab = Lab::new();
    let ran = lab.ringfence(&["run", &program("probe.wasm"), "--limit", "output=1MiB", "--", "output-forever"]);
    let ran = ran.exits(119);
    assert!(ran.stderr.contains("exceeded output"), "{}", ran.stderr);
    assert!(ran.stdout.len() <= 1 << 20, "{} bytes came out", ran.stdout.len());
}
