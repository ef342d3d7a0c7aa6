//! How many descriptors the processes of a cgroup hold.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Cgroup, read_text};
use crate::launch::STREAMS;
use crate::sys;

/// How close together two looks at every process are at least.
const CLOSEST: Duration = Duration::from_millis(1);
/// How much longer is waited than the look before took: processes that end one after the other must not
/// occupy the supervisor, however many others there are.
const REST: u32 = 20;

/// What was counted when it was last looked.
pub(crate) struct Descriptors {
    /// Pid 1 of the place, which is ours.
    first: i32,
    counts: HashMap<i32, u64>,
    sum: u64,
    /// When that was, and how long it took.
    looked: Option<(Instant, Duration)>,
}

impl Descriptors {
    pub(crate) fn new(first: i32) -> Self {
        Descriptors { first, counts: HashMap::new(), sum: 0, looked: None }
    }

    /// How many all processes hold, the standard streams of each not counted.
    pub(crate) fn all(&mut self, cgroup: &Cgroup) -> io::Result<u64> {
        let is_fresh = |(at, took): (Instant, Duration)| at.elapsed() < CLOSEST.max(took * REST);
        if !self.looked.is_some_and(is_fresh) {
            self.look(cgroup)?;
        }
        Ok(self.sum)
    }

    /// The same with the process of a thread looked at in any case, which is about to end: from then on it does
    /// not count.
    pub(crate) fn with_ending(&mut self, cgroup: &Cgroup, thread: i32) -> io::Result<u64> {
        self.all(cgroup)?;
        let process = if self.counts.contains_key(&thread) { thread } else { process_of(thread)? };
        self.count(process)?;
        let sum = self.sum;
        self.sum = sum.saturating_sub(self.counts.remove(&process).unwrap_or(0));
        Ok(sum)
    }

    fn look(&mut self, cgroup: &Cgroup) -> io::Result<()> {
        let began = Instant::now();
        let processes = cgroup.processes()?;
        (self.counts, self.sum) = (HashMap::with_capacity(processes.len()), 0);
        for process in processes {
            self.count(process)?;
        }
        self.looked = Some((began, began.elapsed()));
        Ok(())
    }

    fn count(&mut self, process: i32) -> io::Result<()> {
        if process == self.first {
            return Ok(());
        }
        let count = held_by(process)?;
        let before = self.counts.insert(process, count).unwrap_or(0);
        self.sum = self.sum.saturating_sub(before).saturating_add(count);
        Ok(())
    }
}

/// How many a process holds. Its threads have one table most of the time; the first may have ended, and any may
/// have made one of its own (`clone(2)`).
fn held_by(process: i32) -> io::Result<u64> {
    let tasks = format!("/proc/{process}/task");
    // A folder for each thread, beside `.` and `..`.
    let Some(links) = unless_gone(std::fs::metadata(&tasks).map(|found| found.nlink()))? else { return Ok(0) };
    if links <= 3 {
        return Ok(in_table(&format!("/proc/{process}/fd"))?.saturating_sub(STREAMS));
    }
    let Some(entries) = unless_gone(std::fs::read_dir(&tasks))? else { return Ok(0) };
    let (mut tables, mut sum) = (Vec::new(), 0_u64);
    for entry in entries {
        let Some(entry) = unless_gone(entry)? else { continue };
        let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // Where the kernel does not compare, there is one.
        let compare = |other: &i32| sys::compare_descriptors(*other, thread).unwrap_or(Ordering::Equal);
        let Err(at) = tables.binary_search_by(compare) else { continue };
        let count = in_table(&format!("{tasks}/{thread}/fd"))?;
        // A thread that has ended has none.
        if count > 0 {
            tables.insert(at, thread);
            sum = sum.saturating_add(count.saturating_sub(STREAMS));
        }
    }
    Ok(sum)
}

/// How many are in a table: the size of its folder (Linux 6.2 and later), or what is in it.
fn in_table(folder: &str) -> io::Result<u64> {
    let count = match std::fs::metadata(folder) {
        Ok(found) if found.len() > 0 => Ok(found.len()),
        Ok(_) => std::fs::read_dir(folder).map(|entries| entries.count() as u64),
        Err(error) => Err(error),
    };
    match unless_gone(count) {
        // It has not become the program yet.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(0),
        other => Ok(other?.unwrap_or(0)),
    }
}

/// The process of a thread; its own number when it is gone.
fn process_of(thread: i32) -> io::Result<i32> {
    let text = unless_gone(read_text(format!("/proc/{thread}/status").as_ref()))?.unwrap_or_default();
    let process = text.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    Ok(process.unwrap_or(thread))
}

/// `None` of a process that has ended. That it cannot be looked at for another reason is no news of it.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn threads_with_one_table_are_counted_once() {
        let own = std::process::id().cast_signed();
        let before = held_by(own).unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (stopped, started) = (std::sync::Mutex::new(stopped), std::sync::Barrier::new(5));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    started.wait();
                    let _ = stopped.lock().unwrap().recv();
                });
            }
            started.wait();
            let open: Vec<OwnedFd> = (0..200).map(|_| std::fs::File::open("/").unwrap().into()).collect();
            let now = held_by(own).unwrap();
            // Other tests of this process open and close theirs.
            assert!((before + 100..before + 400).contains(&now), "{before} {now}");
            drop((stop, open));
        });
    }

    #[test]
    fn who_is_gone_holds_nothing() {
        assert_eq!(held_by(i32::MAX).unwrap(), 0);
        assert_eq!(process_of(i32::MAX).unwrap(), i32::MAX);
    }
}
