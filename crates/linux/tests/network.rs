//! What a program reaches is what its manifest grants, with the verdicts of the real hal.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use ringfence_isolation::Exit;
use ringfence_manifest::Permission;
use support::judged::{denials, lines};
use support::{Lab, here};

use Permission::{NetConnect, NetListen, NetResolve};

/// A server on loopback that sends back what it gets, and counts.
struct Echo {
    port: String,
    connections: Arc<AtomicUsize>,
}

impl Echo {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, SeqCst);
                std::thread::spawn(move || {
                    let mut text = Vec::new();
                    let _ = (&stream).take(1 << 20).read_to_end(&mut text);
                    let _ = (&stream).write_all(&text);
                });
            }
        });
        Echo { port, connections }
    }
}

/// A port of loopback that refuses.
fn closed() -> String {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port().to_string()
}

/// The program of `network.c`.
fn network(words: &[&str]) -> Option<Lab> {
    if !here() || !support::has(&["seccomp notify"]) {
        return None;
    }
    Some(Lab::new(support::compiled("network.c")?).args(words))
}

#[track_caller]
fn prints(lab: &Lab, expected: &[&str], denied: &[(Permission, &str)]) {
    let report = lab.judged();
    assert_eq!(lines(&report), expected, "{report:?}");
    assert_eq!(report.exit, Exit::Returned(0), "{report:?}");
    let expected: Vec<_> = denied.iter().map(|(permission, text)| (Some(*permission), (*text).to_owned())).collect();
    assert_eq!(denials(&report), expected, "{report:?}");
}

#[test]
fn nothing_is_reached_without_a_grant() {
    let echo = Echo::new();
    let words = ["tcp", "127.0.0.1", &echo.port, "nonblocking", "127.0.0.1", &echo.port, "bind", "127.0.0.1", "0"];
    let Some(lab) = network(&words) else { return };
    let (connect, listen) = (format!("127.0.0.1:{}", echo.port), "127.0.0.1:0");
    prints(&lab, &["err EACCES"; 3], &[(NetConnect, &connect), (NetListen, listen)]);
    assert_eq!(echo.connections.load(SeqCst), 0);
}

#[test]
fn a_granted_address_answers_whether_the_socket_waits_or_not() {
    let (echo, closed) = (Echo::new(), closed());
    let words = [
        "tcp",
        "127.0.0.1",
        &echo.port,
        "nonblocking",
        "127.0.0.1",
        &echo.port,
        "tcp",
        "127.0.0.1",
        &closed,
        "nonblocking",
        "127.0.0.1",
        &closed,
    ];
    let Some(lab) = network(&words) else { return };
    let lab = lab.permit(NetConnect, &format!("127.0.0.1:{}", echo.port));
    let lab = lab.permit(NetConnect, &format!("127.0.0.1:{closed}"));
    prints(&lab, &["ok hello", "ok hello", "err ECONNREFUSED", "err ECONNREFUSED"], &[]);
    assert_eq!(echo.connections.load(SeqCst), 2);
}

#[test]
fn an_address_in_another_spelling_has_the_same_verdict() {
    let echo = Echo::new();
    let rule = format!("127.0.0.1:{}", echo.port);
    let words = ["tcp", "::ffff:127.0.0.1", &echo.port];
    let Some(lab) = network(&words) else { return };
    prints(&lab, &["err EACCES"], &[(NetConnect, &rule)]);
    prints(&network(&words).unwrap().permit(NetConnect, &rule), &["ok hello"], &[]);
    let lab = network(&["tcp", "64:ff9b::7f00:1", "80"]).unwrap().permit(NetConnect, "*:*");
    prints(&lab, &["err EACCES"], &[(NetConnect, "[64:ff9b::7f00:1]:80")]);
}

#[test]
fn a_wildcard_covers_neither_the_host_nor_its_neighbours() {
    let words = ["tcp", "127.0.0.1", "80", "tcp", "169.254.169.254", "80", "tcp", "10.0.0.1", "80", "tcp", "::1", "80"];
    let Some(lab) = network(&words) else { return };
    let lab = lab.permit(NetConnect, "*:*").permit(NetConnect, "0.0.0.0/0:*");
    let denied = ["127.0.0.1:80", "169.254.169.254:80", "10.0.0.1:80", "[::1]:80"].map(|text| (NetConnect, text));
    prints(&lab, &["err EACCES"; 4], &denied);
}

#[test]
fn names_are_answered_as_far_as_they_are_granted() {
    let words = ["resolve", "public.test", "resolve", "public6.test", "resolve", "other.test"];
    let Some(lab) = network(&words) else { return };
    let lab = lab.permit(NetConnect, "public.test:443").permit(NetConnect, "public6.test:443");
    let report = lab.judged();
    let printed = lines(&report);
    // 203.0.113.7 is no address of the internet: a name does not make it one.
    assert_eq!(printed[..2], ["ok 8.8.4.4", "ok 2606:4700::1111"], "{report:?}");
    assert!(printed[2].starts_with("err"), "{report:?}");
    let denied = denials(&report);
    assert!(denied.contains(&(Some(NetResolve), "other.test".into())), "{denied:?}");
}

#[test]
fn a_name_that_points_inside_is_denied() {
    let echo = Echo::new();
    let Some(lab) = network(&["name", "here.test", &echo.port, "name", "meta.test", "80"]) else { return };
    let lab = lab.permit(NetConnect, "here.test:*").permit(NetConnect, "meta.test:*");
    assert_eq!(lines(&lab.judged()), ["err no name", "err no name"]);
    assert_eq!(echo.connections.load(SeqCst), 0);
}

#[test]
fn localhost_is_loopback() {
    let echo = Echo::new();
    let Some(lab) = network(&["name", "localhost", &echo.port]) else { return };
    prints(&lab.permit(NetConnect, &format!("localhost:{}", echo.port)), &["ok hello"], &[]);
}

#[test]
fn a_process_whose_first_thread_has_ended_is_served() {
    let echo = Echo::new();
    if !here() || !support::has(&["seccomp notify"]) {
        return;
    }
    let Some(program) = support::compiled("asking.c") else { return };
    let lab = Lab::new(program).args(&["first-thread-gone", &echo.port]).permit(NetConnect, "127.0.0.1:*");
    prints(&lab.permit(NetListen, "127.0.0.1:*"), &["0 0 0"], &[]);
}

/// What the program has closed neither counts nor keeps the port.
#[test]
fn a_port_that_was_bound_and_closed_is_free_again() {
    if !support::has(&["cgroup memory"]) {
        return;
    }
    let port = closed();
    let Some(lab) = network(&["bind-again", "127.0.0.1", &port, "60", "bind-and-hand-over", "127.0.0.1"]) else {
        return;
    };
    let lab = lab.permit(NetListen, "127.0.0.1:*").limit(|limits| limits.open_files = Some(16));
    prints(&lab, &["ok", "ok"], &[]);
}

#[test]
fn a_granted_port_is_listened_on() {
    for (words, rule) in [(&["serve", "127.0.0.1", "0"][..], "127.0.0.1:*"), (&["serve-unbound"][..], "*")] {
        let Some(mut lab) = network(words) else { return };
        lab = lab.permit(NetListen, rule);
        let file = lab.folder.path().join("printed");
        lab.spec.stdio.stdout = ringfence_manifest::StreamOut::File(file.clone());
        let running = std::thread::spawn(move || lab.judged());
        let port: u16 = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some(port) = text.lines().find_map(|line| line.strip_prefix("port ")) {
                break port.parse().unwrap();
            }
            assert!(!running.is_finished(), "{:?} {text}", running.join());
            std::thread::yield_now();
        };
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(b"from outside").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from outside");
        assert_eq!(running.join().unwrap().exit, Exit::Returned(0));
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "somebody listens still");
    }
}

#[test]
fn a_port_that_is_not_granted_is_not_taken() {
    let words = ["bind", "0.0.0.0", "0", "bind", "127.0.0.1", "1", "bind-udp", "127.0.0.1", "4000", "serve-unbound"];
    let Some(lab) = network(&words) else { return };
    let lab = lab.permit(NetListen, "127.0.0.1:*");
    let report = lab.judged();
    let printed = lines(&report);
    assert_eq!((printed[0].as_str(), printed[3].as_str()), ("err EACCES", "err EACCES"), "{report:?}");
    assert_eq!(denials(&report)[0], (Some(NetListen), "0.0.0.0:0".into()));
}

/// The address that was judged is the one that is used.
#[test]
fn an_address_that_changes_meanwhile_reaches_nothing_else() {
    let (allowed, forbidden) = (Echo::new(), Echo::new());
    let Some(lab) = network(&["race", &allowed.port, &forbidden.port]) else { return };
    let lab = lab.permit(NetConnect, &format!("127.0.0.1:{}", allowed.port));
    let report = lab.judged();
    assert_eq!(report.exit, Exit::Returned(0), "{report:?}");
    assert!(allowed.connections.load(SeqCst) > 0, "{report:?}");
    assert_eq!(forbidden.connections.load(SeqCst), 0, "{report:?}");
}

#[test]
fn a_socket_that_was_handed_over_leads_nowhere_else() {
    let (allowed, forbidden) = (Echo::new(), Echo::new());
    let Some(lab) = network(&["reuse", &allowed.port, &forbidden.port]) else { return };
    let lab = lab.permit(NetConnect, &format!("127.0.0.1:{}", allowed.port));
    let report = lab.judged();
    let printed = lines(&report);
    assert!(printed.len() == 4 && printed.iter().all(|line| line.starts_with("err")), "{report:?}");
    assert_eq!((printed[0].as_str(), printed[1].as_str()), ("err EACCES", "err EOPNOTSUPP"), "{report:?}");
    assert_eq!(forbidden.connections.load(SeqCst), 0);
}

#[test]
fn interpreters_reach_what_is_granted() {
    let echo = Echo::new();
    let python = "import asyncio, socket, sys\n\
        async def main():\n    \
            r, w = await asyncio.open_connection('localhost', int(sys.argv[1]))\n    \
            w.write(b'hello'); w.write_eof()\n    \
            print((await r.read()).decode())\n\
        asyncio.run(main())\n\
        with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as s:\n    \
            s.sendall(b'again'); s.shutdown(socket.SHUT_WR); print(s.recv(100).decode())\n";
    let node = "const net = require('net');\
        const s = net.connect(+process.argv[1], 'localhost', () => s.end('hello'));\
        s.on('data', d => console.log(String(d))); s.on('error', e => console.log(e.code));";
    let programs = [("/usr/bin/python3", ["-c", python], "hello again"), ("/usr/bin/node", ["-e", node], "hello")];
    for (program, arguments, expected) in programs {
        if !here() || !support::has(&["seccomp notify"]) {
            return;
        }
        if !std::path::Path::new(program).exists() {
            eprintln!("skipped: there is no {program}");
            continue;
        }
        let lab = Lab::new(program).args(&[arguments[0], arguments[1], &echo.port]);
        let report = lab.permit(NetConnect, &format!("localhost:{}", echo.port)).judged();
        assert_eq!(lines(&report).join(" "), expected, "{report:?}");
    }
}
