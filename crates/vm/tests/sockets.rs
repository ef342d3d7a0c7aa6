//! Sockets answer as on Linux: the manual pages say how, and the same program says the same on the host.

mod support;

use ringfence_manifest::ListenRule;
use support::Lab;

/// Runs each word of the program, granted the folders in memory and the host itself, and expects it to come to its end.
fn end(words: &[&str]) {
    let Some(mut lab) = Lab::compiled("sockets.c", words) else { return };
    lab.spec.permissions.network.listen = ListenRule::parse("*:*").unwrap();
    for rule in ["127.0.0.1:*", "[::1]:*"] {
        lab.spec.permissions.network.connect.push(rule.parse().unwrap());
    }
    let expected: Vec<String> = words.iter().map(|word| format!("ok {word}")).collect();
    lab.grant_all("/tmp").prints(&expected.join("\n"));
}

#[test]
fn the_unspecified_address_means_the_host_itself() {
    end(&["unspecified"]);
}

#[test]
fn a_name_in_memory_is_a_node_that_stays_until_it_is_unlinked() {
    end(&["nodes", "chosen", "strangers"]);
}

#[test]
fn a_name_on_a_folder_of_the_host_can_be_removed() {
    let Some(lab) = Lab::compiled("sockets.c", &["/data"]) else { return };
    let lab = lab.mount("/data", ringfence_manifest::MountMode::ReadWrite).grant_all("/data");
    lab.prints("ok /data");
    assert_eq!(std::fs::read_dir(lab.host("/data")).unwrap().count(), 0);
}

#[test]
fn a_name_in_memory_needs_what_a_file_there_needs() {
    let Some(lab) = Lab::compiled("sockets.c", &["ungranted"]) else { return };
    lab.prints("ok ungranted");
}

#[test]
fn messages_are_taken_and_refused_as_they_are_written() {
    end(&["headers"]);
}

#[test]
fn who_is_at_the_other_end_is_known() {
    end(&["credentials"]);
}

#[test]
fn who_cannot_wait_to_be_accepted_waits_for_that() {
    end(&["crowded"]);
}

#[test]
fn settings_are_kept_or_refused() {
    end(&["settings"]);
}

#[test]
fn a_stream_is_let_go_of_and_connected_again() {
    end(&["dissolved"]);
}

#[test]
fn a_datagram_is_sent_when_there_is_no_more_of_it() {
    end(&["more"]);
}

#[test]
fn who_waits_for_an_edge_is_woken_though_others_take_what_was_told() {
    end(&["edges", "taken"]);
}

#[test]
fn threads_find_out_the_same_of_how_a_socket_was_connected() {
    end(&["settled"]);
}

#[test]
fn what_is_closed_is_closed_while_a_thread_waits_for_it() {
    end(&["closed"]);
}

#[test]
fn what_a_socket_does_not_take_stays_in_the_pipe() {
    end(&["spliced"]);
}

#[test]
fn who_listens_at_every_address_hears_both_families() {
    end(&["families"]);
}
