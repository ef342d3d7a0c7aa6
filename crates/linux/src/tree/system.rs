//! How the parts of the host are put into a tree that a dynamic program needs: `ringfence_isolation::system`
//! says which.

use std::path::Path;

use ringfence_isolation::system::FOLDERS;

use super::Source;

/// What a small file of `/etc` is: it is copied, which takes less time than a mount.
pub(super) const SMALL: u64 = 64 << 10;

/// How one of the folders is on the host.
pub(super) enum Found {
    /// A symbolic link, relative to the root.
    Link(String),
    /// A folder.
    Folder(Source),
}

/// Looks at one of the folders of the system; `None` when the host has none.
pub(super) fn look(folder: &str) -> Option<Found> {
    let path = Path::new(folder);
    if let Ok(target) = std::fs::read_link(path) {
        let target = target.to_str()?.to_owned();
        return Some(Found::Link(target));
    }
    Source::look(path).ok().filter(|source| source.is_folder).map(Found::Folder)
}

/// Where a file of `/etc` leads when it is a link into the folders of programs and libraries, which are there under the
/// same names: which time zone it is, is what `/etc/localtime` says as a link (`localtime(5)`).
pub(super) fn link(file: &Path) -> Option<String> {
    let target = std::fs::read_link(file).ok()?.into_os_string().into_string().ok()?;
    let folder = file.parent()?;
    let written = match target.strip_prefix("../") {
        Some(rest) => folder.parent()?.join(rest),
        None => folder.join(&target),
    };
    let is_inside = |path: &Path| {
        FOLDERS.iter().any(|folder| path.starts_with(folder))
            && !path.components().any(|part| part == std::path::Component::ParentDir)
    };
    (is_inside(&written) && is_inside(&file.canonicalize().ok()?)).then_some(target)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_is_one_where_it_leads_to_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, target: &str| {
            let file = folder.path().join(name);
            symlink(target, &file).unwrap();
            super::link(&file)
        };
        assert_eq!(link("whole", "/usr/bin/env").as_deref(), Some("/usr/bin/env"));
        let below = folder.path().to_str().unwrap();
        assert_eq!(link("outside", "/etc/passwd"), None);
        assert_eq!(link("nothing", "/usr/share/zoneinfo/No/Where"), None);
        assert_eq!(link("up", "/usr/../etc/passwd"), None);
        assert_eq!(link("out", &format!("{below}/whole")), None, "into the system by another link");
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(super::link(&folder.path().join("file")), None);
    }
}
