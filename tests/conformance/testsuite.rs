//! The runner of WASI tests, over a folder of tests of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of tests: three that pass, two that fail, one that is skipped.
fn suite() -> TempDir {
    let suite = tempfile::tempdir().unwrap();
    let at = |name: &str| suite.path().join(name);
    let test = |name: &str, program: &str, json: &str| {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs").join(program);
        let extension = program.extension().unwrap().to_owned();
        fs::copy(&program, at(name).with_extension(extension)).unwrap();
        if !json.is_empty() {
            fs::write(at(name).with_extension("json"), json).unwrap();
        }
    };
    fs::create_dir(at("files")).unwrap();
    fs::write(at("files/in.txt"), "inside\n").unwrap();
    test("1-default", "hello.wat", "");
    test(
        "2-dirs",
        "probe.wasm",
        r#"{"args": ["write", "files/in.txt", "changed", "+", "read", "files/in.txt", "+", "getenv", "K"],
            "dirs": ["files"], "env": {"K": "v"}, "stdout": "ok 7\nok 7 \"changed\"\nok \"v\"\n"}"#,
    );
    test(
        "3-operations",
        "probe.wasm",
        r#"{"operations": [{"type": "run", "args": ["stdin", "+", "read", "/in.txt"], "root": "files"},
            {"type": "write", "payload": "four"}, {"type": "read", "payload": "ok 4"}, {"type": "wait"}]}"#,
    );
    test("4-denied", "probe.wasm", r#"{"args": ["read", "files/../in.txt"], "dirs": ["files"]}"#);
    test("5-output", "hello.wat", r#"{"stdout": "goodbye\n", "exit_code": 3}"#);
    test("6-sockets", "hello.wat", r#"{"operations": [{"type": "run"}, {"type": "connect"}, {"type": "wait"}]}"#);
    suite
}

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringfence-wasi-testsuite")).arg(folder).args(args).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn each_test_has_its_line_and_one_that_fails_fails_the_run() {
    let suite = suite();
    let output = run(suite.path(), &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    let wanted = [
        "passed  1-default",
        "passed  2-dirs",
        "passed  3-operations",
        "failed  4-denied",
        "failed  5-output",
        "skipped 6-sockets",
        "3 passed, 2 failed, 1 skipped",
    ];
    assert_eq!(lines, wanted, "{text}");
    assert!(text.contains(r#"fs.read = ["/files", "/in.txt"]"#), "a denial explains a failure: {text}");
    assert!(text.contains("not with status 3") && text.contains("goodbye"), "{text}");
    let unchanged = fs::read_to_string(suite.path().join("files/in.txt")).unwrap();
    assert_eq!(unchanged, "inside\n", "a test changes a copy of its folders");
}

#[test]
fn the_same_as_json() {
    let suite = suite();
    let output = run(suite.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let all = json(&output);
    assert_eq!((&all["passed"], &all["failed"], &all["skipped"]), (&3.into(), &2.into(), &1.into()), "{all}");
    assert_eq!(all["tests"][5]["outcome"], "skipped");
    assert_eq!(all["tests"][5]["reasons"][0], "it needs the operation connect");
}

#[test]
fn what_the_peer_does_otherwise_is_told() {
    let suite = tempfile::tempdir().unwrap();
    let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs/hello.wat");
    fs::copy(hello, suite.path().join("hello.wat")).unwrap();
    let peer = peer(&suite);
    let output = run(suite.path(), &["--json", "--compare", peer.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let all = json(&output);
    assert_eq!(all["differ"], 1);
    let differs = all["tests"][0]["differs"].to_string();
    for difference in ["passed here, failed there", "status 0 here, a trap there", r#"\"hello\\n\" here, \"\" there"#] {
        assert!(differs.contains(difference), "{difference}: {differs}");
    }
}

/// Something that answers like wasmtime and traps on every program.
fn peer(suite: &TempDir) -> PathBuf {
    let path = suite.path().join("wasmtime");
    let text = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo wasmtime 0; else exit 134; fi\n";
    // Another process writes it: a file that a fork of this one holds open for writing cannot be run.
    let write = "printf %s \"$1\" > \"$0\" && chmod +x \"$0\"";
    let written = Command::new("sh").arg("-c").arg(write).arg(&path).arg(text).status().unwrap();
    assert!(written.success());
    path
}

#[test]
fn a_folder_without_tests_is_a_mistake_and_not_a_success() {
    let empty = tempfile::tempdir().unwrap();
    for (folder, args) in [(empty.path(), &[][..]), (Path::new("no-such-folder"), &[])] {
        let output = run(folder, args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    let suite = suite();
    let output = run(suite.path(), &["--compare", "no-such-wasmtime"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
