//! The namespaces of a capsule: `namespaces(7)`, `user_namespaces(7)`.
//!
//! Root makes them directly. Anybody else makes a user namespace first, in which only their own user
//! and group exist.

mod identity;
mod network;

pub(crate) use identity::{Identity, Privilege, drop_capabilities};
pub(crate) use network::{enter_network, make_network};

/// The namespaces every capsule gets of its own. The cgroup namespace comes later, when the process is
/// in its cgroup: its root is the cgroup of that moment.
const ALWAYS: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// The flags of `clone3(2)`.
pub(crate) fn clone_flags(privilege: Privilege) -> u64 {
    let user = match privilege {
        Privilege::Root => 0,
        Privilege::User => libc::CLONE_NEWUSER,
    };
    (ALWAYS | user) as u64
}
