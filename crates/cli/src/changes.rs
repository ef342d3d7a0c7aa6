//! Changes that a `run --dry-run-fs` keeps apart, until they are committed or discarded.
//!
//! ```text
//! $XDG_STATE_HOME/ringfence/changes/NAME/   locked by whoever works on it
//!     began      a file from the moment the run began: its times tell what is older
//!     overlay/   a folder for each folder of the host that could be changed
//!     finished   the list of changes, with what the host had in their places
//!     name       what files are called that a commit has not put in their place yet
//! ```
//!
//! What the capsule left in `overlay` is never trusted: names are walked from descriptors, through no
//! symbolic link, and only regular files, folders and links are ever applied. Nobody but this user can
//! get at the folder, and the capsule is gone when it is read.
//!
//! A file of the host that changed since the run began is a conflict: nothing is applied over it.

mod commit;
mod entry;
mod look;
mod show;
pub(crate) mod stray;
mod text;

pub(crate) use commit::Outcome;
pub(crate) use show::{as_json, as_text};

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ringfence::Places;

use crate::failure::Failure;
use crate::held::{self, Held};
use entry::{Change, Moment};

/// The changes of one run.
pub(crate) struct Changes {
    pub(crate) name: String,
    held: Held,
    pub(crate) places: Vec<Place>,
}

/// The changes to one folder of the host.
pub(crate) struct Place {
    /// Where it is in the capsule's tree.
    pub(crate) at: PathBuf,
    /// Where it is on the host.
    pub(crate) from: PathBuf,
    /// Which folder that was: its device and inode.
    which: (u64, u64),
    /// What was changed, as overlayfs keeps it.
    upper: PathBuf,
    pub(crate) changes: Vec<Change>,
}

/// Where changes lie.
fn home() -> Result<PathBuf, Failure> {
    Places::of_user().changes().ok_or_else(|| Failure::wrong("there is no place for changes: set XDG_STATE_HOME"))
}

/// The names of changes that are kept.
pub(crate) fn names() -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = match fs::read_dir(home()?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
    };
    names.retain(|name| is_name(name) && home().is_ok_and(|home| home.join(name).join("finished").exists()));
    names.sort_unstable();
    Ok(names)
}

/// The folders of runs that did not come to their end, and that nobody holds.
pub(crate) fn unfinished() -> Vec<PathBuf> {
    let left = home().map(|home| held::left(&home, "")).unwrap_or_default();
    left.into_iter().filter(|folder| !folder.join("finished").exists()).collect()
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 80 && !name.starts_with('.') && name.bytes().all(fits)
}

impl Changes {
    /// A place for the changes of a run of `capsule`, under `name` or the first that is free.
    pub(crate) fn begin(given: Option<&str>, capsule: &str) -> Result<Self, Failure> {
        let home = home()?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&home)?;
        if let Some(name) = given.filter(|name| !is_name(name)) {
            let help = "a name has letters, digits, `-`, `_` and `.`, at most 80";
            return Err(Failure::wrong(format!("changes cannot be called {name:?}: {help}")));
        }
        for number in 1.. {
            let name = given.map_or_else(|| format!("{}-{number}", capsule.trim_start_matches('.')), str::to_owned);
            match Held::make_at(&home.join(&name)) {
                Ok(Some(held)) => {
                    let changes = Changes { name, held, places: Vec::new() };
                    changes.furnish()?;
                    return Ok(changes);
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && given.is_none() => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let help = format!("`ringfence commit {name}`, `ringfence discard {name}`, or another name");
                    return Err(Failure::wrong(format!("there are changes called {name} already: {help}")));
                }
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("numbers do not end")
    }

    fn furnish(&self) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(self.overlay())?;
        // Times of files have the grain of the kernel's tick. From the beginning of a new tick on, what
        // is changed has a time that is not before this one's, and what was changed before has.
        let began = File::create(self.held.path().join("began"))?;
        let first = Moment::changed(&began.metadata()?);
        while Moment::changed(&began.metadata()?) == first {
            began.set_modified(std::time::SystemTime::now())?;
        }
        Ok(())
    }

    /// Where a backend is to keep the changes.
    pub(crate) fn overlay(&self) -> PathBuf {
        self.held.path().join("overlay")
    }

    /// Everything of them.
    pub(crate) fn folder(&self) -> &Path {
        self.held.path()
    }

    /// Looks at what was changed, when the run is over.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let mut folders: Vec<PathBuf> = fs::read_dir(self.overlay())?.flatten().map(|entry| entry.path()).collect();
        folders.sort_unstable_by_key(|folder| folder.as_os_str().len());
        folders.sort_by_key(|folder| folder.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
        for folder in folders {
            held::remove_tree(&folder.join("work"))?;
            let mut place = Place::read(&folder)?;
            place.changes = look::compare(place.open()?, &place.upper)?;
            self.places.push(place);
        }
        self.save()
    }

    /// The changes of that name.
    pub(crate) fn open(name: &str) -> Result<Self, Failure> {
        let missing =
            || Failure::wrong(format!("there are no changes called {name}; `ringfence changes` lists those there are"));
        if !is_name(name) {
            return Err(missing());
        }
        let folder = home()?.join(name);
        if !folder.exists() {
            return Err(missing());
        }
        let Some(held) = Held::take(&folder)? else {
            return Err(Failure::wrong(format!("the changes called {name} are in use by another process")));
        };
        let mut changes = Changes { name: name.to_owned(), held, places: Vec::new() };
        match changes.load() {
            Ok(()) => Ok(changes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                changes.keep();
                let help = format!("`ringfence discard {name}` or `ringfence clean` removes them");
                Err(Failure::wrong(format!("the run of the changes called {name} did not come to its end; {help}")))
            }
            Err(error) => {
                changes.keep();
                Err(error.into())
            }
        }
    }

    /// Removes changes of that name, whatever state they are in.
    pub(crate) fn discard(name: &str) -> Result<(), Failure> {
        let folder = home()?.join(name);
        let held = if is_name(name) && folder.exists() { Held::take(&folder)? } else { None };
        match held {
            Some(held) => {
                // A list there may be, of changes that a commit began to apply.
                let mut changes = Changes { name: name.to_owned(), held, places: Vec::new() };
                if changes.load().is_ok()
                    && let Err(error) = changes.sweep()
                {
                    changes.keep();
                    return Err(error.into());
                }
                Ok(changes.remove()?)
            }
            None if is_name(name) && folder.exists() => {
                Err(Failure::wrong(format!("the changes called {name} are in use by another process")))
            }
            None => Err(Failure::wrong(format!("there are no changes called {name}"))),
        }
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.iter().all(|place| place.changes.is_empty())
    }

    /// Leaves them for later.
    pub(crate) fn keep(self) {
        self.held.keep();
    }

    /// Removes them.
    pub(crate) fn remove(self) -> io::Result<()> {
        self.held.remove()
    }

    /// When the run began, by the clock of files.
    fn began(&self) -> io::Result<Moment> {
        Ok(Moment::changed(&fs::metadata(self.held.path().join("began"))?))
    }

    fn save(&self) -> io::Result<()> {
        let lists: Vec<_> = self.places.iter().map(|place| &place.changes).collect();
        let text = serde_json::to_vec(&lists).map_err(io::Error::other)?;
        let (new, finished) = (self.held.path().join("finished.new"), self.held.path().join("finished"));
        fs::write(&new, text)?;
        fs::rename(new, finished)
    }

    fn load(&mut self) -> io::Result<()> {
        let text = fs::read(self.held.path().join("finished"))?;
        let lists: Vec<Vec<Change>> = serde_json::from_slice(&text).map_err(io::Error::other)?;
        for (number, changes) in lists.into_iter().enumerate() {
            let place = Place::read(&self.overlay().join(number.to_string()))?;
            self.places.push(Place { changes, ..place });
        }
        Ok(())
    }
}

impl Place {
    fn read(folder: &Path) -> io::Result<Self> {
        let path =
            |name: &str| fs::read(folder.join(name)).map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes)));
        let which = fs::read_to_string(folder.join("which"))?;
        let which = which.split_once(' ').and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
        let which = which.ok_or_else(|| io::Error::other("what is known of the folder cannot be read"))?;
        Ok(Place { at: path("at")?, from: path("from")?, which, upper: folder.join("upper"), changes: Vec::new() })
    }

    /// The folder of the host, if it is still the one that was mounted. Whoever may write beside it may put a link
    /// in its place.
    fn open(&self) -> io::Result<OwnedFd> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.from.display()));
        let opened = look::open_top(&self.from).map_err(named)?;
        let found = rustix::fs::fstat(&opened)?;
        if (found.st_dev, found.st_ino) == self.which {
            return Ok(opened);
        }
        Err(named(io::Error::other("it is another folder than the run had")))
    }
}
