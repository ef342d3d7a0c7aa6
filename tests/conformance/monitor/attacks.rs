//! The other side: what the monitor does that somebody has taken over.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use rustix::net::RecvFlags;

use super::parcel::{line_of, receive_parcel};
use super::{commands, connections, snapshots};
use crate::frames::{call, ended, outcome, receive, send, text, varint};
use crate::host;

/// A good runner, or one that somebody has taken over: then everything that a good one gave up is given up.
pub(crate) fn play() -> ! {
    let parcels = line_of(io::stderr());
    let order = peek(&parcels);
    if order == b"good" {
        ringfence::runner::run();
    }
    let held = receive_parcel(&parcels, RecvFlags::empty());
    ringfence::runner::confine_monitor().expect("a filter of system calls");
    attack(&String::from_utf8_lossy(&order), &held)
}

/// The name in the order, which stays where it is for a good runner.
fn peek(parcels: &UnixStream) -> Vec<u8> {
    let held = receive_parcel(parcels, RecvFlags::PEEK);
    let mut name = [0; 256];
    let length = rustix::io::pread(&held[2], &mut name, 0).expect("an order");
    let end = 1 + usize::from(name[0]);
    assert!(end <= length, "a name");
    name[1..end].to_vec()
}

fn attack(name: &str, held: &[OwnedFd]) -> ! {
    let mut line = line_of(io::stdin());
    let (name, port) = name.rsplit_once('.').expect("a port");
    commands::attack(name, &mut line);
    snapshots::attack(name, &mut line, held);
    connections::attack(name, port, &mut line);
    match name {
        "its-word-on-a-status-counts" => {
            // Ended { end: Returned(7), fuel: 0 }
            send(&mut line, &[5, 0, 14, 0]);
            std::process::exit(0)
        }
        "what-it-says-is-decoded" => loop {
            send(&mut line, &[200, 255, 255, 7]);
        },
        "a-limit-nobody-set-does-not-trip" => {
            // Ended { end: Exceeded { limit: "open_files", used: 1 }, fuel: 0 }
            send(&mut line, &[&[5_u8, 7][..], &text("open_files"), &[1, 0]].concat());
            std::process::exit(0)
        }
        "it-reaches-nothing" => ended(&mut line, &what_there_is(port, held)),
        "it-has-no-more-memory" => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1_u8; 1 << 20]);
            }
        }
        "it-has-no-more-time" => loop {
            std::hint::black_box(());
        },
        "it-ends-when-its-time-is-over" => loop {
            std::thread::park();
        },
        "it-has-no-more-threads" => loop {
            let park = || loop {
                std::thread::park();
            };
            if std::thread::Builder::new().stack_size(64 << 10).spawn(park).is_err() {
                std::thread::park();
            }
        },
        "it-asks-for-what-was-not-granted" => {
            // Open { directory: the root, path, how: read }
            let open = [&[5_u8][..], &varint(103), &text("/data/in.txt"), &[1, 0, 0, 0, 0, 0, 1, 0]].concat();
            let answer = outcome(&call(&mut line, &open));
            ended(&mut line, &answer)
        }
        "it-cannot-give-back-what-it-never-took" => {
            // ShrinkDisk { bytes: 1 GiB }, then Open { write, create }, then Write.
            send(&mut line, &[&[6_u8][..], &varint(1 << 30)].concat());
            let open = [&[5_u8][..], &varint(103), &text("/data/out"), &[0, 1, 1, 0, 0, 0, 0, 0]].concat();
            let opened = call(&mut line, &open);
            // Now(Answered { result: Ok(Reply::Handle(_)), .. })
            let [1, 0, _, file @ ..] = &opened[..] else { ended(&mut line, &outcome(&opened)) };
            let mut file = file.to_vec();
            file.truncate(1 + file.iter().position(|byte| byte & 128 == 0).expect("a number"));
            for _ in 0..4 {
                let content = [varint(32 << 10), vec![b'x'; 32 << 10]].concat();
                let write = [&[7_u8][..], &file, &[1], &content].concat();
                let written = outcome(&call(&mut line, &write));
                if written != "ok" {
                    // It was told to stop; the host's verdict is the reason.
                    ended(&mut line, &written);
                }
            }
            ended(&mut line, "it wrote all of it")
        }
        "it-has-a-bounded-number-of-lines" => {
            let more = (0..100).filter(|_| {
                send(&mut line, &[8]);
                receive(&mut line) == [5, 1]
            });
            let more = more.count();
            ended(&mut line, &format!("{more} more"))
        }
        _ => std::process::exit(0),
    }
}

/// Everything of the host that can be reached; `nothing` is what is hoped for.
fn what_there_is(port: &str, held: &[OwnedFd]) -> String {
    let mut found = host::seen();
    for path in ["/tmp/x", "/dev/shm/x", "/usr/x", "/x", "/proc/self/mem", "/proc/self/oom_score_adj"] {
        if fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).is_ok() {
            found.push(format!("writes {path}"));
        }
    }
    for descriptor in held {
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        if fs::OpenOptions::new().write(true).open(&path).is_ok() {
            found.push(format!("opens {path} again for writing"));
        }
        if fs::read_dir(format!("{path}/..")).is_ok() {
            found.push(format!("looks around {path}"));
        }
    }
    if TcpStream::connect(format!("127.0.0.1:{port}")).is_ok() || TcpListener::bind("127.0.0.1:0").is_ok() {
        found.push("makes sockets".into());
    }
    if UnixListener::bind("/tmp/socket").is_ok() || UnixStream::pair().is_ok() {
        found.push("makes Unix sockets".into());
    }
    if Command::new("/bin/true").spawn().is_ok() {
        found.push("starts programs".into());
    }
    let denied = [
        ("kills pid 1", rustix::process::kill_process(rustix::process::Pid::INIT, rustix::process::Signal::KILL).err()),
        ("changes its root", rustix::process::chroot("/usr").err()),
        ("changes its folder", rustix::process::chdir("/usr").err()),
        (
            "changes its limits",
            rustix::process::setrlimit(
                rustix::process::Resource::Nofile,
                rustix::process::Rlimit { current: Some(64), maximum: Some(64) },
            )
            .err(),
        ),
    ];
    found.extend(denied.into_iter().filter(|(_, error)| error.is_none()).map(|(what, _)| what.to_owned()));
    if found.is_empty() { "nothing".into() } else { found.join(", ") }
}
