//! UDP sockets, which stay in the capsule's own network: they reach where names are answered, and
//! nothing else.

use std::net::SocketAddr;

use ringfence_abi::Call;
use rustix::io::Errno;
use rustix::net::{bind, connect, connect_unspec};

use super::address::{Target, canonical};
use super::ask::{Answer, Own};
use super::broker::{Desk, errno};
use super::name_server;

impl Desk {
    pub(super) fn connect_datagram(&self, own: &Own, target: Target) -> Result<Answer, Errno> {
        let done = match target {
            Target::Nobody => connect_unspec(&own.socket),
            Target::Internet(address) if canonical(address) == name_server() => connect(&own.socket, &address),
            Target::Internet(address) => self.judge_datagram(canonical(address)),
            Target::Foreign => Err(Errno::AFNOSUPPORT),
        };
        Ok(Answer::plain(done))
    }

    /// The verdict on an address, as an event; when it is granted, there is no way there yet.
    fn judge_datagram(&self, address: SocketAddr) -> Result<(), Errno> {
        let opened = self.open(Call::UdpSocket { ipv6: address.is_ipv6() })?;
        self.call(Call::Connect { socket: opened.handle, address }).map_err(errno)?;
        Err(Errno::NETUNREACH)
    }

    pub(super) fn bind_datagram(&self, own: &Own, address: SocketAddr) -> Result<(), Errno> {
        if address.ip().is_unspecified() && address.port() == 0 {
            return bind(&own.socket, &address);
        }
        let address = canonical(address);
        let opened = self.open(Call::UdpSocket { ipv6: address.is_ipv6() })?;
        self.call(Call::Bind { socket: opened.handle, address }).map_err(errno)?;
        Err(Errno::ADDRNOTAVAIL)
    }
}
