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

#[test]
fn streams_are_shown_and_warned_of() {
    let lab = Lab::new();
    std::fs::copy(program("probe.wasm"), lab.at("probe.wasm")).unwrap();
    let text = "[capsule]\nname = \"a\"\n[program]\npath = \"probe.wasm\"\nargs = [\"stdin\"]\n[stdio]\n\
                stdin = { file = \"in.txt\" }\nstdout = { file = \"out.txt\" }\n";
    lab.write("capsule.toml", text);
    lab.write("in.txt", "four");
    let ran = lab.ringfence(&["check"]).exits(0);
    let shown = |name: &str| lab.at(name).canonicalize().unwrap().display().to_string();
    assert!(ran.stdout.contains(&format!("stdin   {}", shown("in.txt"))), "{}", ran.stdout);
    assert!(ran.stdout.contains("warning: standard input is "), "{}", ran.stdout);
    assert!(ran.stdout.contains("out.txt: it is made"), "{}", ran.stdout);
    lab.ringfence(&["run"]).exits(0);
    assert!(lab.read("out.txt").contains('4'));
    let ran = lab.ringfence(&["check"]).exits(0);
    assert!(ran.stdout.contains("out.txt: what is in it is replaced"), "{}", ran.stdout);
}

#[test]
fn a_mount_is_shown_as_what_it_leads_to_and_must_not_pretend_to_be_the_capsules_own() {
    let lab = Lab::new();
    std::fs::copy(program("probe.wasm"), lab.at("probe.wasm")).unwrap();
    std::os::unix::fs::symlink("/etc", lab.at("data")).unwrap();
    let with = |from: &str| {
        let head = "[capsule]\nname = \"a\"\n[program]\npath = \"probe.wasm\"\n[permissions]\nfs.read = [\"/m\"]\n";
        lab.write("capsule.toml", &format!("{head}[mounts]\n\"/m\" = \"{from}\"\n"));
    };
    with("./data");
    for command in ["run", "check"] {
        let ran = lab.ringfence(&[command]).exits(120);
        assert!(ran.stderr.contains("capsule.toml:8:8"), "{}", ran.stderr);
        assert!(ran.stderr.contains("leads to `/etc`, outside of the capsule's folder"), "{}", ran.stderr);
    }
    with("/etc/../etc");
    assert!(lab.ringfence(&["check"]).exits(0).stdout.contains("/m  ro  /etc\n"));
}

#[test]
fn a_name_that_is_no_text_is_a_name() {
    use std::os::unix::ffi::OsStrExt;
    let lab = Lab::new();
    let name = std::ffi::OsStr::from_bytes(b"n\xff.wat");
    std::fs::copy(program("hello.wat"), lab.at(".").join(name)).unwrap();
    let folder = lab.at(".").join(std::ffi::OsStr::from_bytes(b"f\xff"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(program("hello.wat"), folder.join("hello.wat")).unwrap();
    std::fs::write(folder.join("capsule.toml"), "[capsule]\nname = \"a\"\n[program]\npath = \"hello.wat\"\n").unwrap();
    for target in [name, folder.as_os_str()] {
        for command in [&["run", "--json"][..], &["check", "--json"], &["check"]] {
            let ran: crate::lab::Ran = lab.command(command).arg(target).output().unwrap().into();
            ran.exits(0);
        }
    }
}
