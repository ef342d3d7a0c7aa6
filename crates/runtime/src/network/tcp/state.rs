//! Where a TCP socket is in its life, and what can be done there.

use std::net::SocketAddr;

use ringfence_abi::ErrorCode;

/// Where a TCP socket is in its life.
///
/// ```text
/// Unbound ──bind──▶ Bound ──listen──▶ Listening ──accept──▶ (another socket, Connected)
///    │                │
///    └────connect─────┤ connect
///                     ▼
///                 Connecting ──result──▶ Connected
///                     │
///                     └──failed──▶ Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// New.
    Unbound,
    /// It has a local address; this was asked for, with port 0 if the system was to choose.
    Bound { asked: SocketAddr },
    /// It takes connections.
    Listening,
    /// An attempt to connect goes on.
    Connecting,
    /// There is a connection, or was one.
    Connected,
    /// An attempt to connect failed.
    Closed,
}

/// What can be done with a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Bind,
    Connect,
    ConnectResult,
    Listen,
    Accept,
    /// Send, receive or shut down.
    Transfer,
    LocalAddress,
    PeerAddress,
    SetBacklog,
}

impl State {
    /// Whether the step can be taken here: `Invalid` where WASI says `invalid-state`, unless POSIX has a
    /// better word.
    pub(super) fn check(self, step: Step) -> Result<(), ErrorCode> {
        use State::{Bound, Closed, Connected, Connecting, Listening, Unbound};
        match (step, self) {
            (Step::Bind, Unbound) => Ok(()),
            (Step::Connect, Unbound | Bound { .. }) => Ok(()),
            (Step::ConnectResult, Connecting) => Ok(()),
            (Step::Listen, Bound { .. }) => Ok(()),
            (Step::Accept, Listening) => Ok(()),
            (Step::Transfer | Step::PeerAddress, Connected) => Ok(()),
            (Step::LocalAddress, Bound { .. } | Listening | Connecting | Connected) => Ok(()),
            (Step::SetBacklog, Unbound | Bound { .. } | Listening) => Ok(()),

            (Step::Bind | Step::Connect | Step::Listen, Connecting) => Err(ErrorCode::AlreadyInProgress),
            (Step::Connect | Step::ConnectResult, Connected) => Err(ErrorCode::AlreadyConnected),
            (Step::Transfer | Step::PeerAddress, Unbound | Bound { .. } | Listening | Connecting | Closed) => {
                Err(ErrorCode::NotConnected)
            }
            (Step::Bind, Bound { .. } | Listening | Connected | Closed)
            | (Step::Connect, Listening | Closed)
            | (Step::ConnectResult, Unbound | Bound { .. } | Listening | Closed)
            | (Step::Listen, Unbound | Listening | Connected | Closed)
            | (Step::Accept, Unbound | Bound { .. } | Connecting | Connected | Closed)
            | (Step::LocalAddress, Unbound | Closed)
            | (Step::SetBacklog, Connecting | Connected | Closed) => Err(ErrorCode::Invalid),
        }
    }

    /// The address a socket that may begin to listen was asked to be bound to.
    pub(super) fn check_listen(self) -> Result<SocketAddr, ErrorCode> {
        self.check(Step::Listen)?;
        match self {
            State::Bound { asked } => Ok(asked),
            _ => Err(ErrorCode::Invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_from_every_state_is_done_or_has_its_error() {
        use ErrorCode::{AlreadyConnected, AlreadyInProgress, Invalid, NotConnected};
        let states = [
            State::Unbound,
            State::Bound { asked: "127.0.0.1:0".parse().expect("an address") },
            State::Listening,
            State::Connecting,
            State::Connected,
            State::Closed,
        ];
        let i = Err(Invalid);
        let n = Err(NotConnected);
        let table = [
            // unbound, bound, listening, connecting, connected, closed
            (Step::Bind, [Ok(()), i, i, Err(AlreadyInProgress), i, i]),
            (Step::Connect, [Ok(()), Ok(()), i, Err(AlreadyInProgress), Err(AlreadyConnected), i]),
            (Step::ConnectResult, [i, i, i, Ok(()), Err(AlreadyConnected), i]),
            (Step::Listen, [i, Ok(()), i, Err(AlreadyInProgress), i, i]),
            (Step::Accept, [i, i, Ok(()), i, i, i]),
            (Step::Transfer, [n, n, n, n, Ok(()), n]),
            (Step::LocalAddress, [i, Ok(()), Ok(()), Ok(()), Ok(()), i]),
            (Step::PeerAddress, [n, n, n, n, Ok(()), n]),
            (Step::SetBacklog, [Ok(()), Ok(()), Ok(()), i, i, i]),
        ];
        for (step, expected) in table {
            assert_eq!(states.map(|state| state.check(step)), expected, "{step:?}");
        }
    }
}
