//! What Linux does in hard cases, and programs rely on.

mod support;

use support::Lab;

/// Runs each and expects it to come to its end.
fn end(words: &[&str]) {
    for word in words {
        let Some(lab) = Lab::compiled("linux.c", &[word]) else { return };
        lab.grant_all("/tmp").prints(&format!("ok {word}"));
    }
}

#[test]
fn vector_registers_outlive_handlers_and_end_with_their_program() {
    end(&["vectors", "forged", "fresh"]);
}

#[test]
fn signals_come_when_they_are_sent_and_waits_end_in_time() {
    end(&["prompt", "waits"]);
}

#[test]
fn any_thread_replaces_the_program() {
    end(&["replaced"]);
}

#[test]
fn sockets_outlive_those_who_sent_to_them() {
    end(&["datagrams", "listens"]);
}

#[test]
fn what_is_copied_between_pipes_arrives_as_it_was_written() {
    end(&["copied"]);
}

#[test]
fn what_is_told_once_is_told_once() {
    end(&["once"]);
}

#[test]
fn what_is_listed_is_there_and_processors_are_those_there_are() {
    end(&["processors", "small", "old"]);
    for folder in ["/tmp", "/data"] {
        let Some(mut lab) = Lab::compiled("linux.c", &["listed"]) else { return };
        lab.spec.program.working_directory = folder.into();
        lab.mount("/data", ringfence_manifest::MountMode::ReadWrite).grant_all(folder).prints("ok listed");
    }
}

#[test]
fn locks_are_handed_to_who_waits_for_them() {
    let Some(lab) = Lab::compiled("handed.c", &["errors", "crowd", "left", "ended", "interrupted"]) else { return };
    lab.prints("ok errors\nok crowd\nok left\nok ended\nok interrupted");
}
