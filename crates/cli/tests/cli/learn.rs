//! `ringfence run --learn`.
#![cfg(feature = "wasm")]

use crate::lab::{Lab, program};

const PROBE: &[&str] = &["read", "/data/in", "+", "write", "/data/out", "text", "+", "list", "/data"];

#[test]
fn what_is_learned_is_enough_for_the_same_run_and_for_nothing_else() {
    let lab = Lab::new();
    lab.write("data/in", "content");
    let probe = program("probe.wasm");
    let learn = ["run", &probe, "--mount", "./data:/data:rw", "--learn", "capsule.toml", "--"];
    let (ran, left) = lab.scratch(&[&learn, PROBE].concat());
    let ran = ran.exits(0);
    assert!(ran.stderr.contains("fs.create = /data/out"), "{}", ran.stderr);
    assert!(!lab.at("data/out").exists(), "the original was changed");
    assert_eq!(left, Vec::<std::path::PathBuf>::new(), "the scratch copy is still there");

    let ran = lab.ringfence(&["run", "capsule.toml"]).exits(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(lab.read("data/out"), "text");
    lab.ringfence(&["check", "."]).exits(0);
    let ran = lab.ringfence(&["run", ".", "--", "read", "/data/out"]).exits(120);
    assert!(ran.stderr.contains("args"), "{}", ran.stderr);
    lab.with_args("capsule.toml", &["read", "/data/out"]);
    lab.ringfence(&["run", "."]).exits(1);
}

#[test]
fn a_manifest_that_exists_is_not_replaced() {
    let lab = Lab::new();
    lab.write("capsule.toml", "mine");
    lab.ringfence(&["run", &program("probe.wasm"), "--learn", "capsule.toml", "--", "args"]).exits(120);
    assert_eq!(lab.read("capsule.toml"), "mine");
}

#[test]
fn the_report_says_what_did_not_hold_while_learning() {
    let lab = Lab::new();
    let probe = program("probe.wasm");
    lab.ringfence(&["run", &probe, "--learn", "c.toml", "--report", "r.json", "-q", "--", "args"]).exits(0);
    let report: serde_json::Value = serde_json::from_str(&lab.read("r.json")).unwrap();
    let not_held = report["not_held"].as_array().unwrap();
    assert!(not_held.iter().any(|missing| missing["guarantee"] == "filesystem-confined"), "{not_held:?}");
}

#[test]
fn a_limit_still_ends_a_run_that_learns() {
    let lab = Lab::new();
    let probe = program("probe.wasm");
    let args = ["run", &probe, "--limit", "wall_time=50ms", "--learn", "c.toml", "--", "spin"];
    let (ran, left) = lab.scratch(&args);
    ran.exits(119);
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}
