//! Passing descriptors to a runner (`unix(7)`, `SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// How many descriptors one parcel holds.
const MOST: usize = 5;

/// Passes descriptors, a parcel for itself.
pub(super) fn pass(line: &UnixStream, descriptors: &[OwnedFd]) -> io::Result<()> {
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("too many descriptors for one parcel"));
    }
    // A runner that takes no parcels does not hold anybody up.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(line, &[IoSlice::new(&[1])], &mut ancillary, flags)?;
    Ok(())
}

/// Waits for a parcel: its descriptors.
pub(super) fn take(line: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    let mut word = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut words = [IoSliceMut::new(&mut word)];
    let received = retry_on_intr(|| recvmsg(&line, &mut words, &mut ancillary, RecvFlags::CMSG_CLOEXEC))?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_arrives_in_its_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let files = [c"one", c"two"].map(|name| {
            let file = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            rustix::io::write(&file, name.to_bytes()).unwrap();
            file
        });
        pass(&ours, &files).unwrap();
        let taken = take(&theirs).unwrap();
        let mut content = [[0; 3]; 2];
        for (file, content) in taken.iter().zip(&mut content) {
            rustix::io::pread(file, content, 0).unwrap();
        }
        assert_eq!((taken.len(), content), (2, [*b"one", *b"two"]));
        drop(ours);
        assert!(take(&theirs).is_err());
    }
}
