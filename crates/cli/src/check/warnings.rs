//! What is allowed and probably not meant.

use ringfence::manifest::{FilePermissions, Mount, MountMode, PathRule};
use ringfence::{Permission, Spec, StreamIn, StreamOut};

/// Warnings about a spec.
pub(super) fn of(spec: &Spec) -> Vec<String> {
    let files = &spec.permissions.files;
    let mut warnings = Vec::new();
    for mount in &spec.mounts {
        let at = &mount.at;
        if !ALL.iter().any(|&permission| touches(files.rules(permission), mount)) {
            warnings.push(format!("{at} is mounted, and no permission covers it: nothing in it can be used"));
        } else if mount.mode == MountMode::ReadWrite && !CHANGING.iter().any(|&p| touches(files.rules(p), mount)) {
            warnings.push(format!("{at} is mounted rw, and no permission lets it be changed: ro would do"));
        }
        if mount.from.parent().is_none() {
            warnings.push(format!("{at} shows all files of this machine"));
        }
    }
    for permission in CHANGING {
        for rule in files.rules(permission) {
            let within = innermost(&spec.mounts, rule);
            if let Some(mount) = within.filter(|mount| mount.mode == MountMode::ReadOnly) {
                warnings.push(format!("{permission} = {}: {} is mounted ro, so this is denied", rule.0, mount.at));
            }
        }
    }
    for &permission in &ALL {
        if files.rules(permission).iter().any(|rule| rule.0 == "/") && !spec.mounts.is_empty() {
            warnings.push(format!("{permission} = / covers every mount"));
        }
    }
    if let StreamIn::File(path) | StreamIn::OfFolder(path) = &spec.stdio.stdin {
        warnings.push(format!("standard input is {}: the capsule reads it without a permission", path.display()));
    }
    for (name, stream) in [("output", &spec.stdio.stdout), ("error", &spec.stdio.stderr)] {
        if let StreamOut::File(path) | StreamOut::OfFolder(path) = stream {
            let replaced = if path.exists() { "what is in it is replaced" } else { "it is made" };
            warnings.push(format!("standard {name} is written to {}: {replaced}", path.display()));
        }
    }
    if spec.limits.wall_time.is_none() && spec.limits.cpu_time.is_none() {
        warnings.push("neither wall_time nor cpu_time is limited: it may run forever".into());
    }
    warnings
}

const ALL: [Permission; 5] =
    [Permission::FsRead, Permission::FsWrite, Permission::FsCreate, Permission::FsDelete, Permission::FsList];
const CHANGING: [Permission; 3] = [Permission::FsWrite, Permission::FsCreate, Permission::FsDelete];

fn touches(rules: &[PathRule], mount: &Mount) -> bool {
    rules.iter().any(|rule| rule.covers(mount.at.as_bytes()) || rule.lies_within(mount.at.as_bytes()))
}

/// The mount that what `rule` names lies in.
fn innermost<'a>(mounts: &'a [Mount], rule: &PathRule) -> Option<&'a Mount> {
    let holding = mounts.iter().filter(|mount| PathRule(mount.at.clone()).covers(rule.0.as_bytes()));
    holding.max_by_key(|mount| mount.at.len())
}

// The fields are looked at through `FilePermissions::rules` alone, so a permission that is added there
// has to be added above.
const _: fn(&FilePermissions) = |files| {
    let FilePermissions { read: _, write: _, create: _, delete: _, list: _ } = files;
};

#[cfg(test)]
mod tests {
    use ringfence::manifest::{Manifest, Overrides, Surroundings};

    use super::*;

    fn warnings(allow: &[&str], mount: &[&str], limit: &[&str]) -> Vec<String> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let overrides =
            Overrides { allow: owned(allow), mount: owned(mount), limit: owned(limit), ..Overrides::default() };
        let surroundings = Surroundings {
            directory: "/".into(),
            current_directory: "/".into(),
            data_home: None,
            host_environment: &|_| None,
            levels: vec![ringfence::Level::Wasm],
            extra_args: Vec::new(),
        };
        of(&Manifest::bare("a.wasm").resolve(&overrides, &surroundings).unwrap())
    }

    #[test]
    fn a_mount_that_nothing_covers_is_told() {
        let told = warnings(&[], &["/usr:/data:ro"], &["wall_time=1s"]);
        assert_eq!(told, ["/data is mounted, and no permission covers it: nothing in it can be used"]);
        assert_eq!(warnings(&["fs.read=/data/sub"], &["/usr:/data:ro"], &["wall_time=1s"]), [""; 0]);
    }

    #[test]
    fn a_mount_that_is_wider_or_narrower_than_its_permissions_is_told() {
        let told = warnings(&["fs.read=/data"], &["/usr:/data:rw"], &["wall_time=1s"]);
        assert_eq!(told, ["/data is mounted rw, and no permission lets it be changed: ro would do"]);
        let told = warnings(&["fs.write=/data/out"], &["/usr:/data:ro"], &["wall_time=1s"]);
        assert_eq!(told, ["fs.write = /data/out: /data is mounted ro, so this is denied"]);
    }

    #[test]
    fn a_program_without_a_deadline_is_told() {
        assert_eq!(warnings(&[], &[], &[]), ["neither wall_time nor cpu_time is limited: it may run forever"]);
    }
}
