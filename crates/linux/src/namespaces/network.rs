//! Network namespaces made beside a clone instead of by it: they take longest of all namespaces.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::launch::above_streams;
use crate::sys;

/// This thread's network namespace (`proc(5)`).
const OWN: &str = "/proc/thread-self/ns/net";

/// Makes a network namespace on the calling thread, which is back in its own when this returns well.
/// Only root can: a namespace made here does not belong to the user namespace of a place.
pub(crate) fn make_network() -> io::Result<OwnedFd> {
    let home = File::open(OWN)?;
    sys::unshare(libc::CLONE_NEWNET)?;
    let made = File::open(OWN);
    enter(home.as_fd())?;
    Ok(above_streams(made?.into())?)
}

/// Enters a network namespace. Runs after a clone.
pub(crate) fn enter_network(network: &OwnedFd) -> Result<(), Errno> {
    enter(network.as_fd())
}

fn enter(network: std::os::fd::BorrowedFd<'_>) -> Result<(), Errno> {
    move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
}
