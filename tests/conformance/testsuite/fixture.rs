//! A fresh copy of the folders of a test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::test::Test;

/// What a test leaves behind, or left behind when it did not end well.
const LEFT_BEHIND: &str = "cleanup";

/// A fresh copy of the folders of a test; removed when it is dropped.
pub(crate) struct Fixture {
    _place: TempDir,
    /// Each folder with the name that the test sees it under.
    pub(crate) folders: Vec<(PathBuf, String)>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FixtureError {
    #[error("there is no folder {}; --fixtures says where to look", .0.display())]
    Missing(PathBuf),
    #[error("cannot copy {}: {source}", path.display())]
    Copy { path: PathBuf, source: io::Error },
    #[error("cannot make a folder for the files of a test: {0}")]
    Folder(#[from] io::Error),
}

impl Fixture {
    pub(crate) fn copy(test: &Test, fixtures: &Path) -> Result<Self, FixtureError> {
        let place = tempfile::tempdir()?;
        let root = test.root.iter().map(|folder| (folder, "/"));
        let dirs = test.dirs.iter().map(|folder| (folder, folder.as_str()));
        let mut folders = Vec::new();
        for (number, (folder, name)) in root.chain(dirs).enumerate() {
            let from = fixtures.join(folder);
            if !from.is_dir() {
                return Err(FixtureError::Missing(from));
            }
            let to = place.path().join(number.to_string());
            copy(&from, &to).map_err(|source| FixtureError::Copy { path: from, source })?;
            folders.push((to, name.to_owned()));
        }
        Ok(Fixture { _place: place, folders })
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == LEFT_BEHIND) {
            continue;
        }
        let to = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&path, &to)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path)?, to)?;
        } else {
            fs::copy(&path, to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_everything_but_what_earlier_tests_left_behind() {
        let suite = tempfile::tempdir().unwrap();
        fs::create_dir_all(suite.path().join("d/sub")).unwrap();
        fs::create_dir_all(suite.path().join("d/old.cleanup")).unwrap();
        fs::write(suite.path().join("d/sub/f"), "text").unwrap();
        std::os::unix::fs::symlink("nowhere", suite.path().join("d/l")).unwrap();
        let test = Test { root: Some("d".into()), dirs: vec!["d".into()], ..Test::default() };
        let fixture = Fixture::copy(&test, suite.path()).unwrap();
        let names: Vec<_> = fixture.folders.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["/", "d"]);
        for (folder, _) in &fixture.folders {
            assert_eq!(fs::read_to_string(folder.join("sub/f")).unwrap(), "text");
            assert_eq!(fs::read_link(folder.join("l")).unwrap(), Path::new("nowhere"));
            assert!(!folder.join("old.cleanup").exists());
        }
        let test = Test { dirs: vec!["e".into()], ..Test::default() };
        assert!(matches!(Fixture::copy(&test, suite.path()), Err(FixtureError::Missing(_))));
    }
}
