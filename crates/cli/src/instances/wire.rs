//! What goes between the process that runs an instance and a command that reaches it: messages in JSON, each a
//! datagram of a socket that keeps them apart (`unix(7)`, SOCK_SEQPACKET), with the descriptors of standard streams
//! beside the one that needs them (SCM_RIGHTS).
//!
//! Both sides decode what the other says as untrusted: it has a largest size, is of a known shape or an error, and
//! brings no more descriptors than three.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The largest message: less than a socket takes at once.
const MOST: usize = 160 << 10;

/// The standard streams of a command.
pub(crate) type Streams = [OwnedFd; 3];

/// What is asked of an instance.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Who are you, and how are you?
    Status,
    /// Take this signal, as if the process that runs you had got it. While a command runs on this connection, it is
    /// for the command.
    Signal(i32),
    /// End now.
    Kill,
    /// Stand still.
    Pause,
    /// Go on.
    Resume,
    /// Run a command with the three descriptors that come with this. It ends with the connection.
    Exec {
        words: Vec<String>,
        environment: BTreeMap<String, String>,
        working_directory: Option<String>,
        /// A terminal with so many rows and columns.
        terminal: Option<(u16, u16)>,
    },
    /// The terminal of the command has so many rows and columns now.
    Resize(u16, u16),
}

/// What an instance answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Answer {
    Status(Status),
    /// It was done, or will be.
    Done,
    /// The command has begun.
    Begun,
    /// The command has ended, with a status as a shell shows it.
    Ended(i32),
    /// The command cannot be executed.
    NotExecuted {
        missing: bool,
        message: String,
    },
    /// It will not be done.
    Refused {
        by_level: bool,
        message: String,
    },
}

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) capsule: String,
    pub(crate) level: String,
    pub(crate) paused: bool,
    /// When it began: seconds since 1970.
    pub(crate) since: u64,
    /// Bytes of memory it holds now.
    pub(crate) memory: u64,
    /// Seconds of processor time.
    pub(crate) cpu_time: f64,
}

/// A line between the two.
pub(super) struct Line(AsyncFd<OwnedFd>);

impl Line {
    /// From a socket that does not block.
    pub(super) fn of(socket: OwnedFd) -> io::Result<Self> {
        Ok(Line(watch_for(socket, Interest::READABLE | Interest::WRITABLE)?))
    }

    /// Sends a message with these descriptors.
    pub(super) async fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        if text.len() > MOST {
            return Err(io::Error::other("what is asked for is too long"));
        }
        self.0.async_io(Interest::WRITABLE, |socket| send(socket.as_fd(), &text, descriptors)).await
    }

    /// The next message and its descriptors; `None` when there will be none.
    pub(super) async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let received = self.0.async_io(Interest::READABLE, |socket| receive(socket.as_fd())).await?;
        let Some((text, descriptors)) = received else { return Ok(None) };
        Ok(Some((serde_json::from_slice(&text)?, descriptors)))
    }
}

#[allow(
    deprecated,
    reason = "its successor is the same but `unsafe`, for inner types that may give another descriptor later; an \
              `OwnedFd` does not"
)]
pub(super) fn watch_for(descriptor: OwnedFd, events: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, events)
}

fn send(socket: BorrowedFd<'_>, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("more descriptors than three"));
    }
    sendmsg(socket, &[IoSlice::new(text)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut text = vec![0; MOST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut ancillary, flags)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a message is too long"));
    }
    text.truncate(received.bytes);
    Ok(Some((text, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_of_a_known_shape() {
        let decoded = |text: &str| serde_json::from_str::<Ask>(text);
        assert!(matches!(decoded("\"status\""), Ok(Ask::Status)));
        assert!(matches!(decoded("{\"signal\":15}"), Ok(Ask::Signal(15))));
        let deep = "[".repeat(100_000);
        for wrong in ["", "{}", "\"destroy\"", "{\"signal\":1e99}", "{\"exec\":{\"words\":[]}}", "null", &deep] {
            assert!(decoded(wrong).is_err(), "{wrong}");
        }
    }
}
