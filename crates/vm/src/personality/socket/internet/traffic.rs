//! What goes over a socket: `send(2)` and `recv(2)`.

use std::net::SocketAddr;

use ringfence_abi::{Call, ErrorCode, Interest, Reply};
use rustix::io::Errno;

use super::{AHEAD, ANSWERS, Internet, More, Phase, Received, State, would_block};
use crate::kvm::Kept;
use crate::personality::errno;
use crate::personality::open::Open;
use crate::personality::process::lock;
use crate::personality::readiness::{IN, OUT};
use crate::personality::signals::Cause;
use crate::personality::socket::{How, LONGEST_DATAGRAM, names};
use crate::personality::thread::Thread;

impl Internet {
    /// Sends, to `to` or to the peer. Of a stream everything, unless that would wait and must not.
    pub(in crate::personality::socket) fn send(
        &self,
        thread: &Thread,
        open: &Open,
        from: &[u8],
        to: Option<SocketAddr>,
        how: How,
    ) -> Result<usize, Errno> {
        if how.has(libc::MSG_OOB) {
            return Err(Errno::OPNOTSUPP);
        }
        let until = self.options.send_until();
        if !self.stream && how.has(libc::MSG_MORE) {
            return self.begin(thread, from, to);
        }
        let begun = if self.stream { None } else { lock(&self.state).more.take() };
        let begun = begun.map(|more| more.and(thread, from)).transpose()?;
        let (datagram, to) = begun.as_ref().map_or((from, to), |more| (&more.bytes[..], more.to));
        let mut done = 0;
        loop {
            let sent = match self.stream {
                true => self.send_some(thread, &from[done..]),
                false => self.send_datagram(thread, datagram, to).map(|_| from.len()),
            };
            let result = match sent {
                Ok(count) => {
                    done += count;
                    if !self.stream || done >= from.len() {
                        return Ok(done);
                    }
                    continue;
                }
                Err(Errno::AGAIN) => {
                    drop(open.attempt(Interest::Writable));
                    if how.at_once {
                        Err(Errno::AGAIN)
                    } else {
                        thread.wait_ready(open, OUT, until).map_err(would_block)
                    }
                }
                Err(errno) => Err(errno),
            };
            match result {
                Ok(()) => {}
                Err(_) if done > 0 => return Ok(done),
                Err(Errno::PIPE) => {
                    if !how.has(libc::MSG_NOSIGNAL) {
                        thread.raise(&Cause::own(libc::SIGPIPE));
                    }
                    return Err(Errno::PIPE);
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// A part of a datagram, which is sent with its last one: `MSG_MORE` of `send(2)`.
    fn begin(&self, thread: &Thread, from: &[u8], to: Option<SocketAddr>) -> Result<usize, Errno> {
        let mut state = lock(&self.state);
        let has_peer = matches!(state.phase, Phase::Connected | Phase::Asking);
        let more = match state.more.take() {
            Some(more) => more,
            None if to.is_none() && !has_peer => return Err(Errno::DESTADDRREQ),
            None => More { bytes: Vec::new(), to, kept: Kept::new(thread.world.machine.clone()) },
        };
        // One that would be too long is none.
        state.more = Some(more.and(thread, from)?);
        Ok(from.len())
    }

    fn send_some(&self, thread: &Thread, from: &[u8]) -> Result<usize, Errno> {
        self.settle(&thread.world)?;
        let handle = match lock(&self.state) {
            state if state.phase == Phase::Connected => state.handle.ok_or(Errno::NOTCONN)?.0,
            _ => return Err(Errno::PIPE),
        };
        count(thread.world.call(Call::Send { stream: handle, from }))
    }

    fn send_datagram(&self, thread: &Thread, from: &[u8], to: Option<SocketAddr>) -> Result<usize, Errno> {
        let phase = lock(&self.state).phase;
        let to = to.map(|to| self.destination(to)).transpose()?;
        if to == Some(names::server()) || (to.is_none() && phase == Phase::Asking) {
            if let Some(answer) = names::ask(thread, from)? {
                let mut state = lock(&self.state);
                if state.ahead.len() < ANSWERS {
                    state.keep(&thread.world, answer, Some(names::server()));
                }
                drop(state);
                self.bell.ring();
            }
            return Ok(from.len());
        }
        let handle = match to {
            Some(to) => {
                thread.know_localhost(to)?;
                self.open(&thread.world, to.is_ipv6())?
            }
            None if phase == Phase::Connected => self.handle().ok_or(Errno::DESTADDRREQ)?,
            None => return Err(Errno::DESTADDRREQ),
        };
        let sent = count(thread.world.call(Call::SendTo { socket: handle, address: to, from }))?;
        self.bell.ring();
        Ok(sent)
    }

    /// Receives what is there; waits for it unless it must not.
    pub(in crate::personality::socket) fn receive(
        &self,
        thread: &Thread,
        open: &Open,
        into: &mut [u8],
        how: How,
    ) -> Result<Received, Errno> {
        let until = self.options.receive_until();
        let mut done = 0;
        loop {
            let attempt = open.attempt(Interest::Readable);
            let received = match self.stream {
                true => self.receive_some(thread, &mut into[done..], how),
                false => self.receive_datagram(thread, into, how),
            };
            drop(attempt);
            match received {
                Ok(received) => {
                    done += received.count;
                    let all = self.stream && how.has(libc::MSG_WAITALL) && !how.has(libc::MSG_PEEK);
                    if !all || done == into.len() || received.count == 0 {
                        return Ok(Received { count: done, ..received });
                    }
                }
                Err(_) if done > 0 => return Ok(Received { count: done, ..Received::default() }),
                Err(Errno::AGAIN) if !how.at_once => thread.wait_ready(open, IN, until).map_err(would_block)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    fn receive_some(&self, thread: &Thread, into: &mut [u8], how: How) -> Result<Received, Errno> {
        self.settle(&thread.world)?;
        let peek = how.has(libc::MSG_PEEK);
        let handle = {
            let mut state = lock(&self.state);
            if state.phase != Phase::Connected {
                return match state.error.take() {
                    Some(code) => Err(errno(code)),
                    None => Err(Errno::NOTCONN),
                };
            }
            if let Some((ahead, _)) = state.ahead.front_mut() {
                let count = ahead.len().min(into.len());
                into[..count].copy_from_slice(&ahead[..count]);
                if !peek {
                    ahead.drain(..count);
                    if ahead.is_empty() {
                        state.ahead.clear();
                        state.kept = None;
                    }
                }
                return Ok(Received { count, whole: count, from: None });
            }
            state.handle.ok_or(Errno::NOTCONN)?.0
        };
        let most = if peek { into.len().min(AHEAD) } else { into.len() };
        thread.world.may_keep(if peek { most } else { 0 })?;
        let count = count(thread.world.call(Call::Receive { stream: handle, into: &mut into[..most] }))?;
        if peek && count > 0 {
            lock(&self.state).keep(&thread.world, into[..count].to_vec(), None);
        }
        Ok(Received { count, whole: count, from: None })
    }

    fn receive_datagram(&self, thread: &Thread, into: &mut [u8], how: How) -> Result<Received, Errno> {
        let take = |state: &mut State| match how.has(libc::MSG_PEEK) {
            true => state.ahead.front().cloned(),
            false => {
                let first = state.ahead.pop_front();
                state.kept = state.kept.take().filter(|_| !state.ahead.is_empty());
                first
            }
        };
        let (ahead, handle) = {
            let mut state = lock(&self.state);
            (take(&mut state), state.handle)
        };
        let (datagram, from) = match (ahead, handle) {
            (Some(ahead), _) => ahead,
            (None, None) => return Err(Errno::AGAIN),
            (None, Some((handle, _))) => {
                let mut datagram = vec![0; LONGEST_DATAGRAM];
                let reply = thread.world.host.call(Call::ReceiveFrom { socket: handle, into: &mut datagram }).now();
                match reply {
                    Ok(Reply::Datagram(count, from)) => {
                        datagram.truncate(count);
                        if how.has(libc::MSG_PEEK) {
                            lock(&self.state).keep(&thread.world, datagram.clone(), Some(from));
                        }
                        (datagram, Some(from))
                    }
                    // Not bound yet: nobody can have sent anything.
                    Err(ErrorCode::Invalid) => return Err(Errno::AGAIN),
                    Ok(_) => return Err(Errno::IO),
                    Err(code) => return Err(thread.world.failed(code)),
                }
            }
        };
        let count = datagram.len().min(into.len());
        into[..count].copy_from_slice(&datagram[..count]);
        Ok(Received { count, whole: datagram.len(), from })
    }

    pub(in crate::personality::socket) fn length(&self) -> usize {
        lock(&self.state).ahead.front().map_or(0, |(ahead, _)| ahead.len())
    }
}

impl More {
    /// The same with this behind it.
    fn and(mut self, thread: &Thread, from: &[u8]) -> Result<More, Errno> {
        if self.bytes.len() + from.len() > LONGEST_DATAGRAM {
            return Err(Errno::MSGSIZE);
        }
        thread.world.may_keep(from.len())?;
        self.bytes.extend_from_slice(from);
        self.kept.set(self.bytes.len());
        Ok(self)
    }
}

fn count(reply: Result<Reply, Errno>) -> Result<usize, Errno> {
    match reply? {
        Reply::Count(count) => Ok(count),
        _ => Err(Errno::IO),
    }
}
