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
fn what_is_told_once_is_told_once() {
    end(&["once"]);
}
