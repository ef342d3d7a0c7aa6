//! A thing in memory: a file, a folder, a symbolic link.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_abi::Timestamp;
use rustix::io::Errno;

use super::folder::Names;
use super::quota::Room;
use crate::memory::Segment;

/// About what the host keeps for a name, and for a thing with its first one.
const NAME: usize = 640;
const THING: usize = 1024;

/// A thing in memory.
pub(crate) struct Node {
    pub(crate) number: u64,
    pub(crate) body: Body,
    state: Mutex<State>,
    /// Who is told when it is gone.
    counted: Option<Arc<Room>>,
}

/// What it is.
pub(crate) enum Body {
    File(Arc<Segment>),
    Folder(Mutex<Names>),
    Link(Vec<u8>),
    /// A named pipe; whoever has it open keeps what is in it.
    Fifo,
    /// A name of a Unix socket; the socket itself is whoever's has it open.
    Socket,
}

/// What `stat(2)` says of it, and its seals.
#[derive(Clone, Copy)]
pub(crate) struct State {
    pub(crate) mode: u32,
    pub(crate) names: u64,
    /// Accessed, modified, changed.
    pub(crate) times: [Timestamp; 3],
    /// `F_SEAL_*`
    pub(crate) seals: u32,
}

impl Body {
    pub(crate) fn folder() -> Body {
        Body::Folder(Mutex::default())
    }

    fn kept(&self) -> usize {
        THING + if let Body::Link(target) = self { target.len() } else { 0 }
    }
}

impl Node {
    pub(super) fn uncounted(number: u64, body: Body, mode: u32, now: Timestamp) -> Arc<Node> {
        Arc::new(Self::new(number, body, mode, now, None))
    }

    pub(super) fn counted(
        number: u64,
        body: Body,
        mode: u32,
        now: Timestamp,
        room: &Arc<Room>,
    ) -> Result<Arc<Node>, Errno> {
        room.keep(body.kept())?;
        Ok(Arc::new(Self::new(number, body, mode, now, Some(room.clone()))))
    }

    fn new(number: u64, body: Body, mode: u32, now: Timestamp, counted: Option<Arc<Room>>) -> Node {
        let state = State { mode: mode & 0o7777, names: 1, times: [now; 3], seals: 0 };
        Node { number, body, state: Mutex::new(state), counted }
    }

    /// What `stat(2)` says.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.body, Body::Folder(_))
    }

    /// Its names; `ENOTDIR` unless it is a folder.
    pub(crate) fn names(&self) -> Result<MutexGuard<'_, Names>, Errno> {
        match &self.body {
            Body::Folder(names) => Ok(names.lock().unwrap_or_else(PoisonError::into_inner)),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Its content; `EISDIR`, `EINVAL` when it is no file.
    pub(crate) fn content(&self) -> Result<&Arc<Segment>, Errno> {
        match &self.body {
            Body::File(segment) => Ok(segment),
            Body::Folder(_) => Err(Errno::ISDIR),
            Body::Link(_) => Err(Errno::INVAL),
            Body::Fifo | Body::Socket => Err(Errno::INVAL),
        }
    }

    /// Its content changed.
    pub(crate) fn touched(&self, now: Timestamp) {
        let mut state = self.state();
        (state.times[1], state.times[2]) = (now, now);
    }

    /// What is known of it changed.
    pub(crate) fn changed(&self, now: Timestamp) {
        self.state().times[2] = now;
    }

    pub(super) fn add_name(&self, room: &Room) -> Result<(), Errno> {
        room.keep(NAME)?;
        self.state().names += 1;
        Ok(())
    }

    /// The charge of the last name stays as long as the thing is there.
    pub(super) fn remove_name(&self, room: &Room, now: Timestamp) {
        let mut state = self.state();
        if state.names > 1 {
            room.let_go(NAME);
        }
        state.names = state.names.saturating_sub(1);
        state.times[2] = now;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(room) = &self.counted {
            room.let_go(self.body.kept());
        }
        // One after the other: programs can make folders deeper than the host's stack.
        let mut left = match &mut self.body {
            Body::Folder(names) => names.get_mut().unwrap_or_else(PoisonError::into_inner).take(),
            _ => return,
        };
        while let Some(node) = left.pop() {
            if let Some(mut node) = Arc::into_inner(node)
                && let Body::Folder(names) = &mut node.body
            {
                left.extend(names.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            }
        }
    }
}
