//! Both versions, on a tree that is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Cgroup, CgroupError, Controller, Hierarchies, Tree, Version, Wanted};

/// A tree of cgroups as the kernel would show it.
#[derive(Default)]
struct Fake {
    files: Mutex<BTreeMap<PathBuf, String>>,
    writable: BTreeSet<PathBuf>,
    /// What is written here is refused; or only this.
    refused: BTreeSet<PathBuf>,
    refused_values: BTreeSet<(PathBuf, &'static str)>,
    /// Files of these names cannot be opened.
    unreadable: BTreeSet<String>,
    removed: Mutex<Vec<PathBuf>>,
}

impl Fake {
    fn with(writable: &[&str], files: &[(&str, &str)]) -> Self {
        Fake {
            files: Mutex::new(files.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect()),
            writable: writable.iter().map(PathBuf::from).collect(),
            ..Fake::default()
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        self.files.lock().unwrap().get(Path::new(path)).cloned()
    }
}

impl Tree for Fake {
    fn make(&self, folder: &Path) -> io::Result<()> {
        let parent = folder.parent().unwrap();
        if !self.writable.contains(parent) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.files.lock().unwrap().insert(folder.join("cgroup.procs"), String::new());
        Ok(())
    }

    fn remove(&self, folder: &Path) -> io::Result<()> {
        self.removed.lock().unwrap().push(folder.to_owned());
        Ok(())
    }

    fn read(&self, file: &Path) -> io::Result<String> {
        self.files.lock().unwrap().get(file).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&self, file: &Path) -> io::Result<File> {
        if self.unreadable.contains(file.file_name().unwrap().to_str().unwrap()) {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        // Every cgroup that was made has whatever file the kernel has, with nothing in it.
        let made = self.files.lock().unwrap().contains_key(&file.with_file_name("cgroup.procs"));
        if made { tempfile::tempfile() } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn write(&self, file: &Path, value: &str) -> io::Result<()> {
        if self.refused.contains(file) || self.refused_values.iter().any(|(at, text)| at == file && *text == value) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut files = self.files.lock().unwrap();
        match (file.ends_with("cgroup.subtree_control"), value.strip_prefix('+')) {
            (true, Some(controller)) => {
                let list = files.entry(file.to_owned()).or_default();
                list.push_str(&format!(" {controller}"));
            }
            _ => drop(files.insert(file.to_owned(), value.to_owned())),
        }
        Ok(())
    }

    fn writable(&self, folder: &Path) -> bool {
        self.writable.contains(folder)
    }
}

const MOUNT_OF_TWO: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const DELEGATED: &str = "/sys/fs/cgroup/user.slice/app.scope";

fn all() -> Wanted {
    Wanted { memory: Some(1 << 20), sockets: true, processes: Some(8), cores: Some(1500), cpu_time: true }
}

#[test]
fn version_two_with_delegation_has_every_controller_in_one_folder() {
    let fake = Fake::with(
        &[DELEGATED],
        &[
            (&format!("{DELEGATED}/cgroup.controllers"), "cpu memory pids"),
            (&format!("{DELEGATED}/cgroup.subtree_control"), ""),
        ],
    );
    let found = Hierarchies::from_text(&fake, MOUNT_OF_TWO, "0::/user.slice/app.scope\n");
    for controller in Controller::ALL {
        let place =
            found.place(controller).unwrap_or_else(|| panic!("{controller:?} {}", found.why_missing(controller)));
        assert_eq!((place.version, place.folder.to_str()), (Version::Two, Some(DELEGATED)), "{controller:?}");
    }
    let fake = Arc::new(fake);
    let cgroup = Cgroup::create(fake.clone(), &found, &all()).unwrap();
    let folder = cgroup.folders[0].path.clone();
    assert_eq!(cgroup.folders.len(), 1);
    let written = |file: &str| fake.text(folder.join(file).to_str().unwrap());
    assert_eq!(written("memory.max").as_deref(), Some("1048576"));
    assert_eq!(written("memory.swap.max").as_deref(), Some("0"));
    assert_eq!(written("memory.oom.group").as_deref(), Some("1"));
    assert_eq!(written("pids.max").as_deref(), Some("9"), "pid 1 of the place is ours");
    assert_eq!(written("cpu.max").as_deref(), Some("150000 100000"));
    assert!(cgroup.holds(&format!("0::/user.slice/app.scope/{}\n", folder.file_name().unwrap().to_str().unwrap())));
    assert!(!cgroup.holds("0::/user.slice/app.scope\n"));
    drop(cgroup);
    assert_eq!(*fake.removed.lock().unwrap(), [folder]);
}

/// In a cgroup with processes the kernel passes on what counts threads, and refuses the rest with EBUSY.
#[test]
fn version_two_is_one_folder_even_where_each_passes_something_on() {
    let inner = "/sys/fs/cgroup/user";
    let mut fake = Fake::with(
        &["/sys/fs/cgroup", inner],
        &[
            ("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids"),
            ("/sys/fs/cgroup/cgroup.subtree_control", "cpu memory pids"),
            (&format!("{inner}/cgroup.controllers"), "cpu memory pids"),
            (&format!("{inner}/cgroup.subtree_control"), ""),
        ],
    );
    fake.refused_values = [(PathBuf::from(inner).join("cgroup.subtree_control"), "+memory")].into();
    let found = Hierarchies::from_text(&fake, MOUNT_OF_TWO, "0::/user\n");
    assert_eq!(found.folders(), [Path::new("/sys/fs/cgroup")]);
    let cgroup = Cgroup::create(Arc::new(fake), &found, &all()).unwrap();
    assert_eq!(cgroup.folders.len(), 1);
}

#[test]
fn version_two_without_delegation_has_none_and_says_why() {
    let fake = Fake::with(&[], &[]);
    let found = Hierarchies::from_text(&fake, MOUNT_OF_TWO, "0::/user.slice/app.scope\n");
    for controller in Controller::ALL {
        assert_eq!(found.place(controller), None);
        assert!(found.why_missing(controller).contains("not delegated"), "{}", found.why_missing(controller));
    }
}

#[test]
fn version_two_that_passes_a_controller_on_from_nowhere_lacks_it_alone() {
    let controllers = format!("{DELEGATED}/cgroup.controllers");
    let passed_on = format!("{DELEGATED}/cgroup.subtree_control");
    let fake = Fake::with(&[DELEGATED], &[(&controllers, "memory"), (&passed_on, "")]);
    let found = Hierarchies::from_text(&fake, MOUNT_OF_TWO, "0::/user.slice/app.scope\n");
    assert!(found.place(Controller::Memory).is_some());
    assert!(found.why_missing(Controller::Pids).contains("pids"));
    let missing = Cgroup::create(Arc::new(fake), &found, &all());
    assert!(matches!(missing, Err(CgroupError::Missing(Controller::Pids))));
    assert_eq!(
        all().possible(&found),
        Wanted { memory: Some(1 << 20), sockets: true, cpu_time: true, ..Wanted::default() }
    );
}

/// A cgroup with processes in it passes nothing on; the one above can (the "no internal processes"
/// rule of `cgroups(7)`).
#[test]
fn version_two_is_used_from_the_parent_where_the_own_cgroup_has_processes() {
    let parent = "/sys/fs/cgroup/user.slice";
    let mut fake = Fake::with(
        &[DELEGATED, parent],
        &[
            (&format!("{DELEGATED}/cgroup.controllers"), "memory pids cpu"),
            (&format!("{parent}/cgroup.controllers"), "memory pids cpu"),
            (&format!("{parent}/cgroup.subtree_control"), "memory pids"),
        ],
    );
    fake.refused.insert(PathBuf::from(format!("{DELEGATED}/cgroup.subtree_control")));
    let found = Hierarchies::from_text(&fake, MOUNT_OF_TWO, "0::/user.slice/app.scope\n");
    for controller in [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Freezer] {
        assert_eq!(found.place(controller).unwrap().folder.to_str(), Some(parent), "{controller:?}");
    }
}

const MOUNTS_OF_ONE: &str = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
    32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
    33 30 0:29 /outer /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
const OWN_OF_ONE: &str = "4:memory:/job\n3:cpu,cpuacct:/\n2:pids:/outer/job\n";

#[test]
fn version_one_is_used_below_the_own_cgroup_of_each_hierarchy() {
    let (memory, cpu, pids) = ("/sys/fs/cgroup/memory/job", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/pids/job");
    let fake = Arc::new(Fake::with(&[memory, cpu, pids], &[]));
    let found = Hierarchies::from_text(&*fake, MOUNTS_OF_ONE, OWN_OF_ONE);
    let folder = |controller| found.place(controller).map(|place| place.folder.to_str().unwrap().to_owned());
    assert_eq!(folder(Controller::Memory).as_deref(), Some(memory));
    assert_eq!(folder(Controller::CpuAccounting).as_deref(), Some(cpu));
    assert_eq!(folder(Controller::Pids).as_deref(), Some(pids), "seen from the root of the mount");
    assert_eq!(folder(Controller::Freezer), None);
    let cgroup = Cgroup::create(fake.clone(), &found, &all()).unwrap();
    let name = cgroup.folders[0].path.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(fake.text(&format!("{memory}/{name}/memory.limit_in_bytes")).as_deref(), Some("1048576"));
    assert_eq!(fake.text(&format!("{memory}/{name}/memory.memsw.limit_in_bytes")).as_deref(), Some("1048576"));
    assert_eq!(fake.text(&format!("{memory}/{name}/memory.kmem.tcp.limit_in_bytes")).as_deref(), Some("1048576"));
    assert_eq!(fake.text(&format!("{cpu}/{name}/cpu.cfs_quota_us")).as_deref(), Some("150000"));
    assert_eq!(fake.text(&format!("{pids}/{name}/pids.max")).as_deref(), Some("9"));
    assert!(!cgroup.freezes());
}

#[test]
fn version_one_of_another_user_is_refused_by_its_folder() {
    let found = Hierarchies::from_text(&Fake::default(), MOUNTS_OF_ONE, OWN_OF_ONE);
    assert!(found.why_missing(Controller::Memory).contains("/sys/fs/cgroup/memory/job is not writable"));
}

#[test]
fn a_limit_that_cannot_be_set_leaves_nothing_behind() {
    let fake = Fake::with(&["/sys/fs/cgroup/memory/job"], &[]);
    let fake = Arc::new(fake);
    let found = Hierarchies::from_text(&*fake, MOUNTS_OF_ONE, OWN_OF_ONE);
    let made = Cgroup::create(fake.clone(), &found, &all());
    assert!(matches!(made, Err(CgroupError::Missing(_))));
    assert_eq!(fake.removed.lock().unwrap().len(), 1);
}

/// What cannot be read must not look like a limit that has not tripped.
#[test]
fn a_figure_that_cannot_be_had_is_an_error_and_not_nothing() {
    let (memory, cpu, pids) = ("/sys/fs/cgroup/memory/job", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/pids/job");
    let mut fake = Fake::with(&[memory, cpu, pids], &[]);
    let found = Hierarchies::from_text(&fake, MOUNTS_OF_ONE, OWN_OF_ONE);
    for name in ["memory.oom_control", "pids.events", "cpuacct.usage"] {
        fake.unreadable = [name.to_owned()].into();
        let fake = Arc::new(std::mem::replace(&mut fake, Fake::with(&[memory, cpu, pids], &[])));
        let made = Cgroup::create(fake.clone(), &found, &all());
        assert!(matches!(made, Err(CgroupError::Open { .. })), "{name}");
        assert!(!fake.removed.lock().unwrap().is_empty(), "{name}");
    }
    let cgroup = Cgroup::create(Arc::new(fake), &found, &all()).unwrap();
    assert!(cgroup.out_of_memory().is_err() && cgroup.too_many_processes().is_err() && cgroup.cpu_time().is_err());
}
