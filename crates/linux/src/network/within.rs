//! Unix sockets of the place's own: `unix(7)`.
//!
//! A program may bind one in a folder in memory, where Landlock lets it make sockets and nobody else sees them, or to an
//! abstract name, which its network namespace keeps. The kernel does that, by what the program's memory says at that
//! time: every name it could be changed to is one of the same. What may be connected to is another matter, for sockets
//! of the host can lie in a folder that is granted: the supervisor follows the path once, as the program would, looks at
//! what it came to, and connects the program's own socket to that.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2, stat};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, connect, listen};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::address::Name;
use super::ask::{Answer, Ask, Own};
use super::broker::Desk;
use super::closing::Lent;

/// How many connections wait at once for somebody to accept others. Each takes a thread, which ends with its listener.
const MOST_WAITING: usize = 16;

/// Where Unix sockets may be, in a place where Landlock judges what is bound.
#[derive(Debug)]
pub(crate) struct Within {
    /// The file system in memory, by one of its names.
    scratch: Option<CString>,
    waiting: Arc<Semaphore>,
}

impl Within {
    pub(crate) fn new(scratch: Option<CString>) -> Self {
        Within { scratch, waiting: Arc::new(Semaphore::new(MOST_WAITING)) }
    }

    /// What a path leads to for the one who asks, when that is a socket of the place's own.
    fn find(&self, ask: &Ask, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let folder = |name: &str| open(ask.file(name), flags | OFlags::DIRECTORY, Mode::empty());
        let root = folder("root")?;
        let scratch = self.scratch.as_deref().ok_or(Errno::ACCESS)?;
        let scratch = openat2(&root, scratch, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)?;
        let found = if path.starts_with(b"/") {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            openat2(&root, path, flags, Mode::empty(), resolve)
        } else {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            openat2(folder("cwd")?, path, flags, Mode::empty(), resolve)
        };
        let found = found.map_err(|errno| if errno == Errno::XDEV { Errno::ACCESS } else { errno })?;
        let what = fstat(&found)?;
        match FileType::from_raw_mode(what.st_mode) {
            _ if what.st_dev != fstat(&scratch)?.st_dev => Err(Errno::ACCESS),
            FileType::Socket => Ok(found),
            _ => Err(Errno::CONNREFUSED),
        }
    }
}

/// Whether abstract names mean something else to who asks than to the supervisor.
fn has_own_names(ask: &Ask) -> Result<bool, Errno> {
    let [own, ours] = [stat(ask.file("ns/net"))?, stat("/proc/self/ns/net")?];
    Ok((own.st_dev, own.st_ino) != (ours.st_dev, ours.st_ino))
}

impl Desk {
    /// Where a Unix socket is bound the kernel and Landlock judge, so that the name is the program's word to the letter.
    /// Landlock stands before any other socket, too, that is there instead by then: one of the host's among them.
    pub(super) fn bind_within(&self, own: &Own) -> Result<Answer, Errno> {
        self.within(own).map(|_| Answer::GoesOn)
    }

    /// Not the kernel for the program: a socket of the host's that is there instead by then would listen.
    pub(super) fn listen_within(&self, own: &Own, backlog: i32) -> Result<Result<(), Errno>, Errno> {
        self.within(own).map(|_| listen(&own.socket, backlog))
    }

    fn within(&self, own: &Own) -> Result<&Within, Errno> {
        self.within.as_ref().filter(|_| own.is_unix()).ok_or(Errno::ACCESS)
    }

    pub(super) async fn connect_within(&self, ask: &Ask, own: Own, name: Name) -> Result<Answer, Errno> {
        let within = self.within(&own)?;
        let (found, address) = match name.bytes() {
            [] => return Err(Errno::INVAL),
            [0, name @ ..] => {
                if !has_own_names(ask)? {
                    return Err(Errno::ACCESS);
                }
                (None, SocketAddrUnix::new_abstract_name(name)?)
            }
            path => {
                let found = within.find(ask, path)?;
                let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
                (Some(found), address)
            }
        };
        // All of that was read by the number of a thread.
        self.check(ask)?;
        if !own.waits {
            return Ok(Answer::plain(connect(&own.socket, &address)));
        }
        let waiting = within.waiting.clone().acquire_owned().await.map_err(|_| Errno::ACCESS)?;
        let socket: Lent = own.socket;
        let connected = spawn_blocking(move || {
            let connected = connect(&socket, &address);
            drop((waiting, found));
            connected
        });
        Ok(Answer::plain(connected.await.unwrap_or(Err(Errno::INTR))))
    }
}
