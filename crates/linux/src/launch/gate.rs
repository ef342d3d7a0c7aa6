//! Where pid 1 and then pid 2 wait for what is passed through later: the network namespace, which is made
//! while the tree is raised, and the standard streams, so that a place can be built before anybody knows
//! what will be connected to it.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Lets pid 1 into a network namespace.
pub(crate) fn pass_network(gate: &OwnedFd, network: &OwnedFd) -> Result<(), Errno> {
    pass(gate, &[network.as_fd()])
}

/// Lets pid 2 go, with these standard streams.
pub(crate) fn pass_streams(gate: &OwnedFd, streams: &[OwnedFd; 3]) -> Result<(), Errno> {
    pass(gate, &streams.each_ref().map(AsFd::as_fd))
}

fn pass(gate: &OwnedFd, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(gate, &[IoSlice::new(&[1])], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for the network namespace. Runs after a clone: it allocates nothing.
pub(super) fn take_network(gate: &OwnedFd) -> Result<OwnedFd, Errno> {
    let [network, ..] = take(gate)?.ok_or(Errno::CONNABORTED)?;
    network.ok_or(Errno::BADMSG)
}

/// Waits for the standard streams and connects them; `false` when they will not come. Runs after a
/// clone: it allocates nothing. Descriptors 0 to 2 are closed where it runs.
pub(super) fn take_streams(gate: &OwnedFd) -> Result<bool, Errno> {
    let Some([Some(input), Some(output), Some(error)]) = take(gate)? else { return Ok(false) };
    // The kernel gave them the lowest free numbers in their order: none lies where a later one belongs.
    connect(input, 0, |input| dup2_stdin(input))?;
    connect(output, 1, |output| dup2_stdout(output))?;
    connect(error, 2, |error| dup2_stderr(error))?;
    Ok(true)
}

/// The next descriptors; `None` when whoever would pass them is gone.
fn take(gate: &OwnedFd) -> Result<Option<[Option<OwnedFd>; 3]>, Errno> {
    let mut word = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        retry_on_intr(|| recvmsg(gate, &mut [IoSliceMut::new(&mut word)], &mut ancillary, RecvFlags::empty()));
    if received?.bytes == 0 {
        return Ok(None);
    }
    match ancillary.drain().next() {
        Some(RecvAncillaryMessage::ScmRights(mut rights)) => Ok(Some([rights.next(), rights.next(), rights.next()])),
        _ => Err(Errno::BADMSG),
    }
}

/// Puts a stream where it belongs; it stays open when the program is executed.
fn connect(stream: OwnedFd, number: i32, move_there: fn(&OwnedFd) -> Result<(), Errno>) -> Result<(), Errno> {
    if stream.as_raw_fd() == number {
        std::mem::forget(stream);
        return Ok(());
    }
    move_there(&stream)
}
