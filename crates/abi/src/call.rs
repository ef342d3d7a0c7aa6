//! What a capsule may ask for.

use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Handle, Rights, Value};

/// A moment on a clock, in nanoseconds since that clock's start (for [`Clock::Wall`]: since
/// 1970-01-01T00:00:00Z, negative before it).
pub type Timestamp = i128;

/// Which clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Clock {
    /// Time of day: `CLOCK_REALTIME`.
    Wall,
    /// Never goes back: `CLOCK_MONOTONIC`.
    Monotonic,
}

/// How to open, create or follow. The handle's rights follow from `read`, `write` and the
/// permissions of the manifest on the resolved path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenHow {
    /// The handle will read content.
    pub read: bool,
    /// The handle will change content.
    pub write: bool,
    /// Create the file when there is none.
    pub create: bool,
    /// Fail when there is one (with `create`).
    pub exclusive: bool,
    /// Cut it to nothing.
    pub truncate: bool,
    /// It must be a folder.
    pub directory: bool,
    /// Follow a symbolic link in the last component.
    pub follow: bool,
    /// The mode of what is created, of which the host's `umask(2)` may leave less; `None` for the usual one.
    pub mode: Option<u32>,
}

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// At this byte.
    Offset(u64),
    /// At the end of the file, wherever that is when the write is done.
    End,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interest {
    /// `Receive`, `Accept` or `ReceiveFrom` can make progress.
    Readable,
    /// `Send` or `SendTo` can make progress, or a connection attempt has ended.
    Writable,
}

/// Which half of a connection to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shutdown {
    /// No more receiving.
    Receive,
    /// No more sending.
    Send,
    /// Neither.
    Both,
}

/// One setting of a socket with its value; `socket(7)`, `tcp(7)`, `ip(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketOption {
    /// `TCP_NODELAY`.
    NoDelay(bool),
    /// Whether a connection that is closed is broken off, and what was not sent yet is lost: `SO_LINGER` of no time.
    Abort(bool),
    /// `SO_KEEPALIVE`.
    KeepAlive(bool),
    /// `TCP_KEEPIDLE`, in nanoseconds.
    KeepAliveIdle(u64),
    /// `TCP_KEEPINTVL`, in nanoseconds.
    KeepAliveInterval(u64),
    /// `TCP_KEEPCNT`.
    KeepAliveCount(u32),
    /// `IP_TTL` or `IPV6_UNICAST_HOPS`.
    HopLimit(u8),
    /// `SO_RCVBUF`, in bytes.
    ReceiveBuffer(u64),
    /// `SO_SNDBUF`, in bytes.
    SendBuffer(u64),
    /// How many connections may wait to be accepted; takes effect at `Listen`.
    Backlog(u64),
    /// Whether a socket of IPv6 that is bound to the unspecified address afterwards hears who comes by IPv4, too, as far
    /// as that is granted: the reverse of `IPV6_V6ONLY`, `ipv6(7)`.
    BothFamilies(bool),
}

/// One request of a capsule to the world outside its wall.
///
/// Paths are bytes, relative to the folder the handle names, or absolute in the capsule's own tree.
/// `Into` is where an answer's bytes go: memory, or only its size where the call crosses to another process.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each field is named for what it is, and each case explains itself")]
pub enum Call<'a, Into = &'a mut [u8]> {
    // --- handles ---
    /// Close a handle. `Reply::Done`.
    Close { handle: Handle },
    /// Another handle of the same resource with at most these rights. `Reply::Handle`.
    Duplicate { handle: Handle, rights: Rights },
    /// Give up rights on a handle for good. `Reply::Done`.
    Restrict { handle: Handle, rights: Rights },
    /// Invalidate every handle that was made from this one, in whatever instance. `Reply::Done`.
    Revoke { handle: Handle },
    /// The rights of a handle. `Reply::Rights`.
    RightsOf { handle: Handle },

    // --- files and folders ---
    /// Open a file or folder. `Reply::Handle`, or `Reply::Created` where a mode was given and there was none.
    Open { directory: Handle, path: &'a [u8], how: OpenHow },
    /// Read at an offset (`pread(2)`). `Reply::Count`, 0 at the end of the file.
    Read { file: Handle, offset: u64, into: Into },
    /// Write (`pwrite(2)`). `Reply::Count`.
    Write {
        file: Handle,
        at: Position,
        #[serde(with = "serde_bytes")]
        from: &'a [u8],
    },
    /// Metadata of an open resource. `Reply::Stat`.
    Stat { handle: Handle },
    /// Metadata by name. `Reply::Stat`.
    StatAt { directory: Handle, path: &'a [u8], follow: bool },
    /// Cut or extend a file. `Reply::Done`.
    SetSize { file: Handle, size: u64 },
    /// Set access and modification times; `None` leaves one as it is. `Reply::Done`.
    SetTimes { handle: Handle, accessed: Option<Timestamp>, modified: Option<Timestamp> },
    /// The same by name. `Reply::Done`.
    SetTimesAt {
        directory: Handle,
        path: &'a [u8],
        follow: bool,
        accessed: Option<Timestamp>,
        modified: Option<Timestamp>,
    },
    /// Set the nine bits of the mode that say who may do what (`chmod(2)`); others are invalid. `Reply::Done`.
    SetMode { handle: Handle, mode: u32 },
    /// The same by name; of a symbolic link itself it cannot be done. `Reply::Done`.
    SetModeAt { directory: Handle, path: &'a [u8], follow: bool, mode: u32 },
    /// Bring content (and with `metadata` everything else) to the disk. `Reply::Done`.
    Sync { handle: Handle, metadata: bool },
    /// The next entries of a folder, from `after` on (0: from the start), at most `most`.
    /// `Reply::Entries`, empty at the end; never `.` or `..`.
    List { directory: Handle, after: u64, most: usize },
    /// Make a folder, with this mode, of which the host's `umask(2)` may leave less; `None` for the usual one.
    /// `Reply::Done`.
    CreateDirectory { directory: Handle, path: &'a [u8], mode: Option<u32> },
    /// Remove an empty folder. `Reply::Done`.
    RemoveDirectory { directory: Handle, path: &'a [u8] },
    /// Remove a name that is not a folder. `Reply::Done`.
    Unlink { directory: Handle, path: &'a [u8] },
    /// Give a thing another name. `Reply::Done`.
    Rename { from_directory: Handle, from: &'a [u8], to_directory: Handle, to: &'a [u8] },
    /// Give a file a second name. `Reply::Done`.
    Link { from_directory: Handle, from: &'a [u8], follow: bool, to_directory: Handle, to: &'a [u8] },
    /// Make a symbolic link. `Reply::Done`.
    Symlink { target: &'a [u8], directory: Handle, path: &'a [u8] },
    /// What a symbolic link says. `Reply::Bytes`.
    ReadLink { directory: Handle, path: &'a [u8] },

    // --- streams: standard input and output, connected sockets ---
    /// Take what is there. `Reply::Count` (0: the end), or `WouldBlock`.
    Receive { stream: Handle, into: Into },
    /// Give what fits. `Reply::Count`, or `WouldBlock`.
    Send {
        stream: Handle,
        #[serde(with = "serde_bytes")]
        from: &'a [u8],
    },
    /// Wait until the handle is ready. Answered later; `Reply::Done`.
    Ready { handle: Handle, interest: Interest },
    /// Whether the stream is a terminal. `Reply::Flag`.
    IsTerminal { handle: Handle },

    // --- network ---
    /// A TCP socket, of IPv6 or IPv4. `Reply::Handle`.
    TcpSocket { ipv6: bool },
    /// A UDP socket. `Reply::Handle`.
    UdpSocket { ipv6: bool },
    /// Take a local address. `Reply::Done`.
    Bind { socket: Handle, address: SocketAddr },
    /// Begin to connect (TCP), or set the peer (UDP, at once). `Reply::Done` when connected,
    /// `InProgress` when not yet: wait for `Writable`, then `ConnectResult`.
    Connect { socket: Handle, address: SocketAddr },
    /// How a connection attempt ended. `Reply::Done`, or why not; `WouldBlock` while it goes on.
    ConnectResult { socket: Handle },
    /// Forget the peer of a UDP socket. `Reply::Done`.
    Disconnect { socket: Handle },
    /// Accept connections from now on. `Reply::Done`.
    Listen { socket: Handle },
    /// Take one connection. `Reply::Accepted`, or `WouldBlock`.
    Accept { socket: Handle },
    /// Close one half. `Reply::Done`.
    ShutdownSocket { socket: Handle, how: Shutdown },
    /// Where the socket is bound. `Reply::Address`.
    LocalAddress { socket: Handle },
    /// Whom it is connected to. `Reply::Address`.
    PeerAddress { socket: Handle },
    /// Set an option. `Reply::Done`.
    SetOption { socket: Handle, option: SocketOption },
    /// Read an option: the kind of `option` counts, its value is ignored. `Reply::Option`.
    GetOption { socket: Handle, option: SocketOption },
    /// Send a datagram, to `address` or to the connected peer. `Reply::Count`, or `WouldBlock`.
    SendTo {
        socket: Handle,
        address: Option<SocketAddr>,
        #[serde(with = "serde_bytes")]
        from: &'a [u8],
    },
    /// Take a datagram; what does not fit is lost. `Reply::Datagram`, or `WouldBlock`.
    ReceiveFrom { socket: Handle, into: Into },
    /// The addresses of a name; granted ones only, pinned for the instance's life. Answered later;
    /// `Reply::Addresses`.
    Resolve { name: &'a str },

    // --- time, chance, surroundings ---
    /// What a clock shows. `Reply::Time`.
    Now { clock: Clock },
    /// The precision of a clock in nanoseconds. `Reply::Time`.
    Resolution { clock: Clock },
    /// Wait until the monotonic clock shows `until`. Answered later; `Reply::Done`.
    Sleep { until: Timestamp },
    /// Fill with random bytes fit for keys. `Reply::Done`.
    Random { into: Into },
    /// The environment. `Reply::Pairs`.
    Environment,
    /// The arguments, the program's name first. `Reply::Texts`.
    Arguments,

    // --- to others ---
    /// Write a line to the capsule's log. `Reply::Done`.
    Log { level: u8, message: &'a str },
    /// Put a message into a named channel. `Reply::Done`, or `WouldBlock` when it is full.
    ChannelSend {
        channel: &'a str,
        #[serde(with = "serde_bytes")]
        message: &'a [u8],
    },
    /// Take a message from a named channel. Answered later; `Reply::Bytes`.
    ChannelReceive { channel: &'a str },
    /// Call a function the embedder offers. Answered later; `Reply::Values`.
    Invoke { function: &'a str, arguments: Vec<Value> },
}

impl<'a, Into> Call<'a, Into> {
    /// The same call with another place for the answer's bytes.
    pub fn map_into<Other>(self, change: impl FnOnce(Into) -> Other) -> Call<'a, Other> {
        match self {
            Call::Close { handle } => Call::Close { handle },
            Call::Duplicate { handle, rights } => Call::Duplicate { handle, rights },
            Call::Restrict { handle, rights } => Call::Restrict { handle, rights },
            Call::Revoke { handle } => Call::Revoke { handle },
            Call::RightsOf { handle } => Call::RightsOf { handle },
            Call::Open { directory, path, how } => Call::Open { directory, path, how },
            Call::Read { file, offset, into } => Call::Read { file, offset, into: change(into) },
            Call::Write { file, at, from } => Call::Write { file, at, from },
            Call::Stat { handle } => Call::Stat { handle },
            Call::StatAt { directory, path, follow } => Call::StatAt { directory, path, follow },
            Call::SetSize { file, size } => Call::SetSize { file, size },
            Call::SetTimes { handle, accessed, modified } => Call::SetTimes { handle, accessed, modified },
            Call::SetTimesAt { directory, path, follow, accessed, modified } => {
                Call::SetTimesAt { directory, path, follow, accessed, modified }
            }
            Call::SetMode { handle, mode } => Call::SetMode { handle, mode },
            Call::SetModeAt { directory, path, follow, mode } => Call::SetModeAt { directory, path, follow, mode },
            Call::Sync { handle, metadata } => Call::Sync { handle, metadata },
            Call::List { directory, after, most } => Call::List { directory, after, most },
            Call::CreateDirectory { directory, path, mode } => Call::CreateDirectory { directory, path, mode },
            Call::RemoveDirectory { directory, path } => Call::RemoveDirectory { directory, path },
            Call::Unlink { directory, path } => Call::Unlink { directory, path },
            Call::Rename { from_directory, from, to_directory, to } => {
                Call::Rename { from_directory, from, to_directory, to }
            }
            Call::Link { from_directory, from, follow, to_directory, to } => {
                Call::Link { from_directory, from, follow, to_directory, to }
            }
            Call::Symlink { target, directory, path } => Call::Symlink { target, directory, path },
            Call::ReadLink { directory, path } => Call::ReadLink { directory, path },
            Call::Receive { stream, into } => Call::Receive { stream, into: change(into) },
            Call::Send { stream, from } => Call::Send { stream, from },
            Call::Ready { handle, interest } => Call::Ready { handle, interest },
            Call::IsTerminal { handle } => Call::IsTerminal { handle },
            Call::TcpSocket { ipv6 } => Call::TcpSocket { ipv6 },
            Call::UdpSocket { ipv6 } => Call::UdpSocket { ipv6 },
            Call::Bind { socket, address } => Call::Bind { socket, address },
            Call::Connect { socket, address } => Call::Connect { socket, address },
            Call::ConnectResult { socket } => Call::ConnectResult { socket },
            Call::Disconnect { socket } => Call::Disconnect { socket },
            Call::Listen { socket } => Call::Listen { socket },
            Call::Accept { socket } => Call::Accept { socket },
            Call::ShutdownSocket { socket, how } => Call::ShutdownSocket { socket, how },
            Call::LocalAddress { socket } => Call::LocalAddress { socket },
            Call::PeerAddress { socket } => Call::PeerAddress { socket },
            Call::SetOption { socket, option } => Call::SetOption { socket, option },
            Call::GetOption { socket, option } => Call::GetOption { socket, option },
            Call::SendTo { socket, address, from } => Call::SendTo { socket, address, from },
            Call::ReceiveFrom { socket, into } => Call::ReceiveFrom { socket, into: change(into) },
            Call::Resolve { name } => Call::Resolve { name },
            Call::Now { clock } => Call::Now { clock },
            Call::Resolution { clock } => Call::Resolution { clock },
            Call::Sleep { until } => Call::Sleep { until },
            Call::Random { into } => Call::Random { into: change(into) },
            Call::Environment => Call::Environment,
            Call::Arguments => Call::Arguments,
            Call::Log { level, message } => Call::Log { level, message },
            Call::ChannelSend { channel, message } => Call::ChannelSend { channel, message },
            Call::ChannelReceive { channel } => Call::ChannelReceive { channel },
            Call::Invoke { function, arguments } => Call::Invoke { function, arguments },
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_call_crosses_with_what_it_brings_and_the_size_of_what_it_wants() {
        let mut wanted = [0; 7];
        let from = Handle::new(104, 2);
        let calls: Vec<Call<'_, usize>> = alloc::vec![
            Call::Read { file: from, offset: 1 << 40, into: &mut wanted[..] }.map_into(|into: &mut [u8]| into.len()),
            Call::Write { file: from, at: Position::End, from: b"text" },
            Call::Open { directory: from, path: b"a/\xff", how: OpenHow { create: true, ..OpenHow::default() } },
            Call::Sleep { until: Timestamp::MIN },
            Call::Invoke { function: "a#b", arguments: alloc::vec![Value::F64(0.5)] },
        ];
        for call in calls {
            let bytes = postcard::to_allocvec(&call).unwrap();
            let read: Call<'_, usize> = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(alloc::format!("{read:?}"), alloc::format!("{call:?}"));
        }
    }

    #[test]
    fn rights_that_do_not_exist_do_not_cross() {
        let bytes = postcard::to_allocvec(&u32::MAX).unwrap();
        assert_eq!(postcard::from_bytes::<Rights>(&bytes).unwrap(), Rights::all());
    }
}
