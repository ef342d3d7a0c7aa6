//! Sockets of the host that are bound and do not listen yet, or listen in the place of the program's own.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};

use super::ask::Ask;
use super::broker::{Desk, Opened};
use crate::cgroup::Cgroup;

/// How many there can be, and not more than an eighth of the descriptors there are: each takes one.
const MOST: usize = 256;
const LEAST: usize = 16;
/// How much longer is waited than the search before took.
const REST: u32 = 20;

/// The supervisor's own ends of them. The kernel says nobody when the program has closed the other: they are
/// looked for before another one is made.
#[derive(Default)]
pub(super) struct Bound {
    /// By their cookies.
    sockets: Mutex<HashMap<u64, Entry>>,
    /// In it are those who could hold the other ends.
    cgroup: Weak<Cgroup>,
    /// When it was looked for them, and how long that took.
    searched: tokio::sync::Mutex<Option<(Instant, Duration)>>,
}

struct Entry {
    opened: Opened,
    /// What the program's end is called in `/proc/<pid>/fd` (`proc(5)`).
    name: String,
    /// Whose question made it. While that waits for its answer, nobody holds the other end.
    asked: Ask,
}

impl Bound {
    pub(super) fn of(cgroup: &Arc<Cgroup>) -> Self {
        Bound { cgroup: Arc::downgrade(cgroup), ..Bound::default() }
    }

    /// Keeps one until it listens or is connected.
    pub(super) fn insert(&self, asked: Ask, socket: impl AsFd, opened: Opened) -> Result<(), Errno> {
        let entry = Entry { opened, name: format!("socket:[{}]", fstat(&socket)?.st_ino), asked };
        let mut sockets = self.sockets();
        if sockets.len() >= most() {
            return Err(Errno::NOBUFS);
        }
        sockets.insert(sockopt::socket_cookie(socket)?, entry);
        Ok(())
    }

    pub(super) fn remove(&self, cookie: u64) -> Option<Opened> {
        self.sockets().remove(&cookie).map(|entry| entry.opened)
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// Lets go of those that the program has closed.
    pub(super) async fn forget_closed(&self) {
        let bound = self.bound();
        if bound.sockets().is_empty() {
            return;
        }
        let mut searched = bound.searched.lock().await;
        if let Some((at, took)) = *searched {
            tokio::time::sleep_until((at + took * REST).into()).await;
        }
        let began = Instant::now();
        let mut closed: HashMap<u64, String> = {
            let sockets = bound.sockets();
            let answered = sockets.iter().filter(|(_, entry)| self.check(&entry.asked).is_err());
            answered.map(|(&cookie, entry)| (cookie, entry.name.clone())).collect()
        };
        // Twice: it may be handed from one process to another while it is looked for.
        for _ in 0..2 {
            let held = match bound.cgroup.upgrade().map(|cgroup| held(&cgroup, &closed)) {
                Some(Ok(Some(held))) => held,
                // Nobody knows who holds what.
                Some(Ok(None) | Err(_)) | None => closed.values().cloned().collect(),
            };
            closed.retain(|_, name| !held.contains(name));
        }
        let gone: Vec<Opened> = closed.keys().filter_map(|&cookie| bound.remove(cookie)).collect();
        drop(gone);
        if let Some(counted) = &self.counted {
            counted.forget(closed.into_keys().collect()).await;
        }
        *searched = Some((began, began.elapsed()));
    }
}

fn most() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 8).unwrap_or(MOST).clamp(LEAST, MOST)
}

/// Which of these the processes of a cgroup hold; `None` where nobody counts the processes.
fn held(cgroup: &Cgroup, wanted: &HashMap<u64, String>) -> io::Result<Option<HashSet<String>>> {
    let processes = cgroup.processes()?;
    let mut held = HashSet::new();
    for process in &processes {
        if held.len() == wanted.len() {
            break;
        }
        // When the first thread of a process has ended, another has its table.
        let tables = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        for table in tables {
            let entries: Vec<_> = match std::fs::read_dir(table.path().join("fd")) {
                Ok(entries) => entries.flatten().collect(),
                Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => return Err(error),
                // It lets nobody look (`PR_SET_DUMPABLE`), and may hold any of them.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(_) => continue,
            };
            let links = entries.iter().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            let names = links.filter_map(|link| link.into_os_string().into_string().ok());
            held.extend(names.filter(|name| wanted.values().any(|wanted| wanted == name)));
            if !entries.is_empty() {
                break;
            }
        }
    }
    Ok((!processes.is_empty()).then_some(held))
}
