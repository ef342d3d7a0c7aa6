//! What is enforced, by what the kernel says of the process, not by what was asked of it.

use ringfence_isolation::{Enforcement, Guarantee, Held};

use crate::cgroup::{Cgroup, read_text};

/// The promise, with everything the kernel does not confirm taken out.
pub(crate) fn enforced(promised: &Enforcement, pid: i32, cgroup: &Cgroup) -> Enforcement {
    let mut enforced = promised.clone();
    let read = |file: &str| read_text(format!("/proc/{pid}/{file}").as_ref()).unwrap_or_default();
    let mut missing = |guarantees: &[Guarantee], why: &str| {
        for &guarantee in guarantees {
            if matches!(enforced.get(guarantee), Held::By { .. }) {
                enforced.set(guarantee, Held::not(why));
            }
        }
    };
    let shared = |kind: &str| {
        let namespace = |whose: &str| std::fs::read_link(format!("/proc/{whose}/ns/{kind}"));
        match (namespace("self"), namespace(&pid.to_string())) {
            (Ok(own), Ok(theirs)) => own == theirs,
            // The memory of pid 1 is closed, and only root may look nevertheless (`ptrace(2)`, access mode checks).
            // The clone made every namespace or failed; that of processes shows in the status.
            (Ok(_), Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                kind == "pid" && !is_nested(&read("status"))
            }
            _ => true,
        }
    };
    for (kind, guarantee) in [
        ("mnt", Guarantee::FilesystemConfined),
        ("net", Guarantee::NetworkConfined),
        ("pid", Guarantee::ProcessesHidden),
        ("pid", Guarantee::KillWorks),
        ("ipc", Guarantee::MemoryIsolated),
        ("uts", Guarantee::EnvironmentConfined),
    ] {
        if shared(kind) {
            missing(&[guarantee], "the kernel does not show a namespace of its own");
        }
    }
    if let Some(why) = unconfined(&read("status")) {
        use Guarantee as G;
        missing(&[G::MemoryIsolated, G::OwnAddressSpace, G::FilesystemConfined, G::NetworkConfined], why);
    }
    if !cgroup.holds(&read("cgroup")) {
        use Guarantee as G;
        let by_cgroup = [G::MemoryLimit, G::CpuTimeLimit, G::CoresLimit, G::ProcessesLimit, G::OpenFilesLimit];
        missing(&by_cgroup, "the process is not in its cgroup");
    }
    enforced
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
