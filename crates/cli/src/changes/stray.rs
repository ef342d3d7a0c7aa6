//! What a `commit` that was killed leaves beside the host's files.
//!
//! A commit writes what it applies beside its place, under one name, and renames it. That name is drawn once for
//! each set of changes and kept with them before anything has it. So whoever comes after a commit that was killed,
//! at whatever moment, knows what to look for: in the folders of what is not applied yet, for that name.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, unlinkat};
use rustix::io::Errno;

use super::entry::below;
use super::look::{open_below, split, stat_if_any};
use super::{Changes, Place, names};

/// Where the name is kept, and how it begins.
const KEPT: &str = "name";
const PREFIX: &str = ".ringfence-";

/// The files that commits left which were killed, and the changes they belong to.
pub(crate) fn strays() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for name in names().unwrap_or_default() {
        // Whoever has it in use is no commit that was killed.
        if let Ok(changes) = Changes::open(&name) {
            // What cannot be looked at cannot be removed either; `commit` says why.
            let _ = changes.each_stray(|_, _, path| {
                found.push((path, name.clone()));
                Ok(())
            });
            changes.keep();
        }
    }
    found
}

/// Removes what a commit of these changes left.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    match Changes::open(name) {
        Ok(changes) => {
            let swept = changes.sweep();
            changes.keep();
            swept
        }
        // They are in use, or gone: somebody else sees to it.
        Err(_) => Ok(()),
    }
}

impl Changes {
    /// What files are called before they are in their place: drawn when there is no name yet.
    pub(super) fn name_for_new(&self) -> io::Result<String> {
        if let Some(name) = self.written_as()? {
            return Ok(name);
        }
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let name = format!("{PREFIX}{:016x}", u64::from_le_bytes(bytes));
        let (new, kept) = (self.folder().join("name.new"), self.folder().join(KEPT));
        fs::write(&new, &name)?;
        fs::rename(new, kept)?;
        Ok(name)
    }

    /// The name an earlier commit had for new files.
    fn written_as(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.folder().join(KEPT)) {
            Ok(name) if name.starts_with(PREFIX) && !name.contains('/') => Ok(Some(name)),
            Ok(_) => Err(io::Error::other("the name for new files is damaged")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what an earlier commit left, if one was begun.
    pub(super) fn sweep(&self) -> io::Result<()> {
        self.each_stray(|folder, name, path| match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(io::Error::new(errno.kind(), format!("{}: {errno}", path.display()))),
        })
    }

    /// Calls `visit` with each: the folder it is in, its name and its path. A folder that is not there any more has none.
    fn each_stray(&self, mut visit: impl FnMut(&OwnedFd, &str, PathBuf) -> io::Result<()>) -> io::Result<()> {
        let Some(name) = self.written_as()? else { return Ok(()) };
        for place in &self.places {
            let Ok(top) = place.open() else { continue };
            let mut last = None;
            for (parent, folder) in place.parents() {
                if last == Some(parent) {
                    continue;
                }
                last = Some(parent);
                let Ok(opened) = open_below(&top, parent, OFlags::RDONLY | OFlags::DIRECTORY) else { continue };
                if stat_if_any(&opened, name.as_ref())?.is_some() {
                    visit(&opened, &name, folder.join(&name))?;
                }
            }
        }
        Ok(())
    }
}

impl Place {
    /// The folders of everything that would be written: below the top, and as paths of the host.
    fn parents(&self) -> impl Iterator<Item = (&Path, PathBuf)> {
        let written = self.changes.iter().filter(|change| change.after.is_some());
        written.map(|change| split(change.path()).0).map(|parent| (parent, below(&self.from, parent)))
    }
}
