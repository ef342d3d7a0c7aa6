//! What the processes of a cgroup used, and which limits they ran into.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::{pread, read};

use super::{Cgroup, Controller, Version};
use crate::launch::STREAMS;

/// Something that becomes ready when a limit trips. Only a hint: the counters say what happened.
pub(crate) struct Alarm {
    pub(crate) descriptor: OwnedFd,
    pub(crate) interest: PollFlags,
}

impl Alarm {
    /// A file of events: POLLPRI after each change, until it is read again.
    fn file(path: &Path) -> Option<Self> {
        let alarm = Alarm { descriptor: File::open(path).ok()?.into(), interest: PollFlags::PRI };
        alarm.rearm();
        Some(alarm)
    }

    /// An eventfd that version 1 signals when memory runs out.
    fn out_of_memory(folder: &Path) -> Option<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        let control = File::open(folder.join("memory.oom_control")).ok()?;
        let line = format!("{} {}", descriptor.as_raw_fd(), control.as_raw_fd());
        std::fs::write(folder.join("cgroup.event_control"), line).ok()?;
        Some(Alarm { descriptor, interest: PollFlags::IN })
    }

    /// Makes it quiet until the next time.
    pub(crate) fn rearm(&self) {
        let mut text = [0; 256];
        if self.interest == PollFlags::PRI {
            let _ = pread(&self.descriptor, &mut text, 0);
        } else {
            let _ = read(&self.descriptor, &mut text[..8]);
        }
    }
}

impl Cgroup {
    /// Bytes of memory now.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.number(Controller::Memory, "memory.usage_in_bytes", "memory.current")
    }

    /// The most bytes of memory at once (Linux 5.19 and later in version 2).
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        self.number(Controller::Memory, "memory.max_usage_in_bytes", "memory.peak")
    }

    /// How many processes were ended because no memory was left.
    pub(crate) fn out_of_memory(&self) -> u64 {
        self.keyed(Controller::Memory, "memory.oom_control", "memory.events", "oom_kill").unwrap_or(0)
    }

    /// How often a process or thread was not made because there were too many.
    pub(crate) fn too_many_processes(&self) -> u64 {
        self.keyed(Controller::Pids, "pids.events", "pids.events", "max").unwrap_or(0)
    }

    /// Processor time so far.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let folder = self.folder(Controller::CpuAccounting)?;
        match folder.version {
            Version::One => self.number(Controller::CpuAccounting, "cpuacct.usage", "").map(Duration::from_nanos),
            Version::Two => {
                self.keyed(Controller::CpuAccounting, "", "cpu.stat", "usage_usec").map(Duration::from_micros)
            }
        }
    }

    /// How many descriptors its processes hold, the standard streams of each not counted.
    /// `first` is pid 1 of the place, which is ours.
    pub(crate) fn open_files(&self, first: i32) -> u64 {
        let list = self.folders.first().and_then(|folder| self.tree.read(&folder.path.join("cgroup.procs")).ok());
        let list = list.unwrap_or_default();
        let processes = list.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|&pid| pid != first);
        processes.map(|pid| descriptors(pid).saturating_sub(STREAMS)).sum()
    }

    /// What becomes ready (`poll(2)`) when a limit trips.
    pub(crate) fn alarms(&self) -> Vec<Alarm> {
        let memory = self.folder(Controller::Memory).and_then(|folder| match folder.version {
            Version::One => Alarm::out_of_memory(&folder.path),
            Version::Two => Alarm::file(&folder.path.join("memory.events")),
        });
        let pids = self.folder(Controller::Pids).and_then(|folder| Alarm::file(&folder.path.join("pids.events")));
        [memory, pids].into_iter().flatten().collect()
    }

    fn number(&self, controller: Controller, in_one: &str, in_two: &str) -> Option<u64> {
        let folder = self.folder(controller)?;
        let file = if folder.version == Version::One { in_one } else { in_two };
        self.tree.read(&folder.path.join(file)).ok()?.trim().parse().ok()
    }

    fn keyed(&self, controller: Controller, in_one: &str, in_two: &str, key: &str) -> Option<u64> {
        let folder = self.folder(controller)?;
        let file = if folder.version == Version::One { in_one } else { in_two };
        let text = self.tree.read(&folder.path.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
    }
}

/// How many descriptors a process holds: the size of the folder (Linux 6.2 and later), or what is in it.
fn descriptors(pid: i32) -> u64 {
    let folder = format!("/proc/{pid}/fd");
    match std::fs::metadata(&folder) {
        Ok(found) if found.len() > 0 => found.len(),
        _ => std::fs::read_dir(&folder).map_or(0, |entries| entries.count() as u64),
    }
}
