//! Where a UDP socket is in its life, and what can be done there.

use std::net::SocketAddr;

use ringfence_abi::ErrorCode;

use super::super::address::canonical;
use super::super::verdict::Claim;

/// Where a UDP socket is in its life.
///
/// ```text
/// Unbound ──bind, send──▶ Bound ──connect──▶ Connected ──connect──▶ Connected (another peer)
///    ▲ │                    ▲                 ▲    │
///    │ └──────connect───────┼─────────────────┘    │
///    └───────disconnect─────┴──────disconnect──────┘
///         (port not asked for)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// New.
    Unbound,
    /// It has a local address, by this right.
    Bound { claim: Claim },
    /// It has a peer.
    Connected { claim: Claim, peer: SocketAddr },
}

impl State {
    /// By what right it has, or will have, its local address.
    pub(super) fn claim(self) -> Claim {
        match self {
            State::Unbound => Claim::Implicit,
            State::Bound { claim } | State::Connected { claim, .. } => claim,
        }
    }

    /// Only a new socket can be bound.
    pub(super) fn check_bind(self) -> Result<(), ErrorCode> {
        match self {
            State::Unbound => Ok(()),
            State::Bound { .. } | State::Connected { .. } => Err(ErrorCode::Invalid),
        }
    }

    /// A socket without a local address receives nothing and has none to show.
    pub(super) fn check_receive(self) -> Result<(), ErrorCode> {
        match self {
            State::Unbound => Err(ErrorCode::Invalid),
            State::Bound { .. } | State::Connected { .. } => Ok(()),
        }
    }

    /// Where a datagram goes that is sent to `address`; `None` to the peer. With a peer, nobody else
    /// can be sent to; without one, it takes an address.
    pub(super) fn destination(self, address: Option<SocketAddr>) -> Result<Option<SocketAddr>, ErrorCode> {
        match (self, address) {
            (State::Connected { .. }, None) => Ok(None),
            (State::Connected { peer, .. }, Some(address)) if canonical(peer) == canonical(address) => Ok(None),
            (State::Unbound | State::Bound { .. }, Some(address)) => Ok(Some(address)),
            (State::Connected { .. }, Some(_)) | (State::Unbound | State::Bound { .. }, None) => {
                Err(ErrorCode::Invalid)
            }
        }
    }

    /// The kernel gave it a local address when it sent.
    pub(super) fn sent(&mut self) {
        if *self == State::Unbound {
            *self = State::Bound { claim: Claim::Implicit };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_from_every_state_is_done_or_has_its_error() {
        let peer: SocketAddr = "192.0.2.1:53".parse().expect("an address");
        let other: SocketAddr = "192.0.2.2:53".parse().expect("an address");
        let states =
            [State::Unbound, State::Bound { claim: Claim::Listen }, State::Connected { claim: Claim::Listen, peer }];
        let no = ErrorCode::Invalid;
        assert_eq!(states.map(State::check_bind), [Ok(()), Err(no), Err(no)]);
        assert_eq!(states.map(State::check_receive), [Err(no), Ok(()), Ok(())]);
        assert_eq!(states.map(State::claim), [Claim::Implicit, Claim::Listen, Claim::Listen]);
        assert_eq!(states.map(|state| state.destination(None)), [Err(no), Err(no), Ok(None)]);
        assert_eq!(states.map(|state| state.destination(Some(peer))), [Ok(Some(peer)), Ok(Some(peer)), Ok(None)]);
        assert_eq!(states.map(|state| state.destination(Some(other))), [Ok(Some(other)), Ok(Some(other)), Err(no)]);
        let sent = states.map(|mut state| {
            state.sent();
            state
        });
        assert_eq!(sent, [State::Bound { claim: Claim::Implicit }, states[1], states[2]]);
    }
}
