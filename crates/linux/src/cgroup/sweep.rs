//! Cgroups that a supervisor left because it was killed.

use std::io;
use std::path::{Path, PathBuf};

use super::{Hierarchies, Tree, folder, read_text};

/// How deep cgroups are looked for.
const DEEPEST: usize = 16;

/// The name of a cgroup of this process.
pub(super) fn name(number: u64) -> String {
    let pid = std::process::id();
    format!("ringfence.{}.{pid}.{}.{number}", namespace().unwrap_or(0), start_time(pid).unwrap_or(0))
}

/// Removes the cgroups whose supervisor is gone. What is inside dies with it.
pub(crate) fn sweep(tree: &dyn Tree, hierarchies: &Hierarchies) {
    for folder in hierarchies.folders() {
        sweep_below(tree, folder);
    }
}

fn sweep_below(tree: &dyn Tree, parent: &Path) {
    for folder in left(parent) {
        folder::remove_once(tree, &folder);
    }
}

/// The cgroups below `parent` whose supervisor is gone.
fn left(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let here = namespace();
    let is_gone = |owner: Owner| Some(owner.namespace) == here && owner.is_gone();
    let left = entries.flatten().filter(|entry| entry.file_name().to_str().and_then(owner).is_some_and(is_gone));
    left.map(|entry| entry.path()).collect()
}

/// The same at any depth below `root`: a supervisor makes its cgroups below the one it is in itself, and who
/// cleans up after it may be in another.
pub(crate) fn left_below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        found.extend(left(&folder));
        if depth < DEEPEST {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            waiting.extend(folders.map(|entry| (entry.path(), depth + 1)));
        }
    }
    found
}

/// Removes one of those that are left.
pub(crate) fn remove(tree: &dyn Tree, left: &Path) -> io::Result<()> {
    folder::remove(tree, left);
    match left.exists() {
        false => Ok(()),
        true => Err(io::ErrorKind::ResourceBusy.into()),
    }
}

/// The process that made a cgroup.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    /// The pid namespace in which `pid` is its number; only there can one tell whether it lives.
    namespace: u64,
    pid: u32,
    began: u64,
}

impl Owner {
    /// Whether it has ended. What cannot be found out for want of memory or descriptors says nothing.
    fn is_gone(&self) -> bool {
        match read_text(format!("/proc/{}/stat", self.pid).as_ref()) {
            Ok(text) => began(&text).is_some_and(|began| began != self.began),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH),
        }
    }
}

/// The owner that is written in a cgroup's name.
fn owner(name: &str) -> Option<Owner> {
    let mut parts = name.strip_prefix("ringfence.")?.split('.');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let owner = Owner { namespace: next()?, pid: u32::try_from(next()?).ok()?, began: next()? };
    next()?;
    parts.next().is_none().then_some(owner)
}

/// The identity of this process's pid namespace.
fn namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").ok().map(|metadata| metadata.ino())
}

/// When a process began, in clock ticks since the boot: field 22 of `/proc/<pid>/stat`, `proc(5)`.
/// With the number it names a process for good.
fn start_time(pid: u32) -> Option<u64> {
    began(&read_text(format!("/proc/{pid}/stat").as_ref()).ok()?)
}

fn began(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_cgroup_is_in_its_name() {
        let pid = std::process::id();
        let expected = Owner { namespace: namespace().unwrap(), pid, began: start_time(pid).unwrap() };
        assert_eq!(owner(&name(7)), Some(expected));
    }

    #[test]
    fn a_folder_of_somebody_else_has_no_owner() {
        for name in ["ringfence", "ringfence.1.2.3", "ringfence.1.2.3.4.5", "ringfence.x.2.3.4", "user.slice"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }

    #[test]
    fn a_process_that_is_gone_is_known_by_its_number_and_beginning() {
        let pid = std::process::id();
        let own = Owner { namespace: 0, pid, began: start_time(pid).unwrap() };
        assert!(!own.is_gone());
        assert!(Owner { began: own.began + 1, ..own }.is_gone());
        assert!(Owner { namespace: 0, pid: u32::MAX, began: 0 }.is_gone());
    }
}
