//! What belongs to processes and to the machine is captured, made anew, or named in a refusal.

mod support;

use std::sync::Arc;
use std::time::Duration;

use ringfence_isolation::{Backend, BuildError, CallError, Exit, Point, Prepared, Stop, Then};
use ringfence_manifest::WindowSize;
use ringfence_runtime::Plan;
use ringfence_vm::Vm;
use support::{Lab, executor, explain};

fn program(what: &str) -> Option<Lab> {
    Lab::compiled("state.c", &[what]).map(|lab| lab.grant_all("/tmp"))
}

#[track_caller]
fn printed(plan: &Plan) -> String {
    let outcome = Lab::run_of(plan).unwrap_or_else(|error| panic!("{}", explain(&error)));
    assert_eq!(outcome.report.exit, Exit::Returned(0), "{}{}", outcome.stdout, outcome.stderr);
    outcome.stdout
}

/// A program says this of itself before it is captured, and the same each time it is there again.
fn is_there_again(word: &str, same: &str) {
    let Some(lab) = program(word) else { return };
    lab.prints(&format!("0 {same}"));
    let file = lab.saved(Point::Marker);
    let plan = lab.restored(&file).unwrap_or_else(|error| panic!("{}", explain(&error)));
    for _ in 0..2 {
        assert_eq!(printed(&plan), format!("1 {same}\n"));
    }
}

#[test]
fn sessions_names_limits_signals_timers_and_descriptors_of_processes_are_there_again() {
    is_there_again("processes", "renamed 3 100 200 12 0 -1 0:1 -1:7 -1:8 through 1 1 9 1 11 15 1");
}

#[test]
fn what_a_program_said_of_itself_and_of_its_memory_is_there_again() {
    is_there_again("told", "second 700 40000 1 8 70000 5");
}

/// Starts it on a backend, from its beginning or from a file, and captures it while it runs.
fn caught(lab: &Lab, backend: &Vm, file: Option<&std::path::Path>) -> Result<Box<dyn Prepared>, CallError> {
    let spec = Arc::new(lab.spec.clone());
    let plan = match file {
        None => Plan::new(backend, spec, Duration::ZERO),
        Some(file) => Plan::restore(backend, spec, std::fs::File::open(file).unwrap(), Duration::ZERO),
    };
    let plan = plan.unwrap_or_else(|error| panic!("{}", explain(&error)));
    let started = Lab::build_of(&plan).unwrap_or_else(|error| panic!("{}", explain(&error))).start().unwrap();
    while started.instance.usage().cpu_time < Duration::from_millis(5) {
        std::thread::yield_now();
    }
    let captured = executor().block_on(started.instance.snapshot().unwrap().capture(Then::End));
    started.controls.stop(Stop::Kill);
    executor().block_on(started.supervision);
    captured
}

#[test]
fn time_is_right_with_and_without_a_page_of_time_wherever_it_was_captured() {
    let Some(lab) = program("clocks") else { return };
    let plain = Vm::plain(executor().handle().clone());
    let backends = [support::vm(), &plain];
    let path = lab.folder.path().join("caught");
    for first in backends {
        for second in backends {
            let captured = caught(&lab, first, None).unwrap();
            captured.save(&mut std::fs::File::create(&path).unwrap()).unwrap();
            // Captured again on the way, and gone on from on both.
            let again = caught(&lab, second, Some(&path)).unwrap();
            again.save(&mut std::fs::File::create(&path).unwrap()).unwrap();
            for third in backends {
                let file = std::fs::File::open(&path).unwrap();
                let plan = Plan::restore(third, Arc::new(lab.spec.clone()), file, Duration::ZERO).unwrap();
                assert_eq!(printed(&plan), "right\n");
            }
        }
    }
}

#[test]
fn a_terminal_is_named_and_none_is_given_to_what_was_captured() {
    let Some(mut lab) = program("terminal") else { return };
    let Err(CallError::NotCaptured(reason)) = lab.captured(Some(Point::Marker)) else { panic!("it was captured") };
    assert!(reason.contains("/dev/ptmx"), "{reason}");
    lab.spec.session.terminal = Some(WindowSize { rows: 24, columns: 80 });
    let refused = support::vm().restore(&lab.spec, tempfile::tempfile().unwrap()).err();
    assert!(matches!(&refused, Some(BuildError::Snapshot(reason)) if reason.contains("terminal")), "{refused:?}");
}

#[test]
fn semaphores_and_queues_with_a_number_are_named() {
    for word in ["semget", "msgget"] {
        let Some(lab) = program(word) else { return };
        let Err(CallError::NotCaptured(reason)) = lab.captured(Some(Point::Marker)) else { panic!("it was captured") };
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn a_pause_and_a_command_from_outside_are_named_and_it_goes_on() {
    let Some(lab) = Lab::shell("while :; do :; done") else { return };
    let started = lab.start();
    let (pause, snapshot) = (started.instance.pause().unwrap(), started.instance.snapshot().unwrap());
    let why = || match executor().block_on(snapshot.capture(Then::GoOn)) {
        Err(CallError::NotCaptured(reason)) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => String::new(),
    };
    executor().block_on(pause.pause()).unwrap();
    assert!(why().contains("paused"));
    executor().block_on(pause.resume()).unwrap();
    assert_eq!(why(), "");
    let words = ["/bin/busybox", "sleep", "1000"].map(str::to_owned).to_vec();
    let command = ringfence_isolation::Command { words, ..Default::default() };
    let running = started.instance.exec().unwrap().begin(command).unwrap();
    assert!(why().contains("begun from outside"));
    running.signal(libc::SIGKILL);
    assert!(executor().block_on(running.ended()).is_ok());
    assert_eq!(why(), "");
    started.controls.stop(Stop::Kill);
    executor().block_on(started.supervision);
}
