//! What of the host is mounted.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};

/// Which file or folder a path led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// A folder or file of the host, with the identity it had when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: CString,
    pub(crate) identity: Identity,
    pub(crate) is_folder: bool,
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Identity { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// Opens a path to look at it.
fn opened(path: &Path, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

impl Source {
    /// Looks at `path`, following symbolic links: it is the user's word.
    pub(crate) fn look(path: &Path) -> io::Result<Source> {
        Self::new(path, &fstat(&opened(path, ResolveFlags::empty())?)?)
    }

    /// Looks at a path in which every link was followed already: one that is there now may be a capsule's word.
    pub(crate) fn look_resolved(path: &Path) -> io::Result<Source> {
        Self::new(path, &fstat(&opened(path, ResolveFlags::NO_SYMLINKS)?)?)
    }

    /// Looks at `rest` below a folder of which the same holds, through no symbolic link either.
    pub(crate) fn look_below(folder: &Path, rest: &str) -> io::Result<Source> {
        let top = opened(folder, ResolveFlags::NO_SYMLINKS)?;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(&top, rest, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), beneath)?;
        Self::new(&folder.join(rest), &fstat(&opened)?)
    }

    fn new(path: &Path, stat: &Stat) -> io::Result<Source> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        Ok(Source { path, identity: Identity::of(stat), is_folder })
    }

    /// The path.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(self.path.as_bytes()))
    }
}
