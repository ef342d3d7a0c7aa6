//! From `fs.*` rules to grants on paths of the capsule's tree.

use std::ffi::CString;

use ringfence_manifest::{PathRule, Permission, Spec};

use super::access::{self, Abi, fitting, of_permission};
use crate::tree::{FILES, Place, Plan, SCRATCH_FOLDERS, Source, TERMINALS, covers, is_granted};

/// Accesses granted on a path and everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) path: CString,
    pub(crate) access: u64,
    /// Whether the path may be gone by the time the rule is made.
    pub(crate) optional: bool,
}

/// A rule that Landlock cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RuleProblem {
    /// It names something in a mount that is not there.
    #[error("{permission} = {rule:?} names what does not exist, and the kernel grants on what exists only")]
    Missing { permission: Permission, rule: String },
    /// It grants deleting one file.
    #[error("{permission} = {rule:?} names a file, and the kernel grants deleting in folders only")]
    DeleteFile { permission: Permission, rule: String },
    /// It leads through a symbolic link.
    #[error("{permission} = {rule:?} is or leads through a symbolic link")]
    Link { permission: Permission, rule: String },
}

/// Every grant for a planned tree: the manifest's, and those a program cannot run without.
pub(crate) fn grants(spec: &Spec, plan: &Plan, abi: Abi) -> Result<Vec<Grant>, RuleProblem> {
    let mut grants = Vec::new();
    let mut give = |path: &str, access: u64, is_folder: bool, optional: bool| {
        let access = fitting(access, is_folder, abi);
        // Paths were checked for NUL when the tree was planned.
        if access != 0
            && let Ok(path) = CString::new(path)
        {
            grants.push(Grant { path, access, optional });
        }
    };
    for folder in &plan.system {
        give(folder, access::SYSTEM, true, false);
    }
    // A bare tree has no `/etc`.
    for (folder, optional) in [("/etc", true), ("/proc", false)] {
        give(folder, access::LOOK, true, optional);
    }
    for device in &plan.devices {
        give(device, access::DEVICE, false, false);
    }
    if !plan.devices.is_empty() {
        give(TERMINALS, access::TERMINALS, true, false);
    }
    for permission in FILES {
        for rule in spec.permissions.files.rules(permission) {
            match find(rule, plan) {
                Target::Folder => give(&rule.0, of_permission(permission), true, true),
                Target::File if permission == Permission::FsDelete => {
                    return Err(RuleProblem::DeleteFile { permission, rule: rule.0.clone() });
                }
                Target::File => give(&rule.0, of_permission(permission), false, true),
                Target::Missing => return Err(RuleProblem::Missing { permission, rule: rule.0.clone() }),
                // Nothing of the host is there, and nothing can be made there.
                Target::Nowhere => {}
                Target::Link => return Err(RuleProblem::Link { permission, rule: rule.0.clone() }),
            }
        }
    }
    for folder in socket_folders(spec, plan) {
        give(&folder, access::MAKE_SOCKETS, true, true);
    }
    let program = plan.program.to_string_lossy();
    if !plan.system.iter().any(|folder| covers(folder, &program)) {
        grants.push(Grant {
            path: plan.program.clone(),
            access: fitting(access::PROGRAM, false, abi),
            // A path through a link such as `/bin` leads into a system folder, which is granted.
            optional: true,
        });
    }
    Ok(grants)
}

/// Where programs may make sockets: in folders in memory, of what is granted there, but not where something that can be
/// changed outside lies below. A grant holds for everything below it, and whoever could be reached by a socket there
/// would be reached by way of a mount.
fn socket_folders(spec: &Spec, plan: &Plan) -> Vec<String> {
    let rules: &[PathRule] = spec.permissions.files.rules(Permission::FsCreate);
    let deeper = |folder: &str, rule: &PathRule| match &*rule.0 {
        above if covers(above, folder) => Some(folder.to_owned()),
        below => covers(folder, below).then(|| below.to_owned()),
    };
    let all = plan.scratch.iter().filter_map(|folder| folder.to_str().ok());
    let all = all.flat_map(|folder| rules.iter().filter_map(move |rule| deeper(folder, rule)));
    // The one folder lies in the other, too.
    let holds = |at: &str, place: &str| covers(at, place) || covers("/dev/shm", at) && covers("/tmp/.shm", place);
    all.filter(|at| !plan.places.iter().any(|place| place.writable && holds(at, &place.at))).collect()
}

enum Target {
    Folder,
    File,
    /// Within a mount, and not there.
    Missing,
    /// Within no mount.
    Nowhere,
    Link,
}

/// What a rule names in the planned tree.
fn find(rule: &PathRule, plan: &Plan) -> Target {
    // The root, the folders in memory, and what leads to a mount.
    let above_a_place = plan.places.iter().any(|place| place.at != rule.0 && covers(&rule.0, &place.at));
    let scratch = ["/tmp", "/dev/shm"].iter().any(|folder| covers(folder, &rule.0));
    let deepest = plan.places.iter().filter(|place| covers(&place.at, &rule.0)).max_by_key(|place| place.at.len());
    match deepest {
        // What leads to a mount is made for it.
        _ if rule.0 == "/" || above_a_place => Target::Folder,
        Some(place) if !scratch || place.at != "/" => look(place, &rule.0),
        _ if scratch => Target::Folder,
        _ => Target::Nowhere,
    }
}

fn look(place: &Place, path: &str) -> Target {
    let rest = path[place.at.len()..].trim_start_matches('/');
    if rest.is_empty() {
        return if place.is_folder { Target::Folder } else { Target::File };
    }
    match Source::look_below(&place.from, rest) {
        Ok(found) if found.is_folder => Target::Folder,
        Ok(_) => Target::File,
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Target::Link,
        Err(_) => Target::Missing,
    }
}

/// Whether the mounts alone, read-only or writable as a whole, say what the permissions say.
pub(crate) fn mounts_suffice(spec: &Spec, plan: &Plan) -> bool {
    let files = &spec.permissions.files;
    let whole = |permission, at: &str| files.allows(permission, at.as_bytes());
    let below = |permission, at: &str| {
        let rules: &[PathRule] = files.rules(permission);
        rules.iter().any(|rule| rule.lies_within(at.as_bytes()))
    };
    let expressible = |at: &str, writable: bool| {
        FILES.iter().all(|&permission| match permission {
            Permission::FsRead | Permission::FsList => whole(permission, at),
            _ if writable => whole(permission, at),
            _ => !whole(permission, at) && !below(permission, at),
        })
    };
    // Where nothing is granted, none is made.
    let mut scratch = SCRATCH_FOLDERS.into_iter().filter(|folder| is_granted(spec, folder));
    plan.places.iter().all(|place| expressible(&place.at, place.writable))
        && scratch.all(|folder| expressible(folder, true))
}
