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
