//! From the program to where it sends.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use ringfence_abi::{Call, ErrorCode};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{SendFlags, send, sendto};

use super::super::flows::Flow;
use super::super::packet::{Datagram, Ends, read_stream};
use super::super::ports::Port;
use super::super::unreachable::Why;
use super::super::wire::is_own;
use super::{Exchange, MOST_DENIED, MOST_HELD, Way, why};
use crate::network::broker::Desk;

impl Exchange {
    /// Passes on what a packet holds, if it is a datagram to where one may go.
    pub(super) fn pass(&mut self, packet: &[u8]) {
        let Some(Datagram { ends, payload }) = Datagram::read(packet) else { return self.refuse(packet) };
        // Nobody sends from another address but to have others answer.
        if !is_own(ends.from.ip()) {
            return;
        }
        let now = Instant::now();
        if self.flows.find(ends, now).is_none() {
            if !self.desk.knows(ends.to) {
                if self.held.len() < MOST_HELD {
                    self.held.push(packet.to_owned());
                }
                return;
            }
            match self.open(ends.to) {
                Ok(socket) => self.add(ends, self.way(ends, socket), now),
                Err(why) => return self.tell(why, ends, packet),
            }
        }
        if let Err(Some(why)) = self.send(ends, payload, now) {
            self.tell(why, ends, packet);
            if why == Why::Refused {
                // That was said of one before, and this one was not sent.
                let _ = self.send(ends, payload, now);
            }
        }
    }

    /// What is no datagram is not passed on; a connection is told so at once.
    fn refuse(&mut self, packet: &[u8]) {
        if let Some(ends) = read_stream(packet) {
            self.tell(Why::NoRoute, ends, packet);
        }
    }

    fn send(&mut self, ends: Ends, payload: &[u8], now: Instant) -> Result<(), Option<Why>> {
        let flow = self.flows.find(ends, now).ok_or(None)?;
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match &flow.socket {
            Way::Connected(socket) => send(socket, payload, flags),
            Way::Bound(port) => {
                let by = |socket: &OwnedFd| sendto(socket, payload, flags, &ends.to);
                self.desk.ports.with(*port, by).ok_or(None)?
            }
        };
        sent.map_err(why)?;
        self.owe(payload.len());
        Ok(())
    }

    /// A socket of the host that is connected there, if that is granted.
    fn open(&mut self, to: SocketAddr) -> Result<OwnedFd, Why> {
        let answers = self.desk.answers.load(Relaxed);
        if answers != self.answers || self.denied.len() >= MOST_DENIED {
            self.denied.clear();
            self.answers = answers;
        }
        if self.denied.contains(&to) {
            return Err(Why::Denied);
        }
        self.desk.open_datagram(to).map_err(|code| match code {
            ErrorCode::Denied => {
                self.denied.insert(to);
                Why::Denied
            }
            _ => Why::NoRoute,
        })
    }

    /// How what was granted leaves: from a port that is bound, by the socket that is bound to it.
    fn way(&self, ends: Ends, connected: OwnedFd) -> Way {
        let port = Port::of(ends.from);
        if self.desk.ports.has(port) { Way::Bound(port) } else { Way::Connected(connected) }
    }

    fn add(&mut self, ends: Ends, way: Way, now: Instant) {
        let number = self.flows.add(ends, way, now);
        if let Some(Flow { socket: Way::Connected(socket), .. }) = self.flows.get(number, now) {
            // Without it nothing comes back; the program asks again.
            let _ = epoll::add(&self.ready, socket, EventData::new_u64(number), EventFlags::IN);
        }
    }
}

impl Desk {
    /// The socket behind a verdict, connected to what was judged.
    pub(in crate::network::datagrams) fn open_datagram(&self, address: SocketAddr) -> Result<OwnedFd, ErrorCode> {
        let opened = self.open(Call::UdpSocket { ipv6: address.is_ipv6() })?;
        self.call(Call::Connect { socket: opened.handle, address })?;
        self.host.descriptor(opened.handle)
    }
}
