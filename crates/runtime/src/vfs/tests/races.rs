//! Names that are swapped while they are opened.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;

/// Exchanges two names until told to stop.
fn swapping(one: &Path, other: &Path, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
}

/// A tree at `inside`, and a secret beside it.
fn lab() -> (tempfile::TempDir, Arc<Vfs>) {
    let lab = tempfile::tempdir().unwrap();
    let inside = lab.path().join("inside");
    std::fs::create_dir_all(inside.join("real")).unwrap();
    std::fs::create_dir(lab.path().join("outside")).unwrap();
    std::fs::write(lab.path().join("outside/file"), "secret").unwrap();
    std::fs::write(inside.join("real/file"), "mine").unwrap();
    let vfs = open_tree(&inside);
    (lab, vfs)
}

/// Opens `path` many times; counts how often it held what it should. Nothing else may be found there.
fn open_often(top: &Folder, path: &str) -> usize {
    let results = (0..5_000).map(|_| content(top, path));
    results
        .filter(|result| match result {
            Ok(bytes) => {
                assert_eq!(bytes, b"mine");
                true
            }
            Err(error) => {
                assert!(matches!(error, ErrorCode::NotFound | ErrorCode::Loop | ErrorCode::NotDirectory), "{error}");
                false
            }
        })
        .count()
}

#[test]
fn a_folder_that_is_swapped_for_a_link_leads_nowhere_else() {
    let (lab, vfs) = lab();
    let inside = lab.path().join("inside");
    for target in [lab.path().join("outside"), Path::new("../outside").to_owned()] {
        std::os::unix::fs::symlink(target, inside.join("link")).unwrap();
        swapping(&inside.join("real"), &inside.join("link"), || {
            let found = open_often(&vfs.root(), "real/file") + open_often(&vfs.root(), "x/../real/../real/file");
            assert!(found > 0, "it was never found");
        });
        // Whichever of the two is the link by now.
        for name in ["real", "link"] {
            if std::fs::symlink_metadata(inside.join(name)).unwrap().is_symlink() {
                std::fs::remove_file(inside.join(name)).unwrap();
            } else if name == "link" {
                std::fs::rename(inside.join("link"), inside.join("real")).unwrap();
            }
        }
    }
}

#[test]
fn a_file_that_is_swapped_for_a_link_leads_nowhere_else() {
    let (lab, vfs) = lab();
    let real = lab.path().join("inside/real");
    std::os::unix::fs::symlink(lab.path().join("outside/file"), real.join("link")).unwrap();
    swapping(&real.join("file"), &real.join("link"), || {
        assert!(open_often(&vfs.root(), "real/file") > 0, "it was never found");
    });
}

#[test]
fn a_folder_that_is_swapped_below_a_walk_leads_nowhere_else() {
    let (lab, vfs) = lab();
    let inside = lab.path().join("inside");
    std::fs::create_dir_all(inside.join("a/b/c")).unwrap();
    std::fs::write(inside.join("a/file"), "mine").unwrap();
    // `..` from `c` must never lead to what the outside has in place of `a`.
    std::fs::create_dir_all(lab.path().join("outside/b/c")).unwrap();
    swapping(&inside.join("a/b"), &lab.path().join("outside/b"), || {
        assert!(open_often(&vfs.root(), "a/b/c/../../file") > 0, "it was never found");
    });
}
