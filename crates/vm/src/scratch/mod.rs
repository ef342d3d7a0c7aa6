//! Folders in memory: `/tmp`, `/dev/shm`, and files without a name; `tmpfs(5)`, `memfd_create(2)`.
//!
//! They belong to the instance and end with it; nothing of the host's is behind them. Content is pages
//! of guest memory, so it counts as memory, and it can be mapped. Every page and every name counts for
//! the limit on the disk as well; without one there is room for [`MOST`] bytes.
//!
//! Nothing here asks whether the capsule may: that is judged before, in `personality`.

mod captured;
mod folder;
mod node;
mod quota;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_abi::Timestamp;
use ringfence_manifest::Spec;
use rustix::io::Errno;

pub(crate) use node::{Body, Node};
use quota::Room;

use crate::control::Control;
use crate::kvm::Machine;
use crate::memory::{Segment, Source};
use crate::tree::{covers, normal};

/// How much there is room for when no limit on the disk says otherwise, as at level `sandbox`.
const MOST: u64 = 1 << 30;
/// What one thing is charged besides its content.
const NODE: u64 = 4096;
/// How many links a path may lead through: `path_resolution(7)`.
const MOST_LINKS: u32 = 40;
/// The longest path, and the longest name in it.
const PATH_MAX: usize = 4096;
const NAME_MAX: usize = 255;

/// The folders in memory of an instance.
pub(crate) struct Scratch {
    /// By their paths.
    folders: Vec<(&'static [u8], Arc<Node>)>,
    /// Mounts of the manifest, which lie over them.
    mounts: Vec<Vec<u8>>,
    machine: Arc<Machine>,
    room: Arc<Room>,
    next: AtomicU64,
    /// Held while names change.
    naming: Mutex<()>,
}

/// Where a path leads.
pub(crate) enum Led {
    /// Somewhere in memory.
    Here(Spot),
    /// By a link to this path, which is somebody else's.
    Away(Vec<u8>),
}

/// A place for a name, and what is there.
pub(crate) struct Spot {
    /// Links followed.
    pub(crate) path: Vec<u8>,
    pub(crate) node: Option<Arc<Node>>,
    parent: Option<Arc<Node>>,
}

impl Spot {
    /// Something that is open, where it was opened.
    pub(crate) fn of(path: Vec<u8>, node: Arc<Node>) -> Spot {
        Spot { path, node: Some(node), parent: None }
    }

    fn name(&self) -> &[u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// What is there.
    pub(crate) fn found(&self) -> Result<&Arc<Node>, Errno> {
        self.node.as_ref().ok_or(Errno::NOENT)
    }

    /// The folder its name is in; the folders at the top cannot be changed.
    fn parent(&self) -> Result<&Arc<Node>, Errno> {
        self.parent.as_ref().ok_or(Errno::BUSY)
    }
}

impl Scratch {
    pub(crate) fn new(spec: &Spec, machine: &Arc<Machine>, control: &Arc<Control>, now: Timestamp) -> Scratch {
        let mounts: Vec<Vec<u8>> = spec.mounts.iter().map(|mount| mount.at.clone().into_bytes()).collect();
        let most = if spec.limits.disk.is_some() { u64::MAX } else { MOST };
        let room = Room::new(machine.clone(), control.clone(), most);
        let mut scratch = Scratch {
            folders: Vec::new(),
            mounts,
            machine: machine.clone(),
            room,
            next: AtomicU64::new(1),
            naming: Mutex::default(),
        };
        for path in [&b"/tmp"[..], b"/dev/shm"] {
            if !scratch.mounts.iter().any(|mount| mount == path) {
                let folder = Node::uncounted(scratch.number(), Body::folder(), 0o1777, now);
                scratch.folders.push((path, folder));
            }
        }
        // A rule names a folder below: it is there from the beginning.
        let files = &spec.permissions.files;
        for rule in [&files.read, &files.write, &files.create, &files.delete, &files.list].into_iter().flatten() {
            let _ = scratch.furnish(rule.0.as_bytes(), now);
        }
        scratch
    }

    fn furnish(&self, path: &[u8], now: Timestamp) -> Result<(), Errno> {
        let Some(top) = self.top(path) else { return Ok(()) };
        let mut at = top.0.to_vec();
        for name in path[top.0.len()..].split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            at.extend_from_slice(&[b"/", name].concat());
            if let Led::Here(spot) = self.find(&at, false)?
                && spot.node.is_none()
            {
                let node = Node::uncounted(self.number(), Body::folder(), 0o755, now);
                spot.parent()?.names()?.insert(name, node);
            }
        }
        Ok(())
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    fn naming(&self) -> MutexGuard<'_, ()> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn top(&self, path: &[u8]) -> Option<&(&'static [u8], Arc<Node>)> {
        let (top, folder) = self.folders.iter().find(|(top, _)| covers(top, path)).map(|both| (both.0, both))?;
        let mounted = |mount: &Vec<u8>| covers(top, mount) && covers(mount, path);
        (!self.mounts.iter().any(mounted)).then_some(folder)
    }

    /// Whether a path is in one of its folders. It has no `.` or `..`.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        self.top(path).is_some()
    }

    /// The names in a folder of mounts, and of those in memory.
    pub(crate) fn names_in(&self, folder: &[u8]) -> Vec<Vec<u8>> {
        let prefix = if folder == b"/" { b"/".to_vec() } else { [folder, b"/"].concat() };
        let tops = || self.folders.iter().map(|(path, _)| *path);
        let over = self.mounts.iter().map(Vec::as_slice).filter(|mount| tops().any(|top| covers(top, mount)));
        let all = over.chain(tops());
        let below = all.filter_map(|path| path.strip_prefix(&prefix[..]));
        below.filter_map(|rest| rest.split(|&byte| byte == b'/').next()).map(<[u8]>::to_vec).collect()
    }

    /// Follows a path to where it leads. `ENOENT` and `ENOTDIR` when it does not get to the last name.
    pub(crate) fn find(&self, path: &[u8], follow: bool) -> Result<Led, Errno> {
        let mut path = path.to_vec();
        for _ in 0..MOST_LINKS {
            if path.len() >= PATH_MAX {
                return Err(Errno::NAMETOOLONG);
            }
            let Some((top, folder)) = self.top(&path) else { return Ok(Led::Away(path)) };
            match walk(top, folder, &path, follow)? {
                Step::There(spot) => return Ok(Led::Here(spot)),
                Step::Elsewhere(next) => path = next,
            }
        }
        Err(Errno::LOOP)
    }

    /// A file without a name.
    pub(crate) fn nameless(&self, mode: u32, now: Timestamp) -> Result<Arc<Node>, Errno> {
        let node = self.node(self.content(), mode, now)?;
        node.state().names = 0;
        Ok(node)
    }

    fn content(&self) -> Body {
        Body::File(Segment::of(self.machine.clone(), Source::Counted(self.room.clone()), Some(0)))
    }

    fn node(&self, body: Body, mode: u32, now: Timestamp) -> Result<Arc<Node>, Errno> {
        Node::counted(self.number(), body, mode, now, &self.room)
    }

    fn make(&self, spot: &Spot, body: Body, mode: u32, now: Timestamp) -> Result<Arc<Node>, Errno> {
        let name = spot.name();
        if name.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let _naming = self.naming();
        let parent = spot.parent().map_err(|_| Errno::EXIST)?;
        let node = self.node(body, mode, now)?;
        let mut names = parent.names()?;
        if names.get(name).is_some() {
            return Err(Errno::EXIST);
        }
        names.attach()?;
        names.insert(name, node.clone());
        drop(names);
        parent.touched(now);
        Ok(node)
    }

    /// `creat(2)`
    pub(crate) fn create(&self, spot: &Spot, mode: u32, now: Timestamp) -> Result<Arc<Node>, Errno> {
        self.make(spot, self.content(), mode, now)
    }

    /// `mkdir(2)`
    pub(crate) fn make_folder(&self, spot: &Spot, mode: u32, now: Timestamp) -> Result<(), Errno> {
        self.make(spot, Body::folder(), mode, now).map(drop)
    }

    /// `symlink(2)`
    pub(crate) fn make_link(&self, spot: &Spot, target: &[u8], now: Timestamp) -> Result<(), Errno> {
        self.make(spot, Body::Link(target.to_vec()), 0o777, now).map(drop)
    }

    /// `mkfifo(3)`
    pub(crate) fn make_fifo(&self, spot: &Spot, mode: u32, now: Timestamp) -> Result<(), Errno> {
        self.make(spot, Body::Fifo, mode, now).map(drop)
    }

    /// `link(2)`
    pub(crate) fn link(&self, node: &Arc<Node>, spot: &Spot, now: Timestamp) -> Result<(), Errno> {
        let _naming = self.naming();
        if node.is_folder() {
            return Err(Errno::PERM);
        }
        let parent = spot.parent().map_err(|_| Errno::EXIST)?;
        let mut names = parent.names()?;
        if names.get(spot.name()).is_some() {
            return Err(Errno::EXIST);
        }
        names.attach()?;
        // A name is charged like what it names.
        node.add_name(&self.room)?;
        names.insert(spot.name(), node.clone());
        drop(names);
        node.changed(now);
        parent.touched(now);
        Ok(())
    }

    /// `unlink(2)`, `rmdir(2)`
    pub(crate) fn remove(&self, spot: &Spot, folder: bool, now: Timestamp) -> Result<(), Errno> {
        let _naming = self.naming();
        let node = spot.found()?;
        match (folder, node.is_folder()) {
            (true, false) => return Err(Errno::NOTDIR),
            (false, true) => return Err(Errno::ISDIR),
            _ => {}
        }
        let parent = spot.parent()?;
        let mut names = parent.names()?;
        if !names.get(spot.name()).is_some_and(|there| Arc::ptr_eq(there, node)) {
            return Err(Errno::NOENT);
        }
        if folder {
            node.names()?.detach()?;
        }
        names.remove(spot.name());
        drop(names);
        node.remove_name(&self.room, now);
        parent.touched(now);
        Ok(())
    }

    /// What is at the path of a spot now; while names do not change.
    fn again(&self, spot: &Spot) -> Result<Spot, Errno> {
        match self.find(&spot.path, false)? {
            Led::Here(now) if now.path == spot.path => Ok(now),
            _ => Err(Errno::NOENT),
        }
    }

    /// `rename(2)`
    pub(crate) fn rename(&self, from: &Spot, to: &Spot, may_replace: bool, now: Timestamp) -> Result<(), Errno> {
        let naming = self.naming();
        // Folders may have moved since the paths were followed: a folder must not come to lie in itself.
        let (from, to) = (&self.again(from)?, &self.again(to)?);
        let node = from.found()?;
        let (source, target) = (from.parent()?, to.parent()?);
        if self.top(&from.path).map(|top| top.0) != self.top(&to.path).map(|top| top.0) {
            return Err(Errno::XDEV);
        }
        if node.is_folder() && from.path != to.path && covers(&from.path, &to.path) {
            return Err(Errno::INVAL);
        }
        if to.name().len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if !source.names()?.get(from.name()).is_some_and(|there| Arc::ptr_eq(there, node)) {
            return Err(Errno::NOENT);
        }
        let replaced = target.names()?.get(to.name()).cloned();
        if let Some(replaced) = &replaced {
            if !may_replace {
                return Err(Errno::EXIST);
            }
            if Arc::ptr_eq(replaced, node) {
                return Ok(());
            }
            match (node.is_folder(), replaced.is_folder()) {
                (true, false) => return Err(Errno::NOTDIR),
                (false, true) => return Err(Errno::ISDIR),
                (true, true) => replaced.names()?.detach()?,
                (false, false) => {}
            }
        }
        target.names()?.attach()?;
        source.names()?.remove(from.name());
        target.names()?.insert(to.name(), node.clone());
        if let Some(replaced) = &replaced {
            replaced.remove_name(&self.room, now);
        }
        node.changed(now);
        source.touched(now);
        target.touched(now);
        drop(naming);
        drop(replaced);
        Ok(())
    }
}

impl Scratch {
    /// `RENAME_EXCHANGE` of `rename(2)`: each gets the name of the other.
    pub(crate) fn exchange(&self, one: &Spot, other: &Spot, now: Timestamp) -> Result<(), Errno> {
        let _naming = self.naming();
        let (one, other) = (&self.again(one)?, &self.again(other)?);
        let (first, second) = (one.found()?, other.found()?);
        let (source, target) = (one.parent()?, other.parent()?);
        if self.top(&one.path).map(|top| top.0) != self.top(&other.path).map(|top| top.0) {
            return Err(Errno::XDEV);
        }
        if one.path != other.path && (covers(&one.path, &other.path) || covers(&other.path, &one.path)) {
            return Err(Errno::INVAL);
        }
        source.names()?.remove(one.name());
        target.names()?.remove(other.name());
        source.names()?.insert(one.name(), second.clone());
        target.names()?.insert(other.name(), first.clone());
        for node in [first, second] {
            node.changed(now);
        }
        source.touched(now);
        target.touched(now);
        Ok(())
    }
}

enum Step {
    There(Spot),
    Elsewhere(Vec<u8>),
}

fn walk(top: &[u8], folder: &Arc<Node>, path: &[u8], follow: bool) -> Result<Step, Errno> {
    let mut names = path[top.len()..].split(|&byte| byte == b'/').filter(|name| !name.is_empty()).peekable();
    let mut at = top.to_vec();
    let mut here = folder.clone();
    let mut parent = None;
    while let Some(name) = names.next() {
        let next = here.names()?.get(name).cloned();
        let is_last = names.peek().is_none();
        let above = at.clone();
        at.extend_from_slice(b"/");
        at.extend_from_slice(name);
        match next {
            None if is_last => return Ok(Step::There(Spot { path: at, node: None, parent: Some(here) })),
            None => return Err(Errno::NOENT),
            Some(node) => {
                if let Body::Link(target) = &node.body
                    && (follow || !is_last)
                {
                    let rest = names.fold(target.clone(), |path, name| [&path, &b"/"[..], name].concat());
                    return Ok(Step::Elsewhere(normal(&above, &rest)));
                }
                parent = Some(std::mem::replace(&mut here, node));
            }
        }
    }
    Ok(Step::There(Spot { path: at, node: Some(here), parent }))
}
