//! Applying changes to the host's files, each by itself and each as a whole.
//!
//! A file is written beside its place and renamed into it: whoever looks sees the old one or the new one.
//! What the host changed since the run began stays as it is, and so does the change, for another try.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, SeekFrom, Uid, XattrFlags, fchmod, fchown, fsetxattr, fstat, lgetxattr,
    mkdirat, openat, readlinkat, renameat_with, seek, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::entry::{Change, Kind, Known, Moment, below};
use super::look::{open_below, open_top, same, split, stat_if_any};
use super::{Changes, Place};

/// What became of the changes.
pub(crate) struct Outcome {
    /// Where something was applied, on the host.
    pub(crate) applied: Vec<std::path::PathBuf>,
    /// Where something was not, and why.
    pub(crate) kept: Vec<(std::path::PathBuf, String)>,
}

/// Why one change was not applied.
enum Obstacle {
    Conflict(&'static str),
    Failed(io::Error),
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Self {
        Obstacle::Failed(errno.into())
    }
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        Obstacle::Failed(error)
    }
}

impl Changes {
    /// Applies every change that nothing stands against. What was applied is not among the changes any more.
    pub(crate) fn commit(&mut self) -> io::Result<Outcome> {
        let began = self.began()?;
        self.sweep()?;
        let new = self.name_for_new()?;
        let mut outcome = Outcome { applied: Vec::new(), kept: Vec::new() };
        for number in 0..self.places.len() {
            self.places[number].commit(began, &new, &mut outcome);
            // What was applied is not applied again, whatever comes.
            self.save()?;
        }
        Ok(outcome)
    }
}

impl Place {
    fn commit(&mut self, began: Moment, new: &str, outcome: &mut Outcome) {
        if self.changes.is_empty() {
            return;
        }
        let sides = self.open().and_then(|lower| Ok(Sides { lower, upper: open_top(&self.upper)?, began, new }));
        let sides = match sides {
            Ok(sides) => sides,
            Err(error) => return outcome.kept.push((self.from.clone(), error.to_string())),
        };
        let changes = std::mem::take(&mut self.changes);
        // What lies in a folder goes before the folder does, and comes after it.
        let (removed, made): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| change.after.is_none());
        let mut folders = Vec::new();
        for change in removed.into_iter().rev().chain(made) {
            let path = below(&self.from, change.path());
            match sides.apply(&change) {
                Ok(applied) => {
                    outcome.applied.push(path);
                    // A folder that the host made meanwhile keeps the mode the host gave it.
                    let after = change
                        .after
                        .as_ref()
                        .filter(|after| after.kind == Kind::Folder && matches!(applied, Applied::Now));
                    folders.extend(after.map(|after| (change.path().to_owned(), after.mode)));
                }
                Err(obstacle) => {
                    let why = match obstacle {
                        Obstacle::Conflict(why) => why.to_owned(),
                        Obstacle::Failed(error) => error.to_string(),
                    };
                    outcome.kept.push((path, why));
                    self.changes.push(change);
                }
            }
        }
        self.changes.sort_by(|a, b| a.path().cmp(b.path()));
        // A folder that is closed is closed when everything is in it.
        for (path, mode) in folders.iter().rev() {
            let folder = open_below(&sides.lower, path, OFlags::RDONLY | OFlags::DIRECTORY);
            if let Err(errno) = folder.and_then(|folder| fchmod(&folder, Mode::from_raw_mode(*mode))) {
                outcome.kept.push((below(&self.from, path), format!("its mode is not {mode:o}: {errno}")));
            }
        }
    }
}

/// How a change is there now.
enum Applied {
    Now,
    /// An earlier try, or the host itself, made it.
    Before,
}

struct Sides<'a> {
    lower: OwnedFd,
    upper: OwnedFd,
    began: Moment,
    /// What is called so is not in its place yet.
    new: &'a str,
}

impl Sides<'_> {
    fn apply(&self, change: &Change) -> Result<Applied, Obstacle> {
        if change.path().as_os_str().is_empty() {
            let now = Known::of(&fstat(&self.lower)?);
            let why = change.before.as_ref().and_then(|before| before.conflict(&now, self.began));
            return why.map_or(Ok(Applied::Now), |why| Err(Obstacle::Conflict(why)));
        }
        let (parent, name) = split(change.path());
        let folder = open_below(&self.lower, parent, OFlags::RDONLY | OFlags::DIRECTORY);
        let folder = folder.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Obstacle::Conflict("the folder it is in is not there"),
            errno => errno.into(),
        })?;
        match self.check(change, &folder, name) {
            Err(Obstacle::Conflict(_)) if self.is_there(change, &folder, name)? => return Ok(Applied::Before),
            checked => checked?,
        }
        match &change.after {
            None => remove(&folder, name, change.before.as_ref())?,
            Some(after) => match after.kind {
                Kind::Folder => return make_folder(change, &folder, name),
                Kind::Link => self.make_link(change, &folder, name)?,
                Kind::File => self.make_file(change, after, &folder, name)?,
                Kind::Special => return Err(Obstacle::Conflict("pipes, sockets and devices are not applied")),
            },
        }
        Ok(Applied::Now)
    }

    /// Whether the host has what the change would make, because somebody made it before.
    fn is_there(&self, change: &Change, folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        let now = stat_if_any(folder, name)?.as_ref().map(Known::of);
        let (Some(now), Some(after)) = (&now, &change.after) else {
            return Ok(now.is_none() && change.after.is_none());
        };
        let (parent, own) = split(change.path());
        let upper = open_below(&self.upper, parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
        debug_assert_eq!(own, name);
        same(folder, &upper, name, now, after)
    }

    /// What is there is what was there.
    fn check(&self, change: &Change, folder: &OwnedFd, name: &OsStr) -> Result<(), Obstacle> {
        let now = stat_if_any(folder, name)?.as_ref().map(Known::of);
        let why = match (&change.before, &now) {
            (None, None) => None,
            (None, Some(now)) => {
                // A folder that is there already does as well as one that is made.
                let both = change.after.as_ref().is_some_and(|after| after.kind == Kind::Folder);
                (!(both && now.kind == Kind::Folder)).then_some("the host made something there meanwhile")
            }
            (Some(_), None) => Some("the host removed it meanwhile"),
            (Some(before), Some(now)) => before.conflict(now, self.began),
        };
        why.map_or(Ok(()), |why| Err(Obstacle::Conflict(why)))
    }

    fn make_link(&self, change: &Change, folder: &OwnedFd, name: &OsStr) -> Result<(), Obstacle> {
        let (parent, own) = split(change.path());
        let from = open_below(&self.upper, parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let target = readlinkat(&from, own, [])?;
        symlinkat(target.as_c_str(), folder, self.new)?;
        self.put(change, folder, name)
    }

    fn make_file(&self, change: &Change, after: &Known, folder: &OwnedFd, name: &OsStr) -> Result<(), Obstacle> {
        let mut from = File::from(open_below(&self.upper, change.path(), OFlags::RDONLY)?);
        if !from.metadata()?.is_file() {
            return Err(Obstacle::Conflict("it is no regular file any more"));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to = File::from(openat(folder, self.new, flags, Mode::RUSR | Mode::WUSR)?);
        let replaced = change.before.as_ref().and(Some(name));
        let written = copy(&mut from, &mut to)
            .and_then(|()| own_as(&to, folder, replaced))
            .and_then(|()| listed_as(&to, folder, replaced))
            .and_then(|()| Ok(fchmod(&to, Mode::from_raw_mode(after.mode))?))
            .and_then(|()| to.sync_all());
        if let Err(error) = written {
            let _ = unlinkat(folder, self.new, AtFlags::empty());
            return Err(error.into());
        }
        self.put(change, folder, name)
    }

    /// Puts what is complete into its place.
    fn put(&self, change: &Change, folder: &OwnedFd, name: &OsStr) -> Result<(), Obstacle> {
        let put = self.check(change, folder, name).and_then(|()| {
            match &change.before {
                None => renameat_with(folder, self.new, folder, name, RenameFlags::NOREPLACE)?,
                Some(before) => {
                    if before.kind == Kind::Folder {
                        unlinkat(folder, name, AtFlags::REMOVEDIR)?;
                    }
                    renameat_with(folder, self.new, folder, name, RenameFlags::empty())?;
                }
            }
            Ok(())
        });
        if put.is_err() {
            let _ = unlinkat(folder, self.new, AtFlags::empty());
        }
        put
    }
}

/// Makes a folder; it gets its mode when everything is in it.
fn make_folder(change: &Change, folder: &OwnedFd, name: &OsStr) -> Result<Applied, Obstacle> {
    let was_folder = change.before.as_ref().map(|before| before.kind == Kind::Folder);
    if was_folder == Some(false) {
        unlinkat(folder, name, AtFlags::empty())?;
    }
    match mkdirat(folder, name, Mode::RWXU) {
        Ok(()) => Ok(Applied::Now),
        // It is the one the capsule saw, with the mode it had.
        Err(Errno::EXIST) if was_folder == Some(true) => Ok(Applied::Now),
        Err(Errno::EXIST) => Ok(Applied::Before),
        Err(errno) => Err(errno.into()),
    }
}

/// Copies what there is, and leaves out what a sparse file leaves out (`SEEK_DATA`, `lseek(2)`).
fn copy(from: &mut File, to: &mut File) -> io::Result<()> {
    let length = from.metadata()?.len();
    let mut at = 0;
    while at < length {
        let begin = match seek(&*from, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = seek(&*from, SeekFrom::Hole(begin)).unwrap_or(length).max(begin + 1);
        seek(&*from, SeekFrom::Start(begin))?;
        seek(&*to, SeekFrom::Start(begin))?;
        let copied = io::copy(&mut Read::by_ref(from).take(end - begin), to)?;
        if copied == 0 {
            break;
        }
        at = begin + copied;
    }
    to.set_len(length)
}

/// Gives a new file the access control list of the one it replaces (`acl(5)`): it may deny what the mode alone
/// would grant.
fn listed_as(new: &File, folder: &OwnedFd, replaced: Option<&OsStr>) -> io::Result<()> {
    const LIST: &CStr = c"system.posix_acl_access";
    let Some(name) = replaced else { return Ok(()) };
    let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    let mut list = vec![0; 1 << 16];
    match lgetxattr(&path, LIST, &mut list[..]) {
        Ok(length) => Ok(fsetxattr(new, LIST, &list[..length], XattrFlags::empty())?),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives a new file the owner of the one it replaces, where this user may.
fn own_as(new: &File, folder: &OwnedFd, replaced: Option<&OsStr>) -> io::Result<()> {
    let Some(found) = replaced.map(|name| stat_if_any(folder, name)).transpose()?.flatten() else { return Ok(()) };
    let own = fstat(new)?;
    if (own.st_uid, own.st_gid) == (found.st_uid, found.st_gid) {
        return Ok(());
    }
    match fchown(new, Some(Uid::from_raw(found.st_uid)), Some(Gid::from_raw(found.st_gid))) {
        Err(Errno::PERM) => Ok(()),
        result => Ok(result?),
    }
}

fn remove(folder: &OwnedFd, name: &OsStr, before: Option<&Known>) -> Result<(), Obstacle> {
    let is_folder = before.is_some_and(|before| before.kind == Kind::Folder);
    let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match unlinkat(folder, name, flags) {
        Ok(()) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Obstacle::Conflict("something is left in it")),
        Err(errno) => Err(errno.into()),
    }
}
