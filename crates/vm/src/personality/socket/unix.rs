//! Unix sockets within a capsule: `unix(7)`, `socketpair(2)`.

mod naming;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use ringfence_abi::{Interest, Shutdown};
use rustix::io::Errno;

use super::super::open::{Kind, Open};
use super::super::process::lock;
use super::super::readiness::{HUP, IN, OUT, RDHUP, Watch};
use super::super::signals::Cause;
use super::super::thread::Thread;
use super::super::waiting::Bell;
use super::credentials::Who;
use super::link::{Beside, EMPTY, Link, Taken};
use super::options::Options;
use super::{How, Socket};
use crate::personality::world::World;

use naming::Held;
pub(in crate::personality) use naming::Names;

/// Which boundaries a socket keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Stream,
    Datagram,
    /// Datagrams over a connection: `SOCK_SEQPACKET`.
    Packets,
}

/// A Unix socket.
pub(in crate::personality) struct Unix {
    pub(super) style: Style,
    pub(super) options: Options,
    ends: Mutex<Ends>,
    /// Rung when the ends change.
    pub(super) bell: Bell,
}

#[derive(Default)]
struct Ends {
    receive: Option<Arc<Link>>,
    send: Option<Arc<Link>>,
    /// Its name, if it has one.
    name: Vec<u8>,
    /// Its peer's name.
    peer: Vec<u8>,
    queue: Option<Arc<Queue>>,
    /// Under what it is found.
    held: Option<Held>,
    /// Who its peer is: `SO_PEERCRED`.
    peer_is: Option<Who>,
    /// It sends no more: `shutdown(2)`.
    is_silent: bool,
}

/// Connections that wait to be accepted.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Unix>>,
    /// How many; 0 before `listen(2)`.
    most: AtomicUsize,
    /// Who listens.
    by: Mutex<Option<Who>>,
    bell: Bell,
    /// Rung when more can wait, or nobody can any more.
    room: Bell,
}

impl Queue {
    fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}

impl Thread {
    fn link(&self) -> Arc<Link> {
        self.world.links.link(&self.world.machine)
    }
}

impl Unix {
    pub(super) fn new(style: Style) -> Self {
        Unix { style, options: Options::default(), ends: Mutex::default(), bell: Bell::default() }
    }

    fn joined(style: Style, receive: Arc<Link>, send: Arc<Link>) -> Self {
        let socket = Unix::new(style);
        *lock(&socket.ends) = Ends { receive: Some(receive), send: Some(send), ..Ends::default() };
        socket
    }

    /// Two sockets that are each other's peer.
    pub(super) fn pair(thread: &Thread, style: Style) -> [Unix; 2] {
        let (one, two) = (thread.link(), thread.link());
        let pair = [Unix::joined(style, one.clone(), two.clone()), Unix::joined(style, two, one)];
        pair.iter().for_each(|socket| lock(&socket.ends).peer_is = Some(Who::now(thread)));
        pair
    }

    fn is_stream(&self) -> bool {
        self.style == Style::Stream
    }

    pub(super) fn close(&self, world: &World) {
        let mut ends = lock(&self.ends);
        if let Some(receive) = &ends.receive {
            receive.close_reader();
        }
        // Where datagrams go, others may send as well, and there is no end of them.
        if let (Some(send), true) = (&ends.send, self.style != Style::Datagram) {
            send.close_writer();
        }
        let (queue, held) = (ends.queue.take(), ends.held.take());
        drop(ends);
        held.into_iter().for_each(|held| world.names.let_go(&held));
        if let Some(queue) = queue {
            let mut waiting = lock(&queue.waiting);
            // Nobody joins any more.
            queue.most.store(0, SeqCst);
            let waiting = std::mem::take(&mut *waiting);
            queue.room.ring();
            waiting.iter().for_each(|socket| socket.close(world));
        }
    }

    /// `listen(2)`
    pub(super) fn listen(&self, thread: &Thread, backlog: i32) -> Result<(), Errno> {
        let mut ends = lock(&self.ends);
        if self.style == Style::Datagram || ends.name.is_empty() {
            return Err(if self.style == Style::Datagram { Errno::OPNOTSUPP } else { Errno::INVAL });
        }
        // Above `somaxconn` as that; one more may wait: `listen(2)`.
        let most = backlog.cast_unsigned().min(4096) as usize + 1;
        // Again, it changes how many may wait; those who do stay.
        let queue = ends.queue.as_ref().ok_or(Errno::INVAL)?;
        let who = Who::now(thread);
        queue.most.store(most, SeqCst);
        queue.room.ring();
        *lock(&queue.by) = Some(who);
        ends.peer_is = Some(who);
        Ok(())
    }

    /// `connect(2)`: waits while nobody else can wait to be accepted, unless it must not.
    pub(super) fn connect(&self, thread: &Thread, open: &Open, name: &[u8]) -> Result<(), Errno> {
        self.name_for_credentials(thread)?;
        thread.world.may_keep(2 * EMPTY)?;
        let found = thread.world.names.find(thread, name)?;
        match (&found.to, self.style) {
            (naming::To::Datagrams(link), Style::Datagram) => {
                let mut ends = lock(&self.ends);
                ends.send = Some(link.clone());
                ends.peer = found.name;
            }
            (naming::To::Listening(queue), Style::Stream | Style::Packets) => {
                let join = || self.join(thread, queue, &found.name);
                match (join(), open.is_nonblocking()) {
                    (Some(joined), _) => joined?,
                    (None, true) => return Err(Errno::AGAIN),
                    (None, false) => match thread.wait(&[&queue.room], self.options.send_until(), join) {
                        Err(Errno::TIMEDOUT) => return Err(Errno::AGAIN),
                        joined => joined??,
                    },
                }
            }
            _ => return Err(Errno::PROTOTYPE),
        }
        self.bell.ring();
        Ok(())
    }

    /// Becomes one of those who wait to be accepted under this name; `None` when too many do.
    fn join(&self, thread: &Thread, queue: &Queue, name: &[u8]) -> Option<Result<(), Errno>> {
        let mut ends = lock(&self.ends);
        let mut waiting = lock(&queue.waiting);
        if queue.most() == 0 {
            return Some(Err(Errno::CONNREFUSED));
        }
        if ends.send.is_some() {
            return Some(Err(Errno::ISCONN));
        }
        if ends.queue.as_ref().is_some_and(|own| own.most() > 0) {
            return Some(Err(Errno::INVAL));
        }
        if waiting.len() >= queue.most() {
            return None;
        }
        let (one, two) = (thread.link(), thread.link());
        let other = Unix::joined(self.style, one.clone(), two.clone());
        {
            let mut others = lock(&other.ends);
            others.name = name.to_vec();
            others.peer = ends.name.clone();
            others.peer_is = Some(Who::now(thread));
        }
        waiting.push_back(other);
        drop(waiting);
        (ends.receive, ends.send) = (Some(two), Some(one));
        ends.peer = name.to_vec();
        ends.peer_is = *lock(&queue.by);
        queue.bell.ring();
        Some(Ok(()))
    }

    /// Who wants credentials can be answered: it has a name (`SO_PASSCRED` of `unix(7)`).
    fn name_for_credentials(&self, thread: &Thread) -> Result<(), Errno> {
        let wanted = self.options.is_set(libc::SOL_SOCKET, libc::SO_PASSCRED);
        if wanted && lock(&self.ends).name.is_empty() { self.bind(thread, &[]) } else { Ok(()) }
    }

    /// Of a datagram socket: nobody is its peer any more.
    pub(super) fn disconnect(&self) -> Result<(), Errno> {
        if self.style != Style::Datagram {
            return Err(Errno::INVAL);
        }
        let mut ends = lock(&self.ends);
        (ends.send, ends.peer) = (None, Vec::new());
        Ok(())
    }

    /// Who is at the other end, as it was then: `SO_PEERCRED`.
    pub(super) fn peer_is(&self) -> Option<Who> {
        lock(&self.ends).peer_is
    }

    /// `accept(2)`
    pub(super) fn accept(&self, thread: &Thread, open: &Open, flags: u32) -> Result<(Arc<Open>, Vec<u8>), Errno> {
        if self.style == Style::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let queue = lock(&self.ends).queue.clone().filter(|queue| queue.most() > 0).ok_or(Errno::INVAL)?;
        let take = || lock(&queue.waiting).pop_front();
        drop(open.attempt(Interest::Readable));
        let accepted = match (take(), open.is_nonblocking()) {
            (Some(accepted), _) => accepted,
            (None, true) => return Err(Errno::AGAIN),
            (None, false) => thread.wait(&[&queue.bell], None, take)?,
        };
        queue.room.ring();
        let peer = lock(&accepted.ends).peer.clone();
        let kind = Kind::Socket(Box::new(Socket::Unix(accepted)));
        let accepted = Open::new(&thread.world, kind, b"socket:[1]", flags | libc::O_RDWR as u32);
        Ok((accepted, super::address::unix(&peer)))
    }

    fn destination(&self, thread: &Thread, to: Option<&[u8]>) -> Result<Arc<Link>, Errno> {
        let (send, is_silent) = {
            let ends = lock(&self.ends);
            (ends.send.clone(), ends.is_silent)
        };
        match to {
            Some(_) if self.style == Style::Stream => {
                Err(if send.is_some() { Errno::ISCONN } else { Errno::OPNOTSUPP })
            }
            _ if is_silent => Err(Errno::PIPE),
            Some(name) if self.style == Style::Datagram => match thread.world.names.find(thread, name)?.to {
                naming::To::Datagrams(link) => Ok(link),
                naming::To::Listening(_) => Err(Errno::PROTOTYPE),
            },
            _ => send.ok_or(Errno::NOTCONN),
        }
    }

    /// Sends bytes, and what goes with them.
    pub(super) fn send(
        &self,
        thread: &Thread,
        open: &Open,
        from: &[u8],
        mut beside: Beside,
        to: Option<&[u8]>,
        how: How,
    ) -> Result<usize, Errno> {
        if how.has(libc::MSG_OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        let link = self.destination(thread, to)?;
        thread.world.may_keep(from.len())?;
        beside.sender = lock(&self.ends).name.clone();
        let (until, room) = (self.options.send_until(), self.options.send_room());
        let mut done = 0;
        loop {
            let put = link.put(&from[done..], &mut beside, self.is_stream(), room);
            let result = match (put, how.at_once) {
                (Some(put), _) => put,
                (None, true) => {
                    drop(open.attempt(Interest::Writable));
                    Err(Errno::AGAIN)
                }
                (None, false) => {
                    let put = || link.put(&from[done..], &mut beside, self.is_stream(), room);
                    thread.wait(&[&link.bell], until, put).and_then(|put| put)
                }
            };
            match result {
                Ok(count) => {
                    done += count;
                    if !self.is_stream() || done >= from.len() {
                        return Ok(done);
                    }
                }
                Err(_) if done > 0 => return Ok(done),
                Err(Errno::PIPE) => {
                    if !how.has(libc::MSG_NOSIGNAL) && self.is_stream() {
                        thread.raise(&Cause::own(libc::SIGPIPE));
                    }
                    return Err(if self.style == Style::Datagram { Errno::CONNREFUSED } else { Errno::PIPE });
                }
                Err(Errno::TIMEDOUT) => return Err(Errno::AGAIN),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Receives bytes, and descriptors with them.
    pub(super) fn receive(&self, thread: &Thread, open: &Open, into: &mut [u8], how: How) -> Result<Taken, Errno> {
        let link = match lock(&self.ends).receive.clone() {
            Some(link) => link,
            None if self.style == Style::Datagram => thread.link(),
            None => return Err(Errno::NOTCONN),
        };
        drop(open.attempt(Interest::Readable));
        let until = self.options.receive_until();
        // Who wants to know who sent something is not given the bytes of two at once.
        let apart = self.options.is_set(libc::SOL_SOCKET, libc::SO_PASSCRED);
        let all = self.is_stream() && how.has(libc::MSG_WAITALL) && !how.has(libc::MSG_PEEK);
        let mut done = Taken::default();
        loop {
            let mut take = || link.take(&mut into[done.count..], self.is_stream(), apart, how.has(libc::MSG_PEEK));
            let taken = match (take(), how.at_once) {
                (Some(taken), _) => Ok(taken),
                (None, true) => Err(Errno::AGAIN),
                (None, false) => thread.wait(&[&link.bell], until, take),
            };
            match taken {
                Ok(taken) => {
                    let is_end = taken.count == 0;
                    done = Taken {
                        count: done.count + taken.count,
                        whole: done.whole + taken.whole,
                        opens: done.opens.into_iter().chain(taken.opens).collect(),
                        sender: taken.sender,
                        who: taken.who,
                    };
                    if !all || apart || is_end || done.count == into.len() {
                        return Ok(done);
                    }
                }
                Err(_) if done.count > 0 => return Ok(done),
                Err(Errno::TIMEDOUT) => return Err(Errno::AGAIN),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// `shutdown(2)`
    pub(super) fn shut_down(&self, how: Shutdown) -> Result<(), Errno> {
        let mut ends = lock(&self.ends);
        let Some(send) = ends.send.clone() else {
            ends.is_silent |= self.style == Style::Datagram && how != Shutdown::Receive;
            return Ok(());
        };
        if let (Some(receive), true) = (&ends.receive, how != Shutdown::Send) {
            receive.close_reader();
        }
        if how != Shutdown::Receive {
            if self.style == Style::Datagram && !ends.peer.is_empty() {
                ends.is_silent = true;
            } else {
                send.close_writer();
            }
        }
        Ok(())
    }

    pub(super) fn local(&self) -> Vec<u8> {
        super::address::unix(&lock(&self.ends).name)
    }

    pub(super) fn peer(&self) -> Result<Vec<u8>, Errno> {
        let ends = lock(&self.ends);
        if ends.send.is_none() { Err(Errno::NOTCONN) } else { Ok(super::address::unix(&ends.peer)) }
    }

    pub(super) fn is_listening(&self) -> bool {
        lock(&self.ends).queue.as_ref().is_some_and(|queue| queue.most() > 0)
    }

    pub(super) fn length(&self) -> usize {
        lock(&self.ends).receive.as_ref().map_or(0, |link| link.length())
    }

    /// How often it has changed.
    pub(in crate::personality) fn changes(&self) -> u64 {
        let ends = lock(&self.ends);
        let links = ends.receive.iter().chain(&ends.send).map(|link| link.bell.rings()).sum::<u64>();
        links + ends.queue.as_ref().map_or(0, |queue| queue.bell.rings()) + self.bell.rings()
    }

    pub(super) fn readiness(&self, watch: &mut Watch<'_>, wanted: i16) -> i16 {
        watch.enlist(&self.bell);
        let ends = lock(&self.ends);
        if let Some(queue) = &ends.queue
            && ends.send.is_none()
        {
            watch.enlist(&queue.bell);
            return if lock(&queue.waiting).is_empty() { 0 } else { IN & wanted };
        }
        let mut found = 0;
        let connected = self.style != Style::Datagram;
        match &ends.receive {
            Some(link) => {
                watch.enlist(&link.bell);
                let is_over = !link.has_writer() || !link.has_reader();
                if !link.is_empty() || (connected && is_over) {
                    found |= IN;
                }
                if connected && is_over {
                    found |= RDHUP;
                }
            }
            None if connected => found |= OUT | HUP,
            None => {}
        }
        if let Some(link) = &ends.send {
            watch.enlist(&link.bell);
            let is_gone = connected && !link.has_reader();
            let is_over = |link: &Arc<Link>| !link.has_writer() || !link.has_reader();
            if connected && is_over(link) && ends.receive.as_ref().is_some_and(is_over) {
                found |= HUP;
            }
            if is_gone || link.has_room(self.options.send_room()) {
                found |= OUT;
            }
        } else if !connected {
            found |= OUT;
        }
        found & (wanted | HUP)
    }
}
