//! Where a walk is, and where it ends.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringfence_abi::ErrorCode;
use rustix::fs::Stat;

/// A folder of the tree.
#[derive(Clone)]
pub(crate) struct Place {
    /// The folder on the disk, opened with `O_PATH`. `None` for a folder that only leads to a mount
    /// point.
    pub(super) descriptor: Option<Arc<OwnedFd>>,
    /// The mount it belongs to.
    pub(super) mount: usize,
    /// Its place among the grafts, when mount points lie below it or it is one.
    pub(super) graft: Option<usize>,
}

/// What a path leads to.
pub(super) struct Resolved {
    /// Where that is in the tree: absolute, normal, links resolved. Permissions are judged on it.
    pub(super) path: Vec<u8>,
    /// The mount it belongs to.
    pub(super) mount: usize,
    /// The thing itself.
    pub(super) end: End,
    /// The path ended in a slash: it must be a folder.
    pub(super) must_be_folder: bool,
}

/// The end of a path.
pub(super) enum End {
    /// A name in a folder, which may or may not exist, and is not a mount point. Not a link that
    /// was to be followed.
    Name {
        folder: Arc<OwnedFd>,
        name: Vec<u8>,
        /// What the name stood for when it was looked at, if it was looked at.
        seen: Option<Box<Stat>>,
    },
    /// A folder that is reached otherwise: the start, what `..` leads to, a mount point.
    Folder(Place),
    /// A file that is a mount point.
    File { mount: usize },
    /// A name in a folder that only leads to a mount point: there is nothing and nothing can be made.
    Nowhere,
    /// A folder on the way is missing, is no folder, or cannot be entered.
    Broken(ErrorCode),
}

/// What to do with a link in the last component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// Follow it.
    Follow,
    /// Take it as it is, unless a slash stands behind it: `open(2)` with `O_NOFOLLOW`, `lstat(2)`.
    Keep,
    /// Take it as it is in any case: `unlink(2)`, `rename(2)`, `mkdir(2)`.
    Name,
}

impl From<bool> for Last {
    fn from(follow: bool) -> Self {
        if follow { Last::Follow } else { Last::Keep }
    }
}
