//! From elsewhere to the program.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, recvfrom};

use super::super::flows::Flow;
use super::super::packet::{Datagram, Ends};
use super::super::ports::Port;
use super::super::wire::{OWN_IPV4, OWN_IPV6, deliver};
use super::{AT_ONCE, Exchange, LARGEST, OF_IPV6, Way, why};

impl Exchange {
    /// Passes on what came to a port that is bound.
    pub(super) fn hear(&mut self, number: u64) {
        let port = Port { is_ipv6: number & OF_IPV6 != 0, number: number as u16 };
        for _ in 0..AT_ONCE {
            if self.due().is_some() {
                return;
            }
            let Exchange { desk, buffer, .. } = self;
            let taken = desk.ports.with(port, |socket| recvfrom(socket, &mut buffer[..], RecvFlags::DONTWAIT));
            let Some(Ok((length, _, Some(from)))) = taken else { return };
            let Ok(from) = SocketAddr::try_from(from) else { return };
            let to: IpAddr = if port.is_ipv6 { OWN_IPV6.into() } else { OWN_IPV4.into() };
            let ends = Ends { from, to: SocketAddr::new(to, port.number) };
            Datagram { ends, payload: &self.buffer[..length.min(LARGEST)] }.write(&mut self.packet);
            let _ = deliver(&self.device, port.is_ipv6, &self.packet);
            self.owe(length);
        }
    }

    /// Passes on what came back.
    pub(super) fn answer(&mut self, number: u64) {
        for _ in 0..AT_ONCE {
            if self.due().is_some() {
                return;
            }
            let flow = self.flows.get(number, Instant::now());
            let Some(&Flow { ends, socket: Way::Connected(ref socket), .. }) = flow else { return };
            match recv(socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let payload = &self.buffer[..length.min(LARGEST)];
                    Datagram { ends: ends.back(), payload }.write(&mut self.packet);
                    let _ = deliver(&self.device, ends.from.is_ipv6(), &self.packet);
                    self.owe(length);
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => match why(errno) {
                    // What was sent is told by its headers.
                    Some(why) => {
                        let mut sent = Vec::new();
                        Datagram { ends, payload: &[] }.write(&mut sent);
                        self.tell(why, ends, &sent);
                    }
                    None => return,
                },
            }
        }
    }
}
