//! The folder at the root of a capsule's tree.

use std::path::{Path, PathBuf};

use super::{ResolveError, Surroundings};
use crate::{FilePermissions, Identity, Level, Mount, PathRule, Permission};

const FILES: [Permission; 5] =
    [Permission::FsRead, Permission::FsWrite, Permission::FsCreate, Permission::FsDelete, Permission::FsList];

/// Where the files of a capsule's own are.
pub fn folder_of(data_home: &Path, capsule: &Identity) -> PathBuf {
    data_home.join("vfs").join(&capsule.name)
}

/// The capsule's own folder, when something in it is granted: a capsule that can use nothing there needs
/// no such folder, and no place for one.
pub(super) fn resolve(
    capsule: &Identity,
    level: Level,
    files: &FilePermissions,
    mounts: &[Mount],
    surroundings: &Surroundings<'_>,
) -> Result<Option<PathBuf>, ResolveError> {
    let own = surroundings.data_home.as_ref().map(|data_home| folder_of(data_home, capsule));
    // There the system's folders lie in the tree too, and the backend knows which.
    if level >= Level::Sandbox {
        return Ok(own);
    }
    match (FILES.into_iter().find_map(|permission| beside(files.rules(permission), mounts, permission)), own) {
        (None, _) => Ok(None),
        (Some(_), Some(own)) => Ok(Some(own)),
        (Some((permission, rule)), None) => {
            Err(ResolveError::NoRoot { capsule: capsule.name.clone(), rule: format!("{permission} = {:?}", rule.0) })
        }
    }
}

/// A rule that grants something beside the mounts.
fn beside<'a>(rules: &'a [PathRule], mounts: &[Mount], permission: Permission) -> Option<(Permission, &'a PathRule)> {
    let elsewhere = |rule: &&PathRule| mounts.iter().any(|mount| rule.lies_within(mount.at.as_bytes()));
    rules.iter().find(|rule| !elsewhere(rule)).map(|rule| (permission, rule))
}
