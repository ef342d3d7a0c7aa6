//! Names of Unix sockets: `unix(7)`. One in a folder in memory is a node there, which stays until it is
//! unlinked; one without a file, or on the host's folders, is the name alone and ends with its socket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use ringfence_isolation::FileUse;
use ringfence_manifest::Permission;
use rustix::io::Errno;

use super::{Link, Queue, Style, Unix};
use crate::personality::memory_files::Way;
use crate::personality::open::Kind;
use crate::personality::opening::Path;
use crate::personality::owners;
use crate::personality::process::lock;
use crate::personality::status::MEMORY_DEVICE;
use crate::personality::thread::Thread;
use crate::scratch::{Body, Spot};

/// How many names `bind(2)` chooses from when it is given none.
const CHOICES: u32 = 1 << 20;

/// What is found by a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A name without a file.
    Abstract(Vec<u8>),
    /// The node in memory with this number.
    Node(u64),
    /// A path where no node is made.
    Path(Vec<u8>),
}

/// What a socket has of the names: which, and as the how manieth it came.
pub(super) struct Held {
    key: Key,
    number: u64,
}

struct Entry {
    number: u64,
    /// As it was given.
    name: Vec<u8>,
    mode: u32,
    to: Named,
}

enum Named {
    Listening(Weak<Queue>),
    Datagrams(Weak<Link>),
}

/// What is behind a name.
pub(super) enum To {
    Listening(Arc<Queue>),
    Datagrams(Arc<Link>),
}

/// A name that was found, as its socket was given it.
pub(super) struct Found {
    pub(super) name: Vec<u8>,
    pub(super) to: To,
}

/// The names of Unix sockets in an instance, each for as long as its socket is there.
#[derive(Default)]
pub(in crate::personality) struct Names(Mutex<Known>);

#[derive(Default)]
struct Known {
    entries: BTreeMap<Key, Entry>,
    last: u64,
    chosen: u32,
}

impl Entry {
    fn to(&self) -> Option<To> {
        match &self.to {
            Named::Listening(queue) => queue.upgrade().map(To::Listening),
            Named::Datagrams(link) => link.upgrade().filter(|link| link.has_reader()).map(To::Datagrams),
        }
    }
}

impl Names {
    /// A socket is gone.
    pub(super) fn let_go(&self, held: &Held) {
        let mut known = lock(&self.0);
        if known.entries.get(&held.key).is_some_and(|entry| entry.number == held.number) {
            known.entries.remove(&held.key);
        }
    }

    /// `unlink(2)` of a path where no node is: whether a socket had it.
    pub(in crate::personality) fn unlink(&self, path: &Path) -> bool {
        lock(&self.0).entries.remove(&Key::Path(path.normal.clone())).is_some()
    }

    /// The mode of a socket at a path where no node is.
    pub(in crate::personality) fn mode_at(&self, path: &Path) -> Option<u32> {
        let known = lock(&self.0);
        if known.entries.is_empty() {
            return None;
        }
        known.entries.get(&Key::Path(path.normal.clone())).filter(|entry| entry.to().is_some()).map(|entry| entry.mode)
    }

    /// The socket with a name, or why there is none for this process.
    pub(super) fn find(&self, thread: &Thread, name: &[u8]) -> Result<Found, Errno> {
        let (key, missing) = match thread.key(name)? {
            key @ Key::Path(_) => (key, Errno::NOENT),
            key => (key, Errno::CONNREFUSED),
        };
        let known = lock(&self.0);
        let entry = known.entries.get(&key).ok_or(missing)?;
        Ok(Found { name: entry.name.clone(), to: entry.to().ok_or(missing)? })
    }
}

impl Thread {
    /// What a name of a peer leads to; a node in memory has to be a socket that may be written to.
    fn key(&self, name: &[u8]) -> Result<Key, Errno> {
        if name.is_empty() {
            return Err(Errno::INVAL);
        }
        if name[0] == 0 {
            return Ok(Key::Abstract(name.to_vec()));
        }
        let path = self.walked(libc::AT_FDCWD, name)?;
        // Whoever opened it to look at can be sure which it is, however long its path.
        let opened = owners::opened(self, &path, true)?;
        let node = match opened.as_deref().map(|open| &open.kind) {
            Some(Kind::Memory(node)) => node.clone(),
            Some(_) => return Err(Errno::CONNREFUSED),
            None if !self.world.scratch.has(&path.normal) => return Ok(Key::Path(path.normal)),
            None => {
                self.may_pass(&path)?;
                match self.lead(&path, true)? {
                    Way::Path(path) => return Ok(Key::Path(path.normal)),
                    Way::Memory(spot) => {
                        self.world.judge(&spot.path, FileUse::Look).map_err(|errno| self.unseen(&path, errno))?;
                        spot.found()?.clone()
                    }
                }
            }
        };
        self.may_use(&path, true, owners::WRITE)?;
        match &node.body {
            Body::Socket => Ok(Key::Node(node.number)),
            _ => Err(Errno::CONNREFUSED),
        }
    }

    /// Makes the node of a name in memory, as a file is made there.
    fn make_socket(&self, path: &Path, spot: &Spot) -> Result<Key, Errno> {
        let mask = lock(&self.process.place()).mask;
        let inherited = self.inherited(&spot.path);
        let made = self.world.scratch.make_socket(spot, 0o777 & !mask, self.world.now());
        let node = made.map_err(|errno| if errno == Errno::EXIST { Errno::ADDRINUSE } else { errno })?;
        if let Err(errno) = self.own((MEMORY_DEVICE, node.number), None, 0, inherited) {
            // Nobody else's, so nobody's.
            if let Ok(Way::Memory(spot)) = self.lead(path, false) {
                let _ = self.world.scratch.remove(&spot, false, self.world.now());
            }
            return Err(errno);
        }
        Ok(Key::Node(node.number))
    }
}

impl Unix {
    /// `bind(2)`: to a path, to a name without a file, or without a name to one that is chosen.
    pub(in crate::personality::socket) fn bind(&self, thread: &Thread, name: &[u8]) -> Result<(), Errno> {
        if name.first().is_none_or(|&byte| byte == 0) {
            return self.hold(thread, name, |known| match name {
                [] => known.choose(),
                name => Ok((Key::Abstract(name.to_vec()), name.to_vec())),
            });
        }
        let path = thread.walked(libc::AT_FDCWD, name)?;
        let way = if thread.world.scratch.has(&path.normal) {
            thread.may_pass(&path)?;
            thread.lead(&path, false)?
        } else {
            Way::Path(path.clone())
        };
        match way {
            Way::Path(path) => {
                let is_looked_at = thread.is_known(&path) || path.is_system(thread) || path.normal == b"/";
                if is_looked_at && thread.status_at(&path, false).is_ok() {
                    return Err(Errno::ADDRINUSE);
                }
                self.hold(thread, name, |_| Ok((Key::Path(path.normal), name.to_vec())))
            }
            Way::Memory(spot) => {
                thread.may(&spot, Permission::FsCreate)?;
                if spot.node.is_some() {
                    return Err(Errno::ADDRINUSE);
                }
                if name.ends_with(b"/") {
                    return Err(Errno::NOENT);
                }
                thread.may_name(&path)?;
                self.hold(thread, name, |_| Ok((thread.make_socket(&path, &spot)?, name.to_vec())))?;
                thread.made_at(&spot.path, false);
                Ok(())
            }
        }
    }

    fn hold(
        &self,
        thread: &Thread,
        wanted: &[u8],
        choose: impl FnOnce(&mut Known) -> Result<(Key, Vec<u8>), Errno>,
    ) -> Result<(), Errno> {
        let mut known = lock(&thread.world.names.0);
        let mut ends = lock(&self.ends);
        if !ends.name.is_empty() {
            return if wanted.is_empty() { Ok(()) } else { Err(Errno::INVAL) };
        }
        let (key, name) = choose(&mut known)?;
        if known.entries.get(&key).is_some_and(|entry| entry.to().is_some()) {
            return Err(Errno::ADDRINUSE);
        }
        let to = if self.style == Style::Datagram {
            Named::Datagrams(Arc::downgrade(ends.receive.get_or_insert_with(|| thread.link())))
        } else {
            Named::Listening(Arc::downgrade(ends.queue.insert(Arc::default())))
        };
        known.last += 1;
        let number = known.last;
        let mode = 0o777 & !lock(&thread.process.place()).mask;
        known.entries.insert(key.clone(), Entry { number, name: name.clone(), mode, to });
        ends.held = Some(Held { key, number });
        ends.name = name;
        Ok(())
    }
}

impl Known {
    /// A name of five digits that nobody has.
    fn choose(&mut self) -> Result<(Key, Vec<u8>), Errno> {
        for _ in 0..CHOICES {
            self.chosen = (self.chosen + 1) % CHOICES;
            let name = format!("\0{:05x}", self.chosen).into_bytes();
            let key = Key::Abstract(name.clone());
            if !self.entries.contains_key(&key) {
                return Ok((key, name));
            }
        }
        Err(Errno::NOSPC)
    }
}
