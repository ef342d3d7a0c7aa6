//! Datagrams reach what the manifest grants, and nothing else.

mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringfence_isolation::Exit;
use ringfence_manifest::Permission;
use ringfence_runtime::Report;
use support::judged::{denials, lines};
use support::{Lab, here};

use Permission::{NetConnect, NetListen};

const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A socket of the host that sends back what it hears, and counts.
struct Echo {
    port: String,
    heard: Arc<AtomicUsize>,
    from: Arc<Mutex<BTreeSet<u16>>>,
}

impl Echo {
    fn new(ip: IpAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let port = socket.local_addr().unwrap().port().to_string();
        let (heard, from) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(BTreeSet::new())));
        let echo = Echo { port, heard: heard.clone(), from: from.clone() };
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                heard.fetch_add(1, SeqCst);
                from.lock().unwrap().insert(peer.port());
                let _ = socket.send_to(&buffer[..length], peer);
            }
        });
        echo
    }

    fn heard(&self) -> usize {
        self.heard.load(SeqCst)
    }
}

/// A port nobody is at.
fn closed(ip: IpAddr) -> String {
    UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port().to_string()
}

/// The program of `network.c`.
fn network(words: &[&str]) -> Option<Lab> {
    if !here() || !support::has(&["seccomp notify"]) {
        return None;
    }
    Some(Lab::new(support::compiled("network.c")?).args(words))
}

#[track_caller]
fn prints(lab: &Lab, expected: &[&str], denied: &[(Permission, &str)]) -> Report {
    let report = lab.judged();
    assert_eq!(lines(&report), expected, "{report:?}");
    assert_eq!(report.exit, Exit::Returned(0), "{report:?}");
    let expected: Vec<_> = denied.iter().map(|(permission, text)| (Some(*permission), (*text).to_owned())).collect();
    assert_eq!(denials(&report), expected, "{report:?}");
    report
}

#[test]
fn a_granted_address_answers_connected_or_not_in_both_families() {
    let (four, six) = (Echo::new(IPV4), Echo::new(IPV6));
    let words = [
        ["udp", "127.0.0.1", &four.port],
        ["udp-connected", "127.0.0.1", &four.port],
        ["udp", "::1", &six.port],
        ["udp-connected", "::1", &six.port],
        ["udp-connected", "::ffff:127.0.0.1", &four.port],
    ]
    .concat();
    let Some(lab) = network(&words) else { return };
    let lab = lab.permit(NetConnect, &format!("127.0.0.1:{}", four.port));
    let lab = lab.permit(NetConnect, &format!("[::1]:{}", six.port));
    prints(&lab, &["ok hello"; 5], &[]);
    assert_eq!((four.heard(), six.heard()), (3, 2));
}

#[test]
fn what_is_denied_hears_nothing_whichever_call_sends() {
    for (ip, other) in [(IPV4, "127.0.0.1:9"), (IPV6, "[::1]:9")] {
        let echo = Echo::new(ip);
        let text = ip.to_string();
        let Some(lab) = network(&["udp-ways", &text, &echo.port]) else { return };
        // Without any grant there is no way at all, and with another one it does not lead there.
        let report = lab.judged();
        assert_eq!(lines(&report), ["0 0 0 EACCES"], "{report:?}");
        let denied = format!("{}:{}", other.strip_suffix(":9").unwrap(), echo.port);
        let lab = network(&["udp-ways", &text, &echo.port]).unwrap().permit(NetConnect, other);
        let report = prints(&lab, &["1 1 1 EACCES"], &[(NetConnect, &denied)]);
        // Once by `connect`, once by all the others.
        assert_eq!(report.denials[0].count, 2);
        assert_eq!(echo.heard(), 0);
    }
}

#[test]
fn a_wildcard_covers_neither_the_host_nor_its_neighbours() {
    let echo = Echo::new(IPV4);
    let places = ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "224.0.0.251", "::1"];
    let words: Vec<&str> = places.iter().flat_map(|place| ["udp-ways", place, &echo.port]).collect();
    let Some(lab) = network(&words) else { return };
    let report = lab.permit(NetConnect, "*:*").permit(NetConnect, "0.0.0.0/0:*").judged();
    let printed = lines(&report);
    assert!(printed.len() == places.len() && printed.iter().all(|line| line.ends_with("EACCES")), "{report:?}");
    assert_eq!(echo.heard(), 0);
}

#[test]
fn many_sockets_at_once_each_have_their_own_answer() {
    for ip in [IPV4, IPV6] {
        let echo = Echo::new(ip);
        let Some(lab) = network(&["udp-many", &ip.to_string(), &echo.port, "100"]) else { return };
        let rule = std::net::SocketAddr::new(ip, echo.port.parse().unwrap()).to_string();
        prints(&lab.permit(NetConnect, &rule), &["back 100"], &[]);
        assert_eq!(echo.from.lock().unwrap().len(), 100);
    }
}

#[test]
fn datagrams_of_every_size_arrive_as_they_were_sent() {
    for ip in [IPV4, IPV6] {
        let echo = Echo::new(ip);
        let text = ip.to_string();
        let Some(lab) = network(&["udp-sizes", &text, &echo.port, "udp-segments", &text, &echo.port]) else { return };
        let rule = std::net::SocketAddr::new(ip, echo.port.parse().unwrap()).to_string();
        prints(&lab.permit(NetConnect, &rule), &["ok", "100 100 50 "], &[]);
    }
}

#[test]
fn a_port_nobody_is_at_refuses() {
    for ip in [IPV4, IPV6] {
        let (closed, text) = (closed(ip), ip.to_string());
        let Some(lab) = network(&["udp-refused", &text, &closed]) else { return };
        let rule = std::net::SocketAddr::new(ip, closed.parse().unwrap()).to_string();
        prints(&lab.permit(NetConnect, &rule), &["err ECONNREFUSED", "err ECONNREFUSED"], &[]);
    }
}

/// Each destination is a flow, and each denied one an event: neither may take the supervisor away.
#[test]
fn a_flood_reaches_nothing_and_what_is_granted_answers_after_it() {
    // An address of loopback that nobody else uses.
    let (granted, denied) = (Echo::new([127, 77, 0, 1].into()), Echo::new([127, 78, 0, 1].into()));
    let words = [
        &["udp-flood", "127.77.0.1", "100000", "udp-flood", "127.78.0.1", "100000"][..],
        &["udp-again", "127.77.0.1", &granted.port][..],
    ];
    let Some(lab) = network(&words.concat()) else { return };
    let report = lab.permit(NetConnect, "127.77.0.1:*").judged();
    assert_eq!(lines(&report), ["flooded", "flooded", "ok hello"], "{report:?}");
    assert_eq!(denied.heard(), 0);
}

#[test]
fn what_is_sent_last_arrives_though_the_program_is_gone() {
    let echo = Echo::new(IPV4);
    let Some(lab) = network(&["udp-send", "127.0.0.1", &echo.port]) else { return };
    prints(&lab.permit(NetConnect, &format!("127.0.0.1:{}", echo.port)), &[], &[]);
    let until = Instant::now() + Duration::from_secs(5);
    while echo.heard() == 0 && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(echo.heard(), 1);
    // And a last one that is denied is told of.
    let lab = network(&["udp-send", "127.0.0.1", &echo.port]).unwrap().permit(NetConnect, "127.0.0.1:9");
    prints(&lab, &[], &[(NetConnect, &format!("127.0.0.1:{}", echo.port))]);
    assert_eq!(echo.heard(), 1);
}

/// Waits until a line is printed, and what follows `start` in it.
fn printed(file: &std::path::Path, start: &str, count: usize) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(rest) = text.lines().filter_map(|line| line.strip_prefix(start)).nth(count) {
            return rest.to_owned();
        }
        assert!(Instant::now() < until, "{text}");
        std::thread::yield_now();
    }
}

#[test]
fn a_granted_port_hears_everybody_and_answers_whom_it_may_send_to() {
    for ip in [IPV4, IPV6] {
        let host = ip.to_string();
        let Some(lab) = network(&["udp-serve", &host, "0", "2"]) else { return };
        let (friend, stranger) = (UdpSocket::bind((ip, 0)).unwrap(), UdpSocket::bind((ip, 0)).unwrap());
        for socket in [&friend, &stranger] {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        let any = if ip.is_ipv4() { "127.0.0.1:*" } else { "[::1]:*" };
        let mut lab = lab.permit(NetListen, any).permit(NetConnect, &friend.local_addr().unwrap().to_string());
        let file = lab.folder.path().join("printed");
        lab.spec.stdio.stdout = ringfence_manifest::StreamOut::File(file.clone());
        let running = std::thread::spawn(move || lab.judged());
        let mut ports = Vec::new();
        for turn in 0..2 {
            let port: u16 = printed(&file, "port ", turn).parse().unwrap();
            stranger.send_to(b"from a stranger", (ip, port)).unwrap();
            friend.send_to(b"from a friend", (ip, port)).unwrap();
            let mut buffer = [0; 64];
            let (length, from) = friend.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&b"from a friend"[..], (ip, port).into()));
            ports.push(port);
        }
        let report = running.join().unwrap();
        assert_eq!(report.exit, Exit::Returned(0), "{report:?}");
        // The second socket was bound to the port the first one had closed.
        assert_eq!(ports[0], ports[1]);
        stranger.set_nonblocking(true).unwrap();
        assert!(stranger.recv(&mut [0; 64]).is_err());
        assert_eq!(denials(&report), [(Some(NetConnect), stranger.local_addr().unwrap().to_string())]);
        // With the capsule the port is gone; a process that is just made for another test may have a copy for a moment.
        let began = Instant::now();
        while UdpSocket::bind((ip, ports[0])).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_port_that_is_not_granted_is_not_taken() {
    let Some(lab) = network(&["bind-udp", "127.0.0.1", "4000", "bind-udp", "0.0.0.0", "0"]) else { return };
    prints(&lab.permit(NetConnect, "127.0.0.1:9"), &["err EACCES", "ok"], &[(NetListen, "127.0.0.1:4000")]);
}
