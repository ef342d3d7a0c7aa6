//! `ringfence check` and `ringfence init`.
#![cfg(feature = "wasm")]

use crate::lab::{Lab, program};

#[test]
fn what_init_writes_is_checked_and_runs() {
    let lab = Lab::new();
    let probe = program("probe.wasm");
    lab.ringfence(&["init", "mine", "--program", &probe]).exits(0);
    let ran = lab.ringfence(&["check", "mine"]).exits(0);
    assert!(ran.stdout.contains("probe 0.1.0 at level wasm: would run"), "{}", ran.stdout);
    lab.ringfence(&["run", "mine", "--", "args"]).exits(0);
}

#[test]
fn init_leaves_a_manifest_as_it_is() {
    let lab = Lab::new();
    lab.write("capsule.toml", "mine");
    lab.ringfence(&["init"]).exits(120);
    assert_eq!(lab.read("capsule.toml"), "mine");
}

#[test]
fn a_capsule_is_checked_without_being_run() {
    let lab = Lab::new();
    let ran = lab.ringfence(&["check", &program("hello.wat"), "--json"]).exits(0);
    let found = ran.json();
    assert_eq!(found["verdict"], "would run");
    assert_eq!(found["guarantees"]["memory-isolated"]["held"], "by");
    assert_eq!(found["spec"]["capsule"]["name"], "hello");
    assert!(!ran.stdout.contains("hello\n"));
}

#[test]
fn a_capsule_that_would_be_refused_is_told_with_what_would_hold() {
    let lab = Lab::new();
    let hello = program("hello.wat");
    let refused = ["check", &hello, "--level", "wasm", "--require", "own-address-space"];
    let ran = lab.ringfence(&refused).exits(121);
    assert!(ran.stdout.contains("at level wasm: refused"), "{}", ran.stdout);
    assert!(ran.stdout.contains("remedy:"), "{}", ran.stdout);
    let found = lab.ringfence(&[&refused[..], &["--json"]].concat()).exits(121).json();
    assert_eq!(found["verdict"], "refused");
    assert_eq!(found["failure"]["detail"]["refusal"]["guarantee"], "own-address-space");
    assert_eq!(found["guarantees"]["own-address-space"]["held"], "not");
}

#[test]
fn defaults_are_marked_and_warnings_given() {
    let lab = Lab::new();
    lab.write("data/x", "");
    let ran = lab.ringfence(&["check", &program("hello.wat"), "--mount", "data:/data:ro"]).exits(0);
    assert!(ran.stdout.contains("memory      1 GiB  default"), "{}", ran.stdout);
    assert!(ran.stdout.contains("warning: /data is mounted, and no permission covers it"), "{}", ran.stdout);
}
