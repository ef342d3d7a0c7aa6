//! The instance's only way out.

use std::os::fd::OwnedFd;

use ringfence_abi::{Call, ErrorCode, Handle, Reply};
use ringfence_manifest::Permission;

use crate::{BoxFuture, Denial, Limit, Usage};

/// The instance's only way out; the runtime makes one per instance and the backend passes every
/// call of the capsule through it.
pub trait Host: Send + Sync {
    /// Serves one call. Answers that need no waiting come at once and cost no allocation.
    ///
    /// [`ErrorCode::Stopping`] means that the instance has to end now: [`Host::verdict`] says why.
    fn call<'a>(&'a self, call: Call<'a>) -> Answer<'a>;

    /// Adds what the backend measured since its last charge (memory is absolute: the amount held
    /// now, and 0 says nothing of it) and says whether the instance may go on.
    fn charge(&self, used: Usage) -> Verdict;

    /// Whether the instance may go on.
    fn verdict(&self) -> Verdict;

    /// Judges what the capsule wants to do at a resolved path that the backend serves itself, with
    /// nothing of the host's behind it: a folder in memory. A use is learned, a denial told.
    ///
    /// # Errors
    /// `Denied`, or `CrossDevice` for a move that would gain a right; from a host that cannot judge,
    /// always.
    fn judge(&self, path: &[u8], wanted: FileUse<'_>) -> Result<(), ErrorCode> {
        let _ = (path, wanted);
        Err(ErrorCode::Denied)
    }

    /// Takes back what the backend charged as [`Usage::disk`] and what is there no more.
    fn shrink_disk(&self, bytes: u64) {
        let _ = bytes;
    }

    /// The socket behind a handle, as a descriptor of its own, for a program that makes system calls:
    /// what goes over it from then on is neither seen nor counted here. A backend that asks for it and
    /// promised to hold a limit on bandwidth or on input and output has to count it itself. The handle
    /// stays open, and both share what belongs to the socket, whether it blocks included.
    ///
    /// # Errors
    /// `BadHandle` when it is no socket or may not be passed on; `NotSupported` from a host that has no
    /// descriptors.
    fn descriptor(&self, socket: Handle) -> Result<OwnedFd, ErrorCode> {
        let _ = socket;
        Err(ErrorCode::NotSupported)
    }

    /// Reports what was denied by something else than the answer to a call, such as the machine itself.
    fn denied(&self, denial: Denial) {
        let _ = denial;
    }

    /// The program used this permission on a path of its tree, or looked whether something is there, by a
    /// system call that nobody judges here. It is taken down where the spec says to learn.
    fn used(&self, permission: Option<Permission>, path: &[u8]) {
        let _ = (permission, path);
    }

    /// The folders the instance begins with, the root of its tree first; none from a host without files.
    fn folders(&self) -> Vec<Folder> {
        Vec::new()
    }

    /// The names of the functions the embedder offers, as `interface#function`; none unless they are named.
    fn functions(&self) -> &[String] {
        &[]
    }
}

/// What is wanted at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileUse<'a> {
    /// What this permission is for.
    With(Permission),
    /// To learn that something is there, and its metadata.
    Look,
    /// To give it this name.
    Move(&'a [u8]),
}

/// A folder the instance begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its path as the manifest wrote it.
    pub name: String,
    /// The handle.
    pub handle: Handle,
}

/// The answer to a call.
pub enum Answer<'a> {
    /// Done, or not.
    Now(Result<Reply, ErrorCode>),
    /// It takes waiting. Dropping the future gives the call up and leaves nothing behind.
    Later(BoxFuture<'a, Result<Reply, ErrorCode>>),
}

impl Answer<'_> {
    /// Waits for the answer if that is needed.
    pub async fn wait(self) -> Result<Reply, ErrorCode> {
        match self {
            Answer::Now(result) => result,
            Answer::Later(future) => future.await,
        }
    }

    /// The answer of a call that never waits; [`ErrorCode::WouldBlock`] should it wait all the same.
    pub fn now(self) -> Result<Reply, ErrorCode> {
        match self {
            Answer::Now(result) => result,
            Answer::Later(_) => Err(ErrorCode::WouldBlock),
        }
    }
}

/// Whether an instance may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Continue,
    /// It used more than this limit allows.
    Exceeded(Limit),
    /// It needed what it was denied, in a call that has no way to say so.
    Denied(Denial),
    /// It is being stopped from outside.
    Stopped,
}
