//! Unix sockets of the place's own: `unix(7)`.
//!
//! A program may bind one in a folder in memory, where Landlock lets it make sockets and nobody else sees them, or to an
//! abstract name, which its network namespace keeps. The kernel does that, by what the program's memory says at that
//! time: every name it could be changed to is one of the same. What may be connected to is another matter, for sockets
//! of the host can lie in a folder that is granted: the supervisor looks for the path on that file system alone, once,
//! and connects the program's own socket to what is there.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2, readlink, stat};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, connect, listen};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::address::Name;
use super::ask::{Answer, Ask, Own};
use super::broker::Desk;
use crate::sys::Interruptible;

/// How many connect at once. Each takes a thread: in the kernel the program says how long one waits, and that it does
/// not, it may take back.
const MOST_AT_ONCE: usize = 16;
/// How long one waits before others have their turn.
const TURN: Duration = Duration::from_millis(20);
/// How often a path is looked for again that is renamed meanwhile.
const TRIES: usize = 8;

/// Where Unix sockets may be, in a place where Landlock judges what is bound and no Unix socket is the host's.
#[derive(Debug)]
pub(crate) struct Within {
    /// The names of the file system in memory.
    folders: Vec<CString>,
    connecting: Arc<Semaphore>,
}

impl Within {
    pub(crate) fn new(folders: Vec<CString>) -> Self {
        Within { folders, connecting: Arc::new(Semaphore::new(MOST_AT_ONCE)) }
    }

    /// What a path leads to for the one who asks, when that is a socket on that file system. Nothing is looked at
    /// elsewhere: what is there it may not even be told.
    fn find(&self, ask: &Ask, path: &Path) -> Result<OwnedFd, Errno> {
        let path: PathBuf = match path.is_absolute() {
            true => path.into(),
            false => {
                let place = readlink(ask.file("cwd"), Vec::new())?;
                let place = place.into_string().map_err(|_| Errno::ACCESS)?;
                [place.as_ref(), path].iter().collect()
            }
        };
        let below = |folder: &CString| path.strip_prefix(OsStr::from_bytes(folder.as_bytes())).ok();
        let found = self.folders.iter().find_map(|folder| Some((folder, below(folder)?)));
        let (folder, rest) = found.ok_or(Errno::ACCESS)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = open(ask.file("root"), flags | OFlags::DIRECTORY, Mode::empty())?;
        let folder =
            openat2(&root, folder.as_c_str(), flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let look = || openat2(&folder, rest, flags, Mode::empty(), resolve);
        let found = (0..TRIES).map(|_| look()).find(|found| !matches!(found, Err(Errno::AGAIN)));
        let found = found.unwrap_or(Err(Errno::ACCESS));
        let found = found.map_err(|errno| if errno == Errno::XDEV { Errno::ACCESS } else { errno })?;
        match FileType::from_raw_mode(fstat(&found)?.st_mode) {
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
    pub(super) fn listen_within(&self, own: &Own, backlog: i32) -> Result<Answer, Errno> {
        self.within(own)?;
        Ok(Answer::plain(listen(&own.socket, backlog)))
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
                let found = within.find(ask, Path::new(OsStr::from_bytes(path)))?;
                let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
                (Some(found), address)
            }
        };
        // All of that was read by the number of a thread.
        self.check(ask)?;
        // Between turns nothing of the program's is held: what lies in a socket's queue ends with it, and may take long.
        drop(own);
        let found = Arc::new(found);
        loop {
            let slot = within.connecting.clone().acquire_owned().await.map_err(|_| Errno::ACCESS)?;
            let own = ask.own()?;
            self.check(ask)?;
            self.within(&own)?;
            let (found, address) = (found.clone(), address.clone());
            let (sender, mut receiver) = oneshot::channel();
            let connecting = Interruptible::begin(move || {
                let connected = connect(&own.socket, &address);
                drop((own, found, slot));
                // Who asked may be gone.
                let _ = sender.send(connected);
            });
            // Called off with the question, or with everything: nothing waits on for it.
            let connecting = connecting.map_err(|_| Errno::NOMEM)?;
            let connected = match timeout(TURN, &mut receiver).await {
                Ok(connected) => connected,
                Err(_) => {
                    drop(connecting);
                    receiver.await
                }
            };
            match connected.unwrap_or(Err(Errno::IO)) {
                // Its turn is over, and the next one's.
                Err(Errno::INTR) => {}
                connected => return Ok(Answer::plain(connected)),
            }
        }
    }
}
