//! A machine serves one instance of a snapshot after the other, and no instance can tell.

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringfence_isolation::{Exit, LimitKind, Point, Stop};
use ringfence_manifest::{Bytes, MountMode};
use ringfence_runtime::Plan;
use ringfence_vm::Vm;
use support::{Lab, executor, explain};

/// One test at a time: they look at which machines there are.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The machines of this process, by their memory.
fn machines() -> BTreeSet<u64> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let memory = open.filter(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:microvm"))
    });
    memory.filter_map(|entry| Some(std::fs::metadata(entry.path()).ok()?.ino())).collect()
}

/// A plan of what was captured at its marker; of machines that were used one is kept, as of new ones.
fn plan(lab: &Lab, backend: &Vm) -> Plan {
    let file = std::fs::File::open(lab.saved(Point::Marker)).unwrap();
    let plan = Plan::restore(backend, Arc::new(lab.spec.clone()), file, Duration::ZERO);
    let plan = plan.unwrap_or_else(|error| panic!("{}", explain(&error)));
    plan.keep_warm(1).unwrap();
    plan
}

fn run(plan: &Plan) -> (String, Exit) {
    let outcome = Lab::run_of(plan).unwrap_or_else(|error| panic!("{}", explain(&error)));
    (outcome.stdout, outcome.report.exit)
}

fn leaving(how: &str) -> Option<Lab> {
    Some(Lab::compiled("leave.c", &[how])?.grant_all("/tmp").grant_all("/dev/shm"))
}

#[test]
fn what_one_instance_leaves_behind_is_not_found_by_the_next() {
    let _alone = alone();
    let Some(lab) = leaving("") else { return };
    let plan = plan(&lab, support::vm());
    let (mut printed, mut seen) = (BTreeSet::new(), Vec::new());
    for _ in 0..6 {
        let (said, exit) = run(&plan);
        assert!(exit == Exit::Returned(0) && said.starts_with("clean "), "{exit} {said}");
        printed.insert(said);
        seen.push(machines());
    }
    assert_eq!(printed.len(), 6, "random bytes are new: {printed:?}");
    if is_used_again() {
        assert!(!in_all(&seen).is_empty(), "no machine was used again: {seen:?}");
    }
}

/// Whether Linux is of 6.13 or later: before, each instance has a new machine.
fn is_used_again() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap());
    let is_new = (numbers.next(), numbers.next()) >= (Some(6), Some(13));
    if !is_new {
        eprintln!("skipped in part: machines are not used again with Linux {release}");
    }
    is_new
}

/// Those that were there each time.
fn in_all(seen: &[BTreeSet<u64>]) -> BTreeSet<u64> {
    let first = seen.first().cloned().unwrap_or_default();
    seen.iter().fold(first, |kept, now| kept.intersection(now).copied().collect())
}

#[test]
fn whatever_way_an_instance_ends_the_next_one_is_as_the_first() {
    let _alone = alone();
    for how in ["crash", "fork", "far", "many", "spin"] {
        let Some(lab) = leaving(how) else { return };
        let plan = plan(&lab, support::vm());
        for _ in 0..2 {
            let said = if how == "spin" {
                let started = Lab::build_of(&plan).unwrap().start().unwrap();
                while started.instance.usage().cpu_time < Duration::from_millis(60) {
                    std::thread::yield_now();
                }
                started.controls.stop(Stop::Kill);
                let report = executor().block_on(started.supervision);
                assert_eq!(report.exit, Exit::Stopped);
                String::from_utf8(report.stdout.unwrap()).unwrap()
            } else {
                let (said, exit) = run(&plan);
                let status = if how == "crash" { 139 } else { 0 };
                assert_eq!(exit, Exit::Returned(status), "{how}: {said}");
                said
            };
            // It may have been stopped before it had looked.
            assert!(said.starts_with("clean ") || (how == "spin" && said.is_empty()), "{how}: {said}");
        }
    }
}

#[test]
fn captured_programs_say_the_same_with_and_without_used_machines() {
    let _alone = alone();
    let cases = [
        ("registers", "1 0.000 7\n"),
        ("things", "1 456 in the pipe 1 77 5 1 memory Named 1 77 1 14\n"),
        ("threads", "1 5 y 5 15\n"),
        ("spoil", "clean "),
    ];
    let plain = Vm::plain(executor().handle().clone());
    for (what, expected) in cases {
        for backend in [support::vm(), &plain] {
            let Some(lab) = Lab::compiled("snapshot.c", &[what]) else { return };
            let lab = lab.mount("/data", MountMode::ReadWrite).grant_all("/data").grant_all("/tmp");
            let file = lab.host("/data").join("file");
            std::fs::write(&file, "abcdef").unwrap();
            let plan = plan(&lab, backend);
            for _ in 0..3 {
                std::fs::write(&file, "123456").unwrap();
                let (said, exit) = run(&plan);
                assert!(exit == Exit::Returned(0) && said.starts_with(expected), "{what}: {exit} {said}");
            }
        }
    }
}

#[test]
fn instances_at_once_share_no_machine() {
    let _alone = alone();
    let Some(lab) = leaving("") else { return };
    let plan = plan(&lab, support::vm());
    plan.keep_warm(2).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..2 {
                    let (said, exit) = run(&plan);
                    assert!(exit == Exit::Returned(0) && said.starts_with("clean "), "{exit} {said}");
                }
            });
        }
    });
}

#[test]
fn a_limit_on_memory_trips_each_time_and_for_nobody_else() {
    let _alone = alone();
    let Some(lab) = Lab::compiled("snapshot.c", &["grow"]) else { return };
    let lab = lab.limit(|limits| limits.memory = Some(Bytes(16 << 20)));
    let plan = plan(&lab, support::vm());
    let mut used = Vec::new();
    for _ in 0..4 {
        let outcome = Lab::run_of(&plan).unwrap_or_else(|error| panic!("{}", explain(&error)));
        assert_eq!(
            outcome.report.tripped.as_ref().map(|limit| limit.limit),
            Some(LimitKind::Memory),
            "{}",
            outcome.stdout
        );
        used.push(outcome.report.usage.memory_peak);
    }
    // A used machine has as much room as the first one, to the byte.
    assert!(used.iter().all(|&peak| peak == used[0]), "{used:?}");
}

#[test]
fn machines_are_closed_when_none_are_kept_any_more() {
    let _alone = alone();
    let Some(lab) = Lab::compiled("snapshot.c", &["time"]) else { return };
    let before = machines();
    let plan = plan(&lab, support::vm());
    for _ in 0..3 {
        assert_eq!(run(&plan).1, Exit::Returned(0));
    }
    plan.keep_warm(0).unwrap();
    drop(plan);
    // One that was being put back or made at that moment is closed soon.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while machines().difference(&before).next().is_some() {
        assert!(std::time::Instant::now() < deadline, "{:?} {before:?}", machines());
        std::thread::yield_now();
    }
}
