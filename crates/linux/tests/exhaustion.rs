//! What a program asks of its supervisor does not use the supervisor up. A test binary of its own, because
//! it gives itself few descriptors.

mod support;

use std::net::IpAddr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use ringfence_isolation::{BoxFuture, Exit, LimitKind};
use ringfence_manifest::{BitRate, Permission};
use ringfence_runtime::Resolver;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::judged::lines;
use support::{Lab, eventually, here};

/// How many descriptors this process may have.
const FEW: u64 = 256;

/// One test at a time, with few descriptors.
fn narrow() -> MutexGuard<'static, ()> {
    static ONCE: Once = Once::new();
    static ONE: Mutex<()> = Mutex::new(());
    ONCE.call_once(|| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(FEW), maximum }).unwrap();
    });
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port at which nobody is ever answered: its queue is full.
struct Deaf {
    port: String,
    _all: Vec<OwnedFd>,
}

impl Deaf {
    fn new() -> Self {
        let socket = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        let door = socket(SocketFlags::CLOEXEC);
        bind(&door, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listen(&door, 0).unwrap();
        let at = SocketAddr::try_from(getsockname(&door).unwrap()).unwrap();
        let mut all = vec![door];
        for _ in 0..4 {
            let waiting = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
            let _ = connect(&waiting, &at);
            all.push(waiting);
        }
        Deaf { port: at.port().to_string(), _all: all }
    }
}

fn asking(words: &[&str]) -> Option<Lab> {
    if !here() || !support::has(&["seccomp notify"]) {
        return None;
    }
    let lab = Lab::new(support::compiled("asking.c")?).args(words);
    Some(lab.permit(Permission::NetConnect, "127.0.0.1:*"))
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(usize::MAX, Iterator::count)
}

#[test]
fn limits_hold_while_the_supervisor_has_more_to_do_than_it_can() {
    let _one = narrow();
    let deaf = Deaf::new();
    let Some(lab) = asking(&["wait-and-spin", &deaf.port, "300"]) else { return };
    if !support::has(&["cgroup cpuacct"]) {
        return;
    }
    let report = lab.limit(|limits| limits.cpu_time = Some(Duration::from_millis(500))).judged();
    match report.exit {
        Exit::Exceeded(limit) if limit.limit == LimitKind::CpuTime => {
            assert!(limit.used < 1_000_000_000, "{limit:?}");
        }
        _ => panic!("{report:?}"),
    }
}

#[test]
fn a_process_ends_while_others_wait_for_the_supervisor() {
    let _one = narrow();
    let deaf = Deaf::new();
    let Some(lab) = asking(&["wait-and-end", &deaf.port, "100"]).filter(|_| support::has(&["cgroup memory"])) else {
        return;
    };
    let report = lab.limit(|limits| limits.open_files = Some(512)).judged();
    assert_eq!(report.exit, Exit::Returned(7), "{report:?}");
}

#[test]
fn what_was_opened_for_a_process_goes_with_it() {
    let _one = narrow();
    let (deaf, door) = (Deaf::new(), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let port = door.local_addr().unwrap().port().to_string();
    let Some(lab) = asking(&["wait-and-die", &deaf.port, "40", &port]) else { return };
    let before = descriptors();
    thread::scope(|scope| {
        let run = scope.spawn(|| lab.judged());
        let (stream, _) = door.accept().unwrap();
        // An instance has some of its own; forty connections have more than a hundred.
        eventually("nothing is left of those who are gone", || descriptors() < before + 40);
        drop(stream);
        assert_eq!(run.join().unwrap().exit, Exit::Returned(0));
    });
}

#[test]
fn connections_that_are_relayed_leave_the_supervisor_most_of_its_descriptors() {
    let _one = narrow();
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = door.local_addr().unwrap().port().to_string();
    // Closes what the program closes.
    thread::spawn(move || {
        for stream in door.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &stream, &mut std::io::sink()));
        }
    });
    let Some(lab) = asking(&["hold", &port, "100"]) else { return };
    let report = lab.limit(|limits| limits.bandwidth = Some(BitRate(100_000_000))).judged();
    assert_eq!(report.exit, Exit::Returned(0), "{report:?}");
    assert_eq!(lines(&report)[0], "32 ENFILE");
    let again: u64 = lines(&report)[1].split(' ').next().unwrap().parse().unwrap();
    assert!((1..=32).contains(&again), "{again}");
}

/// Processor time of this process, in hundredths of a second (`proc(5)`).
fn ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit_once(')').unwrap().1.split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test]
fn processes_that_end_do_not_occupy_the_supervisor() {
    let _one = narrow();
    if !here() || !support::has(&["seccomp notify", "cgroup memory"]) {
        return;
    }
    let Some(lab) = Lab::hostile(&["exits", "400", "3000"]) else { return };
    let lab = lab.limit(|limits| limits.open_files = Some(64));
    let before = ticks();
    assert_eq!(lab.run().exit, Exit::Returned(0));
    let used = ticks() - before;
    assert!(used < 150, "{used} hundredths of a second");
}

/// Never answers, and counts.
#[derive(Default)]
struct Silent {
    asked: AtomicUsize,
}

impl Resolver for Silent {
    fn resolve(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, SeqCst);
        Box::pin(std::future::pending())
    }
}

#[test]
fn names_are_asked_for_without_end_and_looked_up_a_few_at_a_time() {
    let _one = narrow();
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = door.local_addr().unwrap().port().to_string();
    let Some(lab) = asking(&["names", "200", &port]) else { return };
    let lab = lab.permit(Permission::NetResolve, "*.test");
    let silent = Arc::new(Silent::default());
    thread::scope(|scope| {
        let run = scope.spawn(|| lab.judged_with(silent.clone()));
        let (stream, _) = door.accept().unwrap();
        eventually("some are looked up", || silent.asked.load(SeqCst) >= 32);
        drop(stream);
        assert_eq!(run.join().unwrap().exit, Exit::Returned(0));
    });
    assert_eq!(silent.asked.load(SeqCst), 32);
}
