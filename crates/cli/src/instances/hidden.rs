//! What no capsule is shown, whatever is mounted.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use ringfence::manifest::{Mount, MountMode};
use ringfence::{Places, Spec};

use super::folder::{EMPTY, own, possible, prepare};
use crate::failure::Failure;

/// Keeps what ringfence itself goes by out of what a capsule sees: the ways to running instances, and what is kept of
/// capsules, of their changes and of compiled code, which is trusted later. Where a mount shows one of these folders, it
/// shows an empty one. Doing it again changes nothing.
///
/// # Errors
/// When what is mounted lies in such a folder.
pub(crate) fn hide(spec: &mut Spec) -> Result<(), Failure> {
    if spec.mounts.is_empty() {
        return Ok(());
    }
    let ways = possible().into_iter().map(|folder| (folder, true));
    let folders: Vec<(PathBuf, bool)> = ways.chain(kept().into_iter().map(|folder| (folder, false))).collect();
    let mut masks = Vec::new();
    let mut empty = None;
    for (folder, is_way) in &folders {
        for mount in &spec.mounts {
            // What covers it already.
            let is_mask = mount.mode == MountMode::ReadOnly && mount.from.ends_with(EMPTY);
            if is_mask && folders.iter().any(|(folder, _)| mount.from.parent() == Some(folder)) {
                continue;
            }
            if mount.from.starts_with(folder) || is_same(&mount.from, folder) {
                let why = match is_way {
                    true => "the ways to running instances are there, and no capsule is shown them",
                    false => "ringfence keeps there what it goes by later, and no capsule is shown that",
                };
                return Err(Failure::wrong(format!("{} cannot be mounted: {why}", mount.from.display())));
            }
            // Also where the folder above is mounted on the host under another name.
            let above = folder.ancestors().skip(1);
            let Some(above) = above.into_iter().find(|above| *above == mount.from || is_same(above, &mount.from))
            else {
                continue;
            };
            let Ok(rest) = folder.strip_prefix(above) else { continue };
            // What is not there cannot be covered, and must not be made by the capsule.
            let made = match (is_way, mount.mode) {
                (true, _) => prepare(folder),
                (false, MountMode::ReadOnly) if !folder.exists() => continue,
                (false, _) => make(folder),
            };
            match made {
                Err(_) if *is_way || mount.mode == MountMode::ReadOnly => continue,
                Err(error) => {
                    let why = format!("{} is kept from capsules, and cannot be made: {error}", folder.display());
                    return Err(Failure::wrong(format!("{} cannot be mounted: {why}", mount.from.display())));
                }
                Ok(()) => {}
            }
            let at = Path::new(&mount.at).join(rest).to_string_lossy().into_owned();
            if spec.mounts.iter().chain(&masks).any(|other| other.at == at) {
                continue;
            }
            let from = match &empty {
                Some(empty) => empty,
                None => empty.insert(empty_one()?),
            };
            masks.push(Mount { name: at.clone(), at, from: from.clone(), mode: MountMode::ReadOnly });
        }
    }
    spec.mounts.append(&mut masks);
    Ok(())
}

/// What ringfence goes by later: changes to be committed, snapshots and compiled code.
fn kept() -> Vec<PathBuf> {
    let Places { cache, state, .. } = Places::of_user();
    [cache, state].into_iter().flatten().filter_map(|folder| resolved(&folder)).collect()
}

/// Whether two paths lead to one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let which =
        |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_dir).map(|found| (found.dev(), found.ino()));
    which(one).is_some_and(|found| which(other) == Some(found))
}

/// A folder in which there is nothing, with the ways to instances, or where nobody has a place for those.
fn empty_one() -> io::Result<PathBuf> {
    let made = |above: &Path| {
        let folder = above.join(EMPTY);
        fs::DirBuilder::new().mode(0o500).recursive(true).create(&folder).map(|()| folder)
    };
    own().and_then(|own| made(&own)).or_else(|failed| {
        let others = kept().into_iter().filter(|folder| make(folder).is_ok());
        others.into_iter().find_map(|folder| made(&folder).ok()).ok_or(failed)
    })
}

/// Makes a folder of the user's, unless it is there.
fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)
}

/// A folder that may not be there yet, without links on the way to it; `None` when nothing of that way is there.
fn resolved(folder: &Path) -> Option<PathBuf> {
    let mut rest = Vec::new();
    let mut above = folder;
    loop {
        match above.canonicalize() {
            Ok(found) => return Some(rest.iter().rev().fold(found, |path, name| path.join(name))),
            Err(_) => rest.push(above.file_name()?),
        }
        above = above.parent()?;
    }
}
