//! Where each controller is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{Tree, read_text};

/// A controller that a limit needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Controller {
    Memory,
    Pids,
    /// A share of processor time.
    Cpu,
    /// Counts processor time; part of every cgroup in version 2.
    CpuAccounting,
    /// Freezing; part of every cgroup in version 2.
    Freezer,
}

/// Which interface a controller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    /// What `cgroups(7)` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Version::One => "v1",
            Version::Two => "v2",
        }
    }
}

/// The folder below which cgroups with a controller are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: Version,
    pub(crate) folder: PathBuf,
}

/// Where each controller can be used, and why another cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    places: BTreeMap<Controller, Place>,
    missing: BTreeMap<Controller, String>,
}

impl Controller {
    pub(crate) const ALL: [Controller; 5] =
        [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::CpuAccounting, Controller::Freezer];

    /// The name in version 1.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Cpu => "cpu",
            Controller::CpuAccounting => "cpuacct",
            Controller::Freezer => "freezer",
        }
    }

    /// The name in version 2, for what is not part of every cgroup there.
    const fn name_in_two(self) -> Option<&'static str> {
        match self {
            Controller::Memory => Some("memory"),
            Controller::Pids => Some("pids"),
            Controller::Cpu => Some("cpu"),
            Controller::CpuAccounting | Controller::Freezer => None,
        }
    }
}

/// One mounted hierarchy, from `/proc/self/mountinfo`.
struct Mounted<'a> {
    root: &'a str,
    at: &'a str,
    version: Version,
    controllers: Vec<&'a str>,
}

impl Hierarchies {
    /// Looks in `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub(crate) fn find(tree: &dyn Tree) -> io::Result<Self> {
        let mounts = read_text("/proc/self/mountinfo".as_ref())?;
        let own = read_text("/proc/self/cgroup".as_ref())?;
        Ok(Self::from_text(tree, &mounts, &own))
    }

    /// The same from the text of these files (`proc(5)`, `cgroups(7)`).
    pub(crate) fn from_text(tree: &dyn Tree, mounts: &str, own: &str) -> Self {
        let mounted: Vec<Mounted<'_>> = mounts.lines().filter_map(Mounted::parse).collect();
        let two = mounted.iter().find(|mounted| mounted.version == Version::Two);
        let candidates = two.map(|two| candidates_of_two(two, own)).unwrap_or_default();
        let in_one =
            |controller: Controller| mounted.iter().find(|mounted| mounted.controllers.contains(&controller.name()));
        let wanted: Vec<_> = Controller::ALL.into_iter().filter(|&controller| in_one(controller).is_none()).collect();
        let in_two = if wanted.is_empty() { None } else { folder_of_two(tree, &candidates, &wanted) };
        let mut found = Hierarchies::default();
        for controller in Controller::ALL {
            let place = match (in_one(controller), &in_two) {
                (Some(one), _) => place_in_one(tree, one, own, controller),
                (None, Some((folder, passed))) if passed.contains(&controller) => {
                    Ok(Place { version: Version::Two, folder: folder.clone() })
                }
                (None, in_two) => Err(why_not_in_two(&candidates, in_two.is_some(), controller)),
            };
            match place {
                Ok(place) => drop(found.places.insert(controller, place)),
                Err(why) => drop(found.missing.insert(controller, why)),
            }
        }
        found
    }

    /// Where a controller can be used.
    pub(crate) fn place(&self, controller: Controller) -> Option<&Place> {
        self.places.get(&controller)
    }

    /// Why a controller cannot be used.
    pub(crate) fn why_missing(&self, controller: Controller) -> &str {
        self.missing.get(&controller).map_or("nothing is known of it", String::as_str)
    }

    /// Every folder below which cgroups are made.
    pub(crate) fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> = self.places.values().map(|place| place.folder.as_path()).collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }
}

impl<'a> Mounted<'a> {
    /// `36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory`
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, at) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let version = match right.next()? {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        let controllers = match version {
            Version::One => right.nth(1)?.split(',').collect(),
            Version::Two => Vec::new(),
        };
        Some(Mounted { root, at, version, controllers })
    }

    /// The folder of the cgroup that `/proc/self/cgroup` calls `path`.
    fn folder(&self, path: &str) -> PathBuf {
        let inside = match self.root {
            "/" => path,
            root => path.strip_prefix(root).unwrap_or("/"),
        };
        match inside.trim_start_matches('/') {
            "" => PathBuf::from(self.at),
            inside => Path::new(self.at).join(inside),
        }
    }
}

/// This process's own cgroup in the hierarchy that has `controller`; `None` for version 2.
fn own_path<'a>(own: &'a str, controller: Option<&str>) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let here = match controller {
            Some(controller) => controllers.split(',').any(|name| name == controller),
            None => controllers.is_empty(),
        };
        here.then_some(path)
    })
}

fn place_in_one(tree: &dyn Tree, one: &Mounted<'_>, own: &str, controller: Controller) -> Result<Place, String> {
    let folder = one.folder(own_path(own, Some(controller.name())).unwrap_or("/"));
    if tree.writable(&folder) {
        Ok(Place { version: Version::One, folder })
    } else {
        Err(format!("cgroup v1 folder {} is not writable", folder.display()))
    }
}

/// Folders in which cgroups may be made: the own one, its parent (a cgroup with processes cannot pass
/// its controllers on, its parent can), and the top.
fn candidates_of_two(two: &Mounted<'_>, own: &str) -> Vec<PathBuf> {
    let own = two.folder(own_path(own, None).unwrap_or("/"));
    let parent = own.parent().filter(|parent| parent.starts_with(two.at)).map(Path::to_owned);
    let mut candidates = vec![own];
    candidates.extend(parent);
    candidates.push(PathBuf::from(two.at));
    candidates.dedup();
    candidates
}

fn why_not_in_two(candidates: &[PathBuf], may_make: bool, controller: Controller) -> String {
    let name = controller.name();
    match candidates {
        [] => format!("no cgroup hierarchy has the controller {name}"),
        _ if may_make => format!("cgroup v2 does not pass the controller {name} on to cgroups of ours"),
        [own, ..] => format!("cgroup v2 folder {} is not delegated to this user", own.display()),
    }
}

/// The one folder in which cgroups of version 2 are made, and what it passes on of what is wanted. A process is in a
/// single cgroup of version 2: limits of several folders would not hold together. So the one that passes on most
/// is taken: the own cgroup, which has processes in it, may pass some on and not others (`cgroups(7)`, "no
/// internal processes").
fn folder_of_two(tree: &dyn Tree, candidates: &[PathBuf], wanted: &[Controller]) -> Option<(PathBuf, Vec<Controller>)> {
    let mut best: Option<(PathBuf, Vec<Controller>)> = None;
    for folder in candidates.iter().filter(|folder| tree.writable(folder)) {
        let passed: Vec<_> = wanted.iter().copied().filter(|controller| passes_on(tree, folder, *controller)).collect();
        let is_all = passed.len() == wanted.len();
        if best.as_ref().is_none_or(|(_, most)| passed.len() > most.len()) {
            best = Some((folder.clone(), passed));
        }
        if is_all {
            break;
        }
    }
    best
}

/// Whether cgroups in this folder have the controller, after asking for it.
fn passes_on(tree: &dyn Tree, folder: &Path, controller: Controller) -> bool {
    let Some(name) = controller.name_in_two() else { return true };
    let lists =
        |file: &str| tree.read(&folder.join(file)).is_ok_and(|list| list.split_whitespace().any(|entry| entry == name));
    lists("cgroup.subtree_control")
        || (lists("cgroup.controllers")
            && tree.write(&folder.join("cgroup.subtree_control"), &format!("+{name}")).is_ok()
            && lists("cgroup.subtree_control"))
}
