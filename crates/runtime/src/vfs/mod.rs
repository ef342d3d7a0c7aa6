//! A capsule's tree of files: a root folder and mounts, walked so that nothing outside is reached.
//!
//! Every operation resolves its path first ([`resolve`]), judges the permissions on the resolved
//! path second, and works third, relative to the folder that resolving holds and never through a
//! link. What is not granted is denied whether it exists or not. A folder that the instance itself
//! moves between these steps would take the judged path from under them, so a rename waits for every
//! other operation on the tree and they for it.
//!
//! What it does not protect: a folder of the host that some other program moves out of a mount while
//! the capsule holds it stays reachable through that handle, as with any open folder.

mod folder;
mod links;
mod names;
mod open;
mod place;
mod resolve;
mod stat;
mod tree;

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ringfence_abi::ErrorCode;
use ringfence_isolation::Spec;

use crate::authority::Authority;
use crate::ledger::Ledger;
use crate::meter::Meter;
use folder::OpenFolders;
use place::{Last, Resolved};
use tree::Tree;

pub(crate) use folder::Folder;
pub(crate) use open::{OF_FOLDER, Opened};
pub(crate) use stat::{kind, set_mode, stat, times};
pub use tree::TreeError;

/// The root and the mounts of a capsule, opened: all its instances may share them.
#[derive(Clone)]
pub struct Mounts(Arc<Tree>);

impl Mounts {
    /// Opens the root, which is made when there is none, and every mount.
    ///
    /// # Errors
    /// [`TreeError`] when one of them cannot be opened.
    pub fn open(spec: &Spec) -> Result<Self, TreeError> {
        Tree::new(spec).map(|tree| Mounts(Arc::new(tree)))
    }

    /// Whether none of them was deleted since they were opened.
    pub fn are_there(&self) -> bool {
        self.0.mounts.iter().all(tree::Mounted::is_there)
    }
}

/// The tree of one instance, and who may do what in it.
pub(crate) struct Vfs {
    tree: Arc<Tree>,
    authority: Arc<Authority>,
    meter: Arc<Meter>,
    ledger: Arc<Ledger>,
    open_folders: OpenFolders,
    moves: RwLock<()>,
}

impl Vfs {
    /// A tree of these mounts.
    pub(crate) fn new(mounts: Mounts, authority: Arc<Authority>, meter: Arc<Meter>) -> Arc<Self> {
        let ledger = Arc::new(Ledger::new(Arc::clone(&meter)));
        let Mounts(tree) = mounts;
        Arc::new(Vfs { tree, authority, meter, ledger, open_folders: OpenFolders::default(), moves: RwLock::default() })
    }

    /// What the instance added to the disk.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The folder at the top.
    pub(crate) fn root(self: &Arc<Self>) -> Arc<Folder> {
        Arc::new(Folder::new(Arc::clone(self), self.tree.root(), b"/"))
    }

    /// The folder that is mounted at `at`; `None` when that is a file or there is no such mount.
    pub(crate) fn mounted(self: &Arc<Self>, at: &str) -> Option<Arc<Folder>> {
        let top = self.tree.root();
        let resolved = self.tree.resolve(&top, b"/", at.as_bytes(), Last::Keep).ok()?;
        match resolved.end {
            place::End::Folder(place) => Some(Arc::new(Folder::new(Arc::clone(self), place, at.as_bytes()))),
            _ => None,
        }
    }

    /// Nothing of the tree is moved by the instance while this is held.
    fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.moves.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing else is done in the tree by the instance while this is held.
    fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.moves.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a change in a read-only mount.
    fn check_writable(&self, resolved: &Resolved) -> Result<(), ErrorCode> {
        let mount = &self.tree.mounts[resolved.mount];
        if !mount.read_only {
            return Ok(());
        }
        let rule = format!("mount {} is read-only", mount.at);
        let grant = format!("{:?} = {{ from = {:?}, mode = \"rw\" }}", mount.at, mount.from.display().to_string());
        self.authority.forbid(&resolved.path, rule, Some(grant));
        Err(ErrorCode::ReadOnly)
    }

    /// Refuses to make something in a folder that only leads to a mount point.
    fn nowhere(&self, resolved: &Resolved) -> ErrorCode {
        self.authority.forbid(&resolved.path, "its folder only leads to a mount point".to_owned(), None);
        ErrorCode::ReadOnly
    }
}

impl Folder {
    /// What `path` names, seen from this folder.
    fn resolve(&self, path: &[u8], last: Last) -> Result<Resolved, ErrorCode> {
        self.vfs.tree.resolve(&self.place, &self.path(), path, last)
    }
}
