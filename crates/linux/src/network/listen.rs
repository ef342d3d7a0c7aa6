//! `bind(2)` and `listen(2)`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use ringfence_abi::{Call, SocketOption};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{getsockname, sockopt};

use super::address::{Target, canonical};
use super::ask::{Answer, Ask, Own};
use super::broker::{Desk, Opened, errno};
use super::closing::Lent;
use super::connect::set_waiting;
use super::options;
use super::streams::{Counted, bind_anywhere};

/// How many ports of the host's choice are tried.
const ATTEMPTS: u32 = 16;

impl Desk {
    pub(super) async fn bind(&self, ask: &Ask) -> Result<Answer, Errno> {
        let own = ask.own()?;
        let target = ask.address()?;
        self.check(ask)?;
        let address = match target {
            Target::Internet(address) => address,
            Target::Within(_) => return self.bind_within(&own),
            Target::Kernel { groups } => return bind_to_kernel(&own, groups),
            Target::Nobody | Target::Foreign => return Err(Errno::ACCESS),
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
        if let Some(counted) = &self.counted {
            if counted.listens() {
                let opened = self.bind_both(&own, address)?;
                return self.bound().insert(*ask, &own.socket, opened).map(|()| Answer::plain(Ok(())));
            }
            // Nothing is listened on, so this is what the system would have chosen.
            drop(self.bind_stream(&own, address)?);
            return rustix::net::bind(&own.socket, &address).map(|()| Answer::plain(Ok(())));
        }
        let (opened, socket) = self.bind_stream(&own, address)?;
        self.bound().insert(*ask, &socket, opened)?;
        Ok(Answer::with(socket, Ok(())))
    }

    /// Binds a socket of the host's and, within its network, the program's own to the same address.
    fn bind_both(&self, own: &Own, mut address: SocketAddr) -> Result<Opened, Errno> {
        let asked = address.port();
        for attempt in 1.. {
            address.set_port(asked);
            let (opened, socket) = self.bind_stream(own, address)?;
            address.set_port(SocketAddr::try_from(getsockname(&socket)?)?.port());
            match bind_anywhere(own.socket.as_fd(), own.is_ipv6(), address) {
                Ok(()) => return Ok(opened),
                // A port that the host chose may be in use within.
                Err(Errno::ADDRINUSE) if asked == 0 && attempt < ATTEMPTS => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::ADDRINUSE)
    }

    fn bind_stream(&self, own: &Own, address: SocketAddr) -> Result<(Opened, OwnedFd), Errno> {
        let address = canonical(address);
        let opened = self.open(Call::TcpSocket { ipv6: address.is_ipv6() }).map_err(errno)?;
        // Where bytes are counted connections are made anew within, by the family they came by.
        let hears_both = self.counted.is_none() && own.is_ipv6() && !sockopt::ipv6_v6only(&own.socket)?;
        if hears_both && address.is_ipv6() {
            let option = SocketOption::BothFamilies(true);
            self.call(Call::SetOption { socket: opened.handle, option }).map_err(errno)?;
        }
        self.call(Call::Bind { socket: opened.handle, address }).map_err(errno)?;
        let socket = self.export(&opened)?;
        options::take_over(own.socket.as_fd(), socket.as_fd());
        set_waiting(&socket, own.waits)?;
        Ok((opened, socket))
    }

    pub(super) async fn listen(&self, ask: &Ask) -> Result<Answer, Errno> {
        let own = ask.own()?;
        self.check(ask)?;
        if own.is_unix() {
            return self.listen_within(&own, ask.integer(1));
        }
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
                if self.counted.as_ref().is_some_and(Counted::listens) {
                    (self.bind_both(&own, anywhere)?, None)
                } else {
                    let (opened, socket) = self.bind_stream(&own, anywhere)?;
                    (opened, Some(socket))
                }
            }
        };
        let option = SocketOption::Backlog(u64::from(backlog.unsigned_abs()));
        self.call(Call::SetOption { socket: opened.handle, option }).map_err(errno)?;
        self.call(Call::Listen { socket: opened.handle }).map_err(errno)?;
        if let Some(counted) = self.counted.as_ref().filter(|counted| counted.listens()) {
            rustix::net::listen(&own.socket, backlog)?;
            let host = self.export(&opened)?;
            set_waiting(&host, false)?;
            self.bound().insert(*ask, &own.socket, opened)?;
            counted.listen(own.cookie()?, host);
        }
        Ok(Answer::Returns { result: Ok(()), socket: given.map(Lent::from) })
    }
}

/// Gives a socket that asks the kernel (`rtnetlink(7)`) the number to answer to. The one that the kernel would take is that
/// of who binds it, which is the supervisor.
fn bind_to_kernel(own: &Own, groups: u32) -> Result<Answer, Errno> {
    if !own.is_netlink() {
        return Err(Errno::INVAL);
    }
    if groups != 0 {
        return Err(Errno::PERM);
    }
    let number = (own.cookie()? as u32 & (u32::MAX >> 1)).max(1);
    rustix::net::bind(&own.socket, &SocketAddrNetlink::new(number, 0)).map(|()| Answer::plain(Ok(())))
}

/// Whether a socket is bound already.
pub(super) fn has_port(own: &Own) -> Result<bool, Errno> {
    let address = SocketAddr::try_from(getsockname(&own.socket)?)?;
    Ok(address.port() != 0)
}
