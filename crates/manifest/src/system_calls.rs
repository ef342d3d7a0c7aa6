//! Which system calls a program may make: `[isolation] seccomp`.

use std::collections::BTreeSet;

use serde::Serialize;

/// Which system calls a program may make. What the walls of a level need holds beside it: a call that is let through can
/// still fail for what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SystemCalls(BTreeSet<String>);

/// A profile lets through what those before it do, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Profile {
    Strict,
    Default,
    Permissive,
}

impl Profile {
    const ALL: [Profile; 3] = [Profile::Strict, Profile::Default, Profile::Permissive];

    const fn name(self) -> &'static str {
        match self {
            Profile::Strict => "strict",
            Profile::Default => "default",
            Profile::Permissive => "permissive",
        }
    }

    /// What it lets through that those before it do not, in the order of the alphabet.
    const fn calls(self) -> &'static [&'static str] {
        match self {
            Profile::Strict => STRICT,
            Profile::Default => DEFAULT,
            Profile::Permissive => PERMISSIVE,
        }
    }

    fn from_name(name: &str) -> Option<Profile> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    fn lets_through(self, call: &str) -> bool {
        Self::ALL
            .into_iter()
            .filter(|profile| *profile <= self)
            .any(|profile| profile.calls().binary_search(&call).is_ok())
    }
}

impl SystemCalls {
    /// Calls without which no program begins, tells that it cannot, and ends: a list of calls alone has to have them.
    pub(crate) const NEEDED: [&str; 4] = ["execve", "exit", "exit_group", "write"];

    /// Those that these words let through, each a profile or a call. Without any it is the profile `default`.
    pub fn of(words: impl IntoIterator<Item = String>) -> Self {
        SystemCalls(words.into_iter().collect())
    }

    /// Whether a call of this name (`syscalls(2)`) is let through. What the kernel makes by itself, to go on with another,
    /// always is.
    pub fn lets_through(&self, name: &str) -> bool {
        let is_of_profile = self.most().is_some_and(|most| most.lets_through(name));
        is_of_profile || self.0.contains(name) || name == "restart_syscall"
    }

    /// Whether libraries have another way when they are told that there is no such call (`ENOSYS`), and have none when it
    /// is forbidden.
    pub fn has_another_way(name: &str) -> bool {
        matches!(name, "clone3" | "openat2")
    }

    /// All that the profile `default` lets through.
    pub fn of_default() -> impl Iterator<Item = &'static str> {
        STRICT.iter().chain(DEFAULT).copied()
    }

    /// Whether it is less than the profile `default`, so that something has to hold the rest back.
    pub fn is_narrow(&self) -> bool {
        self.most().is_none_or(|most| most < Profile::Default)
    }

    /// The profile among its words that has all the others.
    fn most(&self) -> Option<Profile> {
        match self.0.is_empty() {
            true => Some(Profile::Default),
            false => self.0.iter().filter_map(|word| Profile::from_name(word)).max(),
        }
    }

    /// What it lets through beyond the profile `default`.
    pub fn additions(&self) -> impl Iterator<Item = &'static str> {
        PERMISSIVE.iter().copied().filter(|call| self.lets_through(call))
    }

    /// The words, as they are written in a manifest; none for the profile `default`.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Every word there is, profiles first.
    pub(crate) fn vocabulary() -> Vec<&'static str> {
        let profiles = Profile::ALL.iter().map(|profile| profile.name());
        profiles.chain(Profile::ALL.iter().flat_map(|profile| profile.calls()).copied()).collect()
    }
}

/// What a program needs that computes, reads and writes what it is granted, talks to whom it may, and starts threads and
/// processes of the same user.
const STRICT: &[&str] = &[
    "accept",
    "accept4",
    "access",
    "alarm",
    "arch_prctl",
    "bind",
    "brk",
    "capget",
    "chdir",
    "chmod",
    "chown",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "close_range",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fcntl",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fork",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "futex",
    "futimesat",
    "getcpu",
    "getcwd",
    "getdents",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getitimer",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "gettid",
    "gettimeofday",
    "getuid",
    "getxattr",
    "ioctl",
    "kill",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listen",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "madvise",
    "membarrier",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mmap",
    "mprotect",
    "mremap",
    "msync",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pause",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "prlimit64",
    "pselect6",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "restart_syscall",
    "rmdir",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_yield",
    "select",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setitimer",
    "setpgid",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "setsid",
    "setsockopt",
    "setuid",
    "setxattr",
    "shutdown",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "socket",
    "socketpair",
    "stat",
    "statfs",
    "statx",
    "symlink",
    "symlinkat",
    "sysinfo",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "times",
    "tkill",
    "truncate",
    "umask",
    "uname",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "vfork",
    "wait4",
    "waitid",
    "write",
    "writev",
];

/// What else ordinary programs use: changing how they are scheduled, System V IPC, watching files, what locks pages and passes
/// them on, walls of their own.
const DEFAULT: &[&str] = &[
    "capset",
    "execveat",
    "futex_waitv",
    "get_robust_list",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "ioprio_get",
    "ioprio_set",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "memfd_create",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "munlock",
    "munlockall",
    "personality",
    "pidfd_open",
    "pidfd_send_signal",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "readahead",
    "remap_file_pages",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "seccomp",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "setpriority",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "splice",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "vmsplice",
];

/// What looks into and changes other processes of the same place, as debuggers and tracers do, and what few programs use.
const PERMISSIVE: &[&str] = &[
    "cachestat",
    "get_mempolicy",
    "kcmp",
    "mbind",
    "migrate_pages",
    "modify_ldt",
    "move_pages",
    "mseal",
    "name_to_handle_at",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "set_mempolicy",
    "set_mempolicy_home_node",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> SystemCalls {
        SystemCalls::of(words.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn each_call_is_sorted_once() {
        assert!(Profile::ALL.iter().all(|profile| profile.calls().is_sorted()));
        let mut seen = BTreeSet::new();
        assert!(SystemCalls::vocabulary().into_iter().all(|word| seen.insert(word)));
    }

    #[test]
    fn a_profile_has_what_those_before_it_have() {
        let let_through = |words: &[&str]| -> Vec<_> {
            let calls = of(words);
            ["read", "msgget", "ptrace", "mount"].map(|call| calls.lets_through(call)).to_vec()
        };
        assert_eq!(let_through(&["strict"]), [true, false, false, false]);
        assert_eq!(let_through(&["default"]), [true, true, false, false]);
        assert_eq!(let_through(&[]), [true, true, false, false]);
        assert_eq!(let_through(&["permissive"]), [true, true, true, false]);
    }

    #[test]
    fn a_list_is_all_that_its_words_let_through() {
        let calls = of(&["execve", "exit", "exit_group", "write", "ptrace"]);
        assert!(calls.lets_through("ptrace") && !calls.lets_through("read") && calls.is_narrow());
        let more = of(&["strict", "msgget"]);
        assert!(more.lets_through("read") && more.lets_through("msgget") && !more.lets_through("semget"));
        assert!(!of(&["default", "ptrace"]).is_narrow() && !of(&["permissive"]).is_narrow() && !of(&[]).is_narrow());
        assert_eq!(of(&["default", "ptrace"]).additions().collect::<Vec<_>>(), ["ptrace"]);
    }
}
