//! WebAssembly in a virtual machine, beside the same at level wasm.

use crate::lab::{Lab, program};

/// What of a run nobody should be able to tell a machine by: its status, what it printed, how it ended and what it was
/// denied.
fn told(lab: &Lab, level: &str, args: &[&str]) -> [String; 4] {
    let ran = lab.ringfence(&[&["run", "--level", level, "--report", "report.json"], args].concat());
    let report: serde_json::Value = serde_json::from_str(&lab.read("report.json")).unwrap();
    let limit = report["tripped"]["limit"].to_string();
    [
        format!("{:?}", ran.code),
        ran.stdout,
        format!("{} {limit}", report["exit"]["exit"]),
        report["denials"].to_string(),
    ]
}

#[test]
fn a_capsule_ends_in_a_machine_as_it_does_at_level_wasm() {
    let lab = Lab::new();
    if lab.lacks("microvm").is_some() {
        return;
    }
    lab.write(
        "spins.wat",
        "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop $again (br $again))))",
    );
    let (hello, deep, grows, probe) =
        (program("hello.wat"), program("recursion.wat"), program("growing-memory.wat"), program("probe.wasm"));
    for args in [
        &[&hello[..]][..],
        &[&deep],
        &[&grows, "--limit", "memory=4MiB"],
        &["spins.wat", "--limit", "cpu_time=50ms"],
        &["spins.wat", "--limit", "wall_time=100ms"],
        &["spins.wat", "--limit", "fuel=100000"],
        &[&probe, "--", "read", "/etc/passwd"],
    ] {
        assert_eq!(told(&lab, "microvm", args), told(&lab, "wasm", args), "{args:?}");
    }
}

#[test]
fn its_report_names_what_the_machine_holds_and_counts_what_is_the_capsules() {
    let lab = Lab::new();
    if lab.lacks("microvm").is_some() {
        return;
    }
    lab.ringfence(&["run", "--level", "microvm", "--report", "report.json", &program("hello.wat")]).exits(0);
    let report: serde_json::Value = serde_json::from_str(&lab.read("report.json")).unwrap();
    for guarantee in ["own-kernel", "own-address-space", "fuel-limit", "memory-isolated", "denials-reported"] {
        assert_eq!(report["enforced"][guarantee]["held"], "by", "{guarantee}");
    }
    // The engine and its program are tens of megabytes.
    assert!(report["usage"]["memory_peak"].as_u64().is_some_and(|peak| peak < 1 << 20), "{}", report["usage"]);
    assert!(report["activity"]["exits_total"].as_u64().is_some_and(|exits| exits > 0), "{report}");
}

#[test]
fn a_component_with_functions_is_refused_in_a_machine() {
    let lab = Lab::new();
    if lab.lacks("microvm").is_some() {
        return;
    }
    let ran = lab.ringfence(&["run", "--level", "microvm", &program("greeter.wasm")]).exits(120);
    assert!(ran.stderr.contains("at level microvm only programs run: choose level wasm"), "{}", ran.stderr);
}
