//! The lines of a monitor, and the descriptors that come to it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// The line that one of its standard streams is.
pub(crate) fn line_of(stream: impl AsFd) -> UnixStream {
    stream.as_fd().try_clone_to_owned().expect("a line").into()
}

pub(crate) fn receive_parcel(parcels: &UnixStream, flags: RecvFlags) -> Vec<OwnedFd> {
    let mut word = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(parcels, &mut [IoSliceMut::new(&mut word)], &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC)
        .expect("a parcel");
    ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect()
}
