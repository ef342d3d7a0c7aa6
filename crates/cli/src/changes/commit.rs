//! Applying changes to the host's files, each by itself and each as a whole.
//!
//! A file is written beside its place and renamed into it: whoever looks sees the old one or the new one.
//! What the host changed since the run began stays as it is, and so does the change, for another try.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Uid, fchmod, fchown, fstat, mkdirat, openat, readlinkat, renameat_with,
    symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::entry::{Change, Kind, Known, Moment, below};
use super::look::{open_below, open_top, split, stat_if_any};
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
        let mut outcome = Outcome { applied: Vec::new(), kept: Vec::new() };
        for place in &mut self.places {
            place.commit(began, &mut outcome)?;
        }
        self.save()?;
        Ok(outcome)
    }
}

impl Place {
    fn commit(&mut self, began: Moment, outcome: &mut Outcome) -> io::Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let sides = Sides { lower: open_top(&self.from)?, upper: open_top(&self.upper)?, began };
        let changes = std::mem::take(&mut self.changes);
        // What lies in a folder goes before the folder does, and comes after it.
        let (removed, made): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| change.after.is_none());
        let mut folders = Vec::new();
        for change in removed.into_iter().rev().chain(made) {
            let path = below(&self.from, change.path());
            match sides.apply(&change) {
                Ok(()) => {
                    outcome.applied.push(path);
                    folders.extend(
                        change
                            .after
                            .as_ref()
                            .filter(|after| after.kind == Kind::Folder)
                            .map(|after| (change.path().to_owned(), after.mode)),
                    );
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
            let folder = open_below(&sides.lower, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            fchmod(&folder, Mode::from_raw_mode(*mode))?;
        }
        Ok(())
    }
}

struct Sides {
    lower: OwnedFd,
    upper: OwnedFd,
    began: Moment,
}

impl Sides {
    fn apply(&self, change: &Change) -> Result<(), Obstacle> {
        if change.path().as_os_str().is_empty() {
            return Ok(());
        }
        let (parent, name) = split(change.path());
        let folder = open_below(&self.lower, parent, OFlags::RDONLY | OFlags::DIRECTORY);
        let folder = folder.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Obstacle::Conflict("the folder it is in is not there"),
            errno => errno.into(),
        })?;
        self.check(change, &folder, name)?;
        match &change.after {
            None => Ok(remove(&folder, name, change.before.as_ref())?),
            Some(after) => match after.kind {
                Kind::Folder => make_folder(change, &folder, name),
                Kind::Link => self.make_link(change, &folder, name),
                Kind::File => self.make_file(change, after, &folder, name),
                Kind::Special => Err(Obstacle::Conflict("pipes, sockets and devices are not applied")),
            },
        }
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
        let new = temporary_name()?;
        symlinkat(target.as_c_str(), folder, new.as_str())?;
        self.put(change, folder, &new, name)
    }

    fn make_file(&self, change: &Change, after: &Known, folder: &OwnedFd, name: &OsStr) -> Result<(), Obstacle> {
        let mut from = File::from(open_below(&self.upper, change.path(), OFlags::RDONLY)?);
        if !from.metadata()?.is_file() {
            return Err(Obstacle::Conflict("it is no regular file any more"));
        }
        let new = temporary_name()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to = File::from(openat(folder, new.as_str(), flags, Mode::RUSR | Mode::WUSR)?);
        let written = io::copy(&mut from, &mut to)
            .and_then(|_| own_as(&to, folder, change.before.as_ref().and(Some(name))))
            .and_then(|()| Ok(fchmod(&to, Mode::from_raw_mode(after.mode))?))
            .and_then(|()| to.sync_all());
        if let Err(error) = written {
            let _ = unlinkat(folder, new.as_str(), AtFlags::empty());
            return Err(error.into());
        }
        self.put(change, folder, &new, name)
    }

    /// Puts what is complete into its place.
    fn put(&self, change: &Change, folder: &OwnedFd, new: &str, name: &OsStr) -> Result<(), Obstacle> {
        let put = self.check(change, folder, name).and_then(|()| {
            match &change.before {
                None => renameat_with(folder, new, folder, name, RenameFlags::NOREPLACE)?,
                Some(before) => {
                    if before.kind == Kind::Folder {
                        unlinkat(folder, name, AtFlags::REMOVEDIR)?;
                    }
                    renameat_with(folder, new, folder, name, RenameFlags::empty())?;
                }
            }
            Ok(())
        });
        if put.is_err() {
            let _ = unlinkat(folder, new, AtFlags::empty());
        }
        put
    }
}

/// Makes a folder; it gets its mode when everything is in it.
fn make_folder(change: &Change, folder: &OwnedFd, name: &OsStr) -> Result<(), Obstacle> {
    if change.before.as_ref().is_some_and(|before| before.kind != Kind::Folder) {
        unlinkat(folder, name, AtFlags::empty())?;
    }
    match mkdirat(folder, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
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

fn temporary_name() -> io::Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!(".ringfence-{:016x}", u64::from_le_bytes(bytes)))
}
