//! How a socket comes to an address and to a peer, and from it.

use std::net::SocketAddr;

use ringfence_abi::{Call, ErrorCode, Interest, Reply, Shutdown, SocketOption};
use rustix::io::Errno;

use super::{Internet, Phase, would_block};
use crate::personality::credentials::first;
use crate::personality::errno;
use crate::personality::open::{Kind, Open};
use crate::personality::process::lock;
use crate::personality::readiness::{IN, OUT};
use crate::personality::socket::{Socket, address, names};
use crate::personality::thread::Thread;
use crate::personality::world::World;

/// The lowest port that everybody may have: `ip_unprivileged_port_start` of `ip(7)`.
const LOWEST_PORT: u16 = 1024;

impl Internet {
    /// `bind(2)`
    pub(in crate::personality::socket) fn bind(&self, thread: &Thread, address: SocketAddr) -> Result<(), Errno> {
        let phase = lock(&self.state).phase;
        if phase != Phase::Fresh || self.handle().is_some() {
            return Err(Errno::INVAL);
        }
        let address = self.target(address)?;
        // Who became somebody else has no right to the lower ports: `ip(7)`.
        if (1..LOWEST_PORT).contains(&address.port()) && lock(&thread.process.credentials).users[1] != first() {
            return Err(Errno::ACCESS);
        }
        if self.stream || !address.ip().is_unspecified() || address.port() != 0 {
            let handle = self.open(&thread.world, address.is_ipv6())?;
            if self.stream && address.is_ipv6() && !self.options.is_only_ipv6() {
                let option = SocketOption::BothFamilies(true);
                thread.world.call(Call::SetOption { socket: handle, option })?;
            }
            if let Err(errno) = thread.world.call(Call::Bind { socket: handle, address }) {
                self.close(&thread.world);
                return Err(errno);
            }
        }
        // What the system would choose anyway, it chooses when a datagram is sent.
        lock(&self.state).phase = Phase::Bound;
        Ok(())
    }

    /// `listen(2)`
    pub(in crate::personality::socket) fn listen(&self, thread: &Thread, backlog: i32) -> Result<(), Errno> {
        if !self.stream {
            return Err(Errno::OPNOTSUPP);
        }
        let world = &thread.world;
        let phase = lock(&self.state).phase;
        if phase == Phase::Fresh {
            self.bind(thread, Internet::any(self.ipv6))?;
        }
        let handle = self.handle().ok_or(Errno::INVAL)?;
        let backlog = SocketOption::Backlog(u64::from(backlog.max(1).unsigned_abs()));
        world.call(Call::SetOption { socket: handle, option: backlog })?;
        if phase != Phase::Listening {
            world.call(Call::Listen { socket: handle })?;
            lock(&self.state).phase = Phase::Listening;
        }
        Ok(())
    }

    /// `connect(2)`
    pub(in crate::personality::socket) fn connect(
        &self,
        thread: &Thread,
        open: &Open,
        address: SocketAddr,
    ) -> Result<(), Errno> {
        let phase = lock(&self.state).phase;
        match phase {
            Phase::Connected if self.stream => return Err(Errno::ISCONN),
            Phase::Listening => return Err(Errno::ISCONN),
            Phase::Connecting if open.is_nonblocking() => {
                return match self.settle(&thread.world) {
                    Err(Errno::AGAIN) => Err(Errno::ALREADY),
                    other => other,
                };
            }
            Phase::Connecting => return self.connected(thread, open),
            _ => {}
        }
        let address = self.destination(address)?;
        if address == names::server() {
            if self.stream {
                return Err(Errno::CONNREFUSED);
            }
            lock(&self.state).phase = Phase::Asking;
            return Ok(());
        }
        thread.know_localhost(address)?;
        let handle = self.open(&thread.world, address.is_ipv6())?;
        match thread.world.host.call(Call::Connect { socket: handle, address }).now() {
            Ok(_) => {
                lock(&self.state).phase = Phase::Connected;
                self.bell.ring();
                Ok(())
            }
            Err(ErrorCode::InProgress) => {
                lock(&self.state).phase = Phase::Connecting;
                self.bell.ring();
                if open.is_nonblocking() { Err(Errno::INPROGRESS) } else { self.connected(thread, open) }
            }
            Err(code) => {
                if self.stream {
                    self.fail(&thread.world);
                }
                Err(thread.world.failed(code))
            }
        }
    }

    fn connected(&self, thread: &Thread, open: &Open) -> Result<(), Errno> {
        loop {
            match self.settle(&thread.world) {
                Err(Errno::AGAIN) => thread.wait_ready(open, OUT, self.options.send_until()).map_err(in_progress)?,
                // Who looked whether it is ready found out first.
                Ok(()) => return lock(&self.state).error.take().map_or(Ok(()), |code| Err(errno(code))),
                other => return other,
            }
        }
    }

    /// A socket that failed to connect can be used again, which the hal's cannot.
    fn fail(&self, world: &World) {
        self.close(world);
        lock(&self.state).phase = Phase::Fresh;
        self.bell.ring();
    }

    /// Finds out how connecting ended; `EAGAIN` while it goes on.
    pub(super) fn settle(&self, world: &World) -> Result<(), Errno> {
        // The hal says it once: who finds out says so to all who ask.
        let _one = lock(&self.settling);
        let (phase, handle) = {
            let state = lock(&self.state);
            (state.phase, state.handle)
        };
        let (Phase::Connecting, Some((handle, _))) = (phase, handle) else { return Ok(()) };
        match world.host.call(Call::ConnectResult { socket: handle }).now() {
            Ok(_) => {
                lock(&self.state).phase = Phase::Connected;
                Ok(())
            }
            Err(ErrorCode::WouldBlock) => Err(Errno::AGAIN),
            Err(code) => {
                self.fail(world);
                Err(world.failed(code))
            }
        }
    }

    /// What `SO_ERROR` says, once.
    pub(in crate::personality::socket) fn take_error(&self, world: &World) -> i32 {
        if let Err(errno) = self.settle(world)
            && errno != Errno::AGAIN
        {
            lock(&self.state).error = None;
            return errno.raw_os_error();
        }
        lock(&self.state).error.take().map_or(0, |code| errno(code).raw_os_error())
    }

    /// `accept(2)`: the connection, and who made it.
    pub(in crate::personality::socket) fn accept(
        &self,
        thread: &Thread,
        open: &Open,
        flags: u32,
    ) -> Result<(std::sync::Arc<Open>, Vec<u8>), Errno> {
        if !self.stream {
            return Err(Errno::OPNOTSUPP);
        }
        let handle = self.handle().filter(|_| self.is_listening()).ok_or(Errno::INVAL)?;
        let until = self.options.receive_until();
        loop {
            let attempt = open.attempt(Interest::Readable);
            let accepted = thread.world.host.call(Call::Accept { socket: handle }).now();
            drop(attempt);
            match accepted {
                Ok(Reply::Accepted(handle, peer)) => {
                    let socket = Socket::Internet(Internet::accepted(self.ipv6, handle));
                    let flags = flags | libc::O_RDWR as u32;
                    let accepted = Open::new(&thread.world, Kind::Socket(Box::new(socket)), b"socket:[1]", flags);
                    return Ok((accepted, address::internet(peer, self.ipv6)));
                }
                Err(ErrorCode::WouldBlock) if !open.is_nonblocking() => {
                    thread.wait_ready(open, IN, until).map_err(would_block)?;
                }
                Err(ErrorCode::ConnectionAborted) if !open.is_nonblocking() => {}
                Ok(_) => return Err(Errno::IO),
                Err(code) => return Err(thread.world.failed(code)),
            }
        }
    }

    /// `shutdown(2)`
    pub(in crate::personality::socket) fn shut_down(&self, world: &World, how: Shutdown) -> Result<(), Errno> {
        let (phase, handle) = {
            let state = lock(&self.state);
            (state.phase, state.handle)
        };
        match (phase, handle) {
            (Phase::Connected, Some((socket, _))) if self.stream => {
                world.call(Call::ShutdownSocket { socket, how }).map(drop)
            }
            (Phase::Listening, _) => Ok(()),
            _ => Err(Errno::NOTCONN),
        }
    }

    /// Nobody is its peer any more; a stream can be connected again.
    pub(in crate::personality::socket) fn disconnect(&self, world: &World) -> Result<(), Errno> {
        if self.stream {
            let phase = lock(&self.state).phase;
            if !matches!(phase, Phase::Fresh | Phase::Bound) {
                self.fail(world);
                let mut state = lock(&self.state);
                state.error = None;
                state.ahead.clear();
                state.kept = None;
            }
            return Ok(());
        }
        if let Some(socket) = self.handle() {
            world.call(Call::Disconnect { socket })?;
        }
        lock(&self.state).phase = Phase::Fresh;
        Ok(())
    }
}

fn in_progress(errno: Errno) -> Errno {
    if errno == Errno::TIMEDOUT { Errno::INPROGRESS } else { errno }
}
