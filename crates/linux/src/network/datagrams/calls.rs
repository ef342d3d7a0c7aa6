//! What UDP sockets ask: `connect(2)` and `bind(2)`. They stay in the capsule's own network.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use ringfence_abi::Call;
use ringfence_isolation::Denial;
use rustix::io::Errno;
use rustix::net::{bind, connect, connect_unspec, getsockname};

use super::ports::Port;
use crate::network::address::{Target, canonical};
use crate::network::ask::{Answer, Ask, Own};
use crate::network::broker::{Desk, errno};
use crate::network::listen::has_port;
use crate::network::name_server;

/// How long what was sent from a closed port may take to leave.
const PATIENCE: Duration = Duration::from_millis(100);

impl Desk {
    pub(in crate::network) fn connect_datagram(&self, own: &Own, target: Target) -> Result<Answer, Errno> {
        let done = match target {
            Target::Nobody => connect_unspec(&own.socket),
            Target::Internet(address) if own.is_ipv6() != address.is_ipv6() => Err(Errno::AFNOSUPPORT),
            Target::Internet(address) if canonical(address) == name_server() => connect(&own.socket, &address),
            Target::Internet(address) => {
                self.open_datagram(canonical(address)).map_err(errno)?;
                if self.relay.is_none() {
                    self.host.denied(no_wire(canonical(address)));
                    return Err(Errno::NETUNREACH);
                }
                connect(&own.socket, &address)
            }
            Target::Within(_) | Target::Kernel { .. } | Target::Foreign => Err(Errno::AFNOSUPPORT),
        };
        Ok(Answer::plain(done))
    }

    pub(in crate::network) fn bind_datagram(&self, ask: &Ask, own: &Own, address: SocketAddr) -> Result<(), Errno> {
        if address.ip().is_unspecified() && address.port() == 0 {
            return bind(&own.socket, &address);
        }
        if has_port(own)? {
            return Err(Errno::INVAL);
        }
        let asked = canonical(address);
        let gave_back = self.give_unbound_back(ask)?;
        let began = Instant::now();
        let opened = loop {
            let opened = self.open(Call::UdpSocket { ipv6: asked.is_ipv6() }).map_err(errno)?;
            match self.call(Call::Bind { socket: opened.handle, address: asked }).map_err(errno) {
                Ok(_) => break opened,
                // A process that is just being made for another instance still has a copy of what was given back.
                Err(Errno::ADDRINUSE) if gave_back && began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(errno) => return Err(errno),
            }
        };
        let Some(relay) = &self.relay else {
            self.host.denied(no_wire(asked));
            return Err(Errno::ADDRNOTAVAIL);
        };
        let socket = self.host.descriptor(opened.handle).map_err(errno)?;
        let port = Port { number: SocketAddr::try_from(getsockname(&socket)?)?.port(), ..Port::of(asked) };
        let within = match own.is_ipv6() {
            true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.number)),
            false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.number)),
        };
        bind(&own.socket, &within)?;
        self.ports.take(port, socket)?;
        relay.ring();
        Ok(())
    }
}

impl Desk {
    /// Gives back what is bound no more, when what was sent from there has left; whether there was such.
    fn give_unbound_back(&self, ask: &Ask) -> Result<bool, Errno> {
        if !self.ports.close_unbound(|| ask.datagram_sockets())? {
            return Ok(false);
        }
        if let Some(relay) = &self.relay {
            relay.ring();
            self.ports.wait_for_closed(PATIENCE);
        }
        self.ports.give_back();
        Ok(true)
    }
}

/// Without the pair of interfaces, or the socket at its end, what is granted is not reached by datagrams.
fn no_wire(address: SocketAddr) -> Denial {
    Denial {
        permission: None,
        resource: address.to_string(),
        rule: "this machine gives no veth pair or no packet socket, by which datagrams leave level sandbox: load \
               the module veth, keep CAP_NET_RAW, or choose level wasm"
            .into(),
        written: None,
        grant: None,
    }
}
