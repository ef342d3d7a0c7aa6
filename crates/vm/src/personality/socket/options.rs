//! Settings: `setsockopt(2)`, `socket(7)`, `tcp(7)`, `ip(7)`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ringfence_abi::{Call, Handle, Reply, SocketOption};
use rustix::io::Errno;

use super::super::process::lock;
use super::super::world::World;
use super::internet::until;

/// The settings that are kept and change nothing here: they are advice, or what they change is as they
/// would have it.
const KEPT: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
    (libc::SOL_SOCKET, libc::SO_NO_CHECK),
    (libc::SOL_SOCKET, libc::SO_BUSY_POLL),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_IP, libc::IP_RECVTTL),
    (libc::IPPROTO_IP, libc::IP_RECVTOS),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP),
    (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT),
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_BROADCAST),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_PASSCRED),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_QUICKACK),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_RECVERR),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IP, libc::IP_PKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
];

/// What a setting is that nobody has set, where it is not 0.
const AT_FIRST: [((i32, i32), i32); 8] = [
    ((libc::IPPROTO_IP, libc::IP_TTL), 64),
    ((libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS), 64),
    ((libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), libc::IP_PMTUDISC_WANT),
    ((libc::IPPROTO_TCP, libc::TCP_KEEPIDLE), 7200),
    ((libc::IPPROTO_TCP, libc::TCP_KEEPINTVL), 75),
    ((libc::IPPROTO_TCP, libc::TCP_KEEPCNT), 9),
    ((libc::IPPROTO_TCP, libc::TCP_SYNCNT), 6),
    ((libc::IPPROTO_TCP, libc::TCP_LINGER2), 60),
];

/// The least room that can be asked for, which is doubled and the most that is doubled: `socket(7)`, SO_SNDBUF.
const LEAST: [(i32, u32); 2] = [(libc::SO_SNDBUF, 4608), (libc::SO_RCVBUF, 2304)];
const MOST_ROOM: u32 = 212_992;

/// What a program set on its socket.
#[derive(Default)]
pub(super) struct Options(Mutex<BTreeMap<(i32, i32), Vec<u8>>>);

fn number(bytes: &[u8]) -> Result<i32, Errno> {
    bytes.get(..4).and_then(|part| part.try_into().ok()).map(i32::from_le_bytes).ok_or(Errno::INVAL)
}

/// The setting of the hal's that this is.
fn of_hal(level: i32, name: i32, value: i32) -> Option<SocketOption> {
    let seconds = |value: i32| u64::from(value.unsigned_abs()) * 1_000_000_000;
    Some(match (level, name) {
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => SocketOption::NoDelay(value != 0),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => SocketOption::KeepAlive(value != 0),
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => SocketOption::ReceiveBuffer(value.unsigned_abs().into()),
        (libc::SOL_SOCKET, libc::SO_SNDBUF) => SocketOption::SendBuffer(value.unsigned_abs().into()),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => SocketOption::KeepAliveIdle(seconds(value)),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => SocketOption::KeepAliveInterval(seconds(value)),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => SocketOption::KeepAliveCount(value.unsigned_abs()),
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => {
            SocketOption::HopLimit(u8::try_from(value).ok()?)
        }
        _ => return None,
    })
}

/// What of `struct linger` the hal does: nobody waits there, so it is only whether a connection is broken off.
fn aborts(value: &[u8]) -> Result<SocketOption, Errno> {
    let (on, time) = (number(value)?, value.get(4..).ok_or(Errno::INVAL).and_then(number)?);
    Ok(SocketOption::Abort(on != 0 && time == 0))
}

fn as_number(option: SocketOption) -> i32 {
    let small = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
    match option {
        SocketOption::NoDelay(on)
        | SocketOption::Abort(on)
        | SocketOption::KeepAlive(on)
        | SocketOption::BothFamilies(on) => i32::from(on),
        SocketOption::KeepAliveIdle(nanoseconds) | SocketOption::KeepAliveInterval(nanoseconds) => {
            small(nanoseconds / 1_000_000_000)
        }
        SocketOption::KeepAliveCount(count) => small(count.into()),
        SocketOption::HopLimit(hops) => hops.into(),
        // As Linux has it: the double of what was asked for.
        SocketOption::ReceiveBuffer(bytes) | SocketOption::SendBuffer(bytes) => small(bytes.saturating_mul(2)),
        SocketOption::Backlog(count) => small(count),
    }
}

impl Options {
    /// `setsockopt(2)`
    pub(super) fn set(
        &self,
        world: &World,
        handle: Option<Handle>,
        level: i32,
        name: i32,
        value: &[u8],
    ) -> Result<(), Errno> {
        let is_patience = level == libc::SOL_SOCKET && matches!(name, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO);
        if is_patience {
            let (_, fraction) = words(value).ok_or(Errno::INVAL)?;
            if fraction >= 1_000_000 {
                return Err(Errno::DOM);
            }
        } else if (level, name) == (libc::SOL_SOCKET, libc::SO_LINGER) {
            let option = aborts(value)?;
            if let Some(socket) = handle {
                // Of a datagram's socket it says nothing.
                let _ = world.call(Call::SetOption { socket, option });
            }
        } else if let Some(option) = of_hal(level, name, number(value)?) {
            if let Some(socket) = handle {
                world.call(Call::SetOption { socket, option })?;
            }
        } else if !KEPT.contains(&(level, name)) {
            return Err(Errno::NOPROTOOPT);
        }
        let mut value = value[..value.len().min(16)].to_vec();
        if level == libc::SOL_SOCKET
            && handle.is_none()
            && let Some((_, least)) = LEAST.iter().find(|(known, _)| *known == name)
        {
            let wanted = number(&value)?.unsigned_abs().min(MOST_ROOM);
            value = (2 * wanted).max(*least).to_le_bytes().to_vec();
        }
        lock(&self.0).insert((level, name), value);
        Ok(())
    }

    /// `getsockopt(2)`
    pub(super) fn get(&self, world: &World, handle: Option<Handle>, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        if let Some(option) = of_hal(level, name, 1)
            && let Some(socket) = handle
            && let Reply::Option(option) = world.call(Call::GetOption { socket, option })?
        {
            return Ok(as_number(option).to_le_bytes().to_vec());
        }
        if let Some(kept) = lock(&self.0).get(&(level, name)) {
            return Ok(kept.clone());
        }
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) => Ok(vec![0; 16]),
            (libc::SOL_SOCKET, libc::SO_LINGER) => Ok(vec![0; 8]),
            (libc::SOL_SOCKET, libc::SO_RCVLOWAT | libc::SO_SNDLOWAT) => Ok(1_i32.to_le_bytes().to_vec()),
            (libc::SOL_SOCKET, libc::SO_RCVBUF | libc::SO_SNDBUF) => Ok(212_992_i32.to_le_bytes().to_vec()),
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => Ok(1460_i32.to_le_bytes().to_vec()),
            _ if let Some((_, value)) = AT_FIRST.iter().find(|(known, _)| *known == (level, name)) => {
                Ok(value.to_le_bytes().to_vec())
            }
            _ if of_hal(level, name, 1).is_some() || KEPT.contains(&(level, name)) => Ok(vec![0; 4]),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// Sets on a socket of the hal's what was set before there was one.
    pub(super) fn apply(&self, world: &World, socket: Handle) {
        for (&(level, name), value) in &*lock(&self.0) {
            let lingers = (level, name) == (libc::SOL_SOCKET, libc::SO_LINGER);
            let option = || number(value).ok().and_then(|value| of_hal(level, name, value));
            if let Some(option) = if lingers { aborts(value).ok() } else { option() } {
                // A setting that is refused is one the program finds at its default.
                let _ = world.call(Call::SetOption { socket, option });
            }
        }
    }

    pub(super) fn is_only_ipv6(&self) -> bool {
        self.is_set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)
    }

    /// Whether a setting that is kept is on.
    pub(super) fn is_set(&self, level: i32, name: i32) -> bool {
        let kept = lock(&self.0);
        kept.get(&(level, name)).and_then(|value| number(value).ok()).is_some_and(|value| value != 0)
    }

    fn patience(&self, name: i32) -> Option<Instant> {
        let (seconds, microseconds) = words(lock(&self.0).get(&(libc::SOL_SOCKET, name))?)?;
        until(Duration::from_secs(seconds).saturating_add(Duration::from_micros(microseconds)))
    }

    /// When receiving is given up: `SO_RCVTIMEO`.
    pub(super) fn receive_until(&self) -> Option<Instant> {
        self.patience(libc::SO_RCVTIMEO)
    }

    /// When sending is given up: `SO_SNDTIMEO`.
    /// How much may be on the way from a Unix socket, if that was said.
    pub(super) fn send_room(&self) -> Option<usize> {
        let known = lock(&self.0);
        let value = known.get(&(libc::SOL_SOCKET, libc::SO_SNDBUF))?;
        usize::try_from(number(value).ok()?).ok()
    }

    pub(super) fn send_until(&self) -> Option<Instant> {
        self.patience(libc::SO_SNDTIMEO)
    }
}

/// The two words of a `struct timeval`.
fn words(bytes: &[u8]) -> Option<(u64, u64)> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    Some((word(0)?, word(8)?))
}
