//! Sockets of the internet: `tcp(7)`, `udp(7)`, over those of the scoped hal.

mod connection;
mod traffic;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Instant;

use ringfence_abi::{Call, ErrorCode, Handle, Reply};
use rustix::io::Errno;

use super::super::process::lock;
use super::super::readiness::{ERR, HUP, IN, OUT, RDHUP, Watch};
use super::super::waiting::Bell;
use super::super::world::World;
use super::address::canonical;
use super::names;
use super::options::Options;
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
    /// Held by who finds out how connecting ended.
    settling: Mutex<()>,
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
    more: Option<More>,
}

/// The beginning of a datagram, of which more is to come: `MSG_MORE`.
struct More {
    bytes: Vec<u8>,
    /// To whom, as the first part said.
    to: Option<SocketAddr>,
    kept: Kept,
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
        Internet { ipv6, stream, options, state, settling: Mutex::default(), bell: Bell::default() }
    }

    fn accepted(ipv6: bool, handle: Handle) -> Self {
        let socket = Internet::new(ipv6, true);
        *lock(&socket.state) = State { handle: Some((handle, ipv6)), phase: Phase::Connected, ..State::default() };
        socket
    }

    /// Whether there are settings of this level.
    pub(super) fn has_level(&self, level: i32) -> bool {
        match level {
            libc::SOL_SOCKET | libc::IPPROTO_IP => true,
            libc::IPPROTO_TCP => self.stream,
            libc::IPPROTO_UDP => !self.stream,
            libc::IPPROTO_IPV6 => self.ipv6,
            _ => false,
        }
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
        let handle = lock(&self.state).handle.take();
        if let Some((handle, _)) = handle {
            // Nothing can be done about a handle that does not close; the hal closes all at the end.
            let _ = world.host.call(Call::Close { handle }).now();
            // Who waits for something of it keeps it open until they look again.
            self.bell.ring();
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

    /// The same of a peer: the unspecified address means the host itself (`ip(7)`), and is judged as that.
    fn destination(&self, address: SocketAddr) -> Result<SocketAddr, Errno> {
        let mut target = self.target(address)?;
        if target.ip().is_unspecified() {
            target.set_ip(if target.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        Ok(target)
    }

    /// The local address that the system would choose.
    fn any(ipv6: bool) -> SocketAddr {
        let ip: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        SocketAddr::from((ip, 0))
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

/// A wait that was too long for `SO_RCVTIMEO` or `SO_SNDTIMEO`.
fn would_block(errno: Errno) -> Errno {
    if errno == Errno::TIMEDOUT { Errno::AGAIN } else { errno }
}

/// When a wait of this long is over.
pub(super) fn until(patience: std::time::Duration) -> Option<Instant> {
    if patience.is_zero() { None } else { super::super::time::after(patience) }
}
