//! UDP: `udp(7)`, RFC 768, and the states of `wasi:sockets/udp`.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use ringfence_abi::{ErrorCode, Interest, Reply, SocketOption};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, SocketType};

use self::state::State;
use super::address::{canonical, check_local, check_remote};
use super::error::code;
use super::verdict::{Claim, NO_BROADCAST, UNPRIVILEGED};
use super::{Descriptor, Network, locked, options};

mod state;

/// How many datagrams one call drops before it says that it found none.
const DROPPED_AT_ONCE: usize = 64;

/// A UDP socket of one instance.
pub(crate) struct UdpSocket {
    descriptor: Descriptor,
    ipv6: bool,
    state: Mutex<State>,
    /// One receiver at a time: the datagram that was judged is the one that is taken.
    turn: Mutex<()>,
}

impl Network {
    /// Answers `Call::UdpSocket`.
    pub(crate) fn udp_socket(&self, ipv6: bool) -> Result<UdpSocket, ErrorCode> {
        self.charge.operation()?;
        let descriptor = Descriptor::open(ipv6, SocketType::DGRAM)?;
        Ok(UdpSocket { descriptor, ipv6, state: Mutex::new(State::Unbound), turn: Mutex::new(()) })
    }

    /// Answers `Call::Bind`. With `net.listen` for the address, the socket hears everyone. Taking what
    /// the system would choose anyway needs a rule of `net.connect` at most, and the socket hears only
    /// those the capsule may send to, as one that was never bound.
    pub(crate) fn bind_udp(&self, socket: &UdpSocket, address: SocketAddr) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        check_local(socket.ipv6, false, address)?;
        let mut state = locked(&socket.state);
        state.check_bind()?;
        let claim = self.check_bind(address)?;
        match rustix::net::bind(&socket.descriptor, &address) {
            Ok(()) => *state = State::Bound { claim },
            Err(Errno::ACCESS) => return Err(self.deny_by_host(address, UNPRIVILEGED)),
            Err(errno) => return Err(code(errno)),
        }
        Ok(Reply::Done)
    }

    /// Answers `Call::Connect`: sets the peer, at once, in place of any other.
    pub(crate) fn connect_udp(&self, socket: &UdpSocket, address: SocketAddr) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        check_remote(socket.ipv6, false, address)?;
        let mut state = locked(&socket.state);
        self.check_connect(address)?;
        retry_on_intr(|| rustix::net::connect(&socket.descriptor, &address)).map_err(|errno| match errno {
            Errno::ACCESS => self.deny_by_host(address, NO_BROADCAST),
            other => code(other),
        })?;
        *state = State::Connected { claim: state.claim(), peer: address };
        Ok(Reply::Done)
    }

    /// Answers `Call::Disconnect`. A socket without a peer stays as it is.
    pub(crate) fn disconnect(&self, socket: &UdpSocket) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        let mut state = locked(&socket.state);
        if let State::Connected { claim, .. } = *state {
            rustix::net::connect_unspec(&socket.descriptor).map_err(code)?;
            // A port that nobody asked for goes with the peer.
            let bound = socket.descriptor.local_address()?.port() != 0;
            *state = if bound { State::Bound { claim } } else { State::Unbound };
        }
        Ok(Reply::Done)
    }

    /// Answers `Call::SendTo`. Each destination is judged as one to connect to.
    pub(crate) fn send_to(
        &self,
        socket: &UdpSocket,
        address: Option<SocketAddr>,
        from: &[u8],
    ) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        if let Some(address) = address {
            check_remote(socket.ipv6, false, address)?;
        }
        let destination = locked(&socket.state).destination(address)?;
        if let Some(destination) = destination {
            self.check_connect(destination)?;
        }
        if self.bandwidth.as_ref().is_some_and(|bandwidth| from.len() > bandwidth.burst()) {
            // It could never be sent whole.
            return Err(ErrorCode::MessageTooLong);
        }
        let allowance = self.allow(&socket.descriptor, Interest::Writable, from.len(), from.len())?;
        self.charge.bytes(from.len() as u64)?;
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = retry_on_intr(|| match &destination {
            Some(destination) => rustix::net::sendto(&socket.descriptor, from, flags, destination),
            None => rustix::net::send(&socket.descriptor, from, flags),
        });
        self.charge.give_back((from.len() - *sent.as_ref().unwrap_or(&0)) as u64);
        let sent = sent.map_err(|errno| match (errno, destination) {
            (Errno::ACCESS, Some(destination)) => self.deny_by_host(destination, NO_BROADCAST),
            (other, _) => code(other),
        })?;
        allowance.spend(sent);
        locked(&socket.state).sent();
        Ok(Reply::Count(sent))
    }

    /// Answers `Call::ReceiveFrom`. What comes from someone the socket is not to hear is dropped and
    /// counted.
    pub(crate) fn receive_from(&self, socket: &UdpSocket, into: &mut [u8]) -> Result<Reply, ErrorCode> {
        self.charge.operation()?;
        let state = *locked(&socket.state);
        state.check_receive()?;
        let _turn = locked(&socket.turn);
        for _ in 0..DROPPED_AT_ONCE {
            let mut room = into.len();
            let mut allowance = None;
            if let Some(bandwidth) = &self.bandwidth {
                // Nothing must be taken that bandwidth does not allow: look at its length first. One
                // that bandwidth never allows is cut.
                let (length, sender) = socket.take(&mut [], RecvFlags::PEEK)?;
                if self.hears(state, sender) {
                    room = room.min(bandwidth.burst());
                    let wanted = length.min(room);
                    allowance = Some(self.allow(&socket.descriptor, Interest::Readable, wanted, wanted)?);
                }
            }
            let (length, sender) = socket.take(&mut into[..room], RecvFlags::empty())?;
            let received = length.min(room);
            let Some(sender) = sender.filter(|_| self.hears(state, sender)) else {
                into[..received].fill(0);
                self.unsolicited.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            if let Some(allowance) = allowance {
                allowance.spend(received);
            }
            self.charge.bytes(received as u64)?;
            return Ok(Reply::Datagram(received, sender));
        }
        Err(ErrorCode::WouldBlock)
    }

    /// Whether a socket in this state is to be given a datagram of this sender.
    fn hears(&self, state: State, sender: Option<SocketAddr>) -> bool {
        let Some(sender) = sender.map(canonical) else {
            return false;
        };
        match state {
            // Some may have arrived before there was a peer.
            State::Connected { peer, .. } => canonical(peer) == sender,
            State::Unbound | State::Bound { claim: Claim::Implicit } => self.reaches(sender),
            State::Bound { claim: Claim::Listen } => true,
        }
    }
}

impl UdpSocket {
    /// What [`Network::ready`] waits for.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Answers `Call::LocalAddress`.
    pub(crate) fn local_address(&self) -> Result<Reply, ErrorCode> {
        locked(&self.state).check_receive()?;
        self.descriptor.local_address().map(Reply::Address)
    }

    /// Answers `Call::PeerAddress`.
    pub(crate) fn peer_address(&self) -> Result<Reply, ErrorCode> {
        match *locked(&self.state) {
            State::Connected { peer, .. } => Ok(Reply::Address(peer)),
            State::Unbound | State::Bound { .. } => Err(ErrorCode::NotConnected),
        }
    }

    /// Answers `Call::SetOption`.
    pub(crate) fn set_option(&self, option: SocketOption) -> Result<Reply, ErrorCode> {
        options::set(&self.descriptor, self.ipv6, option)?;
        Ok(Reply::Done)
    }

    /// Answers `Call::GetOption`.
    pub(crate) fn option(&self, option: SocketOption) -> Result<Reply, ErrorCode> {
        options::get(&self.descriptor, self.ipv6, option).map(Reply::Option)
    }

    /// The next datagram: its whole length, of which `into` has as much as fits, and its sender.
    fn take(&self, into: &mut [u8], flags: RecvFlags) -> Result<(usize, Option<SocketAddr>), ErrorCode> {
        let flags = flags | RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let taken = retry_on_intr(|| rustix::net::recvfrom(&self.descriptor, &mut *into, flags));
        let (_, length, sender) = taken.map_err(code)?;
        Ok((length, sender.and_then(|sender| SocketAddr::try_from(sender).ok())))
    }
}
