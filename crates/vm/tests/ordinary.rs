//! Ordinary programs run as on Linux.

mod support;

use ringfence_isolation::Exit;
use ringfence_manifest::MountMode;
use support::Lab;

fn ordinary(arguments: &[&str]) -> Option<Lab> {
    Lab::compiled("ordinary.c", arguments)
}

#[test]
fn a_static_program_says_hello() {
    let Some(lab) = ordinary(&["hello"]) else { return };
    lab.prints("hello");
}

#[test]
fn its_status_is_the_exit() {
    let Some(lab) = ordinary(&["status", "42"]) else { return };
    assert_eq!(lab.run().report.exit, Exit::Returned(42));
}

#[test]
fn standard_input_reaches_it() {
    let Some(lab) = ordinary(&["echo"]) else { return };
    lab.stdin(b"one\ntwo\n").prints("one\ntwo");
}

#[test]
fn arguments_and_environment_reach_it() {
    let Some(lab) = ordinary(&["arguments", "one", "two words"]) else { return };
    lab.env("COLOUR", "blue").prints("one two words blue");
}

#[test]
fn a_crash_is_the_signal_as_a_shell_shows_it() {
    let Some(lab) = ordinary(&["crash"]) else { return };
    assert_eq!(lab.run().report.exit, Exit::Returned(139));
}

#[test]
fn a_handler_learns_the_address_and_can_repair_it() {
    let Some(lab) = ordinary(&["protect"]) else { return };
    lab.prints("b 1");
}

#[test]
fn memory_that_is_mapped_again_is_empty() {
    let Some(lab) = ordinary(&["reuse"]) else { return };
    lab.prints("empty");
}

#[test]
fn files_and_folders_of_a_mount_can_be_used() {
    let Some(lab) = ordinary(&["files"]) else { return };
    let lab = lab.mount("/data", MountMode::ReadWrite).grant_all("/data");
    lab.prints("4 entries");
    assert_eq!(std::fs::read(lab.host("/data").join("folder/old")).unwrap(), b"Content");
}

#[test]
fn what_is_not_granted_is_not_there_and_that_is_reported() {
    let Some(lab) = ordinary(&["open", "/etc/shadow"]) else { return };
    let outcome = lab.run();
    assert_eq!(outcome.stdout.trim_end(), "No such file or directory");
    assert!(outcome.report.denials.iter().any(|denied| denied.denial.resource == "/etc/shadow"));
}

#[test]
fn the_systems_folders_cannot_be_changed() {
    let Some(lab) = ordinary(&["open", "/usr/lib/new", "create"]) else { return };
    lab.prints("Read-only file system");
}

#[test]
fn a_clock_can_be_waited_for() {
    let Some(lab) = ordinary(&["clock"]) else { return };
    lab.prints("slept");
}

#[test]
fn a_signal_reaches_its_handler() {
    let Some(lab) = ordinary(&["signal"]) else { return };
    lab.prints("1");
}

#[test]
fn threads_share_memory_and_wait_for_each_other() {
    let Some(lab) = ordinary(&["threads"]) else { return };
    lab.prints("400");
}

#[test]
fn a_child_has_memory_of_its_own_and_a_status() {
    let Some(lab) = ordinary(&["fork"]) else { return };
    lab.prints("8 from a child, 7 here, status 3");
}
