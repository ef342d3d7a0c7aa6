//! What was changed: a folder of the host beside what overlayfs keeps of its changes.
//!
//! In the upper folder a character device 0/0 (a whiteout) stands for something that was removed, and a
//! folder with the attribute `user.overlay.opaque` hides what the host has in its place. Everything else
//! is what there is now. Folders are walked from their descriptors, through no symbolic link.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, chmod, chmodat, fgetxattr, openat2, readlinkat,
    stat, statat,
};
use rustix::io::{Errno, read};

use super::entry::{Change, Kind, Known};

/// Opens a folder the user named.
pub(super) fn open_top(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat2(CWD, folder, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?)
}

/// The longest path that is given to the kernel at once. It takes 4095 bytes (`PATH_MAX`), and a capsule that works from
/// folder to folder makes longer ones.
const LONGEST: usize = 4000;

/// Opens what lies below a folder, through no symbolic link and not beyond it, however long the path is.
pub(super) fn open_below(top: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = |above: &OwnedFd, path: &Path, flags: OFlags| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        openat2(above, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    let mut rest = path.as_os_str().as_bytes();
    let mut above = None;
    while rest.len() > LONGEST {
        let end = rest[..LONGEST].iter().rposition(|&byte| byte == b'/').ok_or(Errno::NAMETOOLONG)?;
        let piece = Path::new(OsStr::from_bytes(&rest[..end]));
        above = Some(open(above.as_ref().unwrap_or(top), piece, OFlags::PATH | OFlags::DIRECTORY)?);
        rest = &rest[end + 1..];
    }
    open(above.as_ref().unwrap_or(top), Path::new(OsStr::from_bytes(rest)), flags | OFlags::NONBLOCK)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// What is different in `lower` when the changes in `upper` are made, in the order of the paths: what is
/// above comes first.
pub(super) fn compare(lower: OwnedFd, upper: &Path) -> io::Result<Vec<Change>> {
    let above = stat(upper)?;
    // What the capsule closed to its owner is opened, in the upper folder alone; the mode it gave is known by then.
    chmod(upper, Mode::from_raw_mode(above.st_mode & 0o777 | 0o700))?;
    let sides = Sides { lower, upper: open_top(upper)?, left: Cell::new(MOST_PATHS) };
    let mut changes = Vec::new();
    let lower = rustix::fs::fstat(&sides.lower)?;
    let (before, after) = (Known::of(&lower), Known::of(&above));
    if before.mode != after.mode {
        changes.push(Change::new(Path::new(""), Some(before), Some(after)));
    }
    // A stack of its own: a tree may be deeper than the thread's.
    let mut waiting = vec![Both { path: PathBuf::new(), has_lower: true, is_hidden: false }];
    while let Some(folder) = waiting.pop() {
        sides.folder(&folder, &mut changes, &mut waiting)?;
    }
    changes.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(changes)
}

/// How long all paths together may be, in bytes: a capsule can make a deep tree of very many of them.
const MOST_PATHS: usize = 64 << 20;

struct Sides {
    lower: OwnedFd,
    upper: OwnedFd,
    /// What of [`MOST_PATHS`] is left.
    left: Cell<usize>,
}

/// A folder of the upper side that is still to be looked at.
struct Both {
    path: PathBuf,
    /// Whether the host has a folder in its place.
    has_lower: bool,
    /// Whether that one is hidden: a folder above it is opaque, and overlayfs marks the topmost alone.
    is_hidden: bool,
}

impl Sides {
    /// `name` in the folder at `path`.
    fn join(&self, path: &Path, name: &OsStr) -> io::Result<PathBuf> {
        let path = path.join(name);
        let left = self.left.get().checked_sub(path.as_os_str().len());
        self.left.set(left.ok_or_else(|| io::Error::other("there are too many changes, or in too deep folders"))?);
        Ok(path)
    }

    fn folder(
        &self,
        Both { path, has_lower, is_hidden }: &Both,
        changes: &mut Vec<Change>,
        waiting: &mut Vec<Both>,
    ) -> io::Result<()> {
        let upper = open_below(&self.upper, path, FOLDER)?;
        let lower = if *has_lower { Some(open_below(&self.lower, path, FOLDER)?) } else { None };
        let is_hidden = *is_hidden || is_opaque(&upper);
        let names = names(&upper)?;
        for name in &names {
            let path = self.join(path, name)?;
            let found = statat(&upper, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let before = match &lower {
                Some(lower) => stat_if_any(lower, name)?,
                None => None,
            };
            let before_known = before.as_ref().map(Known::of);
            if is_whiteout(&found) {
                if before.is_some() {
                    self.removed(&path, changes)?;
                }
                continue;
            }
            let after = Known::of(&found);
            open_up(&upper, name, &after)?;
            let was_folder = before_known.as_ref().is_some_and(|before| before.kind == Kind::Folder);
            if after.kind == Kind::Folder {
                waiting.push(Both { path: path.clone(), has_lower: was_folder, is_hidden });
                if was_folder && before_known.as_ref().is_some_and(|before| before.mode == after.mode) {
                    continue;
                }
            } else if was_folder {
                self.children_removed(&path, changes)?;
            } else if let (Some(before), Some(lower)) = (&before_known, &lower)
                && same(lower, &upper, name, before, &after)?
            {
                continue;
            }
            changes.push(Change::new(&path, before_known, Some(after)));
        }
        match lower {
            Some(lower) if is_hidden => {
                for name in self::names(&lower)?.iter().filter(|name| names.binary_search(name).is_err()) {
                    self.removed(&self.join(path, name)?, changes)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes down that something of the host's was removed, with everything in it.
    fn removed(&self, path: &Path, changes: &mut Vec<Change>) -> io::Result<()> {
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            let (parent, name) = split(&path);
            let folder = open_below(&self.lower, parent, FOLDER)?;
            let found = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                let inside = names(&open_below(&self.lower, &path, FOLDER)?)?;
                for name in &inside {
                    waiting.push(self.join(&path, name)?);
                }
            }
            changes.push(Change::new(&path, Some(Known::of(&found)), None));
        }
        Ok(())
    }

    fn children_removed(&self, path: &Path, changes: &mut Vec<Change>) -> io::Result<()> {
        for name in names(&open_below(&self.lower, path, FOLDER)?)? {
            self.removed(&self.join(path, &name)?, changes)?;
        }
        Ok(())
    }
}

/// Lets the owner read a file, and into a folder.
fn open_up(folder: &OwnedFd, name: &OsStr, found: &Known) -> Result<(), Errno> {
    let needed = match found.kind {
        Kind::Folder => 0o700,
        Kind::File => 0o400,
        Kind::Link | Kind::Special => return Ok(()),
    };
    if found.mode & needed == needed {
        return Ok(());
    }
    chmodat(folder, name, Mode::from_raw_mode(found.mode | needed), AtFlags::empty())
}

/// A path's folder and its last name.
pub(super) fn split(path: &Path) -> (&Path, &OsStr) {
    (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or(OsStr::new("")))
}

/// What lies there, if anything.
pub(super) fn stat_if_any(folder: &OwnedFd, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn is_whiteout(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == 0
}

fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 8];
    fgetxattr(folder, c"user.overlay.opaque", &mut value[..]).is_ok_and(|length| &value[..length] == b"y")
}

/// Whether a file or link says the same on both sides, with the same mode.
pub(super) fn same(lower: &OwnedFd, upper: &OwnedFd, name: &OsStr, before: &Known, after: &Known) -> io::Result<bool> {
    if before.kind != after.kind || before.size != after.size {
        return Ok(false);
    }
    match after.kind {
        Kind::Link => Ok(readlinkat(lower, name, [])? == readlinkat(upper, name, [])?),
        Kind::File if before.mode == after.mode => {
            let open = |folder| open_below(folder, Path::new(name), OFlags::RDONLY);
            // What cannot be read to be compared counts as changed.
            match (open(lower), open(upper)) {
                (Ok(lower), Ok(upper)) => Ok(same_content(&lower, &upper)?),
                _ => Ok(false),
            }
        }
        _ => Ok(false),
    }
}

fn same_content(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    let (mut first, mut second) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let (one, other) = (fill(one, &mut first)?, fill(other, &mut second)?);
        if first[..one] != second[..other] {
            return Ok(false);
        }
        if one == 0 {
            return Ok(true);
        }
    }
}

fn fill(from: &OwnedFd, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match read(from, &mut into[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(filled)
}
