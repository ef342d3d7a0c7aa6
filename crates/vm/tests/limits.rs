//! Limits trip by their names, and a kill always works.

mod support;

use std::time::{Duration, Instant};

use ringfence_isolation::{Exit, LimitKind, Stop};
use ringfence_manifest::Bytes;
use support::{Lab, Outcome, executor};

fn tripped(outcome: &Outcome) -> Option<LimitKind> {
    outcome.report.tripped.map(|limit| limit.limit)
}

#[test]
fn memory_beyond_its_limit_ends_it_and_less_does_not() {
    let Some(lab) = Lab::compiled("ordinary.c", &["memory", "64"]) else { return };
    let outcome = lab.limit(|limits| limits.memory = Some(Bytes(32 << 20))).run();
    assert_eq!(tripped(&outcome), Some(LimitKind::Memory), "{}", outcome.report.exit);
    assert!(outcome.report.usage.memory_peak <= 33 << 20);
    let Some(lab) = Lab::compiled("ordinary.c", &["memory", "16"]) else { return };
    lab.limit(|limits| limits.memory = Some(Bytes(32 << 20))).prints("held");
}

#[test]
fn processor_time_beyond_its_limit_ends_a_spinning_program() {
    let Some(lab) = Lab::compiled("ordinary.c", &["spin"]) else { return };
    let outcome = lab.limit(|limits| limits.cpu_time = Some(Duration::from_millis(200))).run();
    assert_eq!(tripped(&outcome), Some(LimitKind::CpuTime), "{}", outcome.report.exit);
}

#[test]
fn wall_time_beyond_its_limit_ends_a_sleeping_program() {
    let Some(lab) = Lab::compiled("ordinary.c", &["sleep"]) else { return };
    let outcome = lab.limit(|limits| limits.wall_time = Some(Duration::from_millis(300))).run();
    assert_eq!(tripped(&outcome), Some(LimitKind::WallTime), "{}", outcome.report.exit);
}

#[test]
fn more_processes_than_allowed_end_it() {
    let Some(lab) = Lab::compiled("ordinary.c", &["threads"]) else { return };
    let outcome = lab.limit(|limits| limits.processes = Some(2)).run();
    assert_eq!(tripped(&outcome), Some(LimitKind::Processes), "{}", outcome.report.exit);
}

#[test]
fn output_beyond_its_limit_ends_it() {
    let Some(lab) = Lab::shell("while :; do echo more; done") else { return };
    let outcome = lab.limit(|limits| limits.output = Some(Bytes(100))).run();
    assert_eq!((tripped(&outcome), outcome.stdout.len()), (Some(LimitKind::Output), 100));
}

#[test]
fn a_kill_ends_what_spins_and_what_sleeps() {
    for what in ["spin", "sleep"] {
        let Some(lab) = Lab::compiled("ordinary.c", &[what]) else { return };
        let started = lab.start();
        let instance = started.instance.clone();
        let running = executor().spawn(started.supervision);
        // It runs when it has used some of the processor: every program does, to start.
        while instance.usage().cpu_time < Duration::from_millis(1) {
            std::thread::yield_now();
        }
        let began = Instant::now();
        started.controls.stop(Stop::Kill);
        let report = executor().block_on(running).unwrap();
        assert_eq!(report.exit, Exit::Stopped, "{what}");
        assert!(began.elapsed() < Duration::from_secs(2), "{what}: {:?}", began.elapsed());
    }
}

#[test]
fn nothing_of_it_is_left_when_it_has_ended_or_was_never_started() {
    let Some(lab) = Lab::compiled("ordinary.c", &["fork"]) else { return };
    lab.run();
    drop(lab.build());
    let machines = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.filter(|link| link.to_string_lossy().contains("memfd:microvm")).count()
    };
    // Other tests of this file may have machines at this moment; each is gone in the end.
    let deadline = Instant::now() + Duration::from_secs(30);
    while machines() > 0 {
        assert!(Instant::now() < deadline, "{} machines are left", machines());
        std::thread::yield_now();
    }
}

#[test]
fn pipes_and_the_systems_files_count_as_open_files() {
    let Some(lab) = Lab::shell("exec 3</etc/passwd 4</dev/null 5</etc/group; echo two too many") else { return };
    let outcome = lab.limit(|limits| limits.open_files = Some(2)).run();
    assert_eq!(tripped(&outcome), Some(LimitKind::OpenFiles), "{}", outcome.report.exit);
}

#[test]
fn a_report_counts_calls_and_exits() {
    let Some(lab) = Lab::shell("for i in 1 2 3; do /bin/busybox true; done") else { return };
    let activity = lab.run().report.activity.unwrap();
    let of = |name: &str| activity.calls.iter().find(|call| call.name == name).map_or(0, |call| call.count);
    assert_eq!((of("execve"), of("wait4") >= 3), (3, true), "{activity:?}");
    let all: u64 = activity.calls.iter().map(|call| call.count).sum();
    let exits = |name: &str| activity.exits.iter().find(|exit| exit.name == name).map_or(0, |exit| exit.count);
    // Some may be answered without one.
    let left = exits("system call");
    assert!((1..=all).contains(&left), "{activity:?}");
    assert!(exits("page fault") > 0 && activity.exits_total >= left + exits("page fault"), "{activity:?}");
    assert!(activity.calls.is_sorted_by_key(|call| std::cmp::Reverse(call.count)));
}
