//! Freezing: `cgroup.freeze` in version 2, `freezer.state` in version 1.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::{Cgroup, Controller, Hierarchies, Version};

/// How long it may take until every process stands still.
const PATIENCE: Duration = Duration::from_secs(5);

/// The folder in the hierarchy of version 1 that freezes. Made when it is first needed.
pub(super) struct Freezer {
    path: Option<PathBuf>,
    made: OnceLock<()>,
    /// Whether nobody is to wait any more until everything stands still.
    called_off: AtomicBool,
}

impl Freezer {
    pub(super) fn new(hierarchies: &Hierarchies, name: &str) -> Self {
        let place = hierarchies.place(Controller::Freezer).filter(|place| place.version == Version::One);
        Freezer {
            path: place.map(|place| place.folder.join(name)),
            made: OnceLock::new(),
            called_off: AtomicBool::new(false),
        }
    }

    /// The folder, if it was made.
    pub(super) fn made(&self) -> Option<&Path> {
        self.made.get().and(self.path.as_deref())
    }
}

impl Cgroup {
    /// Whether it can be frozen.
    pub(crate) fn freezes(&self) -> bool {
        self.folder(Controller::Freezer).is_some() || (self.freezer.path.is_some() && !self.folders.is_empty())
    }

    /// Lets everything in it run for good, because it is to die: in version 1 nothing dies that stands still.
    pub(crate) fn thaw_for_good(&self) {
        self.freezer.called_off.store(true, SeqCst);
        let _ = self.freeze(false);
    }

    /// Freezes or thaws every process in it; returns when they stand still.
    pub(crate) fn freeze(&self, frozen: bool) -> io::Result<()> {
        if let Some(folder) = self.folder(Controller::Freezer) {
            self.tree.write(&folder.path.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
            return self.until(frozen, &folder.path.join("cgroup.events"), "frozen 1");
        }
        match &self.freezer.path {
            Some(path) if frozen => self.freeze_in_one(path),
            Some(path) if self.freezer.made().is_some() => self.tree.write(&path.join("freezer.state"), "THAWED"),
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn freeze_in_one(&self, path: &Path) -> io::Result<()> {
        if self.freezer.made().is_none() {
            self.tree.make(path)?;
            self.freezer.made.get_or_init(|| ());
        }
        self.tree.write(&path.join("freezer.state"), "FROZEN")?;
        // Who enters stands still. Whom they started meanwhile is found the next time.
        while self.gather(path)? {
            self.check_wanted()?;
        }
        self.until(true, &path.join("freezer.state"), "FROZEN")
    }

    /// Moves every process there that is not; whether there was one.
    fn gather(&self, path: &Path) -> io::Result<bool> {
        let list = path.join("cgroup.procs");
        let Some(folder) = self.folders.first() else { return Ok(false) };
        let (all, there) = (self.tree.read(&folder.path.join("cgroup.procs"))?, self.tree.read(&list)?);
        let mut moved = false;
        for pid in all.lines().filter(|pid| !there.lines().any(|other| other == *pid)) {
            // One that has ended cannot be moved and need not be.
            moved |= self.tree.write(&list, pid).is_ok();
        }
        Ok(moved)
    }

    fn check_wanted(&self) -> io::Result<()> {
        if self.freezer.called_off.load(SeqCst) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    /// Waits until a file says so; at once when nothing is to stand still.
    fn until(&self, frozen: bool, file: &Path, says: &str) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while frozen && !self.tree.read(file)?.lines().any(|line| line.trim() == says) {
            self.check_wanted()?;
            if Instant::now() > until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
