//! Pipes: `pipe(2)`, `pipe(7)`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};

use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::lock;
use super::signals::Cause;
use super::thread::Thread;
use super::waiting::Bell;
use super::world::World;
use super::{Answer, Arguments};
use crate::kvm::Kept;

/// How much a pipe holds, and how much it can be made to.
const ROOM: usize = 65536;
const MOST_ROOM: usize = 1 << 20;
/// A write of at most so much is not divided: `PIPE_BUF`.
pub(super) const ATOMIC: usize = 4096;

/// A pipe.
pub(super) struct Pipe {
    state: Mutex<State>,
    /// Rung at every change.
    pub(super) bell: Bell,
    /// How often there was more to read, and how often there was room again.
    news: [AtomicU64; 2],
    /// What tells it from others: `st_ino`.
    pub(super) number: u64,
}

struct State {
    content: VecDeque<u8>,
    room: usize,
    readers: usize,
    writers: usize,
    /// How often it was opened for reading, and for writing.
    opened: [u64; 2],
    kept: Kept,
}

impl State {
    /// How much there is room for.
    fn free(&self) -> usize {
        self.room.saturating_sub(self.content.len())
    }

    /// What was full once is counted as long as the room for it is kept.
    fn count(&mut self) {
        self.kept.set(self.content.capacity());
    }
}

impl Pipe {
    pub(super) fn new(world: &World) -> Pipe {
        let kept = Kept::new(world.machine.clone());
        let state = State { content: VecDeque::new(), room: ROOM, readers: 0, writers: 0, opened: [0; 2], kept };
        Pipe { state: Mutex::new(state), bell: Bell::default(), news: Default::default(), number: world.number() }
    }

    /// How often there was news for who reads, and for who writes: `epoll(7)`, "Level-triggered and edge-triggered".
    pub(super) fn news(&self) -> [u64; 2] {
        [0, 1].map(|direction: usize| self.news[direction].load(SeqCst))
    }

    fn tell(&self, direction: usize) {
        self.news[direction].fetch_add(1, SeqCst);
    }

    /// What is in it, and how much it holds.
    pub(super) fn captured(&self) -> (Vec<u8>, usize) {
        let state = lock(&self.state);
        // It may hold more than there is room for, of what came back.
        (state.content.iter().copied().collect(), state.room.max(state.content.len().next_power_of_two()))
    }

    /// The reverse of [`captured`](Self::captured); `None` when it cannot be so.
    pub(super) fn of(world: &World, content: &[u8], room: u64) -> Option<Arc<Pipe>> {
        let room = usize::try_from(room).ok().filter(|room| (ATOMIC..=MOST_ROOM).contains(room))?;
        if content.len() > room {
            return None;
        }
        let pipe = Pipe::new(world);
        let mut state = lock(&pipe.state);
        state.room = room;
        state.content.extend(content);
        state.kept.set(content.len());
        drop(state);
        Some(Arc::new(pipe))
    }

    pub(super) fn open_reader(&self) {
        let mut state = lock(&self.state);
        state.readers += 1;
        state.opened[0] += 1;
    }

    pub(super) fn open_writer(&self) {
        let mut state = lock(&self.state);
        state.writers += 1;
        state.opened[1] += 1;
    }

    /// How often the end 0 for reading or 1 for writing was opened, when nobody has it open now. Who has it may be gone
    /// before anybody looks again.
    fn alone_at(&self, end: usize) -> Option<u64> {
        let state = lock(&self.state);
        ([state.readers, state.writers][end] == 0).then_some(state.opened[end])
    }

    pub(super) fn close_reader(&self) {
        lock(&self.state).readers -= 1;
        self.tell(1);
        self.bell.ring();
    }

    pub(super) fn close_writer(&self) {
        lock(&self.state).writers -= 1;
        self.tell(0);
        self.bell.ring();
    }

    /// Whether anyone could read what is written.
    pub(super) fn has_readers(&self) -> bool {
        lock(&self.state).readers > 0
    }

    /// Whether everyone who could write is gone.
    pub(super) fn is_hung_up(&self) -> bool {
        lock(&self.state).writers == 0
    }

    /// Whether a write would not wait.
    pub(super) fn is_writable(&self) -> bool {
        let state = lock(&self.state);
        state.free() >= ATOMIC || state.readers == 0
    }

    /// How much it holds: `F_GETPIPE_SZ`.
    pub(super) fn room(&self) -> usize {
        lock(&self.state).room
    }

    /// Makes it hold more or less: `F_SETPIPE_SZ`.
    pub(super) fn set_room(&self, wanted: u64) -> Answer {
        if wanted > 1 << 31 {
            return Err(Errno::INVAL);
        }
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).max(ATOMIC);
        if wanted > MOST_ROOM {
            return Err(Errno::PERM);
        }
        let room = wanted.next_power_of_two();
        let mut state = lock(&self.state);
        if state.content.len() > room {
            return Err(Errno::BUSY);
        }
        state.room = room;
        drop(state);
        self.tell(1);
        self.bell.ring();
        Ok(room as u64)
    }

    /// How much can be written now.
    pub(super) fn left(&self) -> usize {
        let state = lock(&self.state);
        state.free()
    }

    /// Takes what there is, for who reads from outside: nothing at the end, `None` when there may be more later.
    pub(super) fn take(&self, most: usize) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        if state.content.is_empty() && state.writers > 0 {
            return None;
        }
        let count = most.min(state.content.len());
        if count > 0 && state.free() < ATOMIC {
            self.tell(1);
        }
        let taken: Vec<u8> = state.content.drain(..count).collect();
        let left = state.content.len();
        state.kept.set(left);
        drop(state);
        if count > 0 {
            self.bell.ring();
        }
        Some(taken)
    }

    /// Puts what there is room for, for who writes from outside; all of it goes nowhere when nobody reads.
    pub(super) fn put(&self, from: &[u8]) -> usize {
        match self.try_write(&from[..from.len().min(ATOMIC)]) {
            Some(Ok(count)) => {
                self.bell.ring();
                count
            }
            Some(Err(_)) => from.len(),
            None => 0,
        }
    }

    /// What can be read, which stays; nothing when nobody writes any more.
    pub(super) fn peek(&self, length: usize) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        let found: Vec<u8> = state.content.iter().copied().take(length).collect();
        (!found.is_empty() || state.writers == 0).then_some(found)
    }

    /// What was taken comes back: it is what is read next, also when others filled the pipe meanwhile.
    pub(super) fn give_back(&self, taken: &[u8]) {
        if taken.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for &byte in taken.iter().rev() {
            state.content.push_front(byte);
        }
        state.count();
        drop(state);
        self.tell(0);
        self.bell.ring();
    }

    /// How many bytes can be read: `FIONREAD`.
    pub(super) fn length(&self) -> usize {
        lock(&self.state).content.len()
    }

    fn try_read(&self, into: &mut [u8]) -> Option<usize> {
        let mut state = lock(&self.state);
        if state.content.is_empty() && state.writers > 0 && !into.is_empty() {
            return None;
        }
        let count = into.len().min(state.content.len());
        if count > 0 && state.free() < ATOMIC {
            self.tell(1);
        }
        for (place, byte) in into.iter_mut().zip(state.content.drain(..count)) {
            *place = byte;
        }
        if state.content.is_empty() && state.content.capacity() > ROOM {
            state.content = VecDeque::new();
        }
        state.count();
        Some(count)
    }

    fn try_write(&self, from: &[u8]) -> Option<Result<usize, Errno>> {
        let mut state = lock(&self.state);
        if state.readers == 0 {
            return Some(Err(Errno::PIPE));
        }
        let room = state.free();
        if room == 0 || (from.len() <= ATOMIC && room < from.len()) {
            return None;
        }
        let count = from.len().min(room);
        state.content.extend(&from[..count]);
        state.count();
        self.tell(0);
        Some(Ok(count))
    }

    pub(super) fn read(&self, thread: &Thread, into: &mut [u8], at_once: bool) -> Result<usize, Errno> {
        let count = match (self.try_read(into), at_once) {
            (Some(count), _) => count,
            (None, true) => return Err(Errno::AGAIN),
            (None, false) => thread.wait(&[&self.bell], None, || self.try_read(into))?,
        };
        self.bell.ring();
        Ok(count)
    }

    pub(super) fn write(&self, thread: &Thread, from: &[u8], at_once: bool) -> Result<usize, Errno> {
        thread.world.may_keep(from.len().min(self.left()))?;
        let mut done = 0;
        while done < from.len() {
            let rest = &from[done..];
            let written = match (self.try_write(rest), at_once) {
                (Some(written), _) => written,
                (None, true) => Err(Errno::AGAIN),
                (None, false) => thread.wait(&[&self.bell], None, || self.try_write(rest)).and_then(|written| written),
            };
            match written {
                Ok(count) => done += count,
                Err(errno) if done == 0 => {
                    if errno == Errno::PIPE {
                        thread.raise(&Cause::own(libc::SIGPIPE));
                    }
                    return Err(errno);
                }
                Err(_) => break,
            }
            self.bell.ring();
        }
        Ok(done)
    }
}

/// `pipe(2)`
pub(super) fn pipe(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    pipe2(thread, [at, 0, 0, 0, 0, 0])
}

/// `pipe2(2)`
pub(super) fn pipe2(thread: &mut Thread, [at, flags, ..]: Arguments) -> Answer {
    let flags = flags as u32;
    if flags & !((libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_DIRECT) as u32) != 0 {
        return Err(Errno::INVAL);
    }
    let pipe = Arc::new(Pipe::new(&thread.world));
    let nonblocking = flags & libc::O_NONBLOCK as u32;
    let reader = Open::new(&thread.world, Kind::Reader(pipe.clone()), b"pipe:[1]", nonblocking);
    let writer = Open::new(&thread.world, Kind::Writer(pipe), b"pipe:[1]", libc::O_WRONLY as u32 | nonblocking);
    let close_on_exec = flags & libc::O_CLOEXEC as u32 != 0;
    let space = thread.process.space()?;
    space.writable(at, 8).and_then(|count| if count < 8 { Err(Errno::FAULT) } else { Ok(()) })?;
    let descriptors = thread.process.descriptors();
    let first = descriptors.add(reader, 0, close_on_exec)?;
    let second = match descriptors.add(writer, 0, close_on_exec) {
        Ok(second) => second,
        Err(errno) => {
            super::files::close(thread, [first, 0, 0, 0, 0, 0])?;
            return Err(errno);
        }
    };
    space.write_u32(at, first as u32)?;
    space.write_u32(at + 4, second as u32)?;
    Ok(0)
}

/// The named pipes that somebody has open, by the numbers of their nodes: `fifo(7)`.
#[derive(Default)]
pub(super) struct Fifos(Mutex<HashMap<u64, Weak<Pipe>>>);

impl Fifos {
    /// The number of the node that a pipe belongs to.
    pub(super) fn node_of(&self, pipe: &Arc<Pipe>) -> Option<u64> {
        let fifos = lock(&self.0);
        fifos.iter().find(|(_, known)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(pipe))).map(|(&node, _)| node)
    }

    /// A pipe belongs to this node.
    pub(super) fn revive(&self, node: u64, pipe: &Arc<Pipe>) {
        lock(&self.0).insert(node, Arc::downgrade(pipe));
    }

    /// The pipe of a node; what was in one that nobody had open any more is gone.
    pub(super) fn of(&self, world: &World, node: u64) -> Arc<Pipe> {
        let mut fifos = lock(&self.0);
        if let Some(pipe) = fifos.get(&node).and_then(Weak::upgrade) {
            return pipe;
        }
        fifos.retain(|_, pipe| pipe.strong_count() > 0);
        let pipe = Arc::new(Pipe::new(world));
        fifos.insert(node, Arc::downgrade(&pipe));
        pipe
    }
}

/// Opens a named pipe, which waits for the other end.
pub(super) fn open_fifo(thread: &Thread, pipe: &Arc<Pipe>, path: &[u8], flags: u32) -> Result<Arc<Open>, Errno> {
    let world = &thread.world;
    let at_once = flags & libc::O_NONBLOCK as u32 != 0;
    // The other end would see it come and go.
    if thread.must_not_wait() {
        return Err(Errno::INTR);
    }
    match flags as i32 & libc::O_ACCMODE {
        libc::O_RDONLY => {
            let alone = pipe.alone_at(1);
            let open = Open::new(world, Kind::Reader(pipe.clone()), path, flags);
            if !at_once {
                let there = || {
                    let state = lock(&pipe.state);
                    (alone.is_none_or(|before| state.opened[1] != before)).then_some(())
                };
                pipe.bell.ring();
                thread.wait(&[&pipe.bell], None, there)?;
            }
            Ok(open)
        }
        libc::O_WRONLY => {
            if at_once && !pipe.has_readers() {
                return Err(Errno::NXIO);
            }
            let alone = pipe.alone_at(0);
            let open = Open::new(world, Kind::Writer(pipe.clone()), path, flags);
            pipe.bell.ring();
            let there = || {
                let state = lock(&pipe.state);
                (alone.is_none_or(|before| state.opened[0] != before)).then_some(())
            };
            thread.wait(&[&pipe.bell], None, there)?;
            Ok(open)
        }
        libc::O_RDWR => Ok(Open::new(world, Kind::Both(pipe.clone()), path, flags)),
        _ => Err(Errno::INVAL),
    }
}
