//! `connect(2)`.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use ringfence_abi::{Call, ErrorCode, Interest};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{getpeername, sockopt};

use super::address::{Target, canonical};
use super::ask::{Answer, Ask, Own};
use super::broker::{Desk, Opened, errno};
use super::options;
use crate::sys;

/// `TCP_SYN_SENT`, as the first byte of `TCP_INFO` has it.
const SYN_SENT: u8 = 2;

impl Desk {
    pub(super) async fn connect(&self, ask: &Ask) -> Result<Answer, Errno> {
        let own = ask.own()?;
        let target = ask.address()?.reached();
        self.check(ask)?;
        if let Target::Within(name) = target {
            return self.connect_within(ask, own, name).await;
        }
        self.know(&target).await;
        if own.is_datagram() {
            return self.connect_datagram(&own, target);
        }
        if !own.is_stream() {
            return Err(Errno::ACCESS);
        }
        check_unconnected(&own)?;
        match target {
            Target::Internet(address) if own.is_ipv6() == address.is_ipv6() => self.connect_stream(&own, address).await,
            Target::Internet(_) => Err(Errno::AFNOSUPPORT),
            // Only to be connected elsewhere, which gets a new socket.
            Target::Nobody => Err(Errno::OPNOTSUPP),
            Target::Within(_) | Target::Kernel { .. } | Target::Foreign => Err(Errno::AFNOSUPPORT),
        }
    }

    async fn connect_stream(&self, own: &Own, address: SocketAddr) -> Result<Answer, Errno> {
        let address = canonical(address);
        let carried = own.is_ipv6() && address.is_ipv4();
        if carried && sockopt::ipv6_v6only(&own.socket).unwrap_or(true) {
            return Err(Errno::NETUNREACH);
        }
        let bound = self.bound().remove(own.cookie()?);
        let opened = match bound {
            Some(_) if carried => return Err(Errno::NETUNREACH),
            Some(opened) => opened,
            None => self.open(Call::TcpSocket { ipv6: address.is_ipv6() }).map_err(errno)?,
        };
        let socket = self.export(&opened)?;
        options::take_over(own.socket.as_fd(), socket.as_fd());
        set_waiting(&socket, false)?;
        let connected = match self.call(Call::Connect { socket: opened.handle, address }) {
            Err(ErrorCode::InProgress) if own.waits || self.counted.is_some() => self.connected(&opened).await,
            Err(code) => Err(errno(code)),
            Ok(()) => Ok(()),
        };
        if let Some(counted) = self.counted.as_ref().filter(|_| connected.is_ok()) {
            return counted.join(own, socket).await.map(|()| Answer::plain(Ok(())));
        }
        set_waiting(&socket, own.waits)?;
        match connected {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Answer::with(socket, connected)),
            Err(errno) => Err(errno),
        }
    }

    /// Waits until a connection is made, or is not.
    async fn connected(&self, opened: &Opened) -> Result<(), Errno> {
        loop {
            let ready = Call::Ready { handle: opened.handle, interest: Interest::Writable };
            self.host.call(ready).wait().await.map_err(errno)?;
            match self.call(Call::ConnectResult { socket: opened.handle }) {
                Err(ErrorCode::WouldBlock) => {}
                result => return result.map_err(errno),
            }
        }
    }
}

/// What `connect(2)` says of a socket that is connected, or just being connected.
fn check_unconnected(own: &Own) -> Result<(), Errno> {
    if matches!(getpeername(&own.socket), Ok(Some(_))) {
        return Err(Errno::ISCONN);
    }
    let mut information = [0];
    let got = sys::socket_option(own.socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut information);
    if got.is_ok() && information[0] == SYN_SENT {
        return Err(Errno::ALREADY);
    }
    Ok(())
}

/// Whether operations on the socket wait.
pub(super) fn set_waiting(socket: &impl AsFd, waits: bool) -> Result<(), Errno> {
    let mut flags = fcntl_getfl(socket)?;
    flags.set(OFlags::NONBLOCK, !waits);
    fcntl_setfl(socket, flags)
}
