//! One direction of a connection within a capsule: bytes or datagrams, and descriptors that travel with
//! them (`unix(7)`, `SCM_RIGHTS`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use rustix::io::Errno;

use super::super::open::Open;
use super::super::process::lock;
use super::super::waiting::Bell;
use super::credentials::Who;
use crate::kvm::{Kept, Machine};

/// How much it holds.
const ROOM: usize = 208 << 10;
/// How many datagrams it holds.
const MESSAGES: usize = 512;
/// What the host keeps beside the bytes of each, about.
const EACH: usize = 128;
/// And for a link without any, with the socket that has it.
pub(super) const EMPTY: usize = 1024;

thread_local! {
    static LEFT: RefCell<Vec<Arc<Open>>> = const { RefCell::new(Vec::new()) };
    static CLOSING: Cell<bool> = const { Cell::new(false) };
}

/// Closes what nobody received, one after the other: in what is closed more may lie, deeper than the
/// host's stack.
fn close_all(opens: impl Iterator<Item = Arc<Open>>) {
    LEFT.with_borrow_mut(|left| left.extend(opens));
    if CLOSING.replace(true) {
        return;
    }
    while let Some(open) = LEFT.with_borrow_mut(Vec::pop) {
        drop(open);
    }
    CLOSING.set(false);
}

/// One direction.
pub(super) struct Link {
    state: Mutex<State>,
    /// Rung at every change.
    pub(super) bell: Bell,
}

struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    reader_is_gone: bool,
    writer_is_gone: bool,
    kept: Kept,
}

impl State {
    fn count(&mut self) {
        // What is left of the first is still counted.
        self.bytes = self.messages.iter().map(|message| message.bytes.len() - message.taken).sum();
        let beside = |message: &Message| {
            EACH + message.beside.sender.len() + size_of::<Arc<Open>>() * message.beside.opens.len()
        };
        let held: usize = self.messages.iter().map(|message| message.bytes.len() + beside(message)).sum();
        self.kept.set(EMPTY + held);
    }
}

/// What was sent at once.
struct Message {
    bytes: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    beside: Beside,
}

/// What goes with bytes.
#[derive(Clone, Default)]
pub(super) struct Beside {
    pub(super) opens: Vec<Arc<Open>>,
    /// The name of the socket that sends.
    pub(super) sender: Vec<u8>,
    /// Who sends, as it says of itself.
    pub(super) who: Who,
}

/// What was taken.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) count: usize,
    /// How long the datagram was.
    pub(super) whole: usize,
    pub(super) opens: Vec<Arc<Open>>,
    pub(super) sender: Vec<u8>,
    /// Who sent it; nobody at the end.
    pub(super) who: Option<Who>,
}

/// The links of an instance. What lies in them may refer to what holds them: at the end they are emptied.
#[derive(Default)]
pub(crate) struct Queues(Mutex<Vec<Weak<Link>>>);

impl Queues {
    /// A new link.
    pub(super) fn link(&self, machine: &Arc<Machine>) -> Arc<Link> {
        let state = State {
            messages: VecDeque::new(),
            bytes: 0,
            reader_is_gone: false,
            writer_is_gone: false,
            kept: Kept::of(machine, EMPTY),
        };
        let link = Arc::new(Link { state: Mutex::new(state), bell: Bell::default() });
        let mut links = lock(&self.0);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&link));
        link
    }

    /// Empties all.
    pub(in crate::personality) fn clear(&self) {
        let links = std::mem::take(&mut *lock(&self.0));
        for link in links.iter().filter_map(Weak::upgrade) {
            link.close_reader();
        }
    }
}

impl Link {
    /// Puts something in; `None` when there is no room now. Of a stream, as much as fits. `room` is how much the sender
    /// may have on the way, if it said so.
    pub(super) fn put(
        &self,
        from: &[u8],
        beside: &mut Beside,
        stream: bool,
        room: Option<usize>,
    ) -> Option<Result<usize, Errno>> {
        let most = room.unwrap_or(ROOM).min(ROOM);
        let mut state = lock(&self.state);
        if state.reader_is_gone || state.writer_is_gone {
            return Some(Err(Errno::PIPE));
        }
        if !stream && from.len() > most {
            return Some(Err(Errno::MSGSIZE));
        }
        let room = most.saturating_sub(state.bytes);
        let is_full = if stream { room == 0 && !from.is_empty() } else { room < from.len() };
        if is_full || state.messages.len() >= MESSAGES {
            return None;
        }
        let count = from.len().min(room);
        if stream && count == 0 {
            return Some(Ok(0));
        }
        let opens = std::mem::take(&mut beside.opens);
        let message = Message { bytes: from[..count].to_vec(), taken: 0, beside: Beside { opens, ..beside.clone() } };
        state.messages.push_back(message);
        state.count();
        drop(state);
        self.bell.ring();
        Some(Ok(count))
    }

    /// Takes something out; `None` when there is nothing yet. Descriptors end what a stream gives at once, and
    /// `apart` another sender does.
    pub(super) fn take(&self, into: &mut [u8], stream: bool, apart: bool, peek: bool) -> Option<Taken> {
        let mut state = lock(&self.state);
        if state.messages.is_empty() {
            return (state.writer_is_gone || state.reader_is_gone).then(Taken::default);
        }
        let mut taken = Taken::default();
        let mut at = 0;
        while let Some(message) = state.messages.get_mut(at) {
            let is_others = apart && taken.who != Some(message.beside.who);
            if at > 0 && (!stream || !message.beside.opens.is_empty() || is_others) {
                break;
            }
            let rest = &message.bytes[message.taken..];
            let count = rest.len().min(into.len() - taken.count);
            into[taken.count..taken.count + count].copy_from_slice(&rest[..count]);
            taken.whole += rest.len();
            taken.count += count;
            if at == 0 {
                let beside = &mut message.beside;
                (taken.sender, taken.who) = (beside.sender.clone(), Some(beside.who));
                taken.opens = if peek { beside.opens.clone() } else { std::mem::take(&mut beside.opens) };
            }
            let is_used_up = !stream || count == rest.len();
            if !peek {
                message.taken += count;
            }
            if !is_used_up {
                break;
            }
            at += 1;
            if !stream || taken.count == into.len() {
                break;
            }
        }
        if !peek {
            let gone: Vec<Message> = state.messages.drain(..at).collect();
            state.count();
            drop(state);
            drop(gone);
            self.bell.ring();
        }
        Some(taken)
    }

    pub(super) fn close_reader(&self) {
        let mut state = lock(&self.state);
        state.reader_is_gone = true;
        let gone = std::mem::take(&mut state.messages);
        state.count();
        drop(state);
        self.bell.ring();
        close_all(gone.into_iter().flat_map(|message| message.beside.opens));
    }

    pub(super) fn close_writer(&self) {
        lock(&self.state).writer_is_gone = true;
        self.bell.ring();
    }

    pub(super) fn has_reader(&self) -> bool {
        !lock(&self.state).reader_is_gone
    }

    pub(super) fn has_writer(&self) -> bool {
        !lock(&self.state).writer_is_gone
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.state).messages.is_empty()
    }

    pub(super) fn has_room(&self, room: Option<usize>) -> bool {
        let state = lock(&self.state);
        let most = room.unwrap_or(ROOM).min(ROOM);
        most.saturating_sub(state.bytes) >= most / 4 && state.messages.len() < MESSAGES
    }

    pub(super) fn length(&self) -> usize {
        lock(&self.state).bytes
    }
}
