//! A limit on bandwidth holds for everything that goes over the network, together.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ringfence_isolation::{Backend, Exit, Guarantee, Held};
use ringfence_manifest::{BitRate, Permission, StreamOut};
use ringfence_runtime::Report;
use support::judged::lines;
use support::{Lab, here, linux};

use Permission::{NetConnect, NetListen};

const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// What a server does with a connection.
#[derive(Clone, Copy)]
enum Does {
    /// Sends back what it gets.
    Echo,
    /// Sends so much, whatever it gets.
    Give(usize),
    /// Takes everything and counts it.
    Take,
}

/// A server of the host; the bytes it took.
fn serve(ip: IpAddr, does: Does) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let count = count.clone();
            std::thread::spawn(move || {
                let mut chunk = vec![0; 1 << 16];
                if let Does::Give(bytes) = does {
                    let _ = stream.write_all(&vec![1; bytes]);
                    return;
                }
                while let Ok(length @ 1..) = stream.read(&mut chunk) {
                    count.fetch_add(length, SeqCst);
                    if matches!(does, Does::Echo) && stream.write_all(&chunk[..length]).is_err() {
                        return;
                    }
                }
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    (at, taken)
}

/// The program of `network.c`, with so many bits a second.
fn network(words: &[&str], rate: u64, granted: &[SocketAddr]) -> Option<Lab> {
    if !here() || !support::has(&["seccomp notify"]) {
        return None;
    }
    let mut lab = Lab::new(support::compiled("network.c")?).args(words);
    lab.spec.limits.bandwidth = Some(BitRate(rate));
    lab.spec.isolation.require.insert(Guarantee::BandwidthLimit);
    Some(granted.iter().fold(lab, |lab, at| lab.permit(NetConnect, &at.to_string())))
}

#[track_caller]
fn prints(lab: &Lab, expected: &[&str]) -> Report {
    let report = lab.judged();
    assert_eq!(lines(&report), expected, "{report:?}");
    assert_eq!(report.exit, Exit::Returned(0), "{report:?}");
    report
}

const FAST: u64 = 1_000_000_000;
/// A million bytes a second.
const SLOW: u64 = 8_000_000;

#[test]
fn connections_are_as_without_it() {
    for ip in [IPV4, IPV6] {
        let (at, _) = serve(ip, Does::Echo);
        let closed = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
        let (host, port, none) = (ip.to_string(), at.port().to_string(), closed.port().to_string());
        let words = [
            &["tcp", &host, &port, "nonblocking", &host, &port][..],
            &["tcp", &host, &none, "nonblocking", &host, &none][..],
            &["transfer", &host, &port, "20", "100000"][..],
        ]
        .concat();
        let Some(lab) = network(&words, FAST, &[at, closed]) else { return };
        prints(&lab, &["ok hello", "ok hello", "err ECONNREFUSED", "err ECONNREFUSED", "got 2000000"]);
    }
}

#[test]
fn what_is_sent_and_what_comes_takes_its_time() {
    for (does, sent, expected) in [(Does::Give(1_000_000), "0", "got 1000000"), (Does::Take, "1000000", "got 0")] {
        let (at, taken) = serve(IPV4, does);
        let words = ["transfer", "127.0.0.1", &at.port().to_string(), "1", sent];
        let Some(lab) = network(&words, SLOW, &[at]) else { return };
        let began = Instant::now();
        prints(&lab, &[expected]);
        let took = began.elapsed();
        // A tenth of it is the burst.
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(10), "{took:?}");
        assert_eq!(taken.load(SeqCst), sent.parse::<usize>().unwrap());
    }
}

#[test]
fn all_connections_share_it_in_both_directions_and_with_datagrams() {
    let (at, _) = serve(IPV4, Does::Echo);
    let socket = UdpSocket::bind((IPV4, 0)).unwrap();
    let there = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
        }
    });
    let (port, udp) = (at.port().to_string(), there.port().to_string());
    let words = [&["transfer", "127.0.0.1", &port, "4", "100000"][..], &["udp-sizes", "127.0.0.1", &udp][..]].concat();
    let Some(lab) = network(&words, SLOW, &[at, there]) else { return };
    let began = Instant::now();
    prints(&lab, &["got 400000", "ok"]);
    // 800,000 bytes of connections and 350,000 of datagrams, of which 100,000 pass at once.
    assert!(began.elapsed() > Duration::from_millis(1000), "{:?}", began.elapsed());
}

#[test]
fn a_connection_that_is_denied_is_denied() {
    let (at, taken) = serve(IPV4, Does::Take);
    let (port, other) = (at.port().to_string(), "127.0.0.1:9".parse().unwrap());
    let words = ["tcp", "127.0.0.1", &port, "bind", "127.0.0.1", "0", "serve-unbound", "bind", "0.0.0.0", "0"];
    let Some(lab) = network(&words, FAST, &[other]) else { return };
    prints(&lab, &["err EACCES", "err EACCES", "err EACCES", "ok"]);
    assert_eq!(taken.load(SeqCst), 0);
}

/// Runs it, and calls `visit` with the first port it prints.
fn while_it_listens<T>(mut lab: Lab, visit: impl FnOnce(u16) -> T) -> (Report, String, T) {
    let file = lab.folder.path().join("printed");
    lab.spec.stdio.stdout = StreamOut::File(file.clone());
    let printed = file.clone();
    let running = std::thread::spawn(move || (lab.judged(), std::fs::read_to_string(file).unwrap()));
    let port = loop {
        let text = std::fs::read_to_string(&printed).unwrap_or_default();
        if let Some(port) = text.lines().find_map(|line| line.strip_prefix("port ")) {
            break port.parse().unwrap();
        }
        assert!(!running.is_finished(), "{:?} {text}", running.join());
        std::thread::yield_now();
    };
    let seen = visit(port);
    let (report, text) = running.join().unwrap();
    (report, text, seen)
}

#[test]
fn connections_that_come_in_are_as_without_it() {
    let visits = [("127.0.0.1", IPV4, true), ("0.0.0.0", IPV4, true), ("::1", IPV6, true), ("::", IPV6, false)];
    for (host, from, connects) in visits {
        let Some(lab) = network(&["serve-each", host, "0", "3", "0"], FAST, &[]) else { return };
        let mut lab = lab.permit(NetListen, "*:*").permit(NetListen, "127.0.0.1:*").permit(NetListen, "[::1]:*");
        if connects {
            // Datagrams have a way of their own then, beside that of connections.
            lab = lab.permit(NetConnect, "127.0.0.1:9");
        }
        let (report, printed, ends) = while_it_listens(lab, |port| {
            let mut ends = Vec::new();
            for text in ["one", "two", &"three".repeat(30_000)] {
                let mut stream = TcpStream::connect((from, port)).unwrap();
                let (peer, own) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
                let mut writer = stream.try_clone().unwrap();
                let said = text.to_owned();
                let writing = std::thread::spawn(move || {
                    writer.write_all(said.as_bytes()).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut echoed = String::new();
                stream.read_to_string(&mut echoed).unwrap();
                writing.join().unwrap();
                assert!(echoed == text, "{} of {}", echoed.len(), text.len());
                ends.push(format!("from {} {}\nat {} {}", peer.ip(), peer.port(), own.ip(), own.port()));
            }
            (port, ends)
        });
        let (port, ends) = ends;
        assert_eq!(printed, format!("port {port}\n{}\n", ends.join("\n")), "{report:?}");
        assert_eq!(report.exit, Exit::Returned(0), "{report:?}");
        assert!(TcpStream::connect((from, port)).is_err(), "somebody listens still");
    }
}

#[test]
fn what_comes_in_takes_its_time() {
    let Some(lab) = network(&["serve-each", "127.0.0.1", "0", "2", "500000"], SLOW, &[]) else { return };
    let lab = lab.permit(NetListen, "127.0.0.1:*");
    let (report, _, took) = while_it_listens(lab, |port| {
        let began = Instant::now();
        for _ in 0..2 {
            let mut stream = TcpStream::connect((IPV4, port)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut came = Vec::new();
            stream.read_to_end(&mut came).unwrap();
            assert_eq!(came.len(), 500_000);
        }
        began.elapsed()
    });
    assert_eq!(report.exit, Exit::Returned(0), "{report:?}");
    // A tenth of it is the burst.
    assert!(took > Duration::from_millis(900), "{took:?}");
}

#[test]
fn a_port_that_was_listened_on_and_closed_is_free_again() {
    let port = TcpListener::bind((IPV4, 0)).unwrap().local_addr().unwrap().port().to_string();
    let listen = ["bind-again", "127.0.0.1", &port, "1"];
    let words = [&["bind-again", "127.0.0.1", &port, "20"][..], &listen, &listen, &["bind-and-hand-over", "127.0.0.1"]];
    let Some(lab) = network(&words.concat(), FAST, &[]) else { return };
    if !support::has(&["cgroup memory"]) {
        return;
    }
    let lab = lab.permit(NetListen, "127.0.0.1:*").limit(|limits| limits.open_files = Some(16));
    prints(&lab, &["ok", "ok", "ok", "ok"]);
}

#[test]
fn it_is_promised_with_whatever_is_granted() {
    let Some(lab) = network(&[], FAST, &[]) else { return };
    let listening = lab.permit(NetListen, "127.0.0.1:*");
    let connecting = network(&[], FAST, &["127.0.0.1:9".parse().unwrap()]).unwrap();
    // Whoever learns what is needed is granted all of it.
    let mut learning = network(&[], FAST, &[]).unwrap();
    learning.spec.permissions.learn = true;
    learning.spec.session.overlay = Some(learning.folder.path().to_owned());
    for lab in [listening, connecting, learning] {
        let prepared = linux().prepare(&lab.spec).unwrap_or_else(|error| panic!("{error}"));
        let held = prepared.promised().get(Guarantee::BandwidthLimit);
        assert!(matches!(held, Held::By { by } if by.contains("token bucket")), "{held:?}");
    }
}

/// What a program sets on its socket keeps that from being connected, and nobody else.
#[test]
fn a_socket_that_cannot_be_connected_within_holds_nobody_up() {
    let (at, _) = serve(IPV4, Does::Echo);
    let port = at.port().to_string();
    let words = [&["tcp-device", "127.0.0.1", &port][..], &["tcp", "127.0.0.1", &port][..]].concat();
    let Some(lab) = network(&words, FAST, &[at]) else { return };
    let began = Instant::now();
    let report = lab.judged();
    let printed = lines(&report);
    assert!(printed.len() == 2 && printed[0].starts_with("err ") && printed[1] == "ok hello", "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
}
