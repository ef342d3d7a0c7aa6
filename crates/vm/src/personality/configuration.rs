//! What programs ask of a kernel's configuration, which some look for in `/boot`: what is served here, in the words of
//! Linux (`Documentation/kbuild/kconfig.rst`). The table of calls is the truth of it ([`super::table`]).

/// Where it is.
pub(super) const PATH: &str = "/boot/config-6.1.0";

const THERE: [&str; 26] = [
    "64BIT",
    "ADVISE_SYSCALLS",
    "EPOLL",
    "EVENTFD",
    "FILE_LOCKING",
    "FUTEX",
    "HIGH_RES_TIMERS",
    "INET",
    "INOTIFY_USER",
    "IPV6",
    "MEMBARRIER",
    "MEMFD_CREATE",
    "MMU",
    "MULTIUSER",
    "POSIX_TIMERS",
    "PROC_FS",
    "RSEQ",
    "SHMEM",
    "SIGNALFD",
    "SMP",
    "SYSVIPC",
    "TIMERFD",
    "TMPFS",
    "UNIX",
    "UNIX98_PTYS",
    "X86_64",
];
const ABSENT: [&str; 25] = [
    "AIO",
    "BPF_SYSCALL",
    "CGROUPS",
    "CHECKPOINT_RESTORE",
    "COREDUMP",
    "FANOTIFY",
    "FHANDLE",
    "HUGETLBFS",
    "IO_URING",
    "IPC_NS",
    "KEYS",
    "MODULES",
    "NAMESPACES",
    "NET_NS",
    "NUMA",
    "PERF_EVENTS",
    "PID_NS",
    "POSIX_MQUEUE",
    "QUOTA",
    "SECCOMP",
    "SECURITY",
    "SWAP",
    "TIME_NS",
    "USERFAULTFD",
    "USER_NS",
];

/// The text of it.
pub(super) fn text() -> String {
    let there = THERE.iter().map(|name| format!("CONFIG_{name}=y\n"));
    there.chain(ABSENT.iter().map(|name| format!("# CONFIG_{name} is not set\n"))).collect()
}

#[cfg(test)]
mod tests {
    use ringfence_isolation::Served;

    use super::*;

    #[test]
    fn what_is_said_to_be_there_is_served_and_what_is_not_is_absent() {
        let is_served = |name: &str| {
            let calls = crate::personality::system_calls();
            let call = calls.iter().find(|call| call.name == name).unwrap();
            !matches!(call.served, Served::Absent { .. })
        };
        let of = [
            ("EPOLL", "epoll_wait"),
            ("INOTIFY_USER", "inotify_init1"),
            ("MEMBARRIER", "membarrier"),
            ("RSEQ", "rseq"),
            ("SIGNALFD", "signalfd4"),
            ("AIO", "io_setup"),
            ("FANOTIFY", "fanotify_init"),
            ("IO_URING", "io_uring_setup"),
            ("POSIX_MQUEUE", "mq_open"),
            ("SYSVIPC", "semget"),
            ("USERFAULTFD", "userfaultfd"),
        ];
        for (name, call) in of {
            assert_eq!(text().contains(&format!("CONFIG_{name}=y")), is_served(call), "{name}");
            assert_eq!(text().contains(&format!("CONFIG_{name} is not set")), !is_served(call), "{name}");
        }
    }
}
