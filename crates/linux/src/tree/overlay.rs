//! Changes that are kept apart: `overlay(5)` in Documentation/filesystems/overlayfs.rst.
//!
//! Each folder of the host's that can be changed gets a folder of its own below the one for the run:
//!
//! ```text
//! 0/at     where it is in the capsule's tree      0/upper  what was changed, as overlayfs keeps it
//! 0/from   where it is on the host                0/work   overlayfs's own
//! ```
//!
//! A single file is copied into `upper`, and `at` and `from` name the folders it is in: overlayfs knows
//! folders only.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::Source;

/// Where the changes to one folder are kept.
pub(crate) struct Overlay {
    pub(crate) upper: Source,
    pub(crate) work: Source,
}

/// A folder for the changes to the folder `from`, which appears at `at`.
pub(super) fn of_folder(folder: &Path, at: &str, from: &Path) -> io::Result<Overlay> {
    let [upper, work] = furnish(folder, at, from)?;
    mirror(&upper, from)?;
    Ok(Overlay { upper: Source::look(&upper)?, work: Source::look(&work)? })
}

/// A copy of the file `from`, to be changed in its place.
pub(super) fn of_file(folder: &Path, at: &str, from: &Path) -> io::Result<Source> {
    let (above, _) = at.rsplit_once('/').unwrap_or(("", at));
    let (Some(parent), Some(name)) = (from.parent(), from.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let [upper, _] = furnish(folder, if above.is_empty() { "/" } else { above }, parent)?;
    let copy = upper.join(name);
    fs::copy(from, &copy)?;
    mirror(&copy, from)?;
    mirror(&upper, parent)?;
    Source::look(&copy)
}

/// Gives one the owner and mode of the other: the top of an overlay is the top of its upper folder.
fn mirror(own: &Path, of: &Path) -> io::Result<()> {
    let found = fs::metadata(of)?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(own, Some(found.uid()), Some(found.gid()))?;
    }
    fs::set_permissions(own, found.permissions())
}

fn furnish(folder: &Path, at: &str, from: &Path) -> io::Result<[std::path::PathBuf; 2]> {
    let private = |path: &Path| DirBuilder::new().mode(0o700).create(path);
    private(folder)?;
    fs::write(folder.join("at"), at)?;
    fs::write(folder.join("from"), from.as_os_str().as_bytes())?;
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    private(&upper)?;
    private(&work)?;
    Ok([upper, work])
}

/// Why the changes to `from` cannot be kept in `kept`, when something about these folders speaks against it.
pub(super) fn obstacle(kept: &Path, from: &Path) -> io::Result<Option<&'static str>> {
    if kept.starts_with(from) {
        return Ok(Some("the folder in which changes are kept lies in it: set XDG_STATE_HOME"));
    }
    let why = "something else is mounted below it, which would not be seen";
    Ok(something_is_mounted_below(from)?.then_some(why))
}

/// Whether another file system is mounted in a folder.
pub(super) fn something_is_mounted_below(from: &Path) -> io::Result<bool> {
    let mounts = fs::read("/proc/self/mountinfo")?;
    let inside = |line: &[u8]| {
        let point = line.split(|&byte| byte == b' ').nth(4).map(unescape).unwrap_or_default();
        let below = point.strip_prefix(from.as_os_str().as_bytes());
        from != Path::new("/") && below.is_some_and(|rest| rest.starts_with(b"/"))
    };
    Ok(mounts.split(|&byte| byte == b'\n').any(inside))
}

/// A path as `mountinfo` writes it: spaces, tabs, newlines and backslashes in octal, `proc(5)`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) if first == b'\\' => {
                path.push(byte);
                rest = &after[3..];
            }
            _ => {
                path.push(first);
                rest = after;
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_mounts_are_read_as_they_are() {
        assert_eq!(unescape(b"/a\\040b\\134c"), b"/a b\\c");
        assert_eq!(unescape(b"/plain\\9"), b"/plain\\9");
    }

    #[test]
    fn changes_are_not_kept_within_what_is_changed() {
        assert!(obstacle(Path::new("/home/me/.local/state"), Path::new("/home/me")).unwrap().is_some());
        assert!(obstacle(Path::new("/elsewhere"), Path::new("/no/such/folder")).unwrap().is_none());
    }
}
