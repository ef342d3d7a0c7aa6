//! Manifests that are wrong.

use crate::lab::Lab;

const WRONG: &str = "[capsule]\nname = \"a\"\n\n[program]\npath = \"a.wasm\"\n\n[limits]\nmemry = \"1 MiB\"\n";

#[test]
fn a_mistake_is_shown_with_its_place_and_what_to_write_instead() {
    let lab = Lab::new();
    lab.write("capsule.toml", WRONG);
    for command in ["run", "check"] {
        let ran = lab.ringfence(&[command]).exits(120);
        assert!(ran.stderr.contains("capsule.toml:8:1"), "{}", ran.stderr);
        assert!(ran.stderr.contains("memory"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn a_mistake_is_data_with_json() {
    let lab = Lab::new();
    lab.write("capsule.toml", WRONG);
    let ran = lab.ringfence(&["run", "--json"]).exits(120);
    let problem = &ran.events()[0]["detail"]["problems"][0];
    assert_eq!((&problem["line"], &problem["column"]), (&8.into(), &1.into()));
    assert_eq!(problem["text"], "memry");
    let found = lab.ringfence(&["check", "--json"]).exits(120).json();
    assert_eq!(found["verdict"], "wrong");
    assert_eq!(found["failure"]["detail"]["problems"][0]["line"], 8);
}

#[test]
fn a_folder_without_a_manifest_is_told() {
    let ran = Lab::new().ringfence(&["run"]).exits(120);
    assert!(ran.stderr.contains("capsule.toml"), "{}", ran.stderr);
}

fn fifo(path: &std::path::Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn what_is_no_regular_file_is_neither_a_manifest_nor_a_program() {
    let lab = Lab::new();
    std::fs::create_dir(lab.at("capsule")).unwrap();
    for name in ["pipe.wasm", "pipe", "pipe.toml", "capsule/capsule.toml"] {
        fifo(&lab.at(name));
    }
    lab.write("named.toml", "[capsule]\nname = \"a\"\n[program]\npath = \"pipe.wasm\"\n");
    for target in ["pipe.wasm", "pipe", "pipe.toml", "capsule", "named.toml", "/dev/zero"] {
        let ran = lab.ringfence(&["run", target]).exits(120);
        assert!(ran.stderr.contains("no regular file"), "{target}: {}", ran.stderr);
        let ran = lab.ringfence(&["check", target]).exits(120);
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains("no regular file"), "{target}: {}", ran.stderr);
    }
}

#[test]
fn a_manifest_without_end_is_not_read() {
    let lab = Lab::new();
    lab.write("capsule.toml", &"#".repeat(300 << 10));
    let ran = lab.ringfence(&["check"]).exits(120);
    assert!(ran.stderr.contains("is larger than"), "{}", ran.stderr);
}

#[test]
fn a_manifest_reaches_no_file_of_the_host_through_its_streams() {
    let lab = Lab::new();
    let precious = lab.write("precious", "keep");
    let text = format!(
        "[capsule]\nname = \"a\"\n[program]\npath = \"a.wasm\"\n[stdio]\nstdout = {{ file = {:?} }}\n",
        precious.display().to_string()
    );
    lab.write("capsule/capsule.toml", &text);
    for command in ["run", "check"] {
        let ran = lab.ringfence(&[command, "capsule"]).exits(120);
        assert!(ran.stderr.contains("capsule.toml:6:19"), "{}", ran.stderr);
        assert!(ran.stderr.contains("outside of the capsule's folder"), "{}", ran.stderr);
    }
    assert_eq!(lab.read("precious"), "keep");
}
