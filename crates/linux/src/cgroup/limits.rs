//! Which limits are wanted, and what to write for each.

use std::io;
use std::path::Path;

use ringfence_manifest::Limits;

use super::{Controller, Hierarchies, Place, Tree, Version};

/// The limits a cgroup is to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Bytes, swap included.
    pub(crate) memory: Option<u64>,
    /// Whether there is a network in which sockets can hold memory.
    pub(crate) sockets: bool,
    /// Processes and threads.
    pub(crate) processes: Option<u64>,
    /// Thousandths of a processor.
    pub(crate) cores: Option<u32>,
    /// Whether processor time is counted for a limit.
    pub(crate) cpu_time: bool,
}

/// The period over which a share of the processors is counted, in microseconds.
const PERIOD: u64 = 100_000;

impl Wanted {
    pub(crate) fn of(limits: &Limits, sockets: bool) -> Self {
        Wanted {
            sockets,
            memory: limits.memory.map(|bytes| bytes.0),
            processes: limits.processes,
            cores: limits.cores.map(|cores| cores.0),
            cpu_time: limits.cpu_time.is_some(),
        }
    }

    /// The same without what no controller is there for: a run that was told to be weaker.
    pub(crate) fn possible(&self, hierarchies: &Hierarchies) -> Self {
        let there = |controller| hierarchies.place(controller).is_some();
        Wanted {
            memory: self.memory.filter(|_| there(Controller::Memory)),
            sockets: self.sockets,
            processes: self.processes.filter(|_| there(Controller::Pids)),
            cores: self.cores.filter(|_| there(Controller::Cpu)),
            cpu_time: self.cpu_time && there(Controller::CpuAccounting),
        }
    }

    /// The controllers these limits cannot do without.
    pub(crate) fn needed(&self) -> Vec<Controller> {
        [
            self.memory.map(|_| Controller::Memory),
            self.processes.map(|_| Controller::Pids),
            self.cores.map(|_| Controller::Cpu),
            self.cpu_time.then_some(Controller::CpuAccounting),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Those, and where they exist the ones that only measure.
    pub(super) fn used(&self, hierarchies: &Hierarchies) -> Vec<Controller> {
        let mut used = self.needed();
        for extra in [Controller::Memory, Controller::CpuAccounting, Controller::Freezer] {
            // In version 1 each controller is a hierarchy of its own, which takes time to enter.
            let costs_nothing = |place: &Place| place.version == Version::Two || extra == Controller::Memory;
            if hierarchies.place(extra).is_some_and(costs_nothing) && !used.contains(&extra) {
                used.push(extra);
            }
        }
        used
    }

    /// Writes what one controller needs to know into its folder.
    pub(super) fn apply(
        &self,
        tree: &dyn Tree,
        folder: &Path,
        controller: Controller,
        version: Version,
    ) -> Result<(), (&'static str, io::Error)> {
        let write = |file: &'static str, value: u64| {
            tree.write(&folder.join(file), &value.to_string()).map_err(|error| (file, error))
        };
        match (controller, version) {
            (Controller::Memory, Version::One) => match self.memory {
                Some(bytes) => {
                    write("memory.limit_in_bytes", bytes)?;
                    if self.sockets {
                        // What UDP sockets hold too, whatever its name says. Nothing is counted before it is set.
                        write("memory.kmem.tcp.limit_in_bytes", bytes)?;
                    }
                    match write("memory.memsw.limit_in_bytes", bytes) {
                        // Swap is not accounted: keep this cgroup out of it.
                        Err((_, error)) if error.kind() == io::ErrorKind::NotFound => write("memory.swappiness", 0),
                        result => result,
                    }
                }
                None => Ok(()),
            },
            (Controller::Memory, Version::Two) => match self.memory {
                Some(bytes) => {
                    write("memory.max", bytes)?;
                    // One process out of memory ends them all: what is left would be half a capsule.
                    write("memory.oom.group", 1)?;
                    match write("memory.swap.max", 0) {
                        // A kernel without swap.
                        Err((_, error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                        result => result,
                    }
                }
                None => Ok(()),
            },
            // Pid 1 of the place is ours and not counted against the capsule.
            (Controller::Pids, _) => self.processes.map_or(Ok(()), |most| write("pids.max", most.saturating_add(1))),
            (Controller::Cpu, version) => {
                let Some(cores) = self.cores else { return Ok(()) };
                let quota = (u64::from(cores) * PERIOD / 1000).max(1000);
                match version {
                    Version::One => {
                        write("cpu.cfs_period_us", PERIOD)?;
                        write("cpu.cfs_quota_us", quota)
                    }
                    Version::Two => tree
                        .write(&folder.join("cpu.max"), &format!("{quota} {PERIOD}"))
                        .map_err(|error| ("cpu.max", error)),
                }
            }
            (Controller::CpuAccounting | Controller::Freezer, _) => Ok(()),
        }
    }
}
