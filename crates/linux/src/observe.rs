//! What is enforced, by what the kernel says of the process, not by what was asked of it. What the clone
//! itself made can be looked at while pid 1 puts up the other walls.

use ringfence_isolation::{Enforcement, Guarantee, Held};

use crate::cgroup::{Cgroup, read_text};

/// What was seen of a pid 1.
pub(crate) struct Observation {
    pid: i32,
    missing: Vec<(&'static [Guarantee], &'static str)>,
}

impl Observation {
    /// Looks at the namespaces that the clone made; nothing leaves them any more.
    pub(crate) fn of_clone(pid: i32) -> Self {
        use Guarantee as G;
        let mut observation = Observation { pid, missing: Vec::new() };
        observation.look_at("mnt", &[G::FilesystemConfined]);
        observation.look_at("pid", &[G::ProcessesHidden, G::KillWorks]);
        observation.look_at("ipc", &[G::MemoryIsolated]);
        observation.look_at("uts", &[G::EnvironmentConfined]);
        observation
    }

    /// Looks at everything else, now that all walls are said to stand. What AppArmor is asked for shows to pid 2
    /// alone, which looks before it says that it is ready.
    pub(crate) fn of_walls(&mut self, cgroup: &Cgroup) {
        use Guarantee as G;
        // It may have been entered after the clone.
        self.look_at("net", &[G::NetworkConfined]);
        if let Some(why) = unconfined(&self.read("status")) {
            self.missing.push((
                &[
                    G::MemoryIsolated,
                    G::OwnAddressSpace,
                    G::FilesystemConfined,
                    G::NetworkConfined,
                    G::SystemCallsConfined,
                ],
                why,
            ));
        }
        if !cgroup.holds(&self.read("cgroup")) {
            let by_cgroup = &[G::MemoryLimit, G::CpuTimeLimit, G::CoresLimit, G::ProcessesLimit, G::OpenFilesLimit];
            self.missing.push((by_cgroup, "the process is not in its cgroup"));
        }
    }

    /// The promise, with everything the kernel does not confirm taken out.
    pub(crate) fn enforced(&self, promised: &Enforcement) -> Enforcement {
        let mut enforced = promised.clone();
        for &(guarantees, why) in &self.missing {
            for &guarantee in guarantees {
                if matches!(enforced.get(guarantee), Held::By { .. }) {
                    enforced.set(guarantee, Held::not(why));
                }
            }
        }
        enforced
    }

    fn look_at(&mut self, kind: &str, guarantees: &'static [Guarantee]) {
        let namespace = |whose: &str| std::fs::read_link(format!("/proc/{whose}/ns/{kind}"));
        let is_shared = match (namespace("self"), namespace(&self.pid.to_string())) {
            (Ok(own), Ok(theirs)) => own == theirs,
            // The memory of pid 1 is closed, and only root may look nevertheless (`ptrace(2)`, access mode checks).
            // The clone made every namespace or failed; that of processes shows in the status.
            (Ok(_), Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                kind == "pid" && !is_nested(&self.read("status"))
            }
            _ => true,
        };
        if is_shared {
            self.missing.push((guarantees, "the kernel does not show a namespace of its own"));
        }
    }

    fn read(&self, file: &str) -> String {
        read_text(format!("/proc/{}/{file}", self.pid).as_ref()).unwrap_or_default()
    }
}

/// Whether a process has a number in a namespace below the one of who looks.
fn is_nested(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1)
}

/// What a process's `/proc/<pid>/status` (`proc(5)`) shows to be missing.
fn unconfined(status: &str) -> Option<&'static str> {
    let value = |key: &str| {
        status.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim())).unwrap_or("?")
    };
    if value("Seccomp") != "2" {
        return Some("the kernel shows no system call filter");
    }
    if value("NoNewPrivs") != "1" {
        return Some("the kernel does not show no_new_privs");
    }
    let none = |key: &str| u64::from_str_radix(value(key), 16) == Ok(0);
    if !["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].into_iter().all(none) {
        return Some("the kernel shows capabilities left");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFINED: &str = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
        CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n\
        NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn a_namespace_of_processes_shows_in_the_status() {
        assert!(is_nested("NSpid:\t812\t1\n") && !is_nested("NSpid:\t812\n") && !is_nested(""));
    }

    #[test]
    fn a_confined_process_shows_nothing_missing() {
        assert_eq!(unconfined(CONFINED), None);
    }

    #[test]
    fn each_wall_that_is_not_there_is_noticed() {
        for (there, not) in [
            ("Seccomp:\t2", "Seccomp:\t0"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("CapBnd:\t0000000000000000", "CapBnd:\t0000000000000001"),
            ("CapEff:\t0000000000000000", ""),
        ] {
            assert!(unconfined(&CONFINED.replace(there, not)).is_some(), "{there}");
        }
        assert!(unconfined("").is_some());
    }
}
