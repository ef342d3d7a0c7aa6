//! The permissions of one instance, and the events of what they deny.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ringfence_abi::ErrorCode;
use ringfence_isolation::{Denial, Spec};
use ringfence_manifest::{FilePermissions, Permission};

use crate::denials::Denials;

/// The permissions that concern files.
const FILE_PERMISSIONS: [Permission; 5] =
    [Permission::FsRead, Permission::FsWrite, Permission::FsCreate, Permission::FsDelete, Permission::FsList];

/// What one instance may do.
pub(crate) struct Authority {
    spec: Arc<Spec>,
    denials: Arc<Denials>,
    learned: Mutex<BTreeSet<(Permission, Vec<u8>)>>,
}

impl Authority {
    /// How many distinct uses are learned.
    const MOST_LEARNED: usize = 10_000;

    pub(crate) fn new(spec: Arc<Spec>, denials: Arc<Denials>) -> Self {
        Self { spec, denials, learned: Mutex::default() }
    }

    /// Whether `permission` is granted on `path`, which is resolved. A use is learned, a denial told.
    pub(crate) fn check(&self, permission: Permission, path: &[u8]) -> Result<(), ErrorCode> {
        if self.spec.permissions.learn {
            self.learn(permission, path);
            return Ok(());
        }
        if self.files().allows(permission, path) {
            return Ok(());
        }
        Err(self.deny(permission, &text(path)))
    }

    /// Whether `permission` is granted on `path`; nobody hears of it.
    pub(crate) fn allows(&self, permission: Permission, path: &[u8]) -> bool {
        self.spec.permissions.learn || self.files().allows(permission, path)
    }

    /// Whether the capsule may learn that there is something at `path`; a denial is told.
    pub(crate) fn check_known(&self, path: &[u8]) -> Result<(), ErrorCode> {
        if self.knows(path) {
            return Ok(());
        }
        Err(self.deny_because(Permission::FsRead, &text(path), "nothing is granted on it or below it"))
    }

    /// Whether the capsule may learn that there is something at `path`; nobody hears of it.
    pub(crate) fn knows(&self, path: &[u8]) -> bool {
        self.spec.permissions.learn || self.files().knows(path)
    }

    /// Whether a thing may move from one name to another without gaining a right, for itself and
    /// for what is below it. This is the rule of Landlock's `LANDLOCK_ACCESS_FS_REFER`,
    /// `landlock(7)`.
    pub(crate) fn check_no_gain(&self, old: &[u8], new: &[u8]) -> Result<(), ErrorCode> {
        if self.spec.permissions.learn {
            return Ok(());
        }
        for permission in FILE_PERMISSIONS {
            let gains_itself = self.allows(permission, new) && !self.allows(permission, old);
            let gains_below = || {
                self.files().rules(permission).iter().any(|rule| {
                    let below = rule.0.as_bytes().strip_prefix(new).filter(|below| below.starts_with(b"/"));
                    below.is_some_and(|below| !self.allows(permission, &[old, below].concat()))
                })
            };
            if gains_itself || gains_below() {
                self.deny_because(permission, &text(old), &format!("would gain {permission} as {}", text(new)));
                return Err(ErrorCode::CrossDevice);
            }
        }
        Ok(())
    }

    /// A permission that is on or off, or a list of names, and was found not to grant `resource`.
    pub(crate) fn deny(&self, permission: Permission, resource: &str) -> ErrorCode {
        let rule = if permission.is_switch() { format!("{permission} is off") } else { format!("not in {permission}") };
        self.deny_because(permission, resource, &rule)
    }

    /// The same for another reason than a missing rule.
    pub(crate) fn deny_because(&self, permission: Permission, resource: &str, rule: &str) -> ErrorCode {
        self.denials.record(self.denial(permission, resource, rule));
        ErrorCode::Denied
    }

    /// The event of a denial.
    pub(crate) fn denial(&self, permission: Permission, resource: &str, rule: &str) -> Denial {
        Denial {
            permission: Some(permission),
            resource: resource.to_owned(),
            rule: rule.to_owned(),
            written: self.spec.permissions.sources.get(&permission).cloned(),
            grant: Some(self.spec.permissions.grant_line(permission, resource)),
        }
    }

    /// What no permission could grant, and what would, if anything does.
    pub(crate) fn forbid(&self, path: &[u8], rule: String, grant: Option<String>) {
        self.denials.record(Denial { permission: None, resource: text(path), rule, written: None, grant });
    }

    /// Each permission that was used, and on which path, in learn mode.
    pub(crate) fn learned(&self) -> Vec<(Permission, Vec<u8>)> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Notes that a permission was used.
    pub(crate) fn learn(&self, permission: Permission, path: &[u8]) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.len() < Self::MOST_LEARNED {
            learned.insert((permission, path.to_vec()));
        }
    }

    /// What was denied so far.
    #[cfg(test)]
    pub(crate) fn denials(&self) -> &Denials {
        &self.denials
    }

    fn files(&self) -> &FilePermissions {
        &self.spec.permissions.files
    }
}

/// A path for people.
pub(crate) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
