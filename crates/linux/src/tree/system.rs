//! How the parts of the host are put into a tree that a dynamic program needs: `ringfence_isolation::system`
//! says which.

use std::path::Path;

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
