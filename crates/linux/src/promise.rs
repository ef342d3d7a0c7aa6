//! What holds each guarantee at this level, for one spec on one machine.

use ringfence_isolation::{Enforcement, Guarantee, Held};
use ringfence_manifest::{Spec, StreamOut};

use crate::cgroup::{Controller, Version};
use crate::facts::Facts;
use crate::network;
use crate::tree::{Plan, Room};

/// What will be enforced.
pub(crate) fn promise(spec: &Spec, facts: &Facts, plan: Option<&Plan>) -> Enforcement {
    use Guarantee as G;
    let mut enforcement = Enforcement::new();
    for &guarantee in Guarantee::ALL {
        let held = match guarantee {
            G::MemoryIsolated | G::OwnAddressSpace => Held::by(match spec.isolation.seccomp.additions().next() {
                None => "a process of its own; seccomp without ptrace and process_vm_*",
                Some(_) => "a process of its own, which sees no others than those of its place",
            }),
            G::SystemCallsConfined => Held::by("seccomp"),
            G::FilesystemConfined => files(facts),
            G::NetworkConfined => match &facts.notify {
                _ if !network::is_granted(&spec.permissions.network) => {
                    Held::by("an empty network namespace; seccomp socket families")
                }
                Ok(()) => {
                    Held::by("a network namespace of its own; connections made by the supervisor (seccomp notify)")
                }
                Err(missing) => Held::not(missing.found.clone()),
            },
            G::EnvironmentConfined => Held::by("execve with its own environment"),
            G::ProcessesHidden => Held::by("pid namespace and its own /proc"),
            G::KillWorks => Held::by("SIGKILL to pid 1 of its pid namespace"),
            G::NothingLeft => Held::by("pid and mount namespaces end with pid 1; cgroup removed"),
            G::DenialsReported => Held::Partly {
                by: "verdicts of the supervisor on the network",
                missing: "the kernel denies files with EACCES and tells nobody; level wasm reports each".into(),
            },
            G::MemoryLimit => by_cgroup(facts, Controller::Memory, "cgroup memory.limit_in_bytes", "cgroup memory.max"),
            G::CpuTimeLimit => by_cgroup(facts, Controller::CpuAccounting, "cgroup cpuacct.usage", "cgroup cpu.stat"),
            G::WallTimeLimit => Held::by("timer, with SIGKILL to pid 1"),
            G::CoresLimit => by_cgroup(facts, Controller::Cpu, "cgroup cpu.cfs_quota_us", "cgroup cpu.max"),
            G::ProcessesLimit => by_cgroup(facts, Controller::Pids, "cgroup pids.max (v1)", "cgroup pids.max"),
            G::OpenFilesLimit if facts.cgroups.folders().is_empty() => Held::Partly {
                by: "RLIMIT_NOFILE of each process",
                missing: "without a cgroup the sum over its processes is not counted".into(),
            },
            G::OpenFilesLimit => Held::by(
                "RLIMIT_NOFILE of each process; their sum by the supervisor, which looks twice a second and when one ends",
            ),
            G::FileSizeLimit => Held::by("RLIMIT_FSIZE"),
            G::DiskLimit => match plan {
                Some(Plan { room: Some(Room::Unbounded(why)), .. }) => Held::not(why.to_string()),
                _ if prints_to_a_file(spec) => Held::not(
                    "what it prints goes to a file, and nothing bounds that: set `output`, or print elsewhere",
                ),
                Some(plan) if plan.writes_to_the_host() => {
                    Held::by("file systems no larger than the limit; sized tmpfs for /tmp and /dev/shm")
                }
                _ => Held::by("sized tmpfs for /tmp and /dev/shm"),
            },
            G::OutputLimit => Held::by("pipes read by the scoped hal's meter"),
            G::BandwidthLimit if network::is_counted(spec) => Held::by("a token bucket that every byte passes through"),
            G::BandwidthLimit => Held::by("no network at all"),
            G::IoOperationsLimit => match &facts.notify {
                Ok(()) => Held::by("each call counted by the supervisor before it is made (seccomp notify)"),
                Err(missing) => Held::not(missing.found.clone()),
            },
            G::IoBytesLimit => Held::not(
                "the kernel does not count all that a Linux program reads and writes, nor that of every child; level wasm counts it",
            ),
            G::FuelLimit => Held::not("native instructions are not counted; level wasm counts them"),
            G::OwnKernel | G::HardwareBoundary => Held::not("it makes system calls of the host's kernel"),
            G::MonitorConfined => Held::not("the host's kernel runs it, and nothing stands around that"),
            G::MemoryEncrypted | G::Attested => Held::not("no trusted hardware at this level"),
            _ => continue,
        };
        enforcement.set(guarantee, held);
    }
    enforcement
}

fn prints_to_a_file(spec: &Spec) -> bool {
    let streams = [&spec.stdio.stdout, &spec.stdio.stderr];
    spec.limits.output.is_none()
        && streams.into_iter().any(|stream| matches!(stream, StreamOut::File(_) | StreamOut::OfFolder(_)))
}

fn files(facts: &Facts) -> Held {
    match (&facts.landlock, facts.has_profile()) {
        (Ok(_), false) => Held::by("mount namespace and pivot_root; Landlock"),
        (Ok(_), true) => Held::by("mount namespace and pivot_root; Landlock; AppArmor profile ringfence-capsule"),
        // Whether that is enough for these permissions is checked when the recipe is made.
        (Err(_), false) => Held::by("mount namespace and pivot_root"),
        (Err(_), true) => Held::by("mount namespace and pivot_root; AppArmor profile ringfence-capsule"),
    }
}

fn by_cgroup(facts: &Facts, controller: Controller, one: &'static str, two: &'static str) -> Held {
    match facts.cgroups.place(controller).map(|place| place.version) {
        Some(Version::One) => Held::by(one),
        Some(Version::Two) => Held::by(two),
        None => Held::not(facts.cgroups.why_missing(controller)),
    }
}
