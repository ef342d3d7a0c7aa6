//! Event loops and sockets, as programs have them.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::thread;

use ringfence_isolation::Exit;
use ringfence_manifest::ListenRule;
use support::{Lab, compiled, here};

/// A program that finds its libraries on the host: names are asked for by the C library.
fn dynamic(arguments: &[&str]) -> Option<Lab> {
    here().then(|| compiled("events.c", &[]))?.map(|program| Lab::new(program).args(arguments))
}

/// Serves one connection: what it sends comes back when it has sent everything.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().take(4).flatten() {
            let mut text = Vec::new();
            let _ = (&stream).read_to_end(&mut text);
            let _ = (&stream).write_all(&text);
        }
    });
    port
}

/// The same for one datagram.
fn echo_datagram() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut text = [0; 64];
        if let Ok((count, from)) = socket.recv_from(&mut text) {
            let _ = socket.send_to(&text[..count], from);
        }
    });
    port
}

fn may_connect(mut lab: Lab, rule: &str) -> Lab {
    lab.spec.permissions.network.connect.push(rule.parse().unwrap());
    lab
}

#[test]
fn sets_of_descriptors_tell_what_is_ready_and_what_is_news() {
    let Some(lab) = Lab::compiled("events.c", &["levels", "edges", "threads"]) else { return };
    lab.prints("ok levels\nok edges\nok threads");
}

#[test]
fn timers_and_signals_are_read() {
    let Some(lab) = Lab::compiled("events.c", &["timers", "signals"]) else { return };
    lab.prints("ok timers\nok signals");
}

#[test]
fn programs_of_a_capsule_talk_over_unix_sockets() {
    let Some(lab) = Lab::compiled("events.c", &["pairs", "named"]) else { return };
    lab.prints("ok pairs\nok named");
}

#[test]
fn a_granted_server_is_reached_and_one_that_is_gone_refuses() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port().to_string();
    let port = echo().to_string();
    let Some(lab) = Lab::compiled("events.c", &["client", &port, "refused", &closed]) else { return };
    may_connect(lab, "127.0.0.1:*").prints("ok client\nok refused");
}

#[test]
fn a_server_that_may_listen_is_reached() {
    let Some(mut lab) = Lab::compiled("events.c", &["server"]) else { return };
    lab.spec.permissions.network.listen = ListenRule::parse("127.0.0.1:*").unwrap();
    may_connect(lab, "127.0.0.1:*").prints("ok server");
}

#[test]
fn datagrams_go_where_they_may() {
    let port = echo_datagram().to_string();
    let Some(lab) = Lab::compiled("events.c", &["datagrams", &port]) else { return };
    may_connect(lab, &format!("127.0.0.1:{port}")).prints("ok datagrams");
}

#[test]
fn nothing_is_reached_without_a_grant_and_that_is_told() {
    let port = echo().to_string();
    let Some(lab) = Lab::compiled("events.c", &["client", &port]) else { return };
    let outcome = lab.run();
    assert_eq!(outcome.report.exit, Exit::Returned(1));
    assert!(outcome.stdout.contains("Permission denied"), "{}", outcome.stdout);
    let told = outcome.report.denials.iter().any(|denied| denied.denial.resource == format!("127.0.0.1:{port}"));
    assert!(told, "{:?}", outcome.report.denials);
}

#[test]
fn a_name_is_looked_up_when_it_is_granted() {
    let Some(lab) = dynamic(&["name", "localhost", "name", "other.test"]) else { return };
    let outcome = may_connect(lab, "localhost:80").run();
    assert!(outcome.stdout.contains("localhost: 127.0.0.1"), "{} {}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("other.test: Name or service not known"), "{}", outcome.stdout);
    let resources: Vec<_> = outcome.report.denials.iter().map(|denied| denied.denial.resource.as_str()).collect();
    assert_eq!(resources, ["other.test"]);
}
