//! How much of a mount the manifest grants.

use ringfence_manifest::{FilePermissions, PathRule, Permission};

/// The permissions on files.
pub(crate) const FILES: [Permission; 5] =
    [Permission::FsRead, Permission::FsWrite, Permission::FsCreate, Permission::FsDelete, Permission::FsList];

/// How much of what lies at one path of the tree is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Something is granted on all of it.
    Whole,
    /// Something is granted on these paths below it only, none of which is below another.
    Parts(Vec<String>),
    /// Nothing is granted on it.
    Nothing,
}

/// How much of what lies at `at` is granted, paths that belong to one of `others`, which lie deeper,
/// not counted.
pub(crate) fn extent(files: &FilePermissions, at: &str, others: &[&str]) -> Extent {
    let all = || FILES.iter().flat_map(|&permission| files.rules(permission));
    if all().any(|rule| rule.covers(at.as_bytes())) {
        return Extent::Whole;
    }
    let inner = |rule: &&PathRule| rule.lies_within(at.as_bytes());
    let mut parts: Vec<String> =
        all().filter(inner).filter(|rule| !is_deeper(rule, at, others)).map(|rule| rule.0.clone()).collect();
    parts.sort_unstable();
    parts.dedup();
    let tops = parts.clone();
    parts.retain(|part| !tops.iter().any(|top| top != part && covers(top, part)));
    if parts.is_empty() { Extent::Nothing } else { Extent::Parts(parts) }
}

/// Whether anything that changes files is granted on `at` or below it, paths that belong to one of `others`, which lie
/// deeper, not counted.
pub(crate) fn changes(files: &FilePermissions, at: &str, others: &[&str]) -> bool {
    let changing = [Permission::FsWrite, Permission::FsCreate, Permission::FsDelete];
    let mut rules = changing.iter().flat_map(|&permission| files.rules(permission));
    rules.any(|rule| rule.covers(at.as_bytes()) || (rule.lies_within(at.as_bytes()) && !is_deeper(rule, at, others)))
}

/// Whether what a rule names belongs to one of `others`, which lies at `at` or deeper.
fn is_deeper(rule: &PathRule, at: &str, others: &[&str]) -> bool {
    others.iter().any(|other| covers(other, &rule.0) && covers(at, other))
}

/// Whether `path` is `folder` or below it.
pub(crate) fn covers(folder: &str, path: &str) -> bool {
    PathRule(folder.to_owned()).covers(path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(paths: &[&str]) -> FilePermissions {
        let read = paths.iter().map(|path| PathRule((*path).to_owned())).collect();
        FilePermissions { read, ..FilePermissions::default() }
    }

    #[test]
    fn what_is_changed_deeper_is_not_changed_above() {
        let write = ["/data/in", "/tmp"].map(|path| PathRule(path.into())).to_vec();
        let files = FilePermissions { write, ..FilePermissions::default() };
        assert!(
            changes(&files, "/", &["/tmp"]) && changes(&files, "/data", &[]) && changes(&files, "/data/in/here", &[])
        );
        assert!(!changes(&files, "/", &["/tmp", "/data"]) && !changes(&files, "/data", &["/data/in"]));
    }

    #[test]
    fn a_rule_above_or_at_a_mount_grants_all_of_it() {
        for rule in ["/", "/data", "/data/in"] {
            assert_eq!(extent(&reading(&[rule]), "/data/in", &[]), Extent::Whole, "{rule}");
        }
    }

    #[test]
    fn rules_below_a_mount_grant_the_topmost_parts() {
        let found = extent(&reading(&["/data/b", "/data/a/x", "/data/a", "/other", "/database"]), "/data", &[]);
        assert_eq!(found, Extent::Parts(vec!["/data/a".into(), "/data/b".into()]));
    }

    #[test]
    fn what_lies_in_a_deeper_mount_is_not_part_of_the_upper_one() {
        assert_eq!(extent(&reading(&["/data/in/x"]), "/data", &["/data/in"]), Extent::Nothing);
    }

    #[test]
    fn a_mount_without_a_rule_is_not_granted() {
        assert_eq!(extent(&reading(&["/other"]), "/data", &[]), Extent::Nothing);
    }

    #[test]
    fn only_permissions_that_change_make_a_place_writable() {
        let mut files = reading(&["/data"]);
        assert!(!changes(&files, "/data", &[]));
        files.delete.push(PathRule("/data/x".into()));
        assert!(changes(&files, "/data", &[]) && changes(&files, "/data/x/y", &[]) && !changes(&files, "/data/y", &[]));
    }
}
