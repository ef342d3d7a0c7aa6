//! One instance's network against the loopback interface of this machine.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringfence_abi::{ErrorCode, Interest, Reply};
use ringfence_isolation::{BoxFuture, Denial};
use ringfence_manifest::{BitRate, ListenRule, Permission, Permissions, Source};

use super::{Charge, Network, Resolver, TcpSocket, locked};
use crate::denials::Denials;

mod connect;
mod datagrams;
mod descriptors;
mod learning;
mod limits;
mod listen;
mod names;
mod settings;

/// No test waits longer for what should come.
const PATIENCE: Duration = Duration::from_secs(20);

/// One instance's network, with everything around it that a test wants to look at.
struct Place {
    network: Network,
    denials: Arc<Denials>,
    meter: Arc<CountingMeter>,
    resolver: Arc<FakeResolver>,
    learned: Arc<Mutex<Vec<(Permission, String)>>>,
}

impl Place {
    /// With these rules of `net.connect`.
    fn connecting(rules: &[&str]) -> Self {
        Self::new(permissions(rules, &[], &[]), None)
    }

    /// With these rules of `net.listen`.
    fn listening(rules: &[&str]) -> Self {
        Self::new(permissions(&[], rules, &[]), None)
    }

    fn new(permissions: Permissions, bandwidth: Option<BitRate>) -> Self {
        let denials = Arc::new(Denials::new(None));
        let meter = Arc::new(CountingMeter::default());
        let resolver = Arc::new(FakeResolver::default());
        let learned = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&learned);
        let network = Network::new(
            Arc::new(permissions),
            bandwidth,
            resolver.clone(),
            denials.clone(),
            meter.clone(),
            Some(Arc::new(move |permission, resource| locked(&sink).push((permission, resource)))),
        );
        Self { network, denials, meter, resolver, learned }
    }

    /// The denials so far, each once.
    fn denied(&self) -> Vec<Denial> {
        self.denials.list().into_iter().map(|(denial, _)| denial).collect()
    }

    /// The one denial so far, in words.
    fn the_denial(&self) -> String {
        match self.denied().as_slice() {
            [denial] => denial.to_string(),
            other => panic!("not one denial: {other:?}"),
        }
    }

    /// A socket connected to `address`.
    async fn connected(&self, address: SocketAddr) -> TcpSocket {
        let socket = self.network.tcp_socket(address.is_ipv6()).expect("a socket");
        self.connect(&socket, address).await.expect("a connection");
        socket
    }

    /// Connects and waits for how it ends.
    async fn connect(&self, socket: &TcpSocket, address: SocketAddr) -> Result<Reply, ErrorCode> {
        match self.network.connect_tcp(socket, address) {
            Err(ErrorCode::InProgress) => {
                soon(self.network.ready(socket.descriptor(), Interest::Writable)).await?;
                self.network.connect_result(socket)
            }
            other => other,
        }
    }

    /// Receives something, waiting for it.
    async fn receive(&self, socket: &TcpSocket) -> Result<Vec<u8>, ErrorCode> {
        let mut bytes = vec![0; 65536];
        loop {
            match self.network.receive(socket, &mut bytes) {
                Ok(Reply::Count(count)) => {
                    bytes.truncate(count);
                    return Ok(bytes);
                }
                Err(ErrorCode::WouldBlock) => {
                    soon(self.network.ready(socket.descriptor(), Interest::Readable)).await?;
                }
                other => return Err(other.expect_err("a count")),
            }
        }
    }
}

/// Permissions with these rules of `net.connect`, `net.listen` and `net.resolve`.
fn permissions(connect: &[&str], listen: &[&str], resolve: &[&str]) -> Permissions {
    let mut permissions = Permissions::default();
    permissions.network.connect = connect.iter().map(|rule| rule.parse().expect("a rule")).collect();
    permissions.network.listen = listen.iter().flat_map(|rule| ListenRule::parse(rule).expect("a rule")).collect();
    permissions.network.resolve = resolve.iter().map(|rule| rule.parse().expect("a rule")).collect();
    permissions.sources.insert(Permission::NetConnect, Source("capsule.toml:7".to_string()));
    permissions
}

/// Waits for what should come at once.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it should have come by now")
}

/// A listening socket of the host, and its address.
fn host(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((address, 0)).expect("the loopback interface");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Takes the connection that was made.
fn take(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Counts, and stops at a limit.
struct CountingMeter {
    operations: AtomicU64,
    most_operations: AtomicU64,
    bytes: AtomicU64,
    most_bytes: AtomicU64,
}

impl Default for CountingMeter {
    fn default() -> Self {
        let none = || AtomicU64::new(0);
        let all = || AtomicU64::new(u64::MAX);
        Self { operations: none(), most_operations: all(), bytes: none(), most_bytes: all() }
    }
}

impl Charge for CountingMeter {
    fn operation(&self) -> Result<(), ErrorCode> {
        let before = self.operations.fetch_add(1, Ordering::Relaxed);
        if before < self.most_operations.load(Ordering::Relaxed) { Ok(()) } else { Err(ErrorCode::Stopping) }
    }

    fn bytes(&self, count: u64) -> Result<(), ErrorCode> {
        let before = self.bytes.fetch_add(count, Ordering::Relaxed);
        let most = self.most_bytes.load(Ordering::Relaxed);
        if before.saturating_add(count) <= most { Ok(()) } else { Err(ErrorCode::Stopping) }
    }

    fn give_back(&self, count: u64) {
        self.bytes.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Gives the answers it was told to, one after the other and not at once, and notes the questions.
#[derive(Default)]
struct FakeResolver {
    answers: Mutex<VecDeque<io::Result<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl FakeResolver {
    fn will_say(&self, addresses: &[&str]) {
        locked(&self.answers).push_back(Ok(addresses.iter().map(|text| ip(text)).collect()));
    }

    fn will_fail(&self, kind: io::ErrorKind) {
        locked(&self.answers).push_back(Err(kind.into()));
    }

    fn asked(&self) -> Vec<String> {
        locked(&self.asked).clone()
    }
}

impl Resolver for FakeResolver {
    /// Without an answer it was told, it never answers.
    fn resolve(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        locked(&self.asked).push(name);
        match locked(&self.answers).pop_front() {
            Some(answer) => Box::pin(async {
                tokio::task::yield_now().await;
                answer
            }),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// Sends and gets back the same, from the host's end of a connection.
fn greet(mut stream: &TcpStream) -> Vec<u8> {
    stream.write_all(b"who is there?").expect("sent");
    let mut answer = vec![0; 64];
    let count = stream.read(&mut answer).expect("an answer");
    answer.truncate(count);
    answer
}
