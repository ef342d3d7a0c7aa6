//! Sockets of the internet: `tcp(7)`, `udp(7)`, over those of the scoped hal.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Instant;

use ringfence_abi::{Call, ErrorCode, Handle, Interest, Reply, Shutdown, SocketOption};
use rustix::io::Errno;

use super::super::errno;
use super::super::open::{Kind, Open};
use super::super::process::lock;
use super::super::readiness::{ERR, HUP, IN, OUT, RDHUP, Watch};
use super::super::signals::Cause;
use super::super::thread::Thread;
use super::super::waiting::Bell;
use super::super::world::World;
use super::address::canonical;
use super::options::Options;
use super::{How, LONGEST_DATAGRAM, Socket, names};
use crate::kvm::Kept;

/// How many answers about names wait to be taken.
const ANSWERS: usize = 64;
/// How much of a stream is looked at ahead: it is kept here until it is taken.
const AHEAD: usize = 64 << 10;

/// A socket of the internet.
pub(in crate::personality) struct Internet {
    pub(super) ipv6: bool,
    pub(super) stream: bool,
    pub(super) options: Options,
    state: Mutex<State>,
    /// Rung when there is something that the hal does not know of.
    pub(super) bell: Bell,
}

#[derive(Default)]
struct State {
    /// The hal's socket, and whether that is of IPv6.
    handle: Option<(Handle, bool)>,
    phase: Phase,
    /// What `SO_ERROR` says next.
    error: Option<ErrorCode>,
    /// What was looked at and not taken, and who sent it.
    ahead: VecDeque<(Vec<u8>, Option<SocketAddr>)>,
    kept: Option<Kept>,
}

impl State {
    fn keep(&mut self, world: &World, bytes: Vec<u8>, from: Option<SocketAddr>) {
        self.ahead.push_back((bytes, from));
        let kept = self.kept.get_or_insert_with(|| Kept::new(world.machine.clone()));
        kept.set(self.ahead.iter().map(|(bytes, _)| bytes.len()).sum());
    }
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Fresh,
    Bound,
    Listening,
    Connecting,
    Connected,
    /// Its peer is the name server.
    Asking,
}

/// What was received.
#[derive(Default)]
pub(super) struct Received {
    pub(super) count: usize,
    /// How long the datagram was.
    pub(super) whole: usize,
    pub(super) from: Option<SocketAddr>,
}

impl Internet {
    pub(super) fn new(ipv6: bool, stream: bool) -> Self {
        let (options, state) = (Options::default(), Mutex::default());
        Internet { ipv6, stream, options, state, bell: Bell::default() }
    }

    fn accepted(ipv6: bool, handle: Handle) -> Self {
        let socket = Internet::new(ipv6, true);
        *lock(&socket.state) = State { handle: Some((handle, ipv6)), phase: Phase::Connected, ..State::default() };
        socket
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        lock(&self.state).handle.map(|(handle, _)| handle)
    }

    /// The hal's socket, made for this family if there is none.
    fn open(&self, world: &World, ipv6: bool) -> Result<Handle, Errno> {
        let mut state = lock(&self.state);
        if let Some((handle, of)) = state.handle {
            return if of == ipv6 { Ok(handle) } else { Err(Errno::NETUNREACH) };
        }
        let call = if self.stream { Call::TcpSocket { ipv6 } } else { Call::UdpSocket { ipv6 } };
        let Reply::Handle(handle) = world.call(call)? else { return Err(Errno::IO) };
        state.handle = Some((handle, ipv6));
        drop(state);
        self.options.apply(world, handle);
        Ok(handle)
    }

    pub(super) fn close(&self, world: &World) {
        if let Some((handle, _)) = lock(&self.state).handle.take() {
            // Nothing can be done about a handle that does not close; the hal closes all at the end.
            let _ = world.host.call(Call::Close { handle }).now();
        }
    }

    /// The address as the hal is to have it: a carried one as what it carries.
    fn target(&self, address: SocketAddr) -> Result<SocketAddr, Errno> {
        match (self.ipv6, address.is_ipv6()) {
            (true, false) | (false, true) => return Err(Errno::AFNOSUPPORT),
            (false, false) => return Ok(address),
            (true, true) => {}
        }
        let target = canonical(address);
        if target.is_ipv4() && self.options.is_only_ipv6() { Err(Errno::NETUNREACH) } else { Ok(target) }
    }

    /// `bind(2)`
    pub(super) fn bind(&self, thread: &Thread, address: SocketAddr) -> Result<(), Errno> {
        let phase = lock(&self.state).phase;
        if phase != Phase::Fresh || self.handle().is_some() {
            return Err(Errno::INVAL);
        }
        let address = self.target(address)?;
        if self.stream || !address.ip().is_unspecified() || address.port() != 0 {
            let handle = self.open(&thread.world, address.is_ipv6())?;
            if let Err(errno) = thread.world.call(Call::Bind { socket: handle, address }) {
                self.close(&thread.world);
                return Err(errno);
            }
        }
        // What the system would choose anyway, it chooses when a datagram is sent.
        lock(&self.state).phase = Phase::Bound;
        Ok(())
    }

    /// The local address that the system would choose.
    fn any(ipv6: bool) -> SocketAddr {
        let ip: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        SocketAddr::from((ip, 0))
    }

    /// `listen(2)`
    pub(super) fn listen(&self, thread: &Thread, backlog: i32) -> Result<(), Errno> {
        if !self.stream {
            return Err(Errno::OPNOTSUPP);
        }
        let world = &thread.world;
        let phase = lock(&self.state).phase;
        if phase == Phase::Fresh {
            self.bind(thread, Internet::any(self.ipv6))?;
        }
        let handle = self.handle().ok_or(Errno::INVAL)?;
        let backlog = SocketOption::Backlog(u64::from(backlog.max(1).unsigned_abs()));
        world.call(Call::SetOption { socket: handle, option: backlog })?;
        if phase != Phase::Listening {
            world.call(Call::Listen { socket: handle })?;
            lock(&self.state).phase = Phase::Listening;
        }
        Ok(())
    }

    /// `connect(2)`
    pub(super) fn connect(&self, thread: &Thread, open: &Open, address: SocketAddr) -> Result<(), Errno> {
        let phase = lock(&self.state).phase;
        match phase {
            Phase::Connected if self.stream => return Err(Errno::ISCONN),
            Phase::Listening => return Err(Errno::ISCONN),
            Phase::Connecting if open.is_nonblocking() => {
                return match self.settle(&thread.world) {
                    Err(Errno::AGAIN) => Err(Errno::ALREADY),
                    other => other,
                };
            }
            Phase::Connecting => return self.connected(thread, open),
            _ => {}
        }
        let address = self.target(address)?;
        if address == names::server() {
            if self.stream {
                return Err(Errno::CONNREFUSED);
            }
            lock(&self.state).phase = Phase::Asking;
            return Ok(());
        }
        thread.know_localhost(address)?;
        let handle = self.open(&thread.world, address.is_ipv6())?;
        match thread.world.host.call(Call::Connect { socket: handle, address }).now() {
            Ok(_) => {
                lock(&self.state).phase = Phase::Connected;
                self.bell.ring();
                Ok(())
            }
            Err(ErrorCode::InProgress) => {
                lock(&self.state).phase = Phase::Connecting;
                self.bell.ring();
                if open.is_nonblocking() { Err(Errno::INPROGRESS) } else { self.connected(thread, open) }
            }
            Err(code) => {
                if self.stream {
                    self.fail(&thread.world);
                }
                Err(thread.world.failed(code))
            }
        }
    }

    fn connected(&self, thread: &Thread, open: &Open) -> Result<(), Errno> {
        loop {
            match self.settle(&thread.world) {
                Err(Errno::AGAIN) => thread.wait_ready(open, OUT, self.options.send_until()).map_err(in_progress)?,
                other => return other,
            }
        }
    }

    /// A socket that failed to connect can be used again, which the hal's cannot.
    fn fail(&self, world: &World) {
        self.close(world);
        lock(&self.state).phase = Phase::Fresh;
        self.bell.ring();
    }

    /// Finds out how connecting ended; `EAGAIN` while it goes on.
    fn settle(&self, world: &World) -> Result<(), Errno> {
        let (phase, handle) = {
            let state = lock(&self.state);
            (state.phase, state.handle)
        };
        let (Phase::Connecting, Some((handle, _))) = (phase, handle) else { return Ok(()) };
        match world.host.call(Call::ConnectResult { socket: handle }).now() {
            Ok(_) => {
                lock(&self.state).phase = Phase::Connected;
                Ok(())
            }
            Err(ErrorCode::WouldBlock) => Err(Errno::AGAIN),
            Err(code) => {
                self.fail(world);
                Err(world.failed(code))
            }
        }
    }

    /// What `SO_ERROR` says, once.
    pub(super) fn take_error(&self, world: &World) -> i32 {
        if let Err(errno) = self.settle(world)
            && errno != Errno::AGAIN
        {
            lock(&self.state).error = None;
            return errno.raw_os_error();
        }
        lock(&self.state).error.take().map_or(0, |code| errno(code).raw_os_error())
    }

    /// `accept(2)`: the connection, and who made it.
    pub(super) fn accept(
        &self,
        thread: &Thread,
        open: &Open,
        flags: u32,
    ) -> Result<(std::sync::Arc<Open>, Vec<u8>), Errno> {
        if !self.stream {
            return Err(Errno::OPNOTSUPP);
        }
        let handle = self.handle().filter(|_| self.is_listening()).ok_or(Errno::INVAL)?;
        let until = self.options.receive_until();
        loop {
            open.attempted(Interest::Readable);
            match thread.world.host.call(Call::Accept { socket: handle }).now() {
                Ok(Reply::Accepted(handle, peer)) => {
                    let socket = Socket::Internet(Internet::accepted(self.ipv6, handle));
                    let flags = flags | libc::O_RDWR as u32;
                    let accepted = Open::new(&thread.world, Kind::Socket(Box::new(socket)), b"socket:[1]", flags);
                    return Ok((accepted, super::address::internet(peer, self.ipv6)));
                }
                Err(ErrorCode::WouldBlock) if !open.is_nonblocking() => {
                    thread.wait_ready(open, IN, until).map_err(would_block)?;
                }
                Err(ErrorCode::ConnectionAborted) if !open.is_nonblocking() => {}
                Ok(_) => return Err(Errno::IO),
                Err(code) => return Err(thread.world.failed(code)),
            }
        }
    }

    /// Sends, to `to` or to the peer. Of a stream everything, unless that would wait and must not.
    pub(super) fn send(
        &self,
        thread: &Thread,
        open: &Open,
        from: &[u8],
        to: Option<SocketAddr>,
        how: How,
    ) -> Result<usize, Errno> {
        if how.has(libc::MSG_OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        let until = self.options.send_until();
        let mut done = 0;
        loop {
            let sent = match self.stream {
                true => self.send_some(thread, &from[done..]),
                false => self.send_datagram(thread, from, to),
            };
            let result = match sent {
                Ok(count) => {
                    done += count;
                    if !self.stream || done >= from.len() {
                        return Ok(done);
                    }
                    continue;
                }
                Err(Errno::AGAIN) => {
                    open.attempted(Interest::Writable);
                    if how.at_once {
                        Err(Errno::AGAIN)
                    } else {
                        thread.wait_ready(open, OUT, until).map_err(would_block)
                    }
                }
                Err(errno) => Err(errno),
            };
            match result {
                Ok(()) => {}
                Err(_) if done > 0 => return Ok(done),
                Err(Errno::PIPE) => {
                    if !how.has(libc::MSG_NOSIGNAL) {
                        thread.raise(&Cause::own(libc::SIGPIPE));
                    }
                    return Err(Errno::PIPE);
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    fn send_some(&self, thread: &Thread, from: &[u8]) -> Result<usize, Errno> {
        self.settle(&thread.world)?;
        let handle = match lock(&self.state) {
            state if state.phase == Phase::Connected => state.handle.ok_or(Errno::NOTCONN)?.0,
            _ => return Err(Errno::PIPE),
        };
        count(thread.world.call(Call::Send { stream: handle, from }))
    }

    fn send_datagram(&self, thread: &Thread, from: &[u8], to: Option<SocketAddr>) -> Result<usize, Errno> {
        let phase = lock(&self.state).phase;
        let to = to.map(|to| self.target(to)).transpose()?;
        if to == Some(names::server()) || (to.is_none() && phase == Phase::Asking) {
            if let Some(answer) = names::ask(thread, from)? {
                let mut state = lock(&self.state);
                if state.ahead.len() < ANSWERS {
                    state.keep(&thread.world, answer, Some(names::server()));
                }
                drop(state);
                self.bell.ring();
            }
            return Ok(from.len());
        }
        let handle = match to {
            Some(to) => {
                thread.know_localhost(to)?;
                self.open(&thread.world, to.is_ipv6())?
            }
            None if phase == Phase::Connected => self.handle().ok_or(Errno::DESTADDRREQ)?,
            None => return Err(Errno::DESTADDRREQ),
        };
        let sent = count(thread.world.call(Call::SendTo { socket: handle, address: to, from }))?;
        self.bell.ring();
        Ok(sent)
    }

    /// Receives what is there; waits for it unless it must not.
    pub(super) fn receive(&self, thread: &Thread, open: &Open, into: &mut [u8], how: How) -> Result<Received, Errno> {
        let until = self.options.receive_until();
        let mut done = 0;
        loop {
            open.attempted(Interest::Readable);
            let received = match self.stream {
                true => self.receive_some(thread, &mut into[done..], how),
                false => self.receive_datagram(thread, into, how),
            };
            match received {
                Ok(received) => {
                    done += received.count;
                    let all = self.stream && how.has(libc::MSG_WAITALL) && !how.has(libc::MSG_PEEK);
                    if !all || done == into.len() || received.count == 0 {
                        return Ok(Received { count: done, ..received });
                    }
                }
                Err(_) if done > 0 => return Ok(Received { count: done, ..Received::default() }),
                Err(Errno::AGAIN) if !how.at_once => thread.wait_ready(open, IN, until).map_err(would_block)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    fn receive_some(&self, thread: &Thread, into: &mut [u8], how: How) -> Result<Received, Errno> {
        self.settle(&thread.world)?;
        let peek = how.has(libc::MSG_PEEK);
        let handle = {
            let mut state = lock(&self.state);
            if state.phase != Phase::Connected {
                return match state.error.take() {
                    Some(code) => Err(errno(code)),
                    None => Err(Errno::NOTCONN),
                };
            }
            if let Some((ahead, _)) = state.ahead.front_mut() {
                let count = ahead.len().min(into.len());
                into[..count].copy_from_slice(&ahead[..count]);
                if !peek {
                    ahead.drain(..count);
                    if ahead.is_empty() {
                        state.ahead.clear();
                        state.kept = None;
                    }
                }
                return Ok(Received { count, whole: count, from: None });
            }
            state.handle.ok_or(Errno::NOTCONN)?.0
        };
        let most = if peek { into.len().min(AHEAD) } else { into.len() };
        thread.world.may_keep(if peek { most } else { 0 })?;
        let count = count(thread.world.call(Call::Receive { stream: handle, into: &mut into[..most] }))?;
        if peek && count > 0 {
            lock(&self.state).keep(&thread.world, into[..count].to_vec(), None);
        }
        Ok(Received { count, whole: count, from: None })
    }

    fn receive_datagram(&self, thread: &Thread, into: &mut [u8], how: How) -> Result<Received, Errno> {
        let take = |state: &mut State| match how.has(libc::MSG_PEEK) {
            true => state.ahead.front().cloned(),
            false => {
                let first = state.ahead.pop_front();
                state.kept = state.kept.take().filter(|_| !state.ahead.is_empty());
                first
            }
        };
        let (ahead, handle) = {
            let mut state = lock(&self.state);
            (take(&mut state), state.handle)
        };
        let (datagram, from) = match (ahead, handle) {
            (Some(ahead), _) => ahead,
            (None, None) => return Err(Errno::AGAIN),
            (None, Some((handle, _))) => {
                let mut datagram = vec![0; LONGEST_DATAGRAM];
                let reply = thread.world.host.call(Call::ReceiveFrom { socket: handle, into: &mut datagram }).now();
                match reply {
                    Ok(Reply::Datagram(count, from)) => {
                        datagram.truncate(count);
                        if how.has(libc::MSG_PEEK) {
                            lock(&self.state).keep(&thread.world, datagram.clone(), Some(from));
                        }
                        (datagram, Some(from))
                    }
                    // Not bound yet: nobody can have sent anything.
                    Err(ErrorCode::Invalid) => return Err(Errno::AGAIN),
                    Ok(_) => return Err(Errno::IO),
                    Err(code) => return Err(thread.world.failed(code)),
                }
            }
        };
        let count = datagram.len().min(into.len());
        into[..count].copy_from_slice(&datagram[..count]);
        Ok(Received { count, whole: datagram.len(), from })
    }

    pub(super) fn length(&self) -> usize {
        lock(&self.state).ahead.front().map_or(0, |(ahead, _)| ahead.len())
    }

    /// `shutdown(2)`
    pub(super) fn shut_down(&self, world: &World, how: Shutdown) -> Result<(), Errno> {
        let (phase, handle) = {
            let state = lock(&self.state);
            (state.phase, state.handle)
        };
        match (phase, handle) {
            (Phase::Connected, Some((socket, _))) if self.stream => {
                world.call(Call::ShutdownSocket { socket, how }).map(drop)
            }
            (Phase::Listening, _) => Ok(()),
            _ => Err(Errno::NOTCONN),
        }
    }

    /// `getsockname(2)`
    pub(super) fn local(&self, world: &World) -> Result<Vec<u8>, Errno> {
        let (phase, handle) = {
            let state = lock(&self.state);
            (state.phase, state.handle)
        };
        let handle = match (phase, handle) {
            // Whoever asks wants to know the port.
            (Phase::Bound, None) => {
                let handle = self.open(world, self.ipv6)?;
                world.call(Call::Bind { socket: handle, address: Internet::any(self.ipv6) })?;
                Some(handle)
            }
            (_, handle) => handle.map(|(handle, _)| handle),
        };
        let address = match handle.map(|socket| world.host.call(Call::LocalAddress { socket }).now()) {
            Some(Ok(Reply::Address(address))) => address,
            _ if phase == Phase::Asking => SocketAddr::from((Ipv4Addr::LOCALHOST, 53053)),
            _ => Internet::any(self.ipv6),
        };
        Ok(super::address::internet(address, self.ipv6))
    }

    /// `getpeername(2)`
    pub(super) fn peer(&self, world: &World) -> Result<Vec<u8>, Errno> {
        if lock(&self.state).phase == Phase::Asking {
            return Ok(super::address::internet(names::server(), self.ipv6));
        }
        self.settle(world).map_err(|_| Errno::NOTCONN)?;
        let socket = self.handle().ok_or(Errno::NOTCONN)?;
        match world.call(Call::PeerAddress { socket })? {
            Reply::Address(address) => Ok(super::address::internet(address, self.ipv6)),
            _ => Err(Errno::IO),
        }
    }

    /// Of a datagram socket: nobody is its peer any more.
    pub(super) fn disconnect(&self, world: &World) -> Result<(), Errno> {
        if self.stream {
            return Err(Errno::OPNOTSUPP);
        }
        if let Some(socket) = self.handle() {
            world.call(Call::Disconnect { socket })?;
        }
        lock(&self.state).phase = Phase::Fresh;
        Ok(())
    }

    pub(super) fn is_listening(&self) -> bool {
        lock(&self.state).phase == Phase::Listening
    }

    pub(super) fn readiness(&self, watch: &mut Watch<'_>, wanted: i16) -> i16 {
        watch.enlist(&self.bell);
        let world = &watch.thread.world;
        if let Err(errno) = self.settle(world)
            && errno != Errno::AGAIN
        {
            lock(&self.state).error = Some(ErrorCode::from_errno(errno.raw_os_error()));
        }
        let (phase, handle, ahead, failed) = {
            let state = lock(&self.state);
            (state.phase, state.handle, !state.ahead.is_empty(), state.error.is_some())
        };
        if failed {
            return ERR | HUP | (IN | OUT | RDHUP) & wanted;
        }
        let mut found = if ahead { IN & wanted } else { 0 };
        match (phase, handle) {
            (Phase::Fresh | Phase::Bound, _) if self.stream => found |= HUP | OUT & wanted,
            (_, Some((handle, _))) => found |= watch.both(handle, wanted),
            (_, None) => found |= OUT & wanted,
        }
        found
    }
}

fn count(reply: Result<Reply, Errno>) -> Result<usize, Errno> {
    match reply? {
        Reply::Count(count) => Ok(count),
        _ => Err(Errno::IO),
    }
}

/// A wait that was too long for `SO_RCVTIMEO` or `SO_SNDTIMEO`.
fn would_block(errno: Errno) -> Errno {
    if errno == Errno::TIMEDOUT { Errno::AGAIN } else { errno }
}

fn in_progress(errno: Errno) -> Errno {
    if errno == Errno::TIMEDOUT { Errno::INPROGRESS } else { errno }
}

/// When a wait of this long is over.
pub(super) fn until(patience: std::time::Duration) -> Option<Instant> {
    if patience.is_zero() { None } else { super::super::time::after(patience) }
}
