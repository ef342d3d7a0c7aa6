//! A folder that no program is given, and whether anything has been done to it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What its file holds; its length is that of no other file.
pub(crate) const SECRET: &str = "what lies outside stays outside, every byte of it";

/// A name in it that is nowhere else.
pub(crate) const NAME: &str = "only-there";

/// Makes it.
pub(crate) fn make(folder: &Path) {
    std::fs::create_dir_all(folder.join(NAME)).unwrap();
    std::fs::write(folder.join("file"), SECRET).unwrap();
    std::fs::write(folder.join("only-outside"), SECRET).unwrap();
    std::os::unix::fs::symlink(SECRET, folder.join("link")).unwrap();
}

/// What is at one path: device, inode, mode, names, size, times of its last changes, content.
type Seen = (u64, u64, u32, u64, u64, (i64, i64), (i64, i64), Vec<u8>);

/// Everything that would show a change. Times of reading are not among it: looking changes them.
pub(crate) fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    look(folder, &mut seen);
    seen
}

fn look(path: &Path, seen: &mut BTreeMap<PathBuf, Seen>) {
    let found = std::fs::symlink_metadata(path).unwrap();
    let content = match () {
        () if found.is_dir() => {
            std::fs::read_dir(path).unwrap().for_each(|entry| look(&entry.unwrap().path(), seen));
            Vec::new()
        }
        () if found.is_file() => std::fs::read(path).unwrap(),
        () => Vec::new(),
    };
    let times = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    let what = (found.dev(), found.ino(), found.mode(), found.nlink(), found.size(), times.0, times.1, content);
    seen.insert(path.to_owned(), what);
}
