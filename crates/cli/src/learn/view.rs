//! What a Linux program sees while it is learned what it needs: the host's files, each in its own place.
//!
//! Nothing of the host is changed: a level keeps changes apart. Folders every program has anyway, those
//! that are the kernel's, and the host's `/tmp` are not shown; a folder in which something else is mounted
//! is shown read-only, because changes cannot be kept apart there.

use std::fs;
use std::path::{Path, PathBuf};

use ringfence::Spec;
use ringfence::manifest::{Mount, MountMode, PathRule};

/// Folders of the root that are not shown, or not as they are.
const NOT_SHOWN: [&str; 17] = [
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "nix",
    "proc",
    "program",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr",
];

/// Folders in memory that are the program's own.
pub(super) const OWN: [&str; 2] = ["/tmp", "/dev/shm"];

/// Shows the host's folders in their own places, and grants everything in them and in the mounts there
/// are. The places of those that were not there before.
pub(super) fn widen(spec: &mut Spec, apart: &Path) -> Vec<String> {
    let mounted = mount_points();
    let mut shown = Vec::new();
    for folder in folders() {
        let at = folder.to_string_lossy().into_owned();
        let below = |path: &Path| path != folder && path.starts_with(&folder);
        if spec.mounts.iter().any(|mount| Path::new(&mount.at).starts_with(&folder)) {
            continue;
        }
        let is_split = mounted.iter().any(|point| below(point)) || apart.starts_with(&folder);
        let mode = if is_split { MountMode::ReadOnly } else { MountMode::ReadWrite };
        spec.mounts.push(Mount { at: at.clone(), name: at.clone(), from: folder, mode });
        shown.push(at);
    }
    let everywhere = spec.mounts.iter().map(|mount| mount.at.clone()).chain(OWN.map(str::to_owned));
    let everywhere: Vec<PathRule> = everywhere.map(PathRule).collect();
    let files = &mut spec.permissions.files;
    for rules in [&mut files.read, &mut files.write, &mut files.create, &mut files.delete, &mut files.list] {
        rules.extend(everywhere.iter().cloned());
    }
    shown
}

fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir("/").into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let named = folders.filter_map(|entry| entry.file_name().into_string().ok());
    let mut folders: Vec<PathBuf> =
        named.filter(|name| !NOT_SHOWN.contains(&name.as_str())).map(|name| Path::new("/").join(name)).collect();
    // What cannot even be looked at need not be shown.
    folders.retain(|folder| fs::read_dir(folder).is_ok());
    folders.sort_unstable();
    folders
}

/// Where something is mounted: the fifth field of `/proc/self/mountinfo`, `proc(5)`.
fn mount_points() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect()
}
