//! What programs try to have of the host beyond their due: its stack, its time, its memory.

mod support;

use ringfence_isolation::LimitKind;
use ringfence_manifest::{Bytes, MountMode};
use support::{Lab, Outcome};

fn bounds(word: &str) -> Option<Lab> {
    Some(Lab::compiled("bounds.c", &[word])?.grant_all("/tmp"))
}

/// Runs each and expects it to come to its end.
fn end(words: &[&str]) {
    for word in words {
        let Some(lab) = bounds(word) else { return };
        lab.prints(&format!("ok {word}"));
    }
}

fn within(word: &str, memory: u64) -> Option<Outcome> {
    Some(bounds(word)?.limit(|limits| limits.memory = Some(Bytes(memory))).run())
}

#[test]
fn no_link_leads_to_itself_without_end() {
    let Some(lab) = bounds("own-image") else { return };
    lab.mount("/data", MountMode::ReadWrite).grant_all("/data").prints("ok own-image");
}

#[test]
fn what_lies_in_each_other_is_neither_deep_nor_wide_for_the_host() {
    end(&["in-flight", "fan", "shared-pages"]);
}

#[test]
fn folders_moved_into_each_other_at_once_stay_a_tree() {
    end(&["cycle"]);
}

#[test]
fn numbers_at_their_ends_are_errors_of_the_program_alone() {
    end(&["extremes", "lowest", "impossible", "beginnings"]);
}

#[test]
fn mappings_and_timers_are_not_without_end() {
    end(&["holes", "timers"]);
}

#[test]
fn the_heap_and_the_paths_of_what_moves_come_to_an_end() {
    end(&["heap", "farther"]);
}

#[test]
fn tables_that_lead_to_one_page_from_everywhere_count() {
    let Some(outcome) = within("tables", 32 << 20) else { return };
    let is_over = outcome.report.tripped.map(|limit| limit.limit) == Some(LimitKind::Memory);
    assert!(is_over || outcome.stdout == "ok tables\n", "{} {}", outcome.report.exit, outcome.stdout);
    assert!(outcome.report.usage.memory_peak <= 33 << 20, "{}", outcome.report.usage.memory_peak);
}

#[test]
fn those_who_ended_and_were_not_asked_for_count() {
    end(&["zombies"]);
    let Some(lab) = bounds("unasked") else { return };
    let outcome = lab.limit(|limits| limits.processes = Some(50)).run();
    assert_eq!(outcome.report.tripped.map(|limit| limit.limit), Some(LimitKind::Processes), "{}", outcome.report.exit);
}

#[test]
fn processes_that_could_not_begin_are_not_counted() {
    let Some(lab) = bounds("failed-forks") else { return };
    lab.limit(|limits| limits.processes = Some(40)).prints("ok failed-forks");
}

#[test]
fn what_the_host_keeps_for_a_program_counts_as_its_memory() {
    for (word, memory) in [
        ("texts", 64 << 20),
        ("lists", 8 << 20),
        ("drained", 16 << 20),
        ("semaphores", 16 << 20),
        ("undone", 16 << 20),
        ("messages", 16 << 20),
        ("unaccepted", 16 << 20),
        ("members", 16 << 20),
        ("folders", 16 << 20),
        ("arguments", 4 << 20),
        ("waiting", 12 << 20),
    ] {
        let Some(outcome) = within(word, memory) else { return };
        let tripped = outcome.report.tripped.map(|limit| limit.limit);
        assert_eq!(tripped, Some(LimitKind::Memory), "{word}: {} {}", outcome.report.exit, outcome.stdout);
        assert_eq!(outcome.stdout, if word == "texts" { "opened\n" } else { "" }, "{word}");
    }
}
