//! Folders that must stay as they are, and whether anything has been done to them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What their files hold; the length is that of no file an operation can make.
pub(crate) const SECRET: &str = "SECRET: what lies here stays here, every byte of it, for as long as the tree is walked; \
     nobody but the one who put it here may know what it says, how long it is, or that it is here at all, and \
     it is longer than anything that is ever written into the tree, so that its size alone gives it away, too";

/// A name in them that is nowhere else.
pub(crate) const NAME: &str = "only-there";

/// Makes one that says `text`, with a folder by that name.
pub(crate) fn make(folder: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(folder.join(name)).expect("a folder");
    std::fs::create_dir_all(folder.join("a")).expect("a folder");
    for file in ["b", "a/b"] {
        std::fs::write(folder.join(file), text).expect("a file");
    }
    std::os::unix::fs::symlink(text, folder.join("m")).expect("a link");
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
    let found = std::fs::symlink_metadata(path).expect("it is there");
    let mut content = Vec::new();
    if found.is_dir() {
        let entries = std::fs::read_dir(path).expect("a folder");
        entries.for_each(|entry| look(&entry.expect("an entry").path(), seen));
    } else if found.is_file() {
        content = std::fs::read(path).expect("a file");
    }
    let times = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    let what = (found.dev(), found.ino(), found.mode(), found.nlink(), found.size(), times.0, times.1, content);
    seen.insert(path.to_owned(), what);
}
