//! The network part of the scoped hal: what one instance may reach, and how it does.
//!
//! ```text
//! Call ─▶ rights (handle table) ─▶ Network: charge ─▶ arguments ─▶ state ─▶ verdict ─▶ kernel
//!                                              │          │          │         │
//!                                              └ Stopping └ Invalid  └ …       └ Denied + event
//! ```
//!
//! One [`Network`] serves one instance. Its resources are [`TcpSocket`] and [`UdpSocket`]; the handle
//! table holds them, looks at the rights of the handle, and passes the call on:
//!
//! | call | to | gives |
//! | --- | --- | --- |
//! | `TcpSocket`, `UdpSocket` | [`Network::tcp_socket`], [`Network::udp_socket`] | the socket |
//! | `Bind` | [`Network::bind_tcp`], [`Network::bind_udp`] | `Done` |
//! | `Connect` | [`Network::connect_tcp`], [`Network::connect_udp`] | `Done`, `Err(InProgress)` |
//! | `ConnectResult` | [`Network::connect_result`] | `Done`, `Err(WouldBlock)` |
//! | `Disconnect` | [`Network::disconnect`] (UDP) | `Done` |
//! | `Listen`, `Accept` | [`Network::listen`], [`Network::accept`] | `Done`; the socket and its peer |
//! | `ShutdownSocket` | [`TcpSocket::shutdown`] | `Done` |
//! | `LocalAddress`, `PeerAddress` | `local_address`, `peer_address` of either socket | `Address` |
//! | `SetOption`, `GetOption` | `set_option`, `option` of either socket | `Done`, `Option` |
//! | `Send`, `Receive` | [`Network::send`], [`Network::receive`] (TCP) | `Count` |
//! | `SendTo`, `ReceiveFrom` | [`Network::send_to`], [`Network::receive_from`] (UDP) | `Count`, `Datagram` |
//! | `Ready` | [`Network::ready`] with `socket.descriptor()`; waits | `Done` |
//! | `Resolve` | [`Network::resolve`]; waits | `Addresses` |
//!
//! A call that does not fit the kind of socket is the dispatcher's to answer (`NotSupported`).
//! Everything that waits is a future without a task of its own: dropping it gives the call up.
//! Waiting needs a Tokio runtime with its input/output and time drivers.
//!
//! Invariants: no address reaches the kernel before its verdict. Verdicts are given on canonical
//! addresses, and an IPv6 socket never speaks IPv4, so no rule is passed by in another spelling. A
//! name grants only what this instance resolved it to, the first time. A socket that was not granted
//! to listen hears only those it may send to. Every refusal is a [`ringfence_isolation::Denial`].
//!
//! What it does not protect: once a connection is granted, what is said over it is the capsule's
//! own affair. And it trusts the host's routing: an address leads where the host sends it.

mod address;
mod bandwidth;
mod charge;
mod descriptor;
mod error;
mod name;
mod options;
mod pins;
mod resolve;
mod resolver;
mod tcp;
mod traffic;
mod udp;
mod verdict;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_manifest::{BitRate, Permission, Permissions};
use tokio::time::Instant;

use self::bandwidth::Bandwidth;
use self::pins::Pins;
use crate::denials::Denials;

pub(crate) use self::charge::Charge;
pub use self::descriptor::Descriptor;
pub use self::resolver::{Resolver, SystemResolver};
pub(crate) use self::tcp::TcpSocket;
pub(crate) use self::udp::UdpSocket;

/// Hears of each permission that was used, and on what: `example.com:443`, `127.0.0.1:8080`, a name.
/// Called only when the permissions are to be learned, and as often as they are used. A name that is
/// resolved is told as `NetResolve`, even if a `NetConnect` to it, which implies that, follows.
pub(crate) type Learned = Arc<dyn Fn(Permission, String) + Send + Sync>;

/// The network of one instance.
pub(crate) struct Network {
    permissions: Arc<Permissions>,
    resolver: Arc<dyn Resolver>,
    pins: Mutex<Pins>,
    denials: Arc<Denials>,
    charge: Arc<dyn Charge>,
    learned: Option<Learned>,
    bandwidth: Option<Bandwidth>,
    unsolicited: AtomicU64,
}

impl Network {
    /// The network of an instance that has used nothing of it yet.
    pub(crate) fn new(
        permissions: Arc<Permissions>,
        bandwidth: Option<BitRate>,
        resolver: Arc<dyn Resolver>,
        denials: Arc<Denials>,
        charge: Arc<dyn Charge>,
        learned: Option<Learned>,
    ) -> Self {
        Self {
            permissions,
            resolver,
            pins: Mutex::default(),
            denials,
            charge,
            learned,
            bandwidth: bandwidth.map(|rate| Bandwidth::new(rate, Instant::now())),
            unsolicited: AtomicU64::new(0),
        }
    }

    /// How many datagrams came from someone the instance may not send to, and were dropped.
    pub(crate) fn unsolicited(&self) -> u64 {
        self.unsolicited.load(Ordering::Relaxed)
    }
}

/// What a lock protects; nothing here is left half done by a panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
