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
