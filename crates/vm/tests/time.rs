//! Timers that send signals, locks of threads that end, room in files.

mod support;

use ringfence_manifest::MountMode;
use support::Lab;

#[test]
fn timers_send_their_signals() {
    let Some(lab) = Lab::compiled("time.c", &["alarms", "timers"]) else { return };
    lab.prints("ok alarms\nok timers");
}

#[test]
fn a_lock_of_a_thread_that_has_ended_is_found() {
    let Some(lab) = Lab::compiled("time.c", &["robust", "affinity"]) else { return };
    lab.prints("ok robust\nok affinity");
}

#[test]
fn files_are_copied_and_given_room() {
    let Some(lab) = Lab::compiled("time.c", &["room", "/tmp", "room", "/data"]) else { return };
    lab.mount("/data", MountMode::ReadWrite).grant_all("/data").grant_all("/tmp").prints("ok room\nok room");
}

#[test]
fn clocks_agree_and_never_go_back() {
    let Some(lab) = Lab::compiled("time.c", &["clocks"]) else { return };
    let outcome = lab.run();
    assert!(outcome.stdout.starts_with("ok clocks"), "{}{}", outcome.stdout, outcome.stderr);
    print!("{}", outcome.stdout);
}
