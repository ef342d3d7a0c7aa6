//! How much the folders of the host that can be changed can hold at all.
//!
//! A limit on the disk holds where a file system, or a quota on a part of it, has no more room than the limit
//! allows: then the kernel refuses what goes beyond, whoever writes and by whatever means. `statfs(2)` says how
//! much that is, of a folder with a project quota (ext4, XFS) or a quota of its own (ZFS) as of a whole file system.
//! How much of it is free says nothing: others may make room.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{StatFs, statfs};

use super::overlay::something_is_mounted_below;
use super::{PAGE, Place};

/// What the folders of the host that can be changed can hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// So many bytes, and never more.
    Bounded { bytes: u64, folders: Vec<PathBuf> },
    /// More than is allowed, or nobody knows.
    Unbounded(TooMuch),
}

/// Why a folder is no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch {
    folder: PathBuf,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// What it lies on has room for so many bytes.
    Large(u64),
    /// Its file system says nothing that holds.
    Unknown,
    /// Another file system is mounted below it.
    Mounts,
    /// Its changes are kept elsewhere.
    KeptApart,
}

/// File systems of which the kernel itself says how large they are (`statfs(2)`): ext2 to ext4, XFS, btrfs, F2FS, tmpfs,
/// ZFS. What a server or a program answers for one (NFS, FUSE) is no bound.
const KNOWN: [i64; 6] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994, 0x2fc1_2fc1];

impl Room {
    /// The room of these places, when no more than `allowed` bytes may be held; `kept_apart` when changes are.
    pub(crate) fn of(places: &[Place], allowed: u64, kept_apart: bool) -> io::Result<Self> {
        let mut folders: Vec<&Path> = Vec::new();
        let mut bytes = 0_u64;
        for place in places.iter().filter(|place| place.writable) {
            let too_much = |why| Ok(Room::Unbounded(TooMuch { folder: place.from.clone(), why }));
            if kept_apart {
                return too_much(Why::KeptApart);
            }
            if folders.iter().any(|folder| place.from.starts_with(folder)) {
                continue;
            }
            if something_is_mounted_below(&place.from)? {
                return too_much(Why::Mounts);
            }
            let Some(size) = size(&statfs(&place.from)?) else { return too_much(Why::Unknown) };
            bytes = bytes.saturating_add(size);
            if bytes > allowed {
                return too_much(Why::Large(size));
            }
            folders.push(&place.from);
        }
        Ok(Room::Bounded { bytes, folders: folders.into_iter().map(Path::to_owned).collect() })
    }
}

/// The bytes of a file system, if it has an end.
fn size(found: &StatFs) -> Option<u64> {
    // The type of the field differs between processors.
    #[allow(clippy::unnecessary_cast, reason = "as said")]
    let is_known = KNOWN.contains(&(found.f_type as i64 & 0xffff_ffff));
    let bytes = found.f_blocks.saturating_mul(u64::try_from(found.f_bsize).unwrap_or(u64::MAX));
    // A tmpfs without a size has no blocks.
    (is_known && found.f_blocks > 0).then_some(bytes)
}

/// Less than this is as good as nothing: what is written is taken in whole pages, and a file system keeps a
/// little for itself.
const NOTHING: u64 = 2 * PAGE;

/// Whether a folder's file system takes nothing more from an ordinary user.
pub(crate) fn is_full(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| {
        let left = found.f_bavail.saturating_mul(u64::try_from(found.f_bsize).unwrap_or(u64::MAX));
        // Some have no fixed number of files, and say 0.
        left < NOTHING || found.f_files > 0 && found.f_ffree == 0
    })
}

impl fmt::Display for TooMuch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        match self.why {
            Why::Large(bytes) => {
                let bytes = ringfence_manifest::Bytes(bytes);
                write!(formatter, "{folder} can be changed, and lies where {bytes} fit: nothing keeps it to the limit")
            }
            Why::Unknown => {
                write!(formatter, "{folder} can be changed, and its file system does not say how much it can hold")
            }
            Why::Mounts => {
                write!(formatter, "{folder} can be changed, and another file system is mounted below it")
            }
            Why::KeptApart => {
                write!(formatter, "changes to {folder} are kept in another folder, and nothing bounds that")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(from: &Path, writable: bool) -> Place {
        Place { at: "/data".into(), from: from.to_owned(), is_folder: true, writable }
    }

    fn of_type(kind: i64, blocks: u64) -> StatFs {
        let mut found = statfs("/").unwrap();
        (found.f_type, found.f_blocks, found.f_bsize) = (kind, blocks, 4096);
        found
    }

    #[test]
    fn what_cannot_be_changed_takes_no_room() {
        let nothing = Room::Bounded { bytes: 0, folders: Vec::new() };
        assert_eq!(Room::of(&[place(Path::new("/"), false)], 0, true).unwrap(), nothing);
    }

    #[test]
    fn a_file_system_larger_than_the_limit_is_no_bound_and_one_as_large_is() {
        let folder = tempfile::tempdir().unwrap();
        let size = size(&statfs(folder.path()).unwrap()).expect("tests are on an ordinary file system");
        let places = [place(folder.path(), true), place(&folder.path().join("below"), true)];
        let Room::Unbounded(why) = Room::of(&places, size - 1, false).unwrap() else { panic!("bounded") };
        assert!(why.to_string().contains(folder.path().to_str().unwrap()), "{why}");
        let bounded = Room::Bounded { bytes: size, folders: vec![folder.path().to_owned()] };
        assert_eq!(Room::of(&places, size, false).unwrap(), bounded);
        assert!(matches!(Room::of(&places, size, true).unwrap(), Room::Unbounded(_)));
        let other = tempfile::tempdir().unwrap();
        let two = [place(folder.path(), true), place(other.path(), true)];
        assert!(matches!(Room::of(&two, size, false).unwrap(), Room::Unbounded(_)));
    }

    #[test]
    fn what_others_answer_for_and_what_has_no_end_is_no_bound() {
        assert_eq!(size(&of_type(0xef53, 256)), Some(1 << 20));
        assert_eq!(size(&of_type(0x0102_1994, 0)), None, "tmpfs without a size");
        for served in [0x6969, 0x6573_5546, 0x794c_7630] {
            assert_eq!(size(&of_type(served, 256)), None, "NFS, FUSE, overlayfs");
        }
    }
}
