//! From the files a Linux program used to the least that has to be granted and shown.
//!
//! The kernel grants on what exists: what was made needs a right on the folder it was made in, and so does
//! what was deleted. A symbolic link is granted as what it leads to; the folder it lies in is shown, so
//! that it can be followed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ringfence::Permission;
use ringfence::manifest::{FilePermissions, Mount, MountMode, PathRule};

use super::{covering, view::OWN};

/// What is to be granted, and what is to be shown.
pub(super) struct Needed {
    pub(super) files: FilePermissions,
    pub(super) mounts: Vec<Mount>,
}

/// What a program needs that used this. Of `mounts` those in `shown` were not asked for by anybody: what is
/// needed of them gets mounts of its own.
pub(super) fn needed(mounts: &[Mount], shown: &[String], learned: &[(Permission, String)]) -> Needed {
    let uses = Uses { mounts, learned };
    let mut rules = BTreeSet::new();
    for (permission, path) in learned {
        uses.add(*permission, path, &mut rules);
    }
    let of = |permission| -> Vec<String> {
        let rules = rules.iter().filter(|(granted, _)| *granted == permission);
        covering(rules.map(|(_, path)| path.clone()).collect())
    };
    let mut files = FilePermissions {
        read: of(Permission::FsRead).into_iter().map(PathRule).collect(),
        write: of(Permission::FsWrite).into_iter().map(PathRule).collect(),
        create: of(Permission::FsCreate).into_iter().map(PathRule).collect(),
        delete: of(Permission::FsDelete).into_iter().map(PathRule).collect(),
        list: of(Permission::FsList).into_iter().map(PathRule).collect(),
    };
    let mounts = needed_mounts(mounts, shown, &files);
    if uses.change_metadata() {
        // Let through only where every file of the host's that can be changed may be changed.
        for mount in mounts.iter().filter(|mount| mount.mode == MountMode::ReadWrite) {
            if changes(&files, &mount.at) {
                files.write.retain(|rule| !PathRule(mount.at.clone()).covers(rule.0.as_bytes()));
                files.write.push(PathRule(mount.at.clone()));
            }
        }
    }
    Needed { files, mounts }
}

/// The mounts somebody asked for, and of the others one for each topmost path that is granted. What is to
/// be changed in one that is only read otherwise has a mount of its own in it.
fn needed_mounts(mounts: &[Mount], shown: &[String], files: &FilePermissions) -> Vec<Mount> {
    let (own, others): (Vec<&Mount>, Vec<&Mount>) = mounts.iter().partition(|mount| !shown.contains(&mount.at));
    let changing = [&files.write, &files.create, &files.delete];
    let all = [&files.read, &files.list].into_iter().chain(changing);
    let tops = topmost(all.flatten().map(|rule| rule.0.as_str()).collect());
    let changed = topmost(changing.into_iter().flatten().map(|rule| rule.0.as_str()).collect());
    let nested = changed.iter().filter(|path| !tops.contains(*path)).map(|path| (*path, true));
    let wanted = tops.iter().map(|top| (*top, changed.contains(top))).chain(nested);
    let made = wanted.filter_map(|(at, is_changed)| {
        let mount = deepest(&others, at)?;
        if deepest(&own, at).is_some_and(|own| own.at.len() > mount.at.len()) {
            return None;
        }
        let from = mount.from.join(at[mount.at.len()..].trim_start_matches('/'));
        let mode = if is_changed { mount.mode } else { MountMode::ReadOnly };
        Some(Mount { at: at.to_owned(), name: at.to_owned(), from, mode })
    });
    let made: Vec<Mount> = made.collect();
    own.into_iter().cloned().chain(made).collect()
}

/// Those below none of the others.
fn topmost(paths: BTreeSet<&str>) -> BTreeSet<&str> {
    let is_top =
        |path: &&str| !paths.iter().any(|other| other != path && PathRule((*other).into()).covers(path.as_bytes()));
    paths.iter().copied().filter(is_top).collect()
}

/// Whether anything that changes files is granted at `path` or below it.
fn changes(files: &FilePermissions, path: &str) -> bool {
    let top = PathRule(path.to_owned());
    let rules = [&files.write, &files.create, &files.delete];
    rules.into_iter().flatten().any(|rule| top.covers(rule.0.as_bytes()) || rule.covers(path.as_bytes()))
}

fn deepest<'a>(mounts: &[&'a Mount], path: &str) -> Option<&'a Mount> {
    let covering = mounts.iter().copied().filter(|mount| PathRule(mount.at.clone()).covers(path.as_bytes()));
    covering.max_by_key(|mount| mount.at.len())
}

struct Uses<'a> {
    mounts: &'a [Mount],
    learned: &'a [(Permission, String)],
}

/// Where a path leads on the host.
enum Found {
    /// To a file or folder that is there; `link`: the folder with the link that leads there.
    There { at: String, is_folder: bool, link: Option<String> },
    /// To nothing yet, in this folder.
    Within(String),
}

impl Uses<'_> {
    fn add(&self, permission: Permission, path: &str, rules: &mut BTreeSet<(Permission, String)>) {
        use Permission::{FsCreate, FsDelete, FsList, FsRead, FsWrite};
        if ![FsRead, FsWrite, FsCreate, FsDelete, FsList].contains(&permission) || self.is_mark(permission, path) {
            return;
        }
        if self.mount(path).is_none() {
            let own = OWN.iter().find(|own| PathRule((**own).into()).covers(path.as_bytes()));
            rules.extend(own.map(|own| (permission, (*own).to_owned())));
            return;
        }
        let Some(found) = self.find(path) else { return };
        let (at, is_folder) = match found {
            Found::There { at, is_folder, link } => {
                rules.extend(link.map(|folder| (FsList, folder)));
                (at, is_folder)
            }
            Found::Within(folder) if self.was_made(path) => {
                rules.insert((permission, folder));
                return;
            }
            // A look that found nothing.
            Found::Within(_) => return,
        };
        let above = |at: &str| {
            let (parent, _) = at.rsplit_once('/')?;
            self.mount(parent).is_some().then(|| parent.to_owned())
        };
        match permission {
            FsRead if is_folder => rules.extend([(FsList, at)]),
            // Opened to be made if it was not there: it was.
            FsCreate if is_folder || !self.has(FsDelete, path) => {}
            // A right on what was there is none on what takes its place.
            _ if permission == FsDelete || self.has(FsDelete, path) => {
                rules.extend(above(&at).map(|folder| (permission, folder)));
            }
            _ => rules.extend([(permission, at)]),
        }
    }

    fn mount(&self, path: &str) -> Option<&Mount> {
        deepest(&self.mounts.iter().collect::<Vec<_>>(), path)
    }

    fn has(&self, permission: Permission, path: &str) -> bool {
        self.learned.iter().any(|(used, on)| *used == permission && on == path)
    }

    /// Whether the program made it, or something above it.
    fn was_made(&self, path: &str) -> bool {
        let made = self.learned.iter().filter(|(used, _)| *used == Permission::FsCreate);
        made.into_iter().any(|(_, made)| PathRule(made.clone()).covers(path.as_bytes()))
    }

    /// A write to the folder of a mount stands for a change of some file's metadata.
    fn is_mark(&self, permission: Permission, path: &str) -> bool {
        permission == Permission::FsWrite && self.mounts.iter().any(|mount| mount.at == path && mount.from.is_dir())
    }

    fn change_metadata(&self) -> bool {
        self.learned.iter().any(|(permission, path)| self.is_mark(*permission, path))
    }

    fn find(&self, path: &str) -> Option<Found> {
        let mount = self.mount(path)?;
        let host = mount.from.join(path[mount.at.len()..].trim_start_matches('/'));
        if let Ok(real) = host.canonicalize() {
            let link = (real != host).then(|| host.parent()?.canonicalize().ok()).flatten();
            let link = link.and_then(|folder| self.within(&folder));
            return Some(Found::There { at: self.within(&real)?, is_folder: real.is_dir(), link });
        }
        let there: PathBuf = host.ancestors().skip(1).find_map(|above| above.canonicalize().ok())?;
        Some(Found::Within(self.within(&there)?))
    }

    /// Where something of the host is in the capsule's tree.
    fn within(&self, host: &Path) -> Option<String> {
        let holding = self.mounts.iter().filter_map(|mount| Some((mount, host.strip_prefix(&mount.from).ok()?)));
        let (mount, rest) = holding.max_by_key(|(mount, _)| mount.from.as_os_str().len())?;
        let at =
            if rest.as_os_str().is_empty() { mount.at.clone() } else { format!("{}/{}", mount.at, rest.to_str()?) };
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use Permission::{FsCreate, FsDelete, FsList, FsRead, FsWrite};

    use super::*;

    struct Lab(tempfile::TempDir);

    impl Lab {
        fn new() -> Self {
            let lab = Lab(tempfile::tempdir().unwrap());
            for (name, text) in [("file", "x"), ("sub/other", "y")] {
                let path = lab.0.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            std::os::unix::fs::symlink("sub/other", lab.0.path().join("link")).unwrap();
            lab
        }

        fn needs(&self, shown: bool, learned: &[(Permission, &str)]) -> Needed {
            let from = self.0.path().canonicalize().unwrap();
            let mount = Mount { at: "/data".into(), name: "/data".into(), from, mode: MountMode::ReadWrite };
            let learned: Vec<_> = learned.iter().map(|(permission, path)| (*permission, (*path).to_owned())).collect();
            let shown = if shown { vec!["/data".to_owned()] } else { Vec::new() };
            needed(&[mount], &shown, &learned)
        }
    }

    fn texts(rules: &[PathRule]) -> Vec<&str> {
        rules.iter().map(|rule| rule.0.as_str()).collect()
    }

    #[test]
    fn what_is_there_is_granted_by_itself_and_what_is_made_by_its_folder() {
        let used =
            [(FsRead, "/data/file"), (FsCreate, "/data/sub/new"), (FsWrite, "/data/sub/new"), (FsRead, "/data/no")];
        let found = Lab::new().needs(false, &used);
        assert_eq!(texts(&found.files.read), ["/data/file"]);
        assert_eq!((texts(&found.files.create), texts(&found.files.write)), (vec!["/data/sub"], vec!["/data/sub"]));
        assert_eq!(found.mounts.len(), 1);
    }

    #[test]
    fn a_folder_is_listed_and_a_link_is_what_it_leads_to() {
        let found = Lab::new().needs(false, &[(FsRead, "/data/sub"), (FsRead, "/data/link")]);
        assert_eq!(texts(&found.files.read), ["/data/sub/other"]);
        assert_eq!(texts(&found.files.list), ["/data"]);
    }

    #[test]
    fn replacing_a_file_takes_its_folder() {
        let used =
            [(FsCreate, "/data/new"), (FsDelete, "/data/new"), (FsDelete, "/data/file"), (FsCreate, "/data/file")];
        let found = Lab::new().needs(false, &used);
        assert_eq!((texts(&found.files.create), texts(&found.files.delete)), (vec!["/data"], vec!["/data"]));
    }

    #[test]
    fn of_what_nobody_asked_for_only_what_is_needed_is_shown() {
        let found = Lab::new().needs(true, &[(FsRead, "/data/file"), (FsWrite, "/data/sub/other")]);
        let shown =
            |found: &Needed| -> Vec<_> { found.mounts.iter().map(|mount| (mount.at.clone(), mount.mode)).collect() };
        let expected = [("/data/file".into(), MountMode::ReadOnly), ("/data/sub/other".into(), MountMode::ReadWrite)];
        assert_eq!(shown(&found), expected);
        let found = Lab::new().needs(true, &[(FsList, "/data"), (FsWrite, "/data/sub/other")]);
        let expected = [("/data".into(), MountMode::ReadOnly), ("/data/sub/other".into(), MountMode::ReadWrite)];
        assert_eq!(shown(&found), expected);
    }

    #[test]
    fn changing_metadata_takes_the_whole_mount() {
        let found = Lab::new().needs(false, &[(FsWrite, "/data"), (FsWrite, "/data/file")]);
        assert_eq!(texts(&found.files.write), ["/data"]);
        assert_eq!(Lab::new().needs(false, &[(FsWrite, "/data"), (FsRead, "/data/file")]).files.write, []);
    }

    #[test]
    fn the_programs_own_folders_are_granted_as_wholes() {
        let found = Lab::new().needs(false, &[(FsCreate, "/tmp/x/y"), (FsRead, "/elsewhere")]);
        assert_eq!((texts(&found.files.create), texts(&found.files.read)), (vec!["/tmp"], vec![]));
    }
}
