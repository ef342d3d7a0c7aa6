//! Dependencies between crates point one way (ARCHITECTURE.md, "Crates").

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate with the crates of the workspace it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("ringfence-abi", &[]),
    ("ringfence-manifest", &["ringfence-abi"]),
    ("ringfence-isolation", &["ringfence-abi", "ringfence-manifest"]),
    ("ringfence-runtime", &["ringfence-abi", "ringfence-manifest", "ringfence-isolation"]),
    ("ringfence-wasm", &["ringfence-abi", "ringfence-manifest", "ringfence-isolation"]),
    ("ringfence-linux", &["ringfence-abi", "ringfence-manifest", "ringfence-isolation"]),
    ("ringfence-vm", &["ringfence-abi", "ringfence-manifest", "ringfence-isolation"]),
    (
        "ringfence",
        &[
            "ringfence-abi",
            "ringfence-manifest",
            "ringfence-isolation",
            "ringfence-runtime",
            "ringfence-wasm",
            "ringfence-linux",
            "ringfence-vm",
        ],
    ),
    ("ringfence-cli", &["ringfence"]),
    ("ringfence-conformance", &["ringfence"]),
];

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        ALLOWED.iter().map(|(name, allowed)| (*name, allowed.iter().copied().collect())).collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    assert!(packages.len() >= 7, "only {} packages were found", packages.len());
    for package in packages {
        let name = package["name"].as_str().expect("a package has a name");
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is new: say what it may depend on"));
        for dependency in package["dependencies"].as_array().expect("a package has dependencies") {
            let on = dependency["name"].as_str().expect("a dependency has a name");
            let for_tests = dependency["kind"] == "dev";
            if on.starts_with("ringfence") && !for_tests {
                assert!(may.contains(on), "{name} may not depend on {on}");
            }
        }
    }
}

#[test]
fn only_the_crates_that_must_hold_unsafe_code() {
    const MAY: &[&str] = &["memory", "linux", "vm", "javascript", "guest", "wasm"];
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates");
    let mut seen = 0;
    for folder in std::fs::read_dir(crates).expect("there are crates") {
        let folder = folder.expect("a crate is a folder").path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let root = ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file)).into_iter().find(|path| path.exists());
        let Some(root) = root else { continue };
        let text = std::fs::read_to_string(root).expect("it is text");
        let forbids = text.contains("#![forbid(unsafe_code)]");
        let denies = text.contains("#![deny(unsafe_code)]");
        assert!(forbids || (denies && MAY.contains(&name.as_str())), "{name} must forbid unsafe code");
        seen += 1;
    }
    assert!(seen >= 7, "only {seen} crates were found");
}
