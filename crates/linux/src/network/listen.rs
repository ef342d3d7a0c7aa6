//! `bind(2)` and `listen(2)`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use ringfence_abi::{Call, SocketOption};
use rustix::io::Errno;
use rustix::net::{getsockname, sockopt};

use super::address::{Target, canonical};
use super::ask::{Answer, Ask, Own};
use super::broker::{Desk, Opened, errno};
use super::connect::set_waiting;
use super::options;

impl Desk {
    pub(super) async fn bind(&self, ask: &Ask) -> Result<Answer, Errno> {
        let own = ask.own()?;
        let target = ask.address()?;
        self.check(ask)?;
        let Target::Internet(address) = target else {
            // Unix sockets among them: whoever could reach one could be reached by way of a mount.
            return Err(Errno::ACCESS);
        };
        if own.is_ipv6() != address.is_ipv6() {
            return Err(Errno::AFNOSUPPORT);
        }
        if own.is_datagram() {
            return self.bind_datagram(ask, &own, address).map(|()| Answer::plain(Ok(())));
        }
        if !own.is_stream() {
            return Err(Errno::ACCESS);
        }
        if has_port(&own)? {
            return Err(Errno::INVAL);
        }
        self.forget_closed().await;
        let (opened, socket) = self.bind_stream(&own, address)?;
        if self.counted.is_some() {
            // It stays in the place. Nothing is listened on where bytes are counted, so this is what the system
            // would have chosen.
            return rustix::net::bind(&own.socket, &address).map(|()| Answer::plain(Ok(())));
        }
        self.bound().insert(*ask, &socket, opened)?;
        Ok(Answer::with(socket, Ok(())))
    }

    fn bind_stream(&self, own: &Own, address: SocketAddr) -> Result<(Opened, OwnedFd), Errno> {
        let address = canonical(address);
        let opened = self.open(Call::TcpSocket { ipv6: address.is_ipv6() }).map_err(errno)?;
        self.call(Call::Bind { socket: opened.handle, address }).map_err(errno)?;
        let socket = self.export(&opened)?;
        options::take_over(own.socket.as_fd(), socket.as_fd());
        set_waiting(&socket, own.waits)?;
        Ok((opened, socket))
    }

    pub(super) async fn listen(&self, ask: &Ask) -> Result<Answer, Errno> {
        let own = ask.own()?;
        self.check(ask)?;
        if !own.is_stream() {
            return Err(Errno::OPNOTSUPP);
        }
        let backlog = ask.integer(1).max(1);
        if sockopt::socket_acceptconn(&own.socket)? {
            // It listens by a grant: how many may wait is its own affair.
            return rustix::net::listen(&own.socket, backlog).map(|()| Answer::plain(Ok(())));
        }
        let bound = self.bound().remove(own.cookie()?);
        let (opened, given) = match bound {
            Some(opened) => (opened, None),
            // It was held where nobody looked, and is forgotten.
            None if has_port(&own)? => return Err(Errno::INVAL),
            // Where the system would bind it.
            None => {
                let anywhere = match own.is_ipv6() {
                    true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                    false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                };
                let (opened, socket) = self.bind_stream(&own, anywhere)?;
                (opened, Some(socket))
            }
        };
        let option = SocketOption::Backlog(u64::from(backlog.unsigned_abs()));
        self.call(Call::SetOption { socket: opened.handle, option }).map_err(errno)?;
        self.call(Call::Listen { socket: opened.handle }).map_err(errno)?;
        Ok(Answer { socket: given, result: Ok(()) })
    }
}

/// Whether a socket is bound already.
pub(super) fn has_port(own: &Own) -> Result<bool, Errno> {
    let address = SocketAddr::try_from(getsockname(&own.socket)?)?;
    Ok(address.port() != 0)
}
