//! What the processes of a place tell the supervisor, over a socket that closes on `execve`.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr, write};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::Step;
use crate::network::{Doors, MOST_DOORS};

/// A message, eight bytes each. The socket keeps them apart (`unix(7)`, SOCK_SEQPACKET).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The way from the place to the supervisor; comes with descriptors, of which it says what they are.
    Doors(i32),
    /// Everything stands; the program's process waits at the gate.
    Ready,
    /// A step failed.
    Failed(Step, Errno),
    /// The program ended with this status, as `wait(2)` has it.
    Ended(i32),
    /// The folders in memory took so many pages, more than the limit on the disk allows.
    Full(u32),
}

const READY: u32 = u32::MAX;
const ENDED: u32 = u32::MAX - 1;
const FULL: u32 = u32::MAX - 2;
const DOORS: u32 = u32::MAX - 3;
const SIZE: usize = 8;

impl Message {
    fn encode(self) -> [u8; SIZE] {
        let (kind, value) = match self {
            Message::Doors(which) => (DOORS, which),
            Message::Ready => (READY, 0),
            Message::Ended(status) => (ENDED, status),
            Message::Full(pages) => (FULL, pages.cast_signed()),
            Message::Failed(step, errno) => (step.number(), errno.raw_os_error()),
        };
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    fn decode(bytes: [u8; SIZE]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let value = i32::from_ne_bytes([e, f, g, h]);
        match u32::from_ne_bytes([a, b, c, d]) {
            DOORS => Some(Message::Doors(value)),
            READY => Some(Message::Ready),
            ENDED => Some(Message::Ended(value)),
            FULL => Some(Message::Full(value.cast_unsigned())),
            step => Some(Message::Failed(Step::from_number(step)?, Errno::from_raw_os_error(value))),
        }
    }

    /// Sends the doors.
    pub(super) fn send_doors(doors: &Doors, to: &OwnedFd) -> Result<(), Errno> {
        doors.send(&Message::Doors(doors.which()).encode(), to.as_fd())
    }

    /// Sends it. Nothing can be done when that fails: the supervisor sees the pipe end.
    pub(super) fn send(self, to: &OwnedFd) {
        let _ = write(to, &self.encode());
    }
}

/// The supervisor's end.
pub(crate) struct Report(pub(crate) OwnedFd);

impl Report {
    /// The next message; `None` when there will be none.
    pub(crate) fn next(&self) -> Option<Message> {
        self.next_with_doors().map(|(message, _)| message)
    }

    /// The next message with the doors, if it brings them.
    pub(crate) fn next_with_doors(&self) -> Option<(Message, Option<Doors>)> {
        let mut bytes = [0; SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DOORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        });
        if received.ok()?.bytes != SIZE {
            return None;
        }
        let mut descriptors = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let message = Message::decode(bytes)?;
        let doors = match message {
            Message::Doors(which) => Doors::from(which, &mut descriptors),
            _ => None,
        };
        drop(descriptors);
        Some((message, doors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_pipe() {
        for message in [
            Message::Doors(5),
            Message::Ready,
            Message::Ended(139),
            Message::Ended(-1),
            Message::Full(u32::MAX),
            Message::Failed(Step::Execute, Errno::NOENT),
        ] {
            assert_eq!(Message::decode(message.encode()), Some(message));
        }
    }

    #[test]
    fn a_step_that_does_not_exist_is_no_message() {
        let mut bytes = Message::Ready.encode();
        bytes[..4].copy_from_slice(&9999_u32.to_ne_bytes());
        assert_eq!(Message::decode(bytes), None);
    }
}
