//! One instance's cgroup: its folders in every hierarchy.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::freeze::Freezer;
use super::measure::Gauges;
use super::{Controller, Hierarchies, Tree, Version, Wanted, sweep};

/// How long a cgroup that should be empty is tried to be removed.
const PATIENCE: Duration = Duration::from_secs(5);

/// One instance's cgroup. Dropping it kills what is inside and removes it.
pub(crate) struct Cgroup {
    pub(super) tree: Arc<dyn Tree>,
    pub(super) folders: Vec<Folder>,
    pub(super) freezer: Freezer,
    pub(super) gauges: Gauges,
}

/// Its folder in one hierarchy, with the controllers it is used for.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) version: Version,
    pub(super) controllers: Vec<Controller>,
}

/// Why a cgroup was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CgroupError {
    /// A controller that a limit needs is not to be had.
    #[error("the cgroup controller {} is not to be had", .0.name())]
    Missing(Controller),
    /// Its folder cannot be made.
    #[error("cannot make the cgroup {}", .folder.display())]
    Make {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A limit cannot be set.
    #[error("cannot set {file} of the cgroup {}", .folder.display())]
    Set {
        /// Of which cgroup.
        folder: PathBuf,
        /// Which file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file of it cannot be opened.
    #[error("cannot open {}", .file.display())]
    Open {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Cgroup {
    /// Makes a cgroup that holds `wanted`, with nothing in it.
    pub(crate) fn create(tree: Arc<dyn Tree>, hierarchies: &Hierarchies, wanted: &Wanted) -> Result<Self, CgroupError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = sweep::name(NUMBER.fetch_add(1, Relaxed));
        let freezer = Freezer::new(hierarchies, &name);
        let mut cgroup = Cgroup { tree, folders: Vec::new(), freezer, gauges: Gauges::default() };
        for controller in wanted.used(hierarchies) {
            let place = hierarchies.place(controller).ok_or(CgroupError::Missing(controller))?;
            let path = place.folder.join(&name);
            if let Some(folder) = cgroup.folders.iter_mut().find(|folder| folder.path == path) {
                folder.controllers.push(controller);
                continue;
            }
            let made = cgroup.tree.make(&path);
            made.map_err(|source| CgroupError::Make { folder: path.clone(), source })?;
            cgroup.folders.push(Folder { path, version: place.version, controllers: vec![controller] });
        }
        for folder in &cgroup.folders {
            for &controller in &folder.controllers {
                let applied = wanted.apply(&*cgroup.tree, &folder.path, controller, folder.version);
                applied.map_err(|(file, source)| CgroupError::Set { folder: folder.path.clone(), file, source })?;
            }
        }
        cgroup.gauges = Gauges::open(&*cgroup.tree, &cgroup.folders, wanted)?;
        Ok(cgroup)
    }

    /// The folder of version 2, to be cloned into.
    pub(crate) fn open_two(&self) -> Result<Option<File>, CgroupError> {
        let Some(folder) = self.folders.iter().find(|folder| folder.version == Version::Two) else { return Ok(None) };
        let opened = File::open(&folder.path);
        opened.map(Some).map_err(|source| CgroupError::Open { file: folder.path.clone(), source })
    }

    /// The lists of threads of version 1: who writes `0` joins. A thread that moves itself alone needs not
    /// wait until no process of the machine is in the middle of a fork, which is what takes the list of
    /// processes milliseconds.
    pub(crate) fn open_one(&self) -> Result<Vec<File>, CgroupError> {
        let of_one = self.folders.iter().filter(|folder| folder.version == Version::One);
        of_one
            .map(|folder| {
                let file = folder.path.join("tasks");
                let opened = std::fs::OpenOptions::new().write(true).open(&file);
                opened.map_err(|source| CgroupError::Open { file, source })
            })
            .collect()
    }

    /// Whether a process, by its `/proc/<pid>/cgroup`, is in every folder.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let inside = |folder: &Folder| {
            let name = folder.path.file_name().and_then(|name| name.to_str()).unwrap_or("?");
            let in_path = |path: &str| path.rsplit('/').next() == Some(name);
            text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).any(|(controllers, path)| {
                let here = match folder.version {
                    Version::Two => controllers.is_empty(),
                    Version::One => controllers.split(',').any(|name| name == folder.controllers[0].name()),
                };
                here && in_path(path)
            })
        };
        // It is in one at most; what another says would not hold.
        let of_two = self.folders.iter().filter(|folder| folder.version == Version::Two).count();
        of_two <= 1 && self.folders.iter().all(inside)
    }

    /// The folder that has a controller.
    pub(super) fn folder(&self, controller: Controller) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.controllers.contains(&controller))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in self.folders.iter().map(|folder| folder.path.as_path()).chain(self.freezer.made()) {
            remove(&*self.tree, folder);
        }
    }
}

/// Kills what is in a cgroup and removes it. Right after the last process the kernel may still be busy.
pub(super) fn remove(tree: &dyn Tree, folder: &Path) {
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(50);
    loop {
        match tree.remove(folder) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) if Instant::now() > until => return,
            Err(_) => {}
        }
        kill(tree, folder);
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Kills what is in a cgroup and removes it if that is done at once.
pub(super) fn remove_once(tree: &dyn Tree, folder: &Path) {
    if tree.remove(folder).is_err() {
        kill(tree, folder);
        let _ = tree.remove(folder);
    }
}

/// Kills every process in a cgroup: by `cgroup.kill` where there is one, else one by one.
fn kill(tree: &dyn Tree, folder: &Path) {
    if tree.write(&folder.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let Ok(list) = tree.read(&folder.join("cgroup.procs")) else { return };
    for pid in list.lines().filter_map(|line| line.parse().ok()).filter(|&pid: &i32| pid > 1) {
        let _ = crate::sys::kill(pid, libc::SIGKILL);
    }
    let _ = tree.write(&folder.join("freezer.state"), "THAWED");
}
