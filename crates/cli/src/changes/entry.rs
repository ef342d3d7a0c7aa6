//! One change.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};

/// What lies at one path now, and what lies there when the change is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Below the folder that is changed. Any bytes: hexadecimal where it is kept.
    #[serde(with = "hexadecimal")]
    path: Vec<u8>,
    /// What the host has there.
    pub(crate) before: Option<Known>,
    /// What the capsule made of it.
    pub(crate) after: Option<Known>,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    /// Permissions and the sticky bit, without set-user-id and set-group-id.
    pub(crate) mode: u32,
    device: u64,
    inode: u64,
    modified: Moment,
    changed: Moment,
}

/// What sort of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    File,
    Folder,
    Link,
    /// A pipe, socket or device: never applied.
    Special,
}

/// A time of a file: seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Moment(i64, i64);

impl Moment {
    /// When a file was last changed in any way. Nobody can set it.
    pub(crate) fn changed(found: &Metadata) -> Self {
        Moment(found.ctime(), found.ctime_nsec())
    }
}

impl Change {
    pub(super) fn new(path: &Path, before: Option<Known>, after: Option<Known>) -> Self {
        Change { path: path.as_os_str().as_bytes().to_vec(), before, after }
    }

    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// In a word.
    pub(crate) fn verb(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "added",
            (_, None) => "removed",
            (Some(before), Some(after)) if before.kind == Kind::Folder && after.kind == Kind::Folder => "mode",
            _ => "changed",
        }
    }
}

impl Known {
    pub(super) fn of(found: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            FileType::Symlink => Kind::Link,
            _ => Kind::Special,
        };
        let moment = |seconds: i64, nanoseconds: u64| Moment(seconds, nanoseconds.cast_signed());
        Known {
            kind,
            size: found.st_size.unsigned_abs(),
            mode: found.st_mode & 0o1777,
            device: found.st_dev,
            inode: found.st_ino,
            modified: moment(found.st_mtime, found.st_mtime_nsec),
            changed: moment(found.st_ctime, found.st_ctime_nsec),
        }
    }

    /// Why what was there is not what is there now; `began` is when the run did.
    pub(super) fn conflict(&self, now: &Known, began: Moment) -> Option<&'static str> {
        if self.kind != now.kind {
            return Some("the host has something of another kind there now");
        }
        if self.kind == Kind::Folder {
            // What is in it is judged by itself.
            return (self.mode != now.mode).then_some("the host gave it another mode meanwhile");
        }
        let same = self == now && now.changed < began;
        (!same).then_some("the host changed it meanwhile")
    }
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[allow(clippy::ptr_arg, reason = "serde passes a reference to the field")]
    pub(super) fn serialize<S: Serializer>(bytes: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pairs = text.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        pairs.map(byte).collect::<Option<_>>().ok_or_else(|| D::Error::custom("a path is hexadecimal"))
    }
}

/// `folder` with `path` below it, which may be empty.
pub(crate) fn below(folder: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { folder.to_owned() } else { folder.join(path) }
}
