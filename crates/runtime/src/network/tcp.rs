//! TCP: `tcp(7)`, RFC 9293, and the states of `wasi:sockets/tcp`.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use ringfence_abi::{ErrorCode, Interest, Reply, Shutdown, SocketOption};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use self::state::{State, Step};
use super::address::{check_local, check_remote};
use super::error::code;
use super::verdict::UNPRIVILEGED;
use super::{Descriptor, Network, locked, options};

mod state;

/// How many bytes a transfer waits for when bandwidth is short, so that it does not go in crumbs: a
/// segment on an Ethernet (RFC 9293 §3.7.1).
const SEGMENT: usize = 1460;

/// How many connections may wait to be accepted unless the capsule says otherwise.
const BACKLOG: i32 = 128;

/// A TCP socket of one instance.
pub(crate) struct TcpSocket {
    descriptor: Descriptor,
    ipv6: bool,
    /// Whether it is to hear who comes by IPv4, too.
    hears_both: AtomicBool,
    state: Mutex<State>,
    backlog: AtomicI32,
}

impl Network {
    /// Answers `Call::TcpSocket`.
    pub(crate) fn tcp_socket(&self, ipv6: bool) -> Result<TcpSocket, ErrorCode> {
        self.charge.operation()?;
        Ok(TcpSocket::new(Descriptor::open(ipv6, SocketType::STREAM)?, ipv6, State::Unbound))
    }

    /// Answers `Call::Bind`. Taking what the system would choose anyway needs a rule of `net.connect`
    /// at most; what else is taken, and listening, needs `net.listen`.
    pub(crate) fn bind_tcp(&self, socket: &TcpSocket, address: SocketAddr) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        check_local(socket.ipv6, true, address)?;
        let mut state = locked(&socket.state);
        state.check(Step::Bind)?;
        self.check_bind(address)?;
        // A server that is started again finds its port free (WASI asks for it). Not so for a port the
        // system chooses: two sockets could get the same one.
        sockopt::set_socket_reuseaddr(&socket.descriptor, address.port() != 0).map_err(code)?;
        if socket.ipv6 {
            let is_for_all = address.ip().is_unspecified() && socket.hears_both.load(Ordering::Relaxed);
            let hears_both = is_for_all && self.may_hear_ipv4(address.port());
            sockopt::set_ipv6_v6only(&socket.descriptor, !hears_both).map_err(code)?;
        }
        match rustix::net::bind(&socket.descriptor, &address) {
            Ok(()) => *state = State::Bound { asked: address },
            Err(Errno::ACCESS) => return Err(self.deny_by_host(address, UNPRIVILEGED)),
            Err(errno) => return Err(code(errno)),
        }
        Ok(Reply::Done)
    }

    /// Answers `Call::Connect`: `InProgress` when it takes time.
    pub(crate) fn connect_tcp(&self, socket: &TcpSocket, address: SocketAddr) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        check_remote(socket.ipv6, true, address)?;
        let mut state = locked(&socket.state);
        state.check(Step::Connect)?;
        self.check_connect(address)?;
        match retry_on_intr(|| rustix::net::connect(&socket.descriptor, &address)) {
            Ok(()) => {
                *state = State::Connected;
                Ok(Reply::Done)
            }
            Err(Errno::INPROGRESS) => {
                *state = State::Connecting;
                Err(ErrorCode::InProgress)
            }
            Err(errno) => {
                *state = State::Closed;
                Err(code(errno))
            }
        }
    }

    /// Answers `Call::ConnectResult`.
    pub(crate) fn connect_result(&self, socket: &TcpSocket) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        let mut state = locked(&socket.state);
        state.check(Step::ConnectResult)?;
        socket.settle(&mut state)?;
        Ok(Reply::Done)
    }

    /// Answers `Call::Listen`, which `net.listen` must grant.
    pub(crate) fn listen(&self, socket: &TcpSocket) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        let mut state = locked(&socket.state);
        let asked = state.check_listen()?;
        self.check_listen(asked)?;
        if socket.ipv6 && !sockopt::ipv6_v6only(&socket.descriptor).map_err(code)? {
            self.hears_ipv4(asked.port());
        }
        rustix::net::listen(&socket.descriptor, socket.backlog.load(Ordering::Relaxed)).map_err(code)?;
        *state = State::Listening;
        Ok(Reply::Done)
    }

    /// Answers `Call::Accept` with the connection and who made it. Who may listen may be called by
    /// anyone: the peer needs no rule.
    pub(crate) fn accept(&self, socket: &TcpSocket) -> Result<(TcpSocket, SocketAddr), ErrorCode> {
        self.charge.operation()?;
        locked(&socket.state).check(Step::Accept)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = retry_on_intr(|| rustix::net::acceptfrom_with(&socket.descriptor, flags));
        let (fd, peer) = accepted.map_err(of_accept)?;
        // A peer without an address is gone already.
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(ErrorCode::ConnectionAborted)?;
        Ok((TcpSocket::new(Descriptor::new(fd), socket.ipv6, State::Connected), peer))
    }

    /// Answers `Call::Send`.
    pub(crate) fn send(&self, socket: &TcpSocket, from: &[u8]) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        socket.check_connected()?;
        if from.is_empty() {
            return Ok(Reply::Count(0));
        }
        let allowance = self.allow(&socket.descriptor, Interest::Writable, from.len().min(SEGMENT), from.len())?;
        let most = allowance.bytes();
        self.charge.bytes(most as u64)?;
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = retry_on_intr(|| rustix::net::send(&socket.descriptor, &from[..most], flags));
        self.charge.give_back((most - *sent.as_ref().unwrap_or(&0)) as u64);
        let sent = sent.map_err(code)?;
        allowance.spend(sent);
        Ok(Reply::Count(sent))
    }

    /// Answers `Call::Receive`.
    pub(crate) fn receive(&self, socket: &TcpSocket, into: &mut [u8]) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        socket.check_connected()?;
        if into.is_empty() {
            return Ok(Reply::Count(0));
        }
        let allowance = self.allow(&socket.descriptor, Interest::Readable, into.len().min(SEGMENT), into.len())?;
        let into = &mut into[..allowance.bytes()];
        let received = retry_on_intr(|| rustix::net::recv(&socket.descriptor, &mut *into, RecvFlags::DONTWAIT));
        let (_, received) = received.map_err(code)?;
        allowance.spend(received);
        self.charge.bytes(received as u64)?;
        Ok(Reply::Count(received))
    }
}

impl TcpSocket {
    fn new(descriptor: Descriptor, ipv6: bool, state: State) -> Self {
        let (state, backlog) = (Mutex::new(state), AtomicI32::new(BACKLOG));
        Self { descriptor, ipv6, hears_both: AtomicBool::new(false), state, backlog }
    }

    /// What [`Network::ready`] waits for.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Answers `Call::ShutdownSocket`, `shutdown(2)`.
    pub(crate) fn shutdown(&self, how: Shutdown) -> Result<Reply, ErrorCode> {
        self.check_connected()?;
        let how = match how {
            Shutdown::Receive => rustix::net::Shutdown::Read,
            Shutdown::Send => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        rustix::net::shutdown(&self.descriptor, how).map_err(code)?;
        Ok(Reply::Done)
    }

    /// Gives its port back, whoever still waits for it: nobody can accept by it any more. Not when another process has
    /// it, too.
    pub(crate) fn stop_listening(&self) {
        if *locked(&self.state) == State::Listening && !self.descriptor.is_shared() {
            // Who takes the port next finds this one bound, and no longer listening: `socket(7)`, SO_REUSEADDR.
            let _ = sockopt::set_socket_reuseaddr(&self.descriptor, true);
            let _ = rustix::net::shutdown(&self.descriptor, rustix::net::Shutdown::Both);
        }
    }

    /// Answers `Call::LocalAddress`.
    pub(crate) fn local_address(&self) -> Result<Reply, ErrorCode> {
        locked(&self.state).check(Step::LocalAddress)?;
        self.descriptor.local_address().map(Reply::Address)
    }

    /// Answers `Call::PeerAddress`.
    pub(crate) fn peer_address(&self) -> Result<Reply, ErrorCode> {
        locked(&self.state).check(Step::PeerAddress)?;
        self.descriptor.peer_address().map(Reply::Address)
    }

    /// Answers `Call::SetOption`.
    pub(crate) fn set_option(&self, option: SocketOption) -> Result<Reply, ErrorCode> {
        match option {
            SocketOption::Backlog(0) => return Err(ErrorCode::Invalid),
            SocketOption::Backlog(backlog) => {
                let state = locked(&self.state);
                state.check(Step::SetBacklog)?;
                let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
                self.backlog.store(backlog, Ordering::Relaxed);
                if *state == State::Listening {
                    rustix::net::listen(&self.descriptor, backlog).map_err(code)?;
                }
            }
            SocketOption::BothFamilies(_) if !self.ipv6 => return Err(ErrorCode::NoProtocolOption),
            SocketOption::BothFamilies(hears_both) => {
                locked(&self.state).check(Step::Bind)?;
                self.hears_both.store(hears_both, Ordering::Relaxed);
            }
            of_stream @ (SocketOption::NoDelay(_)
            | SocketOption::Abort(_)
            | SocketOption::KeepAlive(_)
            | SocketOption::KeepAliveIdle(_)
            | SocketOption::KeepAliveInterval(_)
            | SocketOption::KeepAliveCount(_)) => options::set_of_stream(&self.descriptor, of_stream)?,
            of_any => options::set(&self.descriptor, self.ipv6, of_any)?,
        }
        Ok(Reply::Done)
    }

    /// Answers `Call::GetOption`.
    pub(crate) fn option(&self, option: SocketOption) -> Result<Reply, ErrorCode> {
        let option = match option {
            SocketOption::Backlog(_) => {
                SocketOption::Backlog(u64::from(self.backlog.load(Ordering::Relaxed).unsigned_abs()))
            }
            SocketOption::BothFamilies(_) if self.ipv6 => {
                SocketOption::BothFamilies(!sockopt::ipv6_v6only(&self.descriptor).map_err(code)?)
            }
            of_stream @ (SocketOption::NoDelay(_)
            | SocketOption::Abort(_)
            | SocketOption::KeepAlive(_)
            | SocketOption::KeepAliveIdle(_)
            | SocketOption::KeepAliveInterval(_)
            | SocketOption::KeepAliveCount(_)) => options::of_stream(&self.descriptor, of_stream)?,
            of_any => options::get(&self.descriptor, self.ipv6, of_any)?,
        };
        Ok(Reply::Option(option))
    }

    /// Checks that there is a connection, and notices one that was just made.
    fn check_connected(&self) -> Result<(), ErrorCode> {
        let mut state = locked(&self.state);
        if *state == State::Connecting {
            self.settle(&mut state)?;
        }
        state.check(Step::Transfer)
    }

    /// Finds out how a connection attempt ended, `connect(2)` under EINPROGRESS; `WouldBlock` while it
    /// goes on. A socket that failed is of no more use, as WASI has it.
    fn settle(&self, state: &mut State) -> Result<(), ErrorCode> {
        if !self.descriptor.is_ready(Interest::Writable)? {
            return Err(ErrorCode::WouldBlock);
        }
        let ended = sockopt::socket_error(&self.descriptor).and_then(|pending| pending);
        *state = if ended.is_ok() { State::Connected } else { State::Closed };
        if ended.is_ok()
            && let Ok(Some(peer)) = rustix::net::getpeername(&self.descriptor)
        {
            // The kernel takes it for one that connects until it is asked again: `connect(2)`, EISCONN.
            let _ = rustix::net::connect(&self.descriptor, &peer);
        }
        ended.map_err(code)
    }
}

/// What is wrong when no connection could be taken. Linux passes on errors that the connection itself
/// had meanwhile (`accept(2)`, "Error handling"); they say nothing about the listening socket.
fn of_accept(errno: Errno) -> ErrorCode {
    match errno {
        Errno::NETDOWN
        | Errno::PROTO
        | Errno::NOPROTOOPT
        | Errno::HOSTDOWN
        | Errno::NONET
        | Errno::HOSTUNREACH
        | Errno::OPNOTSUPP
        | Errno::NETUNREACH
        | Errno::CONNRESET => ErrorCode::ConnectionAborted,
        other => code(other),
    }
}
