use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use ringfence_abi::{Call, ErrorCode, Handle, Reply};
use ringfence_isolation::{Answer, Denial, Host, Usage, Verdict};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::super::packet::Datagram;
use super::super::wire::OWN_IPV4;
use super::*;
use crate::network::address::Target;
use crate::network::ask::Own;

/// Grants one address, counts what it is asked, and keeps what it is told.
struct Judge {
    granted: SocketAddr,
    socket: UdpSocket,
    verdicts: AtomicUsize,
    told: Mutex<Vec<Denial>>,
}

impl Host for Judge {
    fn call<'a>(&'a self, call: Call<'a>) -> Answer<'a> {
        Answer::Now(match call {
            Call::UdpSocket { .. } => Ok(Reply::Handle(Handle::STDIN)),
            Call::Connect { address, .. } => {
                self.verdicts.fetch_add(1, Relaxed);
                let granted = address == self.granted;
                granted.then(|| self.socket.connect(address).unwrap()).map(|()| Reply::Done).ok_or(ErrorCode::Denied)
            }
            _ => Ok(Reply::Done),
        })
    }

    fn charge(&self, _: Usage) -> Verdict {
        Verdict::Continue
    }

    fn verdict(&self) -> Verdict {
        Verdict::Continue
    }

    fn descriptor(&self, _: Handle) -> Result<OwnedFd, ErrorCode> {
        Ok(self.socket.try_clone().unwrap().into())
    }

    fn denied(&self, denial: Denial) {
        self.told.lock().unwrap().push(denial);
    }
}

/// An exchange whose device is one end of a pair, with what it may reach and whom it asks.
struct Bench {
    exchange: Exchange,
    judge: Arc<Judge>,
    there: UdpSocket,
    _program: OwnedFd,
}

fn bench(localhost_is_granted: bool) -> Bench {
    let there = UdpSocket::bind("127.0.0.1:0").unwrap();
    there.set_nonblocking(true).unwrap();
    let judge = Arc::new(Judge {
        granted: there.local_addr().unwrap(),
        socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
        verdicts: AtomicUsize::new(0),
        told: Mutex::default(),
    });
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (device, _program) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
    let desk = Arc::new(Desk::idle(judge.clone(), localhost_is_granted, None));
    let signal = Arc::new(Signal::new().unwrap());
    Bench { exchange: Exchange::new(device, desk, signal, None).unwrap(), judge, there, _program }
}

impl Bench {
    fn send(&mut self, from: &str, to: SocketAddr) {
        let mut packet = Vec::new();
        Datagram { ends: Ends { from: from.parse().unwrap(), to }, payload: b"hello" }.write(&mut packet);
        self.exchange.pass(&packet);
    }

    fn heard(&self) -> bool {
        self.there.recv(&mut [0; 9]).is_ok()
    }

    fn verdicts(&self) -> usize {
        self.judge.verdicts.load(Relaxed)
    }
}

fn own(port: u16) -> String {
    format!("{OWN_IPV4}:{port}")
}

#[test]
fn each_destination_is_judged_once_until_names_are_answered() {
    let mut bench = bench(false);
    let (granted, denied) = (bench.judge.granted, "127.0.0.1:1".parse().unwrap());
    for _ in 0..3 {
        bench.send(&own(1000), granted);
        assert!(bench.heard());
        bench.send(&own(1000), denied);
        bench.send(&own(1001), denied);
    }
    assert_eq!(bench.verdicts(), 2);
    bench.exchange.desk.answers.fetch_add(1, Relaxed);
    bench.send(&own(1000), granted);
    bench.send(&own(1000), denied);
    assert_eq!(bench.verdicts(), 3);
    assert!(bench.heard() && !bench.heard());
}

#[test]
fn what_comes_from_an_address_that_is_not_its_own_is_dropped() {
    let mut bench = bench(false);
    let granted = bench.judge.granted;
    for from in ["192.0.0.1:7", "127.53.53.53:53", "8.8.8.8:53"] {
        bench.send(from, granted);
    }
    assert_eq!((bench.verdicts(), bench.heard()), (0, false));
}

#[test]
fn how_many_are_denied_at_once_does_not_fill_the_memory() {
    let mut bench = bench(false);
    for port in 1..5000 {
        bench.send(&own(1000), ([127, 0, 0, 2], port).into());
    }
    assert!(bench.exchange.denied.len() <= MOST_DENIED && bench.verdicts() == 4999);
}

#[test]
fn loopback_waits_until_it_is_known_what_localhost_is() {
    let mut bench = bench(true);
    let granted = bench.judge.granted;
    for _ in 0..MOST_HELD * 2 {
        bench.send(&own(1000), granted);
    }
    assert_eq!((bench.verdicts(), bench.exchange.held.len()), (0, MOST_HELD));
    crate::support::wait(bench.exchange.desk.clone().look_localhost_up());
    bench.exchange.look_again();
    assert_eq!((bench.verdicts(), bench.exchange.held.len()), (1, 0));
    assert_eq!((0..=MOST_HELD).filter(|_| bench.heard()).count(), MOST_HELD);
}

#[test]
fn without_a_wire_what_is_granted_is_told_to_be_out_of_reach() {
    let bench = bench(false);
    let desk = Desk::idle(bench.judge.clone(), false, None);
    let socket = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap()).into();
    let own = Own { socket, family: AddressFamily::INET, kind: SocketType::DGRAM, waits: true };
    let connected = desk.connect_datagram(&own, Target::Internet(bench.judge.granted));
    assert_eq!(connected.err(), Some(Errno::NETUNREACH));
    let told = bench.judge.told.lock().unwrap();
    assert!(told.len() == 1 && told[0].rule.contains("veth") && told[0].permission.is_none());
}
