//! A folder that lives as long as a process holds it.
//!
//! Whoever uses such a folder holds a lock on it (`flock(2)`), which the kernel lets go of with the process,
//! however that ends. A folder nobody holds was therefore left by a process that was killed.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// A folder and the lock on it. Dropping it removes the folder.
pub(crate) struct Held {
    folder: PathBuf,
    lock: Option<File>,
}

impl Held {
    /// Makes a new private folder whose name begins with `prefix`.
    pub(crate) fn make(parent: &Path, prefix: &str) -> io::Result<Self> {
        loop {
            let made = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
            // Who cleans up may come before the lock: then another folder will do.
            if let Some(held) = Self::take(made.path())? {
                let _ = made.keep();
                return Ok(held);
            }
        }
    }

    /// Makes a new private folder of this name; `None` when who cleans up came before the lock.
    pub(crate) fn make_at(folder: &Path) -> io::Result<Option<Self>> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().mode(0o700).create(folder)?;
        Self::take(folder)
    }

    /// Lets go of it without removing it.
    pub(crate) fn keep(mut self) {
        self.lock = None;
    }

    /// Takes a folder that nobody holds; `None` when somebody does, or it is gone.
    pub(crate) fn take(folder: &Path) -> io::Result<Option<Self>> {
        let found = match fs::symlink_metadata(folder) {
            Ok(found) if found.is_dir() => found,
            _ => return Ok(None),
        };
        let lock = File::open(folder)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // What was locked may have been removed, or be another one than what is there now.
        let same = |other: &fs::Metadata| (other.dev(), other.ino()) == (found.dev(), found.ino());
        let is_there = fs::symlink_metadata(folder).is_ok_and(|now| same(&now)) && same(&lock.metadata()?);
        Ok(is_there.then(|| Held { folder: folder.to_owned(), lock: Some(lock) }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Removes it, and says when that fails.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        let _until_it_is_gone = self.lock.take();
        remove_tree(&self.folder)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = remove_tree(&self.folder);
        }
    }
}

/// The folders of this user in `parent` whose names begin with `prefix` and that nobody holds.
pub(crate) fn left(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let own = named.filter(|entry| entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == user));
    own.map(|entry| entry.path()).filter(|folder| is_free(folder)).collect()
}

/// Removes a folder with everything in it, also what a capsule or the kernel closed to its owner. However deep it is, three
/// descriptors do, and no path is longer than a name: what lies deeper is moved up first.
///
/// Goes on where something cannot be removed, and says of the first such thing why. No link is followed.
pub(crate) fn remove_tree(folder: &Path) -> io::Result<()> {
    let top = match open_up(CWD, folder.as_os_str()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut moved = 0;
    loop {
        let (mut progress, mut problem) = (false, None);
        for entry in Dir::read_from(&top)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if is_self(name) {
                continue;
            }
            let removed = match unlinkat(&top, name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => empty(&top, name, &mut moved, &mut progress),
                removed => removed,
            };
            match removed {
                Ok(()) | Err(Errno::NOENT) => progress = true,
                Err(errno) => problem = problem.or(Some(errno)),
            }
        }
        // What was moved up while it was read may not have been seen.
        match (progress, problem) {
            (true, _) => {}
            (false, Some(errno)) => return Err(errno.into()),
            (false, None) => break,
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes a folder in `top`. The folders in it that are not empty are moved into `top`.
fn empty(top: &OwnedFd, name: &OsStr, moved: &mut u64, progress: &mut bool) -> Result<(), Errno> {
    let folder = open_up(top, name)?;
    let mut problem = None;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if is_self(name) {
            continue;
        }
        let removed = match unlinkat(&folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => match unlinkat(&folder, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => move_up(&folder, name, top, moved),
                removed => removed,
            },
            removed => removed,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => *progress = true,
            Err(errno) => problem = problem.or(Some(errno)),
        }
    }
    problem.map_or_else(|| unlinkat(top, name, AtFlags::REMOVEDIR), Err)
}

/// Moves a folder into `top`, under a name that is free there.
fn move_up(folder: &OwnedFd, name: &OsStr, top: &OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    // Its own entry for the folder above it changes.
    drop(open_up(folder, name)?);
    loop {
        *moved += 1;
        match renameat(folder, name, top, format!("moved-{moved}")) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            moved => return moved,
        }
    }
}

/// Opens a folder, and lets its owner into it.
fn open_up(above: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(above, name, OFlags::PATH | flags, Mode::empty())?;
    let mode = fstat(&found)?.st_mode & 0o7777;
    if mode & 0o700 != 0o700 {
        // By the descriptor: a link cannot be in its place. What stays closed shows when it is opened.
        let _ = chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::from_raw_mode(mode | 0o700));
    }
    openat(&found, c".", OFlags::RDONLY | flags, Mode::empty())
}

fn is_self(name: &OsStr) -> bool {
    name == "." || name == ".."
}

/// Whether nobody holds a folder.
fn is_free(folder: &Path) -> bool {
    File::open(folder).is_ok_and(|opened| opened.try_lock_shared().is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_closed_to_its_owner_is_removed_too() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("top");
        fs::create_dir_all(top.join("closed/inner")).unwrap();
        fs::write(top.join("closed/inner/file"), "x").unwrap();
        std::os::unix::fs::symlink(place.path(), top.join("closed/link")).unwrap();
        fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists() && place.path().exists());
    }

    #[test]
    fn a_folder_is_left_when_nobody_holds_it_and_taken_by_one_at_most() {
        let place = tempfile::tempdir().unwrap();
        let held = Held::make(place.path(), "x-").unwrap();
        let folder = held.path().to_owned();
        assert!(left(place.path(), "x-").is_empty() && Held::take(&folder).unwrap().is_none());
        fs::create_dir(place.path().join("x-left")).unwrap();
        fs::create_dir(place.path().join("y-other")).unwrap();
        fs::write(place.path().join("x-file"), "").unwrap();
        std::os::unix::fs::symlink(place.path(), place.path().join("x-link")).unwrap();
        assert_eq!(left(place.path(), "x-"), [place.path().join("x-left")]);
        let taken = Held::take(&place.path().join("x-left")).unwrap().unwrap();
        taken.remove().unwrap();
        assert!(left(place.path(), "x-").is_empty());
        drop(held);
        assert!(!folder.exists());
    }
}
