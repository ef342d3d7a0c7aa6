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
    learned: Mutex<Learned>,
}

/// What was used, in learn mode.
#[derive(Default)]
struct Learned {
    uses: BTreeSet<(Permission, Vec<u8>)>,
    /// Paths whose existence or metadata were asked for.
    looks: BTreeSet<Vec<u8>>,
    /// What was renamed or linked, and to what.
    moves: BTreeSet<(Vec<u8>, Vec<u8>)>,
}

impl Authority {
    /// How many distinct uses are learned.
    const MOST_LEARNED: usize = 10_000;

    pub(crate) fn new(spec: Arc<Spec>, denials: Arc<Denials>) -> Self {
        Self { spec, denials, learned: Mutex::default() }
    }

    /// Whether everything is granted and taken down.
    pub(crate) fn is_learning(&self) -> bool {
        self.spec.permissions.learn
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
        if self.knows_at_use(path) {
            return Ok(());
        }
        Err(self.deny_because(Permission::FsRead, &text(path), "nothing is granted on it or below it"))
    }

    /// Whether the capsule may learn that there is something at `path`; nobody hears of it.
    pub(crate) fn knows(&self, path: &[u8]) -> bool {
        self.spec.permissions.learn || self.files().knows(path)
    }

    /// The same, where the answer decides what the capsule gets to know: the use is learned.
    pub(crate) fn knows_at_use(&self, path: &[u8]) -> bool {
        if self.spec.permissions.learn {
            self.learned_mut(|learned| learned.looks.len(), |learned| learned.looks.insert(path.to_vec()));
            return true;
        }
        self.files().knows(path)
    }

    /// Whether a thing may move from one name to another without gaining a right, for itself and
    /// for what is below it. This is the rule of Landlock's `LANDLOCK_ACCESS_FS_REFER`,
    /// `landlock(7)`.
    pub(crate) fn check_no_gain(&self, old: &[u8], new: &[u8]) -> Result<(), ErrorCode> {
        if self.spec.permissions.learn {
            self.learned_mut(
                |learned| learned.moves.len(),
                |learned| learned.moves.insert((old.to_vec(), new.to_vec())),
            );
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

    /// Each permission that was used, and on which path, in learn mode: what it takes for the same to
    /// succeed again.
    pub(crate) fn learned(&self) -> Vec<(Permission, Vec<u8>)> {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.needed().into_iter().collect()
    }

    /// Notes that a permission was used.
    pub(crate) fn learn(&self, permission: Permission, path: &[u8]) {
        self.learned_mut(|learned| learned.uses.len(), |learned| learned.uses.insert((permission, path.to_vec())));
    }

    /// Notes that something was used, or looked at, that nobody judged.
    pub(crate) fn used(&self, permission: Option<Permission>, path: &[u8]) {
        match permission {
            _ if !self.spec.permissions.learn => {}
            Some(permission) => self.learn(permission, path),
            None => self.learned_mut(|learned| learned.looks.len(), |learned| learned.looks.insert(path.to_vec())),
        }
    }

    /// Adds to one of the lists, unless it is full.
    fn learned_mut(&self, many: impl Fn(&Learned) -> usize, add: impl FnOnce(&mut Learned) -> bool) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if many(&learned) < Self::MOST_LEARNED {
            add(&mut learned);
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

impl Learned {
    /// How often what is needed of new names is looked for: who renames the same thing more often is granted less.
    const MOST_ROUNDS: usize = 32;

    fn needed(&self) -> BTreeSet<(Permission, Vec<u8>)> {
        let mut needed = self.uses.clone();
        // A look needs some permission on the path, or below it. `fs.list` gives the least.
        for path in &self.looks {
            let is_known = needed.iter().any(|(permission, used)| {
                FILE_PERMISSIONS.contains(permission) && (covers(used, path) || covers(path, used))
            });
            if !is_known {
                needed.insert((Permission::FsList, path.clone()));
            }
        }
        // Nothing may gain a right by a new name, so the old one needs them all. A thing may be renamed
        // again and again: until nothing is added, or as often as there were renames.
        for _ in 0..self.moves.len().min(Self::MOST_ROUNDS) {
            let gained: Vec<_> = self.moves.iter().flat_map(|(old, new)| gains(&needed, old, new)).collect();
            if gained.is_empty() || needed.len() + gained.len() > Authority::MOST_LEARNED {
                break;
            }
            needed.extend(gained);
        }
        needed
    }
}

/// The permissions that `new`, or what is below it, has and `old` lacks.
fn gains(needed: &BTreeSet<(Permission, Vec<u8>)>, old: &[u8], new: &[u8]) -> Vec<(Permission, Vec<u8>)> {
    let files = needed.iter().filter(|(permission, _)| FILE_PERMISSIONS.contains(permission));
    let wanted = files.filter_map(|(permission, path)| {
        let on_old = if covers(path, new) {
            old.to_vec()
        } else if covers(new, path) {
            [old, &path[new.len()..]].concat()
        } else {
            return None;
        };
        Some((*permission, on_old))
    });
    let has = |permission: Permission, path: &[u8]| {
        needed.iter().any(|(granted, rule)| *granted == permission && covers(rule, path))
    };
    wanted.filter(|(permission, path)| !has(*permission, path)).collect()
}

/// Whether a rule on one path covers another.
fn covers(rule: &[u8], path: &[u8]) -> bool {
    rule == b"/" || path.strip_prefix(rule).is_some_and(|below| below.is_empty() || below.starts_with(b"/"))
}

/// A path for people.
pub(crate) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
