//! The ports of the host that a capsule's UDP sockets are bound to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// How many there can be: each takes a descriptor of the supervisor's.
const MOST: usize = 64;

/// A port, of which each family has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Port {
    pub(super) is_ipv6: bool,
    pub(super) number: u16,
}

impl Port {
    pub(super) fn of(address: SocketAddr) -> Self {
        Port { is_ipv6: address.is_ipv6(), number: address.port() }
    }
}

/// Those that are taken, each with the host's socket.
#[derive(Debug, Default)]
pub(in crate::network) struct Ports {
    taken: Mutex<HashMap<Port, Taken>>,
}

#[derive(Debug)]
struct Taken {
    socket: OwnedFd,
    /// Whether the relay knows of it.
    is_heard: bool,
}

impl Ports {
    /// Takes one for a socket that is bound to it.
    pub(super) fn take(&self, port: Port, socket: OwnedFd) -> Result<(), Errno> {
        let mut taken = self.taken();
        if taken.len() >= MOST {
            return Err(Errno::NOBUFS);
        }
        match taken.entry(port) {
            Entry::Occupied(_) => Err(Errno::ADDRINUSE),
            Entry::Vacant(vacant) => {
                vacant.insert(Taken { socket, is_heard: false });
                Ok(())
            }
        }
    }

    /// Whether one is taken.
    pub(super) fn has(&self, port: Port) -> bool {
        self.taken().contains_key(&port)
    }

    /// Does something with the socket that is bound to one. Nobody keeps it: when it is given back, the
    /// port of the host is free at once.
    pub(super) fn with<T>(&self, port: Port, work: impl FnOnce(&OwnedFd) -> T) -> Option<T> {
        self.taken().get(&port).map(|taken| work(&taken.socket))
    }

    /// Shows those that were not shown before.
    pub(super) fn show_new(&self, mut show: impl FnMut(Port, &OwnedFd)) {
        for (&port, taken) in self.taken().iter_mut().filter(|(_, taken)| !taken.is_heard) {
            taken.is_heard = true;
            show(port, &taken.socket);
        }
    }

    /// Gives those back that no socket of the capsule's is bound to any more. `bound` is what `/proc/net/udp`
    /// and `/proc/net/udp6` (`proc(5)`) say in its network.
    pub(super) fn give_back(&self, bound: &str) {
        let numbers: Vec<u16> = bound.lines().filter_map(local_port).collect();
        self.taken().retain(|port, _| numbers.contains(&port.number));
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Port, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `  12: 020000C0:1F90 01000000:0035 07 …`
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> OwnedFd {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    fn port(number: u16) -> Port {
        Port { is_ipv6: false, number }
    }

    #[test]
    fn a_port_is_taken_until_no_socket_is_bound_to_it() {
        let ports = Ports::default();
        assert_eq!((ports.take(port(8080), socket()), ports.take(port(53), socket())), (Ok(()), Ok(())));
        assert_eq!(ports.take(port(53), socket()), Err(Errno::ADDRINUSE));
        let mut shown = Vec::new();
        (0..2).for_each(|_| ports.show_new(|port, _| shown.push(port.number)));
        shown.sort_unstable();
        assert_eq!(shown, [53, 8080]);
        ports.give_back(
            "  sl  local_address rem_address   st\n\
             \x20 12: 020000C0:1F90 00000000:0000 07 00000000:00000000\n",
        );
        assert!(ports.has(port(8080)) && ports.with(port(53), |_| ()).is_none());
        ports.give_back(" 7: 00000000000000000000000000000000:0035 0000:0000 07\n");
        assert!(!ports.has(port(8080)));
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let ports = Ports::default();
        let taken = (1..=100).take_while(|&number| ports.take(port(number), socket()).is_ok()).count();
        assert_eq!(taken, MOST);
    }
}
