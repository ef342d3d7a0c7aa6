//! A copy of everything a capsule may change, to be thrown away.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ringfence::Spec;
use ringfence::manifest::{Bytes, MountMode};

use crate::events::Events;
use crate::failure::Failure;
use crate::held::Held;
use crate::progress::Elapsed;
use crate::watchdog::Watchdog;

/// The most that is copied.
const MOST_BYTES: u64 = 4 << 30;
const MOST_ENTRIES: u64 = 500_000;

/// How the names of scratch folders begin.
pub(crate) const PREFIX: &str = "ringfence-learn-";

/// A folder with copies of a capsule's own files and of its writable mounts. Dropping it removes it.
pub(crate) struct Scratch {
    folder: Held,
}

/// What is copied where.
struct Job {
    from: PathBuf,
    to: PathBuf,
}

/// How far a copy may still go, and whether it still should.
struct Budget {
    bytes: u64,
    entries: u64,
    stop: Arc<AtomicBool>,
    left_out: u64,
}

impl Scratch {
    /// Copies what `spec` lets the capsule change, and lets `spec` point to the copies.
    pub(crate) async fn of(spec: &mut Spec, events: &Events, watchdog: &Watchdog) -> Result<Self, Failure> {
        let folder = Held::make(&std::env::temp_dir(), PREFIX)?;
        watchdog.guard(Some(folder.path().to_owned()));
        let mut signals = watchdog.while_preparing();
        let jobs = redirect(spec, &folder.path().canonicalize()?)?;
        let stop = Arc::new(AtomicBool::new(false));
        let budget = Budget { bytes: MOST_BYTES, entries: MOST_ENTRIES, stop: stop.clone(), left_out: 0 };
        let _line = events.talks().then(|| Elapsed::begin("making a scratch copy".into())).flatten();
        let mut copying = tokio::task::spawn_blocking(move || copy_all(&jobs, budget));
        let copied = tokio::select! {
            copied = &mut copying => copied,
            signal = signals.next() => {
                stop.store(true, Relaxed);
                let _ = copying.await;
                return Err(Failure::stopped(signal));
            }
        };
        let left_out = copied.map_err(io::Error::other)??;
        if left_out > 0 {
            events.note(&format!("{left_out} devices, sockets and pipes are not in the scratch copy"));
        }
        Ok(Scratch { folder })
    }

    /// Removes it, and says when that fails.
    pub(crate) fn remove(self) -> io::Result<()> {
        self.folder.remove()
    }
}

/// Lets `spec` point into `scratch`, and says what has to be copied there.
fn redirect(spec: &mut Spec, scratch: &Path) -> io::Result<Vec<Job>> {
    let to = scratch.join("root");
    let mut jobs: Vec<Job> = spec.root.take().map(|from| Job { from, to: to.clone() }).into_iter().collect();
    if jobs.is_empty() {
        private_folder(&to)?;
    }
    spec.root = Some(to);
    let writable = spec.mounts.iter_mut().filter(|mount| mount.mode == MountMode::ReadWrite);
    for (number, mount) in writable.enumerate() {
        let to = scratch.join(format!("mount-{number}"));
        jobs.push(Job { from: std::mem::replace(&mut mount.from, to.clone()), to });
    }
    Ok(jobs)
}

/// Copies everything; how many things that cannot be copied were left out.
fn copy_all(jobs: &[Job], mut budget: Budget) -> io::Result<u64> {
    for Job { from, to } in jobs {
        match fs::metadata(from) {
            Ok(found) if found.is_dir() => copy_folder(from, to, &mut budget)?,
            Ok(found) => copy_file(from, to, &found, &mut budget)?,
            // A capsule that never ran has no files of its own yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => private_folder(to)?,
            Err(error) => return Err(error),
        }
    }
    Ok(budget.left_out)
}

fn copy_folder(from: &Path, to: &Path, budget: &mut Budget) -> io::Result<()> {
    private_folder(to)?;
    // A stack of its own: a tree may be deeper than the thread's.
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = waiting.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            budget.spend(0)?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let found = fs::symlink_metadata(&from)?;
            if found.is_dir() {
                private_folder(&to)?;
                waiting.push((from, to));
            } else if found.is_symlink() {
                symlink(fs::read_link(&from)?, &to)?;
            } else if found.is_file() {
                copy_file(&from, &to, &found, budget)?;
            } else {
                budget.left_out += 1;
            }
        }
    }
    Ok(())
}

/// Copies one file with its mode and times. The kernel shares the content where the filesystem can.
fn copy_file(from: &Path, to: &Path, found: &fs::Metadata, budget: &mut Budget) -> io::Result<()> {
    budget.spend(found.len())?;
    fs::copy(from, to)?;
    let times = fs::FileTimes::new().set_modified(found.modified()?).set_accessed(found.accessed()?);
    match fs::File::options().write(true).open(to) {
        Ok(file) => file.set_times(times),
        // A file nobody may write keeps the time of its copy.
        Err(_) => Ok(()),
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

impl Budget {
    fn spend(&mut self, bytes: u64) -> io::Result<()> {
        if self.stop.load(Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let left = self.bytes.checked_sub(bytes).zip(self.entries.checked_sub(1));
        let Some((bytes, entries)) = left else {
            return Err(io::Error::other(too_much()));
        };
        (self.bytes, self.entries) = (bytes, entries);
        Ok(())
    }
}

fn too_much() -> String {
    let most = Bytes(MOST_BYTES);
    format!("the writable mounts hold more than {most} or {MOST_ENTRIES} files: too much for a scratch copy")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bytes: u64) -> Budget {
        Budget { bytes, entries: 100, stop: Arc::default(), left_out: 0 }
    }

    #[test]
    fn a_tree_is_copied_with_its_links_and_times() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "content").unwrap();
        symlink("../nowhere", from.join("a/link")).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        fs::File::options().write(true).open(from.join("a/b/file")).unwrap().set_modified(old).unwrap();

        copy_folder(&from, &to, &mut budget(1000)).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/file")).unwrap(), "content");
        assert_eq!(fs::read_link(to.join("a/link")).unwrap(), Path::new("../nowhere"));
        assert_eq!(fs::metadata(to.join("a/b/file")).unwrap().modified().unwrap(), old);
    }

    #[test]
    fn a_copy_that_would_be_too_large_fails() {
        let place = tempfile::tempdir().unwrap();
        let from = place.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), "content").unwrap();
        assert!(copy_folder(&from, &place.path().join("to"), &mut budget(6)).is_err());
    }

    #[test]
    fn a_copy_that_is_called_off_fails() {
        let place = tempfile::tempdir().unwrap();
        let from = place.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), "content").unwrap();
        let budget = budget(1000);
        budget.stop.store(true, Relaxed);
        let jobs = [Job { from, to: place.path().join("to") }];
        assert_eq!(copy_all(&jobs, budget).unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
