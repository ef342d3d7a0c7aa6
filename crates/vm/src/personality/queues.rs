//! Queues of messages that processes share by a number: `sysvipc(7)`, `msgget(2)`, `msgop(2)`, `msgctl(2)`.
//!
//! Who waits for a message is handed the first that fits, in the order in which they came; who waits for room looks
//! again when there is some.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::io::Errno;

use super::ipc::{IPC_INFO, Owned, Table};
use super::process::lock;
use super::thread::Thread;
use super::waiting::Bell;
use super::{Answer, Arguments, int, owners};
use crate::kvm::Kept;
use crate::words::u64_at;

/// How many queues there are at most, how long a message is, and how much a queue holds at first: `MSGMNI`, `MSGMAX`,
/// `MSGMNB`.
const MOST: usize = 32000;
const LONGEST: u64 = 8192;
const ROOM: u64 = 16384;
/// About what the host keeps for each queue, and for each message beside its text.
const EACH: usize = 512;
const MESSAGE: usize = 96;
/// How long `struct msqid64_ds` is.
const STATUS: usize = 120;
/// From `sys/msg.h`, which `libc` does not name on every system.
const MSG_COPY: i32 = 0o40000;
const MSG_STAT: i32 = 11;
const MSG_INFO: i32 = 12;
const MSG_STAT_ANY: i32 = 13;

/// Those of an instance, by their numbers.
#[derive(Default)]
pub(super) struct MessageQueues(Mutex<Table<Queue>>);

impl MessageQueues {
    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).all.is_empty()
    }
}

struct Queue {
    owned: Owned,
    messages: VecDeque<Arc<Message>>,
    /// How long the messages are together, and may be.
    length: u64,
    room: u64,
    /// When something was sent, received and changed, in seconds, and who sent and received last.
    times: [u64; 3],
    used_by: [u32; 2],
    receivers: Vec<Arc<Receiver>>,
    /// Rung when there is more room, and when who waits for some has to look again.
    bell: Arc<Bell>,
    _kept: Kept,
}

impl AsRef<Owned> for Queue {
    fn as_ref(&self) -> &Owned {
        &self.owned
    }
}

struct Message {
    kind: i64,
    text: Vec<u8>,
    _kept: Kept,
}

/// Which message is wanted.
#[derive(Clone, Copy)]
enum Wish {
    Any,
    Kind(i64),
    Other(i64),
    /// The least, up to this one.
    UpTo(i64),
    /// The one in this place: `MSG_COPY`.
    Place(i64),
}

impl Wish {
    fn of(kind: i64, flags: i32) -> Wish {
        match kind {
            place if flags & MSG_COPY != 0 => Wish::Place(place),
            0 => Wish::Any,
            kind if kind < 0 => Wish::UpTo(kind.checked_neg().unwrap_or(i64::MAX)),
            kind if flags & libc::MSG_EXCEPT != 0 => Wish::Other(kind),
            kind => Wish::Kind(kind),
        }
    }

    fn takes(self, kind: i64) -> bool {
        match self {
            Wish::Any | Wish::Place(_) => true,
            Wish::Kind(wanted) => kind == wanted,
            Wish::Other(unwanted) => kind != unwanted,
            Wish::UpTo(most) => kind <= most,
        }
    }
}

/// A thread that waits for a message.
struct Receiver {
    thread: thread::Thread,
    process: u32,
    wish: Wish,
    /// How long a message may be.
    most: usize,
    /// What it is handed; `EAGAIN` when it has to look again.
    handed: Mutex<Option<Result<Arc<Message>, Errno>>>,
}

impl Receiver {
    fn hand(&self, what: Result<Arc<Message>, Errno>) {
        *lock(&self.handed) = Some(what);
        self.thread.unpark();
    }
}

impl Queue {
    fn fits(&self, length: usize) -> bool {
        self.length.saturating_add(length as u64) <= self.room && (self.messages.len() as u64) < self.room
    }

    /// The place of the message that is wanted.
    fn find(&self, wish: Wish) -> Option<usize> {
        if let Wish::Place(place) = wish {
            return usize::try_from(place).ok().filter(|&place| place < self.messages.len());
        }
        let mut fitting = self.messages.iter().enumerate().filter(|(_, message)| wish.takes(message.kind));
        match wish {
            Wish::UpTo(_) => fitting.min_by_key(|(_, message)| message.kind),
            _ => fitting.next(),
        }
        .map(|(place, _)| place)
    }

    /// Hands a message to the first who waits for such, or keeps it.
    fn take_in(&mut self, message: Arc<Message>, now: u64) {
        while let Some(at) = self.receivers.iter().position(|receiver| receiver.wish.takes(message.kind)) {
            let receiver = self.receivers.remove(at);
            if receiver.most >= message.text.len() {
                (self.used_by[1], self.times[1]) = (receiver.process, now);
                return receiver.hand(Ok(message));
            }
            receiver.hand(Err(Errno::TOOBIG));
        }
        self.length += message.text.len() as u64;
        self.messages.push_back(message);
    }

    /// All who wait get that, or look again.
    fn wake_all(&mut self, errno: Errno) {
        for receiver in self.receivers.drain(..) {
            receiver.hand(Err(errno));
        }
        self.bell.ring();
    }

    /// `struct msqid64_ds`
    fn status(&self) -> Vec<u8> {
        let mut bytes = self.owned.bytes();
        let [sent, received, changed] = self.times;
        for word in [sent, received, changed, self.length, self.messages.len() as u64, self.room] {
            bytes.extend(word.to_le_bytes());
        }
        for process in self.used_by {
            bytes.extend(process.to_le_bytes());
        }
        bytes.resize(STATUS, 0);
        bytes
    }
}

/// `msgget(2)`
pub(super) fn get(thread: &mut Thread, [key, flags, ..]: Arguments) -> Answer {
    let (key, flags) = (int(key), int(flags));
    let world = thread.world.clone();
    let mut queues = lock(&world.queues.0);
    if let Some(id) = queues.find(thread, key, flags, |_| true)? {
        return Ok(id);
    }
    world.may_keep(EACH)?;
    queues.add(MOST, || Queue {
        owned: thread.owned(key, flags),
        messages: VecDeque::new(),
        length: 0,
        room: ROOM,
        times: [0, 0, world.seconds()],
        used_by: [0, 0],
        receivers: Vec::new(),
        bell: Arc::default(),
        _kept: Kept::of(&world.machine, EACH),
    })
}

/// `msgsnd(2)`
pub(super) fn send(thread: &mut Thread, [id, at, length, flags, ..]: Arguments) -> Answer {
    let world = thread.world.clone();
    let space = thread.process.space()?;
    let kind = space.read_u64(at)? as i64;
    if length > LONGEST || int(id) < 0 || kind < 1 {
        return Err(Errno::INVAL);
    }
    let length = length as usize;
    world.may_keep(MESSAGE + length)?;
    let mut text = vec![0; length];
    space.read(at + 8, &mut text)?;
    let message = Arc::new(Message { kind, text, _kept: Kept::of(&world.machine, MESSAGE + length) });
    let attempt = || {
        let mut queues = lock(&world.queues.0);
        let queue = queues.get(id)?;
        thread.may_share(queue, owners::WRITE)?;
        if !queue.fits(length) {
            return Err(Errno::AGAIN);
        }
        let now = world.seconds();
        (queue.used_by[0], queue.times[0]) = (thread.process.id, now);
        queue.take_in(message.clone(), now);
        Ok(0)
    };
    let first = attempt();
    if first != Err(Errno::AGAIN) || int(flags) & libc::IPC_NOWAIT != 0 {
        return first;
    }
    let bell = lock(&world.queues.0).get(id).map_err(|_| Errno::IDRM)?.bell.clone();
    thread.wait(&[&bell], None, || match attempt() {
        Err(Errno::AGAIN) => None,
        // It was there before.
        Err(Errno::INVAL) => Some(Err(Errno::IDRM)),
        answer => Some(answer),
    })?
}

/// `msgrcv(2)`
pub(super) fn receive(thread: &mut Thread, [id, at, most, kind, flags, _]: Arguments) -> Answer {
    let flags = int(flags);
    if int(id) < 0 || (most as i64) < 0 {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    if flags & MSG_COPY != 0 {
        if flags & libc::MSG_EXCEPT != 0 || flags & libc::IPC_NOWAIT == 0 {
            return Err(Errno::INVAL);
        }
        // Linux reads from there what it writes over.
        space.read(at, &mut vec![0; most.min(LONGEST) as usize])?;
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let wish = Wish::of(kind as i64, flags);
    let mut is_first = true;
    let message = loop {
        match next(thread, id, wish, most, flags) {
            Err(Errno::AGAIN) => is_first = false,
            // It was there before.
            Err(Errno::INVAL) if !is_first => return Err(Errno::IDRM),
            answer => break answer?,
        }
    };
    let count = most.min(message.text.len());
    space.write(at, &message.kind.to_le_bytes())?;
    space.write(at + 8, &message.text[..count])?;
    Ok(count as u64)
}

/// The next message that is wanted. `EAGAIN` when it has to be looked for again.
fn next(thread: &Thread, id: u64, wish: Wish, most: usize, flags: i32) -> Result<Arc<Message>, Errno> {
    let world = &thread.world;
    let is_cut = flags & libc::MSG_NOERROR != 0;
    let receiver = {
        let mut queues = lock(&world.queues.0);
        let queue = queues.get(id)?;
        thread.may_share(queue, owners::READ)?;
        if let Some(place) = queue.find(wish) {
            let length = queue.messages[place].text.len();
            if length > most && !is_cut {
                return Err(Errno::TOOBIG);
            }
            if matches!(wish, Wish::Place(_)) {
                // A copy is not cut.
                let message = queue.messages[place].clone();
                return if length > most.min(LONGEST as usize) { Err(Errno::INVAL) } else { Ok(message) };
            }
            let message = queue.messages.remove(place).ok_or(Errno::NOMSG)?;
            queue.length -= length as u64;
            (queue.used_by[1], queue.times[1]) = (thread.process.id, world.seconds());
            queue.bell.ring();
            return Ok(message);
        }
        if flags & libc::IPC_NOWAIT != 0 {
            return Err(Errno::NOMSG);
        }
        let most = if is_cut { usize::MAX } else { most };
        let (process, handed) = (thread.process.id, Mutex::default());
        let receiver = Arc::new(Receiver { thread: thread::current(), process, wish, most, handed });
        queue.receivers.push(receiver.clone());
        receiver
    };
    let broken_off = match thread.wait(&[], None, || lock(&receiver.handed).take()) {
        Ok(handed) => return handed,
        Err(errno) => errno,
    };
    let mut queues = lock(&world.queues.0);
    if let Ok(queue) = queues.get(id) {
        queue.receivers.retain(|other| !Arc::ptr_eq(other, &receiver));
    }
    // What it was handed in the last moment is its own.
    lock(&receiver.handed).take().unwrap_or(Err(broken_off))
}

/// `struct msginfo`
fn limits(queues: &Table<Queue>, command: i32) -> Vec<u8> {
    /// `MSGSSZ` and `MSGSEG`, of which nothing comes.
    const SEGMENT: u64 = 16;
    const SEGMENTS: u64 = 0xffff;
    let mut words = [MOST as u64 * ROOM / 1024, ROOM, LONGEST, ROOM, MOST as u64, SEGMENT, ROOM, SEGMENTS];
    if command == MSG_INFO {
        let all = || queues.all.values();
        words[0] = queues.all.len() as u64;
        words[1] = all().map(|queue| queue.messages.len() as u64).sum();
        words[6] = all().map(|queue| queue.length).sum();
    }
    words.into_iter().flat_map(|word| (word as u32).to_le_bytes()).collect()
}

/// `msgctl(2)`
pub(super) fn control(thread: &mut Thread, [id, command, at, ..]: Arguments) -> Answer {
    if int(id) < 0 {
        return Err(Errno::INVAL);
    }
    let world = thread.world.clone();
    let space = thread.process.space()?;
    let command = int(command);
    let wanted = if command == libc::IPC_SET { Some(thread.wanted(at, STATUS)?) } else { None };
    let mut queues = lock(&world.queues.0);
    if matches!(command, IPC_INFO | MSG_INFO) {
        let (bytes, last) = (limits(&queues, command), queues.last());
        drop(queues);
        return space.write(at, &bytes).map(|()| last);
    }
    let queue = queues.get(id)?;
    match command {
        libc::IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            thread.may_look(queue, command, MSG_STAT_ANY)?;
            let bytes = queue.status();
            drop(queues);
            space.write(at, &bytes)?;
            Ok(if command == libc::IPC_STAT { 0 } else { id })
        }
        libc::IPC_SET => {
            thread.may_manage(queue)?;
            let wanted = wanted.ok_or(Errno::INVAL)?;
            let room = u64_at(&wanted.bytes, 88);
            if room > ROOM && !lock(&thread.process.credentials).is_privileged() {
                return Err(Errno::PERM);
            }
            queue.owned.set(&wanted)?;
            (queue.room, queue.times[2]) = (room, world.seconds());
            // Who waits may not any more, or may send now.
            queue.wake_all(Errno::AGAIN);
            Ok(0)
        }
        libc::IPC_RMID => {
            thread.may_manage(queue)?;
            queue.wake_all(Errno::IDRM);
            queues.all.remove(&int(id));
            Ok(0)
        }
        _ => Err(Errno::INVAL),
    }
}
