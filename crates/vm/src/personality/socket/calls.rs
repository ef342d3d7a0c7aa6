//! `socket(2)`, `bind(2)`, `listen(2)`, `accept(2)`, `connect(2)`, `sendto(2)`, `recvfrom(2)`, …

use std::sync::Arc;

use ringfence_abi::Shutdown;
use rustix::io::Errno;

use super::super::open::{Kind, Open};
use super::super::process::lock;
use super::super::reading::held;
use super::super::thread::Thread;
use super::super::{Answer, Arguments, int};
use super::address::{self, Target};
use super::credentials::Who;
use super::link::Beside;
use super::unix::Style;
use super::{How, Internet, LONGEST_DATAGRAM, MOST, Netlink, Socket, Unix, netlink};

/// The flags that may stand beside a type.
const FLAGS: i32 = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

/// The socket a descriptor stands for.
pub(super) fn socket_of(open: &Open) -> Result<&Socket, Errno> {
    match &open.kind {
        Kind::Socket(socket) => Ok(socket),
        _ => Err(Errno::NOTSOCK),
    }
}

fn get(thread: &Thread, number: u64) -> Result<Arc<Open>, Errno> {
    let open = thread.process.descriptors().file(int(number))?;
    socket_of(&open)?;
    Ok(open)
}

fn style(kind: i32) -> Result<Style, Errno> {
    match kind & !FLAGS {
        libc::SOCK_STREAM => Ok(Style::Stream),
        libc::SOCK_DGRAM => Ok(Style::Datagram),
        libc::SOCK_SEQPACKET => Ok(Style::Packets),
        libc::SOCK_RAW => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}

/// What is asked of a family: the style, or why there is no such socket, in the order in which Linux looks.
fn kind_of(family: i32, kind: i32, protocol: i32) -> Result<Style, Errno> {
    const FAMILIES: i32 = 46;
    const KINDS: i32 = 11;
    const KIND: i32 = 0xf;
    let bare = kind & !FLAGS;
    if bare & !KIND != 0 {
        return Err(Errno::INVAL);
    }
    if !(0..FAMILIES).contains(&family) {
        return Err(Errno::AFNOSUPPORT);
    }
    if !(0..KINDS).contains(&bare) {
        return Err(Errno::INVAL);
    }
    // `IPPROTO_MAX`
    const PROTOCOLS: i32 = 263;
    match family {
        libc::AF_INET | libc::AF_INET6 if !(0..PROTOCOLS).contains(&protocol) => Err(Errno::INVAL),
        libc::AF_UNIX => match bare {
            _ if protocol != 0 && protocol != libc::AF_UNIX => Err(Errno::PROTONOSUPPORT),
            // Told as datagrams: `unix(7)`.
            libc::SOCK_RAW => Ok(Style::Datagram),
            _ => style(kind).map_err(|_| Errno::SOCKTNOSUPPORT),
        },
        libc::AF_INET | libc::AF_INET6 => match bare {
            libc::SOCK_STREAM if protocol == 0 || protocol == libc::IPPROTO_TCP => Ok(Style::Stream),
            libc::SOCK_DGRAM if protocol == 0 || protocol == libc::IPPROTO_UDP => Ok(Style::Datagram),
            // What `ping_group_range` of `icmp(7)` says when nobody is in it.
            libc::SOCK_DGRAM if protocol == libc::IPPROTO_ICMP && family == libc::AF_INET => Err(Errno::ACCESS),
            libc::SOCK_RAW if protocol != 0 => Err(Errno::PERM),
            libc::SOCK_STREAM | libc::SOCK_DGRAM | libc::SOCK_RAW => Err(Errno::PROTONOSUPPORT),
            _ => Err(Errno::SOCKTNOSUPPORT),
        },
        libc::AF_NETLINK => Ok(Style::Datagram),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

fn open(thread: &Thread, socket: Socket, flags: i32) -> Arc<Open> {
    let how = (libc::O_RDWR | flags & libc::SOCK_NONBLOCK) as u32;
    Open::new(&thread.world, Kind::Socket(Box::new(socket)), b"socket:[1]", how)
}

/// `socket(2)`
pub(in crate::personality) fn socket(thread: &mut Thread, [family, kind, protocol, ..]: Arguments) -> Answer {
    let (family, kind) = (int(family), int(kind));
    let socket = match (family, kind_of(family, kind, int(protocol))?) {
        (libc::AF_NETLINK, _) => Socket::Netlink(Netlink::new(thread, kind & !FLAGS, int(protocol))?),
        (libc::AF_UNIX, style) => Socket::Unix(Unix::new(style)),
        (family, style) => Socket::Internet(Internet::new(family == libc::AF_INET6, style == Style::Stream)),
    };
    let open = open(thread, socket, kind);
    thread.process.descriptors().add(open, 0, kind & libc::SOCK_CLOEXEC != 0)
}

/// `socketpair(2)`
pub(in crate::personality) fn socketpair(thread: &mut Thread, [family, kind, protocol, at, ..]: Arguments) -> Answer {
    let (family, kind) = (int(family), int(kind));
    let style = kind_of(family, kind, int(protocol))?;
    if family != libc::AF_UNIX {
        return Err(Errno::OPNOTSUPP);
    }
    let space = thread.process.space()?;
    space.writable(at, 8).and_then(|count| if count < 8 { Err(Errno::FAULT) } else { Ok(()) })?;
    let descriptors = thread.process.descriptors();
    let close_on_exec = kind & libc::SOCK_CLOEXEC != 0;
    let [first, second] = Unix::pair(thread, style).map(|socket| open(thread, Socket::Unix(socket), kind));
    let first = descriptors.add(first, 0, close_on_exec)?;
    let second = match descriptors.add(second, 0, close_on_exec) {
        Ok(second) => second,
        Err(errno) => {
            super::super::files::close(thread, [first, 0, 0, 0, 0, 0])?;
            return Err(errno);
        }
    };
    space.write_u32(at, first as u32)?;
    space.write_u32(at + 4, second as u32)?;
    Ok(0)
}

/// `bind(2)`
pub(in crate::personality) fn bind(thread: &mut Thread, [number, at, length, ..]: Arguments) -> Answer {
    let open = get(thread, number)?;
    let target = address::read(&*thread.process.space()?, at, length)?;
    match (socket_of(&open)?, target) {
        (Socket::Internet(socket), Target::Internet(address)) => socket.bind(thread, address),
        (Socket::Unix(socket), Target::Unix(name)) => socket.bind(thread, &name),
        (Socket::Netlink(socket), Target::Netlink(address)) => {
            socket.bind(thread, address);
            Ok(())
        }
        (Socket::Unix(_) | Socket::Netlink(_), _) => Err(Errno::INVAL),
        _ => Err(Errno::AFNOSUPPORT),
    }
    .map(|()| 0)
}

/// `listen(2)`
pub(in crate::personality) fn listen(thread: &mut Thread, [number, backlog, ..]: Arguments) -> Answer {
    let open = get(thread, number)?;
    match socket_of(&open)? {
        Socket::Internet(socket) => socket.listen(thread, int(backlog)),
        Socket::Unix(socket) => socket.listen(thread, int(backlog)),
        Socket::Netlink(_) => Err(Errno::OPNOTSUPP),
    }
    .map(|()| 0)
}

/// `accept(2)`
pub(in crate::personality) fn accept(thread: &mut Thread, [number, at, length, ..]: Arguments) -> Answer {
    accept4(thread, [number, at, length, 0, 0, 0])
}

/// `accept4(2)`
pub(in crate::personality) fn accept4(thread: &mut Thread, [number, at, length, flags, ..]: Arguments) -> Answer {
    let flags = int(flags);
    if flags & !FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    let open = get(thread, number)?;
    let nonblocking = (flags & libc::SOCK_NONBLOCK) as u32;
    let (accepted, peer) = match socket_of(&open)? {
        Socket::Internet(socket) => socket.accept(thread, &open, nonblocking)?,
        Socket::Unix(socket) => socket.accept(thread, &open, nonblocking)?,
        Socket::Netlink(_) => return Err(Errno::OPNOTSUPP),
    };
    address::write(&*thread.process.space()?, at, length, &peer)?;
    thread.process.descriptors().add(accepted, 0, flags & libc::SOCK_CLOEXEC != 0)
}

/// `connect(2)`
pub(in crate::personality) fn connect(thread: &mut Thread, [number, at, length, ..]: Arguments) -> Answer {
    let open = get(thread, number)?;
    let target = address::read(&*thread.process.space()?, at, length)?;
    match (socket_of(&open)?, target) {
        (Socket::Internet(socket), Target::Internet(address)) => socket.connect(thread, &open, address),
        (Socket::Internet(socket), Target::Nobody) => socket.disconnect(&thread.world),
        (Socket::Unix(socket), Target::Unix(name)) => socket.connect(thread, &open, &name),
        (Socket::Unix(socket), Target::Nobody) => socket.disconnect(),
        (Socket::Netlink(socket), Target::Netlink(to)) => socket.connect(thread, to),
        (Socket::Netlink(_), Target::Nobody) => Ok(()),
        (Socket::Unix(_) | Socket::Netlink(_), _) => Err(Errno::INVAL),
        _ => Err(Errno::AFNOSUPPORT),
    }
    .map(|()| 0)
}

/// `sendto(2)`
pub(in crate::personality) fn sendto(
    thread: &mut Thread,
    [number, at, length, flags, to, to_length]: Arguments,
) -> Answer {
    let open = get(thread, number)?;
    let space = thread.process.space()?;
    let mut content = vec![0; space.readable(at, length.min(MOST as u64))?];
    let _held = held(thread, &open, content.len())?;
    space.read(at, &mut content)?;
    let to = if to == 0 { None } else { Some(address::read(&space, to, to_length)?) };
    send(thread, &open, &content, Beside::of(thread), to, flags)
}

/// Sends to an address or the peer.
pub(super) fn send(
    thread: &Thread,
    open: &Open,
    content: &[u8],
    beside: Beside,
    to: Option<Target>,
    flags: u64,
) -> Answer {
    // A way to connect that is switched off: `tcp(7)`, tcp_fastopen.
    if flags & libc::MSG_FASTOPEN as u64 != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    let how = How::new(open, flags);
    let sent = match (socket_of(open)?, to) {
        (Socket::Internet(socket), None | Some(Target::Nobody)) => socket.send(thread, open, content, None, how),
        // A stream has its peer.
        (Socket::Internet(socket), Some(Target::Internet(to))) => {
            socket.send(thread, open, content, Some(to).filter(|_| !socket.stream), how)
        }
        (Socket::Unix(socket), None) => socket.send(thread, open, content, beside, None, how),
        (Socket::Unix(socket), Some(Target::Unix(name))) => {
            socket.send(thread, open, content, beside, Some(&name), how)
        }
        (Socket::Netlink(socket), None) => socket.send(thread, content, None),
        (Socket::Netlink(socket), Some(Target::Netlink(to))) => socket.send(thread, content, Some(to)),
        (Socket::Unix(_) | Socket::Netlink(_), _) => return Err(Errno::INVAL),
        _ => return Err(Errno::AFNOSUPPORT),
    };
    sent.map(|count| count as u64)
}

/// `recvfrom(2)`
pub(in crate::personality) fn recvfrom(
    thread: &mut Thread,
    [number, at, length, flags, from, from_length]: Arguments,
) -> Answer {
    let open = get(thread, number)?;
    let space = thread.process.space()?;
    let mut content = vec![0; space.writable(at, length.min(MOST as u64))?];
    let got = receive(thread, &open, &mut content, flags)?;
    space.write(at, &content[..got.count])?;
    address::write(&space, from, from_length, &got.from)?;
    let whole = int(flags) & libc::MSG_TRUNC != 0 && !got.stream;
    Ok(if whole { got.whole } else { got.count } as u64)
}

/// What a socket gave.
pub(super) struct Got {
    pub(super) count: usize,
    pub(super) whole: usize,
    pub(super) from: Vec<u8>,
    pub(super) opens: Vec<Arc<Open>>,
    pub(super) stream: bool,
    /// Who sent it, for those who want to know.
    pub(super) who: Option<Who>,
}

pub(super) fn receive(thread: &Thread, open: &Open, into: &mut [u8], flags: u64) -> Result<Got, Errno> {
    let how = How::new(open, flags);
    let socket = socket_of(open)?;
    match socket {
        Socket::Internet(_) if how.has(libc::MSG_ERRQUEUE) => return Err(Errno::AGAIN),
        Socket::Internet(socket) if how.has(libc::MSG_OOB) && socket.stream => return Err(Errno::INVAL),
        Socket::Unix(socket) if how.has(libc::MSG_OOB) => {
            return Err(if socket.style == Style::Stream { Errno::INVAL } else { Errno::OPNOTSUPP });
        }
        Socket::Netlink(_) if how.has(libc::MSG_OOB) => return Err(Errno::OPNOTSUPP),
        _ => {}
    }
    Ok(match socket {
        Socket::Internet(socket) => {
            let got = socket.receive(thread, open, into, how)?;
            let from = got.from.map(|from| address::internet(from, socket.ipv6)).unwrap_or_default();
            Got { count: got.count, whole: got.whole, from, opens: Vec::new(), stream: socket.stream, who: None }
        }
        Socket::Unix(socket) => {
            let got = socket.receive(thread, open, into, how)?;
            let stream = socket.style == Style::Stream;
            // Who has no name leaves none.
            let from = if got.sender.is_empty() { Vec::new() } else { address::unix(&got.sender) };
            let who = got.who.filter(|_| socket.options.is_set(libc::SOL_SOCKET, libc::SO_PASSCRED));
            Got { count: got.count, whole: got.whole, from, opens: got.opens, stream, who }
        }
        Socket::Netlink(socket) => {
            let (count, whole) = socket.receive(thread, open, into, how)?;
            // From the kernel.
            let who = socket.options.is_set(libc::SOL_SOCKET, libc::SO_PASSCRED).then_some(Who::KERNEL);
            Got { count, whole, from: Netlink::peer(), opens: Vec::new(), stream: false, who }
        }
    })
}

/// `shutdown(2)`
pub(in crate::personality) fn shutdown(thread: &mut Thread, [number, how, ..]: Arguments) -> Answer {
    let open = get(thread, number)?;
    let how = match int(how) {
        libc::SHUT_RD => Shutdown::Receive,
        libc::SHUT_WR => Shutdown::Send,
        libc::SHUT_RDWR => Shutdown::Both,
        _ => return Err(Errno::INVAL),
    };
    match socket_of(&open)? {
        Socket::Internet(socket) => socket.shut_down(&thread.world, how),
        Socket::Unix(socket) => socket.shut_down(how),
        Socket::Netlink(_) => Err(Errno::OPNOTSUPP),
    }
    .map(|()| 0)
}

/// `getsockname(2)`
pub(in crate::personality) fn getsockname(thread: &mut Thread, [number, at, length, ..]: Arguments) -> Answer {
    let open = get(thread, number)?;
    let local = match socket_of(&open)? {
        Socket::Internet(socket) => socket.local(&thread.world)?,
        Socket::Unix(socket) => socket.local(),
        Socket::Netlink(socket) => socket.local(),
    };
    address::give(&*thread.process.space()?, at, length, &local).map(|()| 0)
}

/// `getpeername(2)`
pub(in crate::personality) fn getpeername(thread: &mut Thread, [number, at, length, ..]: Arguments) -> Answer {
    let open = get(thread, number)?;
    let peer = match socket_of(&open)? {
        Socket::Internet(socket) => socket.peer(&thread.world)?,
        Socket::Unix(socket) => socket.peer()?,
        Socket::Netlink(_) => Netlink::peer(),
    };
    address::give(&*thread.process.space()?, at, length, &peer).map(|()| 0)
}

/// `setsockopt(2)`
pub(in crate::personality) fn setsockopt(
    thread: &mut Thread,
    [number, level, name, at, length, _]: Arguments,
) -> Answer {
    let open = get(thread, number)?;
    let length = usize::try_from(int(length)).map_err(|_| Errno::INVAL)?;
    let mut value = vec![0; length.min(LONGEST_DATAGRAM)];
    thread.process.space()?.read(at, &mut value)?;
    let (level, name) = match (int(level), int(name)) {
        // Past the limits that nobody sets here: for user 0.
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE | libc::SO_RCVBUFFORCE)
            if !lock(&thread.process.credentials).is_privileged() =>
        {
            return Err(Errno::PERM);
        }
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE) => (libc::SOL_SOCKET, libc::SO_SNDBUF),
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE) => (libc::SOL_SOCKET, libc::SO_RCVBUF),
        other => other,
    };
    match socket_of(&open)? {
        Socket::Internet(socket) if !socket.has_level(level) => Err(Errno::NOPROTOOPT),
        Socket::Internet(socket) => socket.options.set(&thread.world, socket.handle(), level, name, &value),
        Socket::Unix(_) if level != libc::SOL_SOCKET => Err(Errno::OPNOTSUPP),
        Socket::Unix(socket) => socket.options.set(&thread.world, None, level, name, &value),
        Socket::Netlink(_) if level == netlink::LEVEL => Netlink::has_setting(name),
        Socket::Netlink(_) if level != libc::SOL_SOCKET => Err(Errno::NOPROTOOPT),
        Socket::Netlink(socket) => socket.options.set(&thread.world, None, level, name, &value),
    }
    .map(|()| 0)
}

/// `getsockopt(2)`
pub(in crate::personality) fn getsockopt(
    thread: &mut Thread,
    [number, level, name, at, length_at, _]: Arguments,
) -> Answer {
    let open = get(thread, number)?;
    let space = thread.process.space()?;
    let room = usize::try_from(space.read_u32(length_at)? as i32).map_err(|_| Errno::INVAL)?;
    let value = option(thread, socket_of(&open)?, int(level), int(name))?;
    let value = &value[..value.len().min(room)];
    space.write(at, value)?;
    space.write_u32(length_at, value.len() as u32).map(|()| 0)
}

fn option(thread: &Thread, socket: &Socket, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
    let number = |number: i32| Ok(number.to_le_bytes().to_vec());
    let world = &thread.world;
    match (socket, level, name) {
        (Socket::Internet(socket), libc::SOL_SOCKET, libc::SO_ERROR) => number(socket.take_error(world)),
        (Socket::Unix(_) | Socket::Netlink(_), libc::SOL_SOCKET, libc::SO_ERROR) => number(0),
        (Socket::Netlink(socket), libc::SOL_SOCKET, libc::SO_TYPE) => number(socket.kind),
        (Socket::Netlink(_), libc::SOL_SOCKET, libc::SO_DOMAIN) => number(libc::AF_NETLINK),
        (Socket::Netlink(_), libc::SOL_SOCKET, libc::SO_PROTOCOL | libc::SO_ACCEPTCONN) => number(0),
        (Socket::Netlink(_), netlink::LEVEL, name) => Netlink::has_setting(name).and_then(|()| number(0)),
        (Socket::Netlink(_), level, _) if level != libc::SOL_SOCKET => Err(Errno::NOPROTOOPT),
        (Socket::Internet(socket), libc::SOL_SOCKET, libc::SO_TYPE) => {
            number(if socket.stream { libc::SOCK_STREAM } else { libc::SOCK_DGRAM })
        }
        (Socket::Unix(socket), libc::SOL_SOCKET, libc::SO_TYPE) => number(match socket.style {
            Style::Stream => libc::SOCK_STREAM,
            Style::Datagram => libc::SOCK_DGRAM,
            Style::Packets => libc::SOCK_SEQPACKET,
        }),
        (Socket::Internet(socket), libc::SOL_SOCKET, libc::SO_DOMAIN) => {
            number(if socket.ipv6 { libc::AF_INET6 } else { libc::AF_INET })
        }
        (Socket::Unix(_), libc::SOL_SOCKET, libc::SO_DOMAIN) => number(libc::AF_UNIX),
        (Socket::Internet(socket), libc::SOL_SOCKET, libc::SO_PROTOCOL) => {
            number(if socket.stream { libc::IPPROTO_TCP } else { libc::IPPROTO_UDP })
        }
        (Socket::Unix(_), libc::SOL_SOCKET, libc::SO_PROTOCOL) => number(0),
        (Socket::Internet(socket), libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => number(socket.is_listening().into()),
        (Socket::Unix(socket), libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => number(socket.is_listening().into()),
        (Socket::Unix(socket), libc::SOL_SOCKET, libc::SO_PEERCRED) => {
            Ok(socket.peer_is().unwrap_or(Who::NOBODY).to_bytes())
        }
        (Socket::Internet(_) | Socket::Netlink(_), libc::SOL_SOCKET, libc::SO_PEERCRED) => Ok(Who::NOBODY.to_bytes()),
        (Socket::Unix(_), level, _) if level != libc::SOL_SOCKET => Err(Errno::OPNOTSUPP),
        (Socket::Internet(socket), level, _) if !socket.has_level(level) => {
            Err(if socket.ipv6 { Errno::NOPROTOOPT } else { Errno::OPNOTSUPP })
        }
        (Socket::Internet(socket), ..) => socket.options.get(world, socket.handle(), level, name),
        (Socket::Unix(socket), ..) => socket.options.get(world, None, level, name),
        (Socket::Netlink(socket), ..) => socket.options.get(world, None, level, name),
    }
}
