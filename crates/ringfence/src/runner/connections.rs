//! TCP connections of a runner's own: where they lead was judged by the supervisor, which passes them on, and what goes
//! over them needs nobody in between.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_abi::{ErrorCode, Handle, Interest, Reply};
use ringfence_isolation::Answer;
use ringfence_runtime::Descriptor;
use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// One of them.
pub(super) struct Connection(Descriptor);

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Connection(Descriptor::new(socket))
    }

    /// Answers `Call::Send`.
    pub(super) fn send(&self, from: &[u8]) -> Result<Reply, ErrorCode> {
        let sent = retry_on_intr(|| send(&self.0, from, SendFlags::NOSIGNAL | SendFlags::DONTWAIT));
        sent.map(Reply::Count).map_err(|errno| ErrorCode::from_errno(errno.raw_os_error()))
    }

    /// Answers `Call::Receive`.
    pub(super) fn receive(&self, into: &mut [u8]) -> Result<Reply, ErrorCode> {
        let received = retry_on_intr(|| recv(&self.0, &mut *into, RecvFlags::DONTWAIT));
        let (_, count) = received.map_err(|errno| ErrorCode::from_errno(errno.raw_os_error()))?;
        Ok(Reply::Count(count))
    }

    /// Answers `Call::Ready`. Within a Tokio runtime.
    pub(super) fn ready(self: Arc<Self>, interest: Interest) -> Answer<'static> {
        Answer::Later(Box::pin(async move { self.0.wait(interest).await.map(|()| Reply::Done) }))
    }
}

/// Those that there are, and may be.
pub(super) struct Connections {
    sockets: Mutex<HashMap<Handle, Whose>>,
    /// How many the runner takes: the rest of its descriptors is for what it cannot do without.
    most: usize,
}

/// Whose a socket is.
enum Whose {
    /// The supervisor's so far: nothing has gone over it.
    Unasked,
    /// The supervisor's, and stays that.
    Theirs,
    Ours(Arc<Connection>),
}

impl Connections {
    /// None yet, and never more than `most`.
    pub(super) fn new(most: usize) -> Self {
        Connections { sockets: Mutex::default(), most }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Handle, Whose>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is one more socket of TCP.
    pub(super) fn add(&self, socket: Handle) {
        self.lock().insert(socket, Whose::Unasked);
    }

    /// It is about to be closed.
    pub(super) fn remove(&self, socket: Handle) {
        self.lock().remove(&socket);
    }

    /// The connection behind a handle, if it is the runner's already.
    pub(super) fn of(&self, socket: Handle) -> Option<Arc<Connection>> {
        match self.lock().get(&socket) {
            Some(Whose::Ours(connection)) => Some(connection.clone()),
            _ => None,
        }
    }

    /// The same, asked for when something goes over it for the first time.
    pub(super) fn or_ask(&self, socket: Handle, ask: impl FnOnce() -> Option<OwnedFd>) -> Option<Arc<Connection>> {
        {
            let sockets = self.lock();
            match sockets.get(&socket)? {
                Whose::Ours(connection) => return Some(connection.clone()),
                Whose::Theirs => return None,
                Whose::Unasked if sockets.len() > self.most => return None,
                Whose::Unasked => {}
            }
        }
        let found = ask().map(|descriptor| Arc::new(Connection::new(descriptor)));
        // Closed meanwhile, or asked for by another thread as well.
        if let Some(whose @ Whose::Unasked) = self.lock().get_mut(&socket) {
            *whose = found.clone().map_or(Whose::Theirs, Whose::Ours);
        }
        found
    }
}
