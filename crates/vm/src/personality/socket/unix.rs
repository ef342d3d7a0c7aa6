//! Unix sockets within a capsule: `unix(7)`, `socketpair(2)`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};

use ringfence_abi::{Interest, Shutdown};
use rustix::io::Errno;

use super::super::open::{Kind, Open};
use super::super::process::lock;
use super::super::readiness::{HUP, IN, OUT, RDHUP, Watch};
use super::super::signals::Cause;
use super::super::thread::Thread;
use super::super::waiting::Bell;
use super::link::{EMPTY, Link, Taken};
use super::options::Options;
use super::{How, Socket};

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
    /// It sends no more: `shutdown(2)`.
    is_silent: bool,
}

/// Connections that wait to be accepted.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Unix>>,
    /// How many; 0 before `listen(2)`.
    most: AtomicUsize,
    bell: Bell,
}

impl Queue {
    fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}

/// What is behind a name.
enum Named {
    Listening(Weak<Queue>),
    Datagrams(Weak<Link>),
}

/// The names of Unix sockets in an instance. A name with a path is the name alone: no file is made.
#[derive(Default)]
pub(crate) struct Names(Mutex<BTreeMap<Vec<u8>, Named>>);

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
        [Unix::joined(style, one.clone(), two.clone()), Unix::joined(style, two, one)]
    }

    fn is_stream(&self) -> bool {
        self.style == Style::Stream
    }

    pub(super) fn close(&self) {
        let mut ends = lock(&self.ends);
        if let Some(receive) = &ends.receive {
            receive.close_reader();
        }
        // Where datagrams are sent to by name, others send as well.
        if let (Some(send), false) = (&ends.send, self.style == Style::Datagram && !ends.peer.is_empty()) {
            send.close_writer();
        }
        let queue = ends.queue.take();
        drop(ends);
        if let Some(queue) = queue {
            let waiting = std::mem::take(&mut *lock(&queue.waiting));
            waiting.iter().for_each(Unix::close);
        }
    }

    /// `bind(2)`
    pub(super) fn bind(&self, thread: &Thread, name: &[u8]) -> Result<(), Errno> {
        let mut names = lock(&thread.world.names.0);
        names.retain(|_, named| match named {
            Named::Listening(queue) => queue.strong_count() > 0,
            Named::Datagrams(link) => link.strong_count() > 0,
        });
        let mut ends = lock(&self.ends);
        if !ends.name.is_empty() || name.is_empty() {
            return Err(Errno::INVAL);
        }
        if names.contains_key(name) {
            return Err(Errno::ADDRINUSE);
        }
        let named = if self.style == Style::Datagram {
            let link = ends.receive.get_or_insert_with(|| thread.link());
            Named::Datagrams(Arc::downgrade(link))
        } else {
            let queue = Arc::<Queue>::default();
            let named = Named::Listening(Arc::downgrade(&queue));
            ends.queue = Some(queue);
            named
        };
        names.insert(name.to_vec(), named);
        ends.name = name.to_vec();
        Ok(())
    }

    /// `listen(2)`
    pub(super) fn listen(&self, backlog: i32) -> Result<(), Errno> {
        let ends = lock(&self.ends);
        if self.style == Style::Datagram || ends.name.is_empty() {
            return Err(if self.style == Style::Datagram { Errno::OPNOTSUPP } else { Errno::INVAL });
        }
        let most = backlog.clamp(1, 4096).unsigned_abs() as usize;
        // Again, it changes how many may wait; those who do stay.
        ends.queue.as_ref().ok_or(Errno::INVAL)?.most.store(most, SeqCst);
        Ok(())
    }

    /// `connect(2)`
    pub(super) fn connect(&self, thread: &Thread, name: &[u8]) -> Result<(), Errno> {
        thread.world.may_keep(2 * EMPTY)?;
        let names = lock(&thread.world.names.0);
        let missing = if name.first() == Some(&0) { Errno::CONNREFUSED } else { Errno::NOENT };
        let mut ends = lock(&self.ends);
        match (names.get(name).ok_or(missing)?, self.style) {
            (Named::Datagrams(link), Style::Datagram) => {
                ends.send = Some(link.upgrade().ok_or(Errno::CONNREFUSED)?);
                ends.peer = name.to_vec();
            }
            (Named::Listening(queue), Style::Stream | Style::Packets) => {
                if ends.send.is_some() {
                    return Err(Errno::ISCONN);
                }
                let queue = queue.upgrade().filter(|queue| queue.most() > 0).ok_or(Errno::CONNREFUSED)?;
                let mut waiting = lock(&queue.waiting);
                if waiting.len() >= queue.most() {
                    return Err(Errno::AGAIN);
                }
                let (one, two) = (thread.link(), thread.link());
                let other = Unix::joined(self.style, one.clone(), two.clone());
                {
                    let mut others = lock(&other.ends);
                    others.name = name.to_vec();
                    others.peer = ends.name.clone();
                }
                waiting.push_back(other);
                drop(waiting);
                (ends.receive, ends.send) = (Some(two), Some(one));
                ends.peer = name.to_vec();
                queue.bell.ring();
            }
            _ => return Err(Errno::PROTOTYPE),
        }
        self.bell.ring();
        Ok(())
    }

    /// `accept(2)`
    pub(super) fn accept(&self, thread: &Thread, open: &Open, flags: u32) -> Result<(Arc<Open>, Vec<u8>), Errno> {
        let queue = lock(&self.ends).queue.clone().filter(|queue| queue.most() > 0).ok_or(Errno::INVAL)?;
        let take = || lock(&queue.waiting).pop_front();
        open.attempted(Interest::Readable);
        let accepted = match (take(), open.is_nonblocking()) {
            (Some(accepted), _) => accepted,
            (None, true) => return Err(Errno::AGAIN),
            (None, false) => thread.wait(&[&queue.bell], None, take)?,
        };
        let peer = lock(&accepted.ends).peer.clone();
        let kind = Kind::Socket(Box::new(Socket::Unix(accepted)));
        let accepted = Open::new(&thread.world, kind, b"socket:[1]", flags | libc::O_RDWR as u32);
        Ok((accepted, super::address::unix(&peer)))
    }

    fn destination(&self, thread: &Thread, to: Option<&[u8]>) -> Result<Arc<Link>, Errno> {
        if lock(&self.ends).is_silent {
            return Err(Errno::PIPE);
        }
        match to {
            Some(name) if self.style == Style::Datagram => match lock(&thread.world.names.0).get(name) {
                Some(Named::Datagrams(link)) => link.upgrade().ok_or(Errno::CONNREFUSED),
                Some(Named::Listening(_)) => Err(Errno::PROTOTYPE),
                None => Err(Errno::NOENT),
            },
            _ => lock(&self.ends).send.clone().ok_or(Errno::NOTCONN),
        }
    }

    /// Sends bytes, and descriptors with them.
    pub(super) fn send(
        &self,
        thread: &Thread,
        open: &Open,
        from: &[u8],
        mut opens: Vec<Arc<Open>>,
        to: Option<&[u8]>,
        how: How,
    ) -> Result<usize, Errno> {
        let link = self.destination(thread, to)?;
        thread.world.may_keep(from.len())?;
        let name = lock(&self.ends).name.clone();
        let until = self.options.send_until();
        let mut done = 0;
        loop {
            let put = link.put(&from[done..], &mut opens, &name, self.is_stream());
            let result = match (put, how.at_once) {
                (Some(put), _) => put,
                (None, true) => {
                    open.attempted(Interest::Writable);
                    Err(Errno::AGAIN)
                }
                (None, false) => {
                    let put = || link.put(&from[done..], &mut opens, &name, self.is_stream());
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
        open.attempted(Interest::Readable);
        let until = self.options.receive_until();
        let all = self.is_stream() && how.has(libc::MSG_WAITALL) && !how.has(libc::MSG_PEEK);
        let mut done = Taken::default();
        loop {
            let mut take = || link.take(&mut into[done.count..], self.is_stream(), how.has(libc::MSG_PEEK));
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
                    };
                    if !all || is_end || done.count == into.len() {
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
        let Some(send) = ends.send.clone() else { return Err(Errno::NOTCONN) };
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
            if is_gone && ends.receive.as_ref().is_some_and(|link| !link.has_writer()) {
                found |= HUP;
            }
            if is_gone || link.has_room() {
                found |= OUT;
            }
        } else if !connected {
            found |= OUT;
        }
        found & (wanted | HUP)
    }
}
