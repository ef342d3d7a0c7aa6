//! A limit on bandwidth holds for everything that goes over the network, together.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ringfence_isolation::{Backend, BuildError, Exit, Guarantee, Held};
use ringfence_manifest::{BitRate, Permission};
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

#[test]
fn what_comes_in_is_not_counted_and_refused() {
    let Some(lab) = network(&[], FAST, &[]) else { return };
    let lab = lab.permit(NetListen, "127.0.0.1:*");
    match linux().prepare(&lab.spec) {
        Err(BuildError::Refused(refusal)) => assert_eq!(refusal.guarantee, Guarantee::BandwidthLimit),
        Err(error) => panic!("{error}"),
        Ok(prepared) => panic!("{:?}", prepared.promised().get(Guarantee::BandwidthLimit)),
    }
    // Whoever learns what is needed is granted all of it.
    let mut lab = network(&[], FAST, &[]).unwrap();
    lab.spec.permissions.learn = true;
    assert!(linux().prepare(&lab.spec).is_err());
    let lab = network(&[], FAST, &["127.0.0.1:9".parse().unwrap()]).unwrap();
    let prepared = linux().prepare(&lab.spec).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(prepared.promised().get(Guarantee::BandwidthLimit), Held::By { .. }));
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
