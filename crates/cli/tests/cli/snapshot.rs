//! `ringfence snapshot`: a program is captured where it is ready, and goes on from there.

use std::os::unix::fs::PermissionsExt;

use crate::lab::{Lab, Ran};

/// A folder, the state of its user in it, and the command; `None` when there is no level microvm here.
fn lab() -> Option<Lab> {
    let lab = Lab::new();
    if !std::path::Path::new("/bin/busybox").exists() {
        eprintln!("skipped: there is no /bin/busybox");
        return None;
    }
    lab.lacks("microvm").is_none().then_some(lab)
}

fn ringfence(lab: &Lab, args: &[&str]) -> Ran {
    lab.command(args).env("XDG_STATE_HOME", lab.at("state")).output().unwrap().into()
}

const TARGET: [&str; 4] = ["/bin/busybox", "--", "echo", "ready"];

fn with<'a>(first: &[&'a str]) -> Vec<&'a str> {
    [first, &TARGET].concat()
}

#[test]
fn a_snapshot_is_created_listed_run_and_removed() {
    let Some(lab) = lab() else { return };
    let created = ringfence(&lab, &with(&["snapshot", "create", "ready"])).exits(0);
    assert!(created.stdout.starts_with("captured: "), "{}", created.stdout);
    for _ in 0..2 {
        let ran = ringfence(&lab, &with(&["snapshot", "run", "ready"])).exits(0);
        assert_eq!(ran.stdout, "ready\n");
    }
    let listed = ringfence(&lab, &["snapshot", "ls", "--json"]).exits(0).json();
    let file = listed[0]["file"].as_str().unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["name"]), (1, &"ready".into()));
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(file).unwrap().len(), listed[0]["bytes"].as_u64().unwrap());
    let again = ringfence(&lab, &with(&["snapshot", "create", "ready"])).exits(120);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    ringfence(&lab, &with(&["snapshot", "create", "--force", "ready"])).exits(0);
    ringfence(&lab, &["snapshot", "rm", "ready"]).exits(0);
    assert_eq!(ringfence(&lab, &["snapshot", "ls"]).exits(0).stdout, "no snapshots are kept\n");
}

#[test]
fn the_monitor_is_behind_walls_when_something_is_captured_and_when_it_goes_on() {
    let Some(lab) = lab() else { return };
    if lab.lacks("sandbox").is_some() {
        return;
    }
    let required = ["--require", "monitor-confined"];
    ringfence(&lab, &[&["snapshot", "create", "ready"], &required[..], &TARGET].concat()).exits(0);
    let report = lab.at("report.json");
    let ran = ringfence(&lab, &with(&["snapshot", "run", "ready", "--report", report.to_str().unwrap()])).exits(0);
    assert_eq!(ran.stdout, "ready\n");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let held = &report["enforced"]["monitor-confined"];
    assert_eq!(held["held"], "by", "{held}");
}

#[test]
fn a_state_that_does_not_fit_is_named_when_it_goes_on() {
    let Some(lab) = lab() else { return };
    ringfence(&lab, &with(&["snapshot", "create", "ready"])).exits(0);
    let small = ["snapshot", "run", "ready", "--limit", "memory=64KiB"];
    let ran = ringfence(&lab, &with(&small));
    assert!(ran.code != Some(0) && ran.stderr.contains("the snapshot cannot be used: it "), "{}", ran.stderr);
}

#[test]
fn what_is_no_snapshot_or_of_something_else_is_said_to_be_so() {
    let Some(lab) = lab() else { return };
    ringfence(&lab, &with(&["snapshot", "create", "./here"])).exits(0);
    let other = ringfence(&lab, &["snapshot", "run", "./here", "/bin/busybox", "--", "echo", "other"]).exits(120);
    assert!(other.stderr.contains("other arguments"), "{}", other.stderr);
    lab.write("text", "not a snapshot");
    let foreign = ringfence(&lab, &with(&["snapshot", "run", "./text"])).exits(120);
    assert!(foreign.stderr.contains("the file is not a snapshot"), "{}", foreign.stderr);
    let missing = ringfence(&lab, &with(&["snapshot", "run", "nothing"])).exits(120);
    assert!(missing.stderr.contains("No such file"), "{}", missing.stderr);
    let name = ringfence(&lab, &with(&["snapshot", "run", ".."])).exits(120);
    assert!(name.stderr.contains("no name of a snapshot"), "{}", name.stderr);
    let path = ringfence(&lab, &["snapshot", "rm", "./here"]).exits(120);
    assert!(path.stderr.contains("rm(1)") && lab.at("here").exists(), "{}", path.stderr);
}

#[test]
fn a_snapshot_that_a_killed_process_was_writing_is_cleaned_up_and_one_that_is_being_written_is_not() {
    let lab = Lab::new();
    let unfinished = |name: &str| lab.write(&format!("state/ringfence/snapshots/{name}.snapshot.77.unfinished"), "");
    let (left, written, kept) =
        (unfinished("left"), unfinished("written"), lab.write("state/ringfence/snapshots/a.snapshot", ""));
    let lock = std::fs::File::open(&written).unwrap();
    lock.lock().unwrap();
    let found = ringfence(&lab, &["clean", "--json"]).json();
    let found: Vec<_> =
        found.as_array().unwrap().iter().filter(|found| found["what"] == "unfinished snapshot").collect();
    assert!(found.len() == 1 && found[0]["place"] == left.to_str().unwrap(), "{found:?}");
    assert_eq!((left.exists(), written.exists(), kept.exists()), (false, true, true));
}

#[test]
fn a_limit_that_trips_before_the_point_is_told_as_that_limit() {
    let Some(lab) = lab() else { return };
    let limited = ["snapshot", "create", "never", "--at", "marker", "--limit", "wall_time=200ms"];
    let ended = ringfence(&lab, &[&limited[..], &["/bin/busybox", "--", "sleep", "100"]].concat()).exits(119);
    assert!(ended.stderr.contains("exceeded wall_time"), "{}", ended.stderr);
    assert_eq!(ringfence(&lab, &["snapshot", "ls", "--json"]).exits(0).json(), serde_json::json!([]));
}

#[test]
fn a_program_that_ends_before_the_point_leaves_no_snapshot() {
    let Some(lab) = lab() else { return };
    let ended = ringfence(&lab, &["snapshot", "create", "silent", "/bin/busybox", "--", "true"]).exits(120);
    assert!(ended.stderr.contains("ended before it came to the point: returned 0"), "{}", ended.stderr);
    assert_eq!(ringfence(&lab, &["snapshot", "ls", "--json"]).exits(0).json(), serde_json::json!([]));
}
