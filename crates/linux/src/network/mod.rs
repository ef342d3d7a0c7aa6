//! The network of a capsule: at this version none, or a refusal.
//!
//! The capsule lives in a network namespace of its own (`network_namespaces(7)`) in which even the
//! loopback device is down. Nothing of the host's network is there: no address, no route, no abstract
//! Unix socket.

use ringfence_manifest::{NetworkPermissions, Permission};

/// The permission on the network that this version cannot hold to its rules.
pub(crate) fn not_supported(network: &NetworkPermissions) -> Option<Permission> {
    let NetworkPermissions { connect, listen, resolve } = network;
    [
        (!connect.is_empty(), Permission::NetConnect),
        (!listen.is_empty(), Permission::NetListen),
        (!resolve.is_empty(), Permission::NetResolve),
    ]
    .into_iter()
    .find_map(|(granted, permission)| granted.then_some(permission))
}
