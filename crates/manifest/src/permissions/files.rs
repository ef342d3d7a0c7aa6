//! `fs.*`: which files, and what may be done with them.

use serde::Serialize;

use super::{PathRule, Permission};

/// `fs.*`: each a list of path prefixes in the capsule's own tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FilePermissions {
    /// `fs.read`
    pub read: Vec<PathRule>,
    /// `fs.write`
    pub write: Vec<PathRule>,
    /// `fs.create`
    pub create: Vec<PathRule>,
    /// `fs.delete`
    pub delete: Vec<PathRule>,
    /// `fs.list`
    pub list: Vec<PathRule>,
}

impl FilePermissions {
    /// Whether `permission` is granted on `path`, which is absolute and without `.`, `..` or empty
    /// components.
    pub fn allows(&self, permission: Permission, path: &[u8]) -> bool {
        self.rules(permission).iter().any(|rule| rule.covers(path))
    }

    /// Whether the capsule may learn that `path` exists, and its metadata: something is granted on
    /// it, or the way to something that is granted leads through it.
    pub fn knows(&self, path: &[u8]) -> bool {
        self.all().any(|rule| rule.covers(path) || rule.lies_within(path))
    }

    /// The rules of one permission; none for a permission that is not about files.
    pub fn rules(&self, permission: Permission) -> &[PathRule] {
        match permission {
            Permission::FsRead => &self.read,
            Permission::FsWrite => &self.write,
            Permission::FsCreate => &self.create,
            Permission::FsDelete => &self.delete,
            Permission::FsList => &self.list,
            _ => &[],
        }
    }

    fn all(&self) -> impl Iterator<Item = &PathRule> {
        [&self.read, &self.write, &self.create, &self.delete, &self.list].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted() -> FilePermissions {
        FilePermissions {
            read: vec![PathRule("/data".into())],
            write: vec![PathRule("/data/out".into())],
            list: vec![PathRule("/srv/www".into())],
            ..FilePermissions::default()
        }
    }

    #[test]
    fn each_permission_has_its_own_rules() {
        assert!(granted().allows(Permission::FsRead, b"/data/in"));
        assert!(!granted().allows(Permission::FsWrite, b"/data/in"));
        assert!(granted().allows(Permission::FsWrite, b"/data/out/x"));
        assert!(!granted().allows(Permission::FsCreate, b"/data/out/x"));
    }

    #[test]
    fn a_permission_that_is_not_about_files_grants_no_file() {
        assert!(!granted().allows(Permission::NetConnect, b"/data"));
    }

    #[test]
    fn what_is_granted_and_the_way_there_is_known_and_nothing_else() {
        for path in ["/", "/data", "/data/any", "/srv", "/srv/www", "/srv/www/x"] {
            assert!(granted().knows(path.as_bytes()), "{path}");
        }
        for path in ["/etc", "/srv/ftp", "/dat", "/database"] {
            assert!(!granted().knows(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn nothing_is_known_when_nothing_is_granted() {
        assert!(!FilePermissions::default().knows(b"/"));
    }
}
