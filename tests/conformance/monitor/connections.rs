//! What connections a monitor gets into its own hands, and what it can do with them.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use ringfence::Report;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, connect, connect_unspec, listen, sendto, sockopt};

use super::lab::{Lab, Tried};
use super::parcel::{line_of, receive_parcel};
use super::{skipped, unconfined};
use crate::frames::{call, ended, outcome, receive, send, varint};

/// What is tried, the limits it is tried under, and what comes of it.
const TRIALS: [(&str, &str, &str); 4] = [
    ("it-has-no-sockets-but-connections", "", "trapped: none"),
    ("its-connections-lead-where-they-did", "", "trapped: nowhere else"),
    ("bandwidth-is-counted-by-who-sends", "bandwidth = \"1 Mbit/s\"", "trapped: none of its own"),
    ("operations-are-counted-by-who-sends", "io_operations = 1000", "trapped: none of its own"),
];

pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    TRIALS.iter().map(|&(name, limits, said)| Trial::ignorable_test(name, move || attempt(name, limits, said)))
}

fn attempt(name: &str, limits: &str, said: &str) -> Result<Completion, Failed> {
    // Who comes waits to be heard until it is over.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    let port = listener.local_addr().expect("its address").port();
    let lab = Lab::new();
    let name = format!("{name}.{port}");
    let permissions = format!("net.connect = [\"127.0.0.1:{port}\"]");
    let tried = Tried { name: &name, limits, permissions: &permissions, ..Tried::default() };
    let report: Report = match lab.load(&tried).map(|capsule| capsule.run_blocking()) {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return Err(error.to_string().into()),
        Err(error) => return skipped(error),
    };
    if let Some(missing) = unconfined(&report) {
        return Ok(Completion::ignored_with(missing));
    }
    if report.exit.to_string() != said {
        return Err(format!("{} {:?}", report.exit, report.denials).into());
    }
    let mut heard = String::new();
    let (mut peer, _) = listener.accept()?;
    peer.set_nonblocking(false)?;
    peer.set_read_timeout(Some(Duration::from_secs(20)))?;
    peer.read_to_string(&mut heard)?;
    if heard == "x" { Ok(Completion::Completed) } else { Err(format!("what came: {heard:?}").into()) }
}

/// What a monitor does that is called so; returns for other names.
pub(crate) fn attack(name: &str, port: &str, line: &mut UnixStream) {
    if !TRIALS.iter().any(|(known, ..)| *known == name) {
        return;
    }
    let port: u16 = port.parse().expect("a port");
    // TcpSocket { ipv6: false }
    let socket = handle(line, &[28, 0]);
    let unconnected = connection(line, &socket);
    let address = [&[0, 127, 0, 0, 1][..], &varint(port.into())].concat();
    // Connect { socket, address }
    let connected = call(line, &[&[31][..], &socket, &address].concat());
    let in_progress = outcome(&connected) == format!("[{}]", libc::EINPROGRESS);
    // ConnectResult { socket }, until it is not the one that would have to wait
    let would_wait = format!("[{}]", libc::EAGAIN);
    while in_progress && outcome(&call(line, &[&[32][..], &socket].concat())) == would_wait {
        std::thread::yield_now();
    }
    match name {
        "it-has-no-sockets-but-connections" => {
            let mut has: Vec<String> = Vec::new();
            // UdpSocket { ipv6: false }
            let datagrams = handle(line, &[29, 0]);
            let to = call(line, &[&[31][..], &datagrams, &address].concat());
            // The streams, a folder, one that nobody made; the socket before it was connected; datagrams.
            let others = [100, 101, 102, 103, 1 << 40].map(varint);
            has.extend(unconnected.map(|_| "one without a peer".into()));
            has.extend(others.iter().filter_map(|other| connection(line, other)).map(|_| "what is none".into()));
            has.extend(connection(line, &datagrams).map(|_| "datagrams".into()));
            if outcome(&to) != "ok" {
                has.push(format!("no datagrams to try: {}", outcome(&to)));
            }
            say_x(line, &socket);
            ended(line, if has.is_empty() { "none" } else { has[0].as_str() })
        }
        "its-connections-lead-where-they-did" => {
            let Some(connection) = connection(line, &socket) else { ended(line, "it has none") };
            let found = elsewhere(&connection, port);
            let sent = rustix::net::send(&connection, b"x", SendFlags::NOSIGNAL);
            ended(line, if sent == Ok(1) { found } else { "it cannot send" })
        }
        _ => {
            let has = connection(line, &socket).is_some();
            say_x(line, &socket);
            ended(line, if has { "its own" } else { "none of its own" })
        }
    }
}

/// Where a connection can be led by who has it, beside where it leads.
fn elsewhere(connection: &OwnedFd, port: u16) -> &'static str {
    let other = SocketAddr::from((Ipv4Addr::LOCALHOST, port.wrapping_add(1)));
    if connect(connection, &other).is_ok() || connect_unspec(connection).is_ok() {
        return "it connects it again";
    }
    // The second is how a socket that has lost its peer is connected to another one: `tcp(7)`, MSG_FASTOPEN.
    let names = [SendFlags::NOSIGNAL, SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32)]
        .map(|flags| sendto(connection, b"y", flags, &other));
    if names != [Err(Errno::PERM); 2] {
        return "it names another receiver";
    }
    if listen(connection, 1).is_ok() || sockopt::set_socket_reuseaddr(connection, true).is_ok() {
        return "it changes what it is";
    }
    "nowhere else"
}

/// Has the supervisor send it.
fn say_x(line: &mut UnixStream, socket: &[u8]) {
    // Send { stream, from }
    let sent = call(line, &[&[25][..], socket, &[1, b'x']].concat());
    if outcome(&sent) != "ok" {
        ended(line, &format!("it was not sent: {}", outcome(&sent)));
    }
}

/// The handle of a new socket, as bytes.
fn handle(line: &mut UnixStream, make: &[u8]) -> Vec<u8> {
    let made = call(line, make);
    // Now(Answered { result: Ok(Reply::Handle(_)), .. })
    let [1, 0, _, handle @ ..] = &made[..] else { ended(line, &outcome(&made)) };
    let length = 1 + handle.iter().position(|byte| byte & 128 == 0).expect("a number");
    handle[..length].to_vec()
}

/// The connection behind a handle, if it comes as a parcel.
fn connection(line: &mut UnixStream, socket: &[u8]) -> Option<OwnedFd> {
    // Connection(socket)
    send(line, &[&[17][..], socket].concat());
    match receive(line)[..] {
        [5, 1] => receive_parcel(&line_of(std::io::stderr().as_fd()), RecvFlags::empty()).pop(),
        [5, 0] => None,
        ref other => ended(line, &format!("{other:?}")),
    }
}
