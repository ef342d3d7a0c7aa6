//! What the processes of a cgroup used, and which limits they ran into.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::{pread, read};

use super::folder::Folder;
use super::{Cgroup, CgroupError, Controller, Tree, Version, Wanted};

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

/// The files that limits are judged by. Each is opened once, when the cgroup is made: whoever used up this
/// process's descriptors later would otherwise have switched the limits off.
#[derive(Default)]
pub(super) struct Gauges {
    memory: Option<Gauge>,
    memory_peak: Option<Gauge>,
    /// Version 1 counts what sockets hold apart.
    sockets: Option<Gauge>,
    sockets_peak: Option<Gauge>,
    out_of_memory: Option<Gauge>,
    too_many_processes: Option<Gauge>,
    cpu_time: Option<Gauge>,
}

/// One figure of a file.
struct Gauge {
    file: File,
    /// What stands before the figure on its line; nothing, where the file is the figure.
    key: &'static str,
}

/// More than any file that holds a figure has; `pread` gives such a file from its beginning, as it is now.
const LONGEST: usize = 4096;

impl Gauge {
    fn read(&self) -> io::Result<u64> {
        let mut text = [0; LONGEST];
        let length = pread(&self.file, &mut text, 0)?;
        let text = std::str::from_utf8(&text[..length.min(LONGEST)]).unwrap_or_default();
        let figure = text.lines().find_map(|line| match self.key {
            "" => line.trim().parse().ok(),
            key => line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok(),
        });
        figure.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Gauges {
    /// Opens what there is. What only older kernels lack is left out, of what no limit depends on.
    pub(super) fn open(tree: &dyn Tree, folders: &[Folder], wanted: &Wanted) -> Result<Self, CgroupError> {
        let open = |controller, in_one: (&str, &'static str), in_two: (&str, &'static str), is_needed: bool| {
            let Some(folder) = folders.iter().find(|folder| folder.controllers.contains(&controller)) else {
                return Ok(None);
            };
            let (name, key) = if folder.version == Version::One { in_one } else { in_two };
            let file = folder.path.join(name);
            match tree.open(&file) {
                Ok(file) => Ok(Some(Gauge { file, key })),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_needed => Ok(None),
                Err(source) => Err(CgroupError::Open { file, source }),
            }
        };
        let (memory, limits_memory) = (Controller::Memory, wanted.memory.is_some());
        let plain = |one, two| ((one, ""), (two, ""));
        let (now, peak) =
            (plain("memory.usage_in_bytes", "memory.current"), plain("memory.max_usage_in_bytes", "memory.peak"));
        let in_one = |file: &'static str| {
            let is_one = |folder: &&Folder| folder.version == Version::One && folder.controllers.contains(&memory);
            match folders.iter().find(is_one).filter(|_| limits_memory && wanted.sockets) {
                Some(_) => open(memory, (file, ""), (file, ""), true),
                None => Ok(None),
            }
        };
        let kills = (("memory.oom_control", "oom_kill"), ("memory.events", "oom_kill"));
        let pids = ("pids.events", "max");
        let time = (("cpuacct.usage", ""), ("cpu.stat", "usage_usec"));
        Ok(Gauges {
            memory: open(memory, now.0, now.1, limits_memory)?,
            // Linux 5.19 and later in version 2.
            memory_peak: open(memory, peak.0, peak.1, false)?,
            sockets: in_one("memory.kmem.tcp.usage_in_bytes")?,
            sockets_peak: in_one("memory.kmem.tcp.max_usage_in_bytes")?,
            out_of_memory: open(memory, kills.0, kills.1, limits_memory)?,
            too_many_processes: open(Controller::Pids, pids, pids, wanted.processes.is_some())?,
            cpu_time: open(Controller::CpuAccounting, time.0, time.1, wanted.cpu_time)?,
        })
    }
}

/// A figure that cannot be read is an error, and never nothing: 0 would say that no limit has tripped.
/// `None` is one that nothing counts here.
impl Cgroup {
    /// Bytes of memory now.
    pub(crate) fn memory(&self) -> io::Result<Option<u64>> {
        sum(&self.gauges.memory, &self.gauges.sockets)
    }

    /// The most bytes of memory at once; at most, where sockets are counted apart.
    pub(crate) fn memory_peak(&self) -> io::Result<Option<u64>> {
        sum(&self.gauges.memory_peak, &self.gauges.sockets_peak)
    }

    /// Bytes of memory now, where the kernel bounds only parts of them: it is for the supervisor to see that
    /// they are too many together.
    pub(crate) fn memory_in_parts(&self) -> io::Result<Option<u64>> {
        if self.gauges.sockets.is_some() { self.memory() } else { Ok(None) }
    }

    /// How many processes were ended because no memory was left.
    pub(crate) fn out_of_memory(&self) -> io::Result<u64> {
        self.gauges.out_of_memory.as_ref().map_or(Ok(0), Gauge::read)
    }

    /// How often a process or thread was not made because there were too many.
    pub(crate) fn too_many_processes(&self) -> io::Result<u64> {
        self.gauges.too_many_processes.as_ref().map_or(Ok(0), Gauge::read)
    }

    /// Processor time so far.
    pub(crate) fn cpu_time(&self) -> io::Result<Option<Duration>> {
        let unit = match self.folder(Controller::CpuAccounting).map(|folder| folder.version) {
            Some(Version::Two) => Duration::from_micros,
            Some(Version::One) | None => Duration::from_nanos,
        };
        self.gauges.cpu_time.as_ref().map(|gauge| gauge.read().map(unit)).transpose()
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> io::Result<Vec<i32>> {
        // Opened anew each time: version 1 gives who reads it again the list of before.
        let Some(folder) = self.folders.first() else { return Ok(Vec::new()) };
        let list = self.tree.read(&folder.path.join("cgroup.procs"))?;
        Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
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
}

fn sum(whole: &Option<Gauge>, part: &Option<Gauge>) -> io::Result<Option<u64>> {
    let Some(whole) = whole else { return Ok(None) };
    let part = part.as_ref().map_or(Ok(0), Gauge::read)?;
    Ok(Some(whole.read()?.saturating_add(part)))
}
