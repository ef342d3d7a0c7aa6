//! One socket of the host, and waiting for it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ringfence_abi::{ErrorCode, Interest};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use tokio::io::unix::AsyncFd;
use tokio::sync::OnceCell;

use super::error::{code, code_of};

/// One non-blocking socket of the host.
///
/// It is registered with the event loop when it is first waited for, and only if it is not ready
/// then, so a connection that is never waited for costs one descriptor and nothing else. Dropping it
/// closes the socket once no future waits for it any more.
pub struct Descriptor {
    fd: Arc<OwnedFd>,
    readiness: OnceCell<AsyncFd<Arc<OwnedFd>>>,
    /// How many bytes of bandwidth the last attempt in each direction lacked; 0 for none.
    wanted: [AtomicUsize; 2],
    /// There is, or was, another descriptor of it.
    shared: AtomicBool,
}

impl Descriptor {
    /// A new socket, `socket(2)`. One of IPv6 never speaks IPv4 (`IPV6_V6ONLY`, RFC 3493 §5.3), so
    /// an address has one spelling only.
    pub(super) fn open(ipv6: bool, kind: SocketType) -> Result<Self, ErrorCode> {
        let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
        let protocol = if kind == SocketType::STREAM { ipproto::TCP } else { ipproto::UDP };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, kind, flags, Some(protocol)).map_err(code)?;
        if ipv6 {
            sockopt::set_ipv6_v6only(&fd, true).map_err(code)?;
        }
        Ok(Self::new(fd))
    }

    /// A socket that is open and non-blocking already.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            fd: Arc::new(fd),
            readiness: OnceCell::new(),
            wanted: Default::default(),
            shared: AtomicBool::new(false),
        }
    }

    /// Another descriptor of the same socket.
    pub(crate) fn share(&self) -> Result<OwnedFd, ErrorCode> {
        self.shared.store(true, Ordering::SeqCst);
        self.fd.try_clone().map_err(|error| code_of(&error))
    }

    /// Whether [another](Self::share) was ever made.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::SeqCst)
    }

    /// Notes how many bytes of bandwidth the next attempt has to wait for.
    pub(super) fn want(&self, interest: Interest, bytes: usize) {
        self.wanted[interest as usize].store(bytes, Ordering::Relaxed);
    }

    /// How many bytes of bandwidth the next attempt has to wait for.
    pub(super) fn wanted(&self, interest: Interest) -> usize {
        self.wanted[interest as usize].load(Ordering::Relaxed)
    }

    /// Whether an operation would make progress now, if only by failing: `poll(2)` without waiting.
    pub(super) fn is_ready(&self, interest: Interest) -> Result<bool, ErrorCode> {
        let flags = match interest {
            Interest::Readable => PollFlags::IN,
            Interest::Writable => PollFlags::OUT,
        };
        let mut polled = [PollFd::new(&*self.fd, flags)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&at_once)));
        Ok(ready.map_err(code)? > 0)
    }

    /// Where the socket is bound, `getsockname(2)`.
    pub(super) fn local_address(&self) -> Result<SocketAddr, ErrorCode> {
        let address = rustix::net::getsockname(&self.fd).map_err(code)?;
        SocketAddr::try_from(address).map_err(code)
    }

    /// Whom it is connected to, `getpeername(2)`.
    pub(super) fn peer_address(&self) -> Result<SocketAddr, ErrorCode> {
        let address = rustix::net::getpeername(&self.fd).map_err(code)?.ok_or(ErrorCode::NotConnected)?;
        SocketAddr::try_from(address).map_err(code)
    }

    /// Waits until an operation would make progress. Needs a Tokio runtime with its input/output
    /// driver unless the socket is ready at once. Dropping the future gives up the wait.
    ///
    /// # Errors
    /// What `poll(2)` and `epoll_ctl(2)` say.
    pub async fn wait(&self, interest: Interest) -> Result<(), ErrorCode> {
        if self.is_ready(interest)? {
            return Ok(());
        }
        let registered = self.readiness.get_or_try_init(async || register(&self.fd)).await;
        let registered = registered.map_err(|error| code_of(&error))?;
        let events = match interest {
            Interest::Readable => tokio::io::Interest::READABLE,
            Interest::Writable => tokio::io::Interest::WRITABLE,
        };
        loop {
            let mut guard =
                registered.ready(events | tokio::io::Interest::ERROR).await.map_err(|error| code_of(&error))?;
            // The event loop remembers what it was told, `poll` knows what is so now.
            if self.is_ready(interest)? {
                return Ok(());
            }
            let closed = guard.ready().is_read_closed() || guard.ready().is_write_closed();
            guard.clear_ready();
            drop(guard);
            if closed {
                // A closed half is never cleared, which fits a stream. A UDP socket that was told
                // of an error (`ip(7)`, ICMP unreachable) is open again: look again after a while.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

#[allow(
    deprecated,
    reason = "its successor is the same but `unsafe`, for inner types that may give another descriptor later or close \
              theirs; an `Arc<OwnedFd>` does neither"
)]
fn register(fd: &Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::new(Arc::clone(fd))
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
