//! Places that are built ahead: each is used once, knows nothing of the one before, and leaves nothing.

mod support;

use std::path::Path;
use std::sync::Arc;

use ringfence_isolation::{Backend, Exit, Prepared};
use ringfence_manifest::Permission::{FsCreate, FsList, FsRead, FsWrite};
use ringfence_manifest::StreamIn;
use support::{Keeper, Lab, eventually, here, linux, wait};

fn prepared(lab: &Lab) -> Box<dyn Prepared> {
    linux().prepare(&lab.spec).unwrap()
}

fn run(prepared: &dyn Prepared) -> (Exit, String) {
    let keeper = Arc::new(Keeper::default());
    let instance = prepared.build(keeper.clone()).unwrap();
    assert_eq!(prepared.promised().shortfall(instance.enforced()), None);
    instance.start().unwrap();
    let exit = wait(instance.exited());
    (exit, String::from_utf8_lossy(&keeper.printed()).into_owned())
}

/// The first processes of places that stand: children of this process in a pid namespace of their own.
fn places() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut found: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parent = format!("\nPPid:\t{}\n", std::process::id());
    // `NSpid` has a number for each pid namespace it is in; `ns/pid` tells root alone.
    let depth = |status: &str| {
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        Some(numbers.split_whitespace().count())
    };
    let own = depth(&std::fs::read_to_string("/proc/self/status").unwrap());
    found.retain(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&parent) && !status.contains("State:\tZ") && depth(&status) > own
    });
    found
}

/// One test, because all of it counts the children of this process.
#[test]
fn a_place_that_is_kept_warm_is_used_once_and_replaced() {
    if !here() {
        return;
    }
    let mut lab = Lab::shell("cat; touch /tmp/used; ls /tmp; exit 3");
    for permission in [FsRead, FsList, FsWrite, FsCreate] {
        lab = lab.grant(permission, "/tmp");
    }
    lab.spec.stdio.stdin = StreamIn::Bytes(b"hello ".to_vec());
    let ready = prepared(&lab);
    ready.keep_warm(2).unwrap();
    let first = places();
    assert_eq!(first.len(), 2);

    // Streams are this instance's own, and nothing of the one before is there.
    for _ in 0..6 {
        assert_eq!(run(&*ready), (Exit::Returned(3), "hello used\n".into()));
    }
    eventually("what was used is replaced", || places().len() == 2);
    assert!(places().iter().all(|pid| !first.contains(pid)), "each place is used once");

    // One that somebody ended is not handed out.
    let ended = places();
    for &pid in &ended {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    eventually("they are gone", || places().iter().all(|pid| !ended.contains(pid)));
    assert_eq!(run(&*ready).0, Exit::Returned(3));

    // Fewer are asked for: those that are too many end.
    eventually("what was used is replaced", || places().len() == 2);
    ready.keep_warm(1).unwrap();
    eventually("those that are too many end", || places().len() == 1);

    // A place is in its cgroup, behind its walls, and does not outlive who keeps it.
    let place = places()[0];
    let status = std::fs::read_to_string(format!("/proc/{place}/status")).unwrap();
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    drop(ready);
    eventually("nothing is left", || !Path::new(&format!("/proc/{place}")).exists() && places().is_empty());

    // Nor is it kept by who builds another in the stead of what was used.
    let ready = prepared(&lab);
    ready.keep_warm(4).unwrap();
    let standing = places();
    let instance = ready.build(Arc::new(Keeper::default())).unwrap();
    drop((ready, instance));
    let used = 1;
    let left = places().into_iter().filter(|pid| standing.contains(pid)).count();
    assert!(left <= used, "{left} are kept for nobody");
    eventually("nothing is left", || places().is_empty());

    // What cannot be built is said when it is asked for.
    let mut lab = Lab::new("/bin/true");
    lab.spec.program.working_directory = "/no/such/folder".into();
    assert!(prepared(&lab).keep_warm(1).is_err());
}
