//! One system call that waits for an answer, and what it was called with.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::address::{self, Target};
use super::closing::Lent;
use crate::sys::{self, Notification};

/// `PIDFD_THREAD` of `pidfd_open(2)`.
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    notification: Notification,
}

/// The answer to one.
#[derive(Debug)]
pub(super) enum Answer {
    /// What the call returns, and what takes the place of the program's own socket.
    Returns { result: Result<(), Errno>, socket: Option<Lent> },
    /// The kernel makes the call, with what the program's memory says by then.
    GoesOn,
}

/// The socket a call is about, fetched from the program.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) socket: Lent,
    pub(super) family: AddressFamily,
    pub(super) kind: SocketType,
    pub(super) waits: bool,
}

impl Answer {
    /// Done, or failed, with nothing to give.
    pub(super) fn plain(result: Result<(), Errno>) -> Self {
        Answer::Returns { result, socket: None }
    }

    /// Another socket, and how the call ended.
    pub(super) fn with(socket: OwnedFd, result: Result<(), Errno>) -> Self {
        Answer::Returns { result, socket: Some(socket.into()) }
    }
}

impl Ask {
    pub(super) fn new(notification: Notification) -> Self {
        Ask { notification }
    }

    pub(super) fn id(&self) -> u64 {
        self.notification.id
    }

    /// Which system call.
    pub(super) fn number(&self) -> libc::c_long {
        self.notification.number.into()
    }

    /// The number of the socket.
    pub(super) fn descriptor(&self) -> u32 {
        self.notification.arguments[0] as u32
    }

    /// An argument that is an `int`.
    pub(super) fn integer(&self, index: usize) -> i32 {
        self.notification.arguments[index] as i32
    }

    /// The address in arguments 1 and 2, copied once.
    pub(super) fn address(&self) -> Result<Target, Errno> {
        let length = self.integer(2);
        let length = usize::try_from(length).ok().filter(|&length| length <= address::MOST).ok_or(Errno::INVAL)?;
        let mut bytes = [0; address::MOST];
        let bytes = &mut bytes[..length];
        if sys::read_memory(self.notification.thread, self.notification.arguments[1], bytes)? != length {
            return Err(Errno::FAULT);
        }
        address::parse(bytes)
    }

    /// The program's socket. Another thread may put another one in its place at any time: what is
    /// fetched here decides what kind of socket is made, never whether an address may be reached.
    pub(super) fn own(&self) -> Result<Own, Errno> {
        let process = self.process()?;
        let number = i32::try_from(self.descriptor()).map_err(|_| Errno::BADF)?;
        let socket = Lent::from(pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?);
        let family = sockopt::socket_domain(&socket)?;
        let kind = sockopt::socket_type(&socket)?;
        let waits = !rustix::fs::fcntl_getfl(&socket)?.contains(OFlags::NONBLOCK);
        Ok(Own { socket, family, kind, waits })
    }

    /// Whether the program closes the socket when it executes another one.
    pub(super) fn closes_on_exec(&self) -> Result<bool, Errno> {
        let text = self.read(&format!("fdinfo/{}", self.descriptor()))?;
        let flags = text.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
        Ok(flags.is_some_and(|flags| flags & libc::O_CLOEXEC.cast_unsigned() != 0))
    }

    /// The UDP sockets in the network of the thread that asks: `/proc/net/udp` and `/proc/net/udp6` (`proc(5)`).
    pub(super) fn datagram_sockets(&self) -> Result<String, Errno> {
        let read = |name: &str| match self.read(name) {
            // A kernel without IPv6.
            Err(Errno::NOENT) => Ok(String::new()),
            other => other,
        };
        Ok(read("net/udp")? + &read("net/udp6")?)
    }

    /// The thread that asks: it has its process's descriptors also when the first thread has ended.
    fn process(&self) -> Result<OwnedFd, Errno> {
        let thread = Pid::from_raw(self.notification.thread.cast_signed()).ok_or(Errno::SRCH)?;
        match pidfd_open(thread, PIDFD_THREAD) {
            // Before Linux 6.9 there are processes only.
            Err(Errno::INVAL) => {}
            other => return other,
        }
        let text = self.read("status")?;
        let number = text.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        pidfd_open(number.and_then(Pid::from_raw).ok_or(Errno::SRCH)?, PidfdFlags::empty())
    }

    /// A file of the thread's in `/proc`.
    pub(super) fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.notification.thread)
    }

    fn read(&self, file: &str) -> Result<String, Errno> {
        let text = std::fs::read_to_string(self.file(file));
        text.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

impl Own {
    /// Whether it is a socket of TCP.
    pub(super) fn is_stream(&self) -> bool {
        self.is_internet() && self.kind == SocketType::STREAM
    }

    /// Whether it is a socket of UDP.
    pub(super) fn is_datagram(&self) -> bool {
        self.is_internet() && self.kind == SocketType::DGRAM
    }

    /// Whether it is a Unix socket that sends to whom it is connected, and to nobody else.
    pub(super) fn is_unix(&self) -> bool {
        self.family == AddressFamily::UNIX && self.kind != SocketType::DGRAM
    }

    /// Whether it is one for requests to the kernel.
    pub(super) fn is_netlink(&self) -> bool {
        self.family == AddressFamily::NETLINK
    }

    pub(super) fn is_ipv6(&self) -> bool {
        self.family == AddressFamily::INET6
    }

    fn is_internet(&self) -> bool {
        self.family == AddressFamily::INET || self.family == AddressFamily::INET6
    }

    /// What tells it from every other socket.
    pub(super) fn cookie(&self) -> Result<u64, Errno> {
        sockopt::socket_cookie(self.socket.as_fd())
    }
}
