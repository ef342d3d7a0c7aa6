//! The ports of the host that a capsule's UDP sockets are bound to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    /// How often one was taken.
    turns: AtomicU64,
    /// Rings when some were given back.
    given_back: Condvar,
}

#[derive(Debug)]
struct Taken {
    socket: OwnedFd,
    /// When it was taken.
    turn: u64,
    /// Whether the relay knows of it.
    is_heard: bool,
    /// Whether it is given back as soon as what was sent from it has left.
    is_closed: bool,
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
                let turn = self.turns.fetch_add(1, Relaxed);
                vacant.insert(Taken { socket, turn, is_heard: false, is_closed: false });
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

    /// Closes those that no socket of the capsule's is bound to any more; whether there are such. `bound` asks what
    /// `/proc/net/udp` and `/proc/net/udp6` (`proc(5)`) say in its network. They are the capsule's until they are
    /// [given back](Self::give_back).
    pub(super) fn close_unbound<E>(&self, bound: impl FnOnce() -> Result<String, E>) -> Result<bool, E> {
        if self.taken().is_empty() {
            return Ok(false);
        }
        // Whoever takes one from here on may have been bound after the answer.
        let turn = self.turns.load(Relaxed);
        let numbers: Vec<u16> = bound()?.lines().filter_map(local_port).collect();
        let mut taken = self.taken();
        let closed = taken.iter_mut().filter(|(port, taken)| taken.turn < turn && !numbers.contains(&port.number));
        closed.for_each(|(_, taken)| taken.is_closed = true);
        Ok(taken.values().any(|taken| taken.is_closed))
    }

    /// Gives the closed ones back: to be called when nothing that was sent from them is left to be passed on.
    pub(super) fn give_back(&self) {
        self.taken().retain(|_, taken| !taken.is_closed);
        self.given_back.notify_all();
    }

    /// Waits until no closed one is left, but not longer than this.
    pub(super) fn wait_for_closed(&self, patience: Duration) {
        let is_left = |taken: &mut HashMap<Port, Taken>| taken.values().any(|taken| taken.is_closed);
        drop(self.given_back.wait_timeout_while(self.taken(), patience, is_left));
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
        let close = |bound: &str| ports.close_unbound(|| Ok::<_, ()>(bound.to_owned())).unwrap();
        assert!(close(
            "  sl  local_address rem_address   st\n\
             \x20 12: 020000C0:1F90 00000000:0000 07 00000000:00000000\n"
        ));
        assert!(ports.has(port(53)), "what was sent from it may be on its way");
        ports.give_back();
        assert!(ports.has(port(8080)) && ports.with(port(53), |_| ()).is_none());
        assert!(close(" 7: 00000000000000000000000000000000:0035 0000:0000 07\n"));
        std::thread::scope(|scope| {
            scope.spawn(|| ports.give_back());
            ports.wait_for_closed(Duration::from_secs(60));
        });
        assert!(!ports.has(port(8080)) && !close(""));
    }

    #[test]
    fn who_is_bound_after_it_was_looked_is_not_closed() {
        let ports = Ports::default();
        ports.take(port(1), socket()).unwrap();
        let look = || {
            ports.take(port(2), socket()).unwrap();
            Ok::<_, ()>("1: 020000C0:0001 00000000:0000 07\n".to_owned())
        };
        assert_eq!(ports.close_unbound(look), Ok(false));
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let ports = Ports::default();
        let taken = (1..=100).take_while(|&number| ports.take(port(number), socket()).is_ok()).count();
        assert_eq!(taken, MOST);
    }
}
