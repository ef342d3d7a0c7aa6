//! What a capsule's network has before anything runs in it.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, bind, sendmsg,
    socket_with,
};

use super::name_server;
use crate::sys;

/// What leads from a place to its supervisor.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Where the filter of system calls asks.
    pub(crate) listener: OwnedFd,
    /// Where names are asked for.
    pub(crate) names: Option<OwnedFd>,
}

/// Switches the loopback device on and makes the socket names are asked at. Runs after a clone: it
/// allocates nothing.
pub(crate) fn open_doors() -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::loopback_up(socket.as_fd())?;
    let address: SocketAddr = name_server();
    bind(&socket, &address)?;
    Ok(socket)
}

impl Doors {
    /// Sends them, with `message`. Runs after a clone: it allocates nothing.
    pub(crate) fn send(&self, message: &[u8], to: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let both = [self.listener.as_fd(), self.names.as_ref().unwrap_or(&self.listener).as_fd()];
        let descriptors = if self.names.is_some() { &both[..] } else { &both[..1] };
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::NOBUFS);
        }
        sendmsg(to, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
    }
}
