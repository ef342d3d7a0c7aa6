//! The network of a capsule.
//!
//! The capsule lives in a network namespace of its own (`network_namespaces(7)`) in which nothing but
//! a loopback device is, and where something may be connected to a pair of interfaces that leads to the
//! supervisor: no address, no route, no abstract Unix socket of the host's. What its manifest grants, the
//! supervisor does for it:
//!
//! ```text
//! connect, bind, listen ──seccomp_unotify(2)──▶ Broker: address copied once ─▶ Host::call: verdict, socket
//!          ▲                                                                           │
//!          └──────── the finished socket, in the place of the program's own ◀──────────┘
//! name ──▶ 127.53.53.53:53 in the namespace ──▶ names: Host::call(Resolve) ──▶ pinned addresses
//! datagram ──▶ a pair of interfaces in the namespace ──▶ datagrams: verdict, a socket of the host's
//! ```
//!
//! No call that leads outside is ever let go on in the kernel after its arguments were looked at: the address that was
//! judged is the one that is used. What is let go on stays inside, whatever the arguments are by then: [`within`]. A program never holds a socket of the host's network that is not
//! connected or listening as the manifest grants; every way from there to another address (`connect`,
//! `bind`, `listen`, `MSG_FASTOPEN`) ends in the filter of system calls or here. Once a socket is
//! handed over, what goes over it costs nothing; with a limit on bandwidth it is not ([`streams`]).
//!
//! What it does not do: a socket that was registered with `epoll(7)`, or duplicated, before it is
//! connected is not the one that is connected afterwards.

mod address;
mod ask;
mod bound;
mod broker;
mod closing;
mod connect;
mod datagrams;
mod listen;
mod names;
mod options;
mod place;
mod signal;
mod slots;
mod streams;
mod within;

use std::net::{SocketAddr, SocketAddrV4};

use ringfence_manifest::{NetworkPermissions, Spec};

pub(crate) use broker::Broker;
pub(crate) use datagrams::Wire;
pub(crate) use place::{Beside, Doors, MOST_DOORS, Opening};
pub(crate) use within::Within;

/// Where names are answered, in the capsule's own network.
pub(crate) use ringfence_isolation::names::SERVER as NAME_SERVER;

/// The same with the port of the domain name system.
fn name_server() -> SocketAddr {
    SocketAddrV4::new(NAME_SERVER, 53).into()
}

/// Whether anything of the network is granted.
pub(crate) fn is_granted(network: &NetworkPermissions) -> bool {
    let NetworkPermissions { connect, listen, resolve } = network;
    !connect.is_empty() || !listen.is_empty() || !resolve.is_empty()
}

/// Whether datagrams are passed on at all.
pub(crate) fn has_datagrams(network: &NetworkPermissions) -> bool {
    !network.connect.is_empty() || !network.listen.is_empty()
}

/// Whether connections may come in.
pub(crate) fn is_listening(spec: &Spec) -> bool {
    spec.permissions.learn || !spec.permissions.network.listen.is_empty()
}

/// Whether the bytes of connections are counted: of those that are made, and of those that come in.
pub(crate) fn is_counted(spec: &Spec) -> bool {
    spec.limits.bandwidth.is_some() && (is_listening(spec) || !spec.permissions.network.connect.is_empty())
}
