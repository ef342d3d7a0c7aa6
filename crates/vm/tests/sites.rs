//! Programs make the same system calls with the same answers where places of their code are rewritten, whatever they
//! do with those.

mod support;

use std::time::{Duration, Instant};

use ringfence_isolation::{Exit, Point, Stop};
use support::{Lab, executor};

/// How long it may take until somebody has time to answer.
const PATIENCE: Duration = Duration::from_secs(60);

fn program(arguments: &[&str]) -> Option<Lab> {
    Lab::compiled("sites.c", arguments)
}

/// What each of these says, whose arguments are words, before it returns 0.
#[track_caller]
fn say(expected: &str, each: &[&str]) {
    for arguments in each {
        let Some(lab) = program(&arguments.split(' ').collect::<Vec<_>>()) else { return };
        let outcome = lab.run();
        let got = (outcome.stdout.trim_end(), outcome.report.exit);
        assert_eq!(got, (expected, Exit::Returned(0)), "{arguments}: {}", outcome.stderr);
    }
}

#[test]
fn calls_are_answered_without_leaving_the_guest_where_there_is_a_processor_for_that() {
    if std::thread::available_parallelism().is_ok_and(|processors| processors.get() < 2) {
        println!("skipped: there is one processor");
        return;
    }
    let Some(lab) = program(&["on"]) else { return };
    let (started, began) = (lab.start(), Instant::now());
    loop {
        let activity = started.instance.activity().unwrap();
        let calls: u64 = activity.calls.iter().map(|call| call.count).sum();
        let exits = activity.exits.iter().find(|exit| exit.name == "system call").map_or(0, |exit| exit.count);
        if exits + 100 < calls {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{exits} exits, {calls} calls");
        std::thread::yield_now();
    }
    started.controls.stop(Stop::Kill);
    assert_eq!(executor().block_on(started.supervision).exit, Exit::Stopped);
}

#[test]
fn answers_errors_and_registers_are_right_at_every_kind_of_place() {
    say("ok", &["both", "flags", "middle", "behind"]);
}

#[test]
fn every_call_is_made_once_however_often_signals_come() {
    say("ok", &["signals", "jumps", "waits", "heard"]);
}

#[test]
fn threads_and_children_have_their_own() {
    say("ok", &["processes"]);
}

#[test]
fn code_that_is_read_from_its_file_is_rewritten_also_where_there_are_threads() {
    say("rewritten", &["fresh"]);
}

#[test]
fn programs_may_change_their_code_and_use_the_addresses() {
    say("ok", &["rewrites", "takes", "protects", "itself", "unmaps 0", "unmaps 1", "unmaps 2", "unmaps 3"]);
}

#[test]
fn nonsense_at_the_desk_and_in_the_code_harms_nobody_else() {
    say("survived", &["forges", "strays"]);
    say("ok", &["sealed", "reads 144", "reads 145", "reads 146"]);
}

#[test]
fn a_snapshot_is_taken_of_it_and_goes_on() {
    let Some(lab) = program(&["captured"]) else { return };
    let plan = lab.restored(&lab.saved(Point::Marker)).unwrap();
    let printed = || {
        let outcome = Lab::run_of(&plan).unwrap();
        assert_eq!(outcome.report.exit, Exit::Returned(0), "{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    };
    // In machines of their own, and one after the other in the same.
    let first = printed();
    assert!(first.starts_with("ok 1 ") && first.ends_with(" and more\n") && first != "ok 1 0 and more\n", "{first}");
    assert_eq!(printed(), first);
    plan.keep_warm(1).unwrap();
    for _ in 0..4 {
        assert_eq!(printed(), first);
    }
}
