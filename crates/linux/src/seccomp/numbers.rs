//! The system calls, sorted into what the profiles do with them.

use libc::c_long;

/// The system calls whose arguments are looked at.
pub(super) struct WithTests {
    pub(super) clone: c_long,
    pub(super) clone3: c_long,
    pub(super) ioctl: c_long,
    pub(super) socket: c_long,
    pub(super) socketpair: c_long,
    pub(super) sendto: c_long,
    pub(super) sendmsg: c_long,
    pub(super) sendmmsg: c_long,
    pub(super) personality: c_long,
    pub(super) exit_group: c_long,
    pub(super) fcntl: c_long,
    pub(super) openat2: c_long,
    pub(super) close_range: c_long,
    pub(super) prlimit64: c_long,
    pub(super) setsockopt: c_long,
    pub(super) getsockopt: c_long,
    pub(super) mmap: c_long,
    pub(super) memfd_create: c_long,
    pub(super) shmget: c_long,
    pub(super) renameat2: c_long,
}

/// Their numbers.
pub(super) const SYSTEM_CALLS_WITH_TESTS: WithTests = WithTests {
    clone: libc::SYS_clone,
    clone3: libc::SYS_clone3,
    ioctl: libc::SYS_ioctl,
    socket: libc::SYS_socket,
    socketpair: libc::SYS_socketpair,
    sendto: libc::SYS_sendto,
    sendmsg: libc::SYS_sendmsg,
    sendmmsg: libc::SYS_sendmmsg,
    personality: libc::SYS_personality,
    exit_group: libc::SYS_exit_group,
    fcntl: libc::SYS_fcntl,
    openat2: libc::SYS_openat2,
    close_range: libc::SYS_close_range,
    prlimit64: libc::SYS_prlimit64,
    setsockopt: libc::SYS_setsockopt,
    getsockopt: libc::SYS_getsockopt,
    mmap: libc::SYS_mmap,
    memfd_create: libc::SYS_memfd_create,
    shmget: libc::SYS_shmget,
    renameat2: libc::SYS_renameat2,
};

macro_rules! numbers {
    ($($(#[$doc:meta])* $list:ident = [$($name:ident)*] + x86_64 [$($legacy:ident)*];)*) => {
        $(
            $(#[$doc])*
            pub(super) const $list: &[c_long] = &[
                $(libc::$name,)*
                $(#[cfg(target_arch = "x86_64")] libc::$legacy,)*
            ];
        )*
    };
}

numbers! {
    /// What ordinary programs use.
    ALLOWED = [
        SYS_accept SYS_accept4 SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_getres SYS_clock_gettime
        SYS_clock_nanosleep SYS_close SYS_copy_file_range SYS_dup SYS_dup3
        SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat
        SYS_exit SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fchdir
        SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate
        SYS_futex SYS_futex_waitv SYS_get_robust_list SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid
        SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority
        SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrlimit SYS_getrusage SYS_getsid SYS_getsockname SYS_gettid
        SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch
        SYS_ioprio_get SYS_ioprio_set SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset
        SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listxattr SYS_llistxattr SYS_lseek
        SYS_madvise SYS_membarrier SYS_mincore SYS_mkdirat SYS_mlock SYS_mlock2
        SYS_mlockall SYS_mprotect SYS_mremap SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock
        SYS_munlockall SYS_munmap SYS_nanosleep SYS_pidfd_open SYS_pidfd_send_signal
        SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64 SYS_preadv
        SYS_preadv2 SYS_pselect6 SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead
        SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_remap_file_pages
        SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo
        SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max
        SYS_sched_get_priority_min SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam
        SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr
        SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget SYS_semop
        SYS_semtimedop SYS_sendfile SYS_set_robust_list SYS_set_tid_address
        SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority SYS_setregid
        SYS_setresgid SYS_setresuid SYS_setreuid SYS_setrlimit SYS_setsid SYS_setuid SYS_shmat SYS_shmctl SYS_shmdt
        SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_splice SYS_statfs SYS_statx SYS_symlinkat
        SYS_sync SYS_sync_file_range SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create SYS_timer_delete
        SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime
        SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_vmsplice SYS_wait4
        SYS_waitid SYS_write SYS_writev SYS_newfstatat
    ] + x86_64 [
        SYS_access SYS_alarm SYS_arch_prctl SYS_dup2 SYS_epoll_create SYS_epoll_wait SYS_eventfd SYS_fork
        SYS_getdents SYS_getpgrp SYS_inotify_init SYS_link SYS_lstat SYS_mkdir SYS_pause SYS_pipe
        SYS_poll SYS_readlink SYS_rename SYS_renameat SYS_rmdir SYS_select SYS_signalfd SYS_stat SYS_symlink
        SYS_time SYS_unlink SYS_vfork
    ];
    /// What changes a file's owner, times and extended attributes; its mode is in [`SETS_MODE`].
    METADATA = [
        SYS_fchown SYS_fchownat SYS_fremovexattr SYS_fsetxattr
        SYS_lremovexattr SYS_lsetxattr SYS_removexattr SYS_setxattr SYS_utimensat
    ] + x86_64 [
        SYS_chown SYS_futimesat SYS_lchown SYS_utime SYS_utimes
    ];
    /// What no confined program may do.
    FORBIDDEN = [
        SYS_acct SYS_add_key SYS_adjtimex SYS_bpf SYS_chroot SYS_clock_adjtime SYS_clock_settime SYS_delete_module
        SYS_fanotify_init SYS_fanotify_mark SYS_finit_module SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick
        SYS_get_mempolicy SYS_init_module SYS_io_uring_enter SYS_io_uring_register SYS_io_uring_setup SYS_kcmp
        SYS_kexec_file_load SYS_kexec_load SYS_keyctl SYS_lookup_dcookie SYS_mbind SYS_memfd_secret
        SYS_migrate_pages SYS_mount SYS_mount_setattr SYS_move_mount SYS_move_pages SYS_name_to_handle_at
        SYS_nfsservctl SYS_open_by_handle_at SYS_open_tree SYS_perf_event_open SYS_pidfd_getfd SYS_pivot_root
        SYS_process_madvise SYS_process_mrelease SYS_process_vm_readv SYS_process_vm_writev SYS_ptrace SYS_quotactl
        SYS_quotactl_fd SYS_reboot SYS_request_key SYS_set_mempolicy SYS_set_mempolicy_home_node SYS_setdomainname
        SYS_sethostname SYS_setns SYS_settimeofday SYS_swapoff SYS_swapon SYS_syslog SYS_umount2 SYS_unshare
        SYS_userfaultfd SYS_vhangup
    ] + x86_64 [
        SYS_afs_syscall SYS__sysctl SYS_getpmsg SYS_ioperm SYS_iopl
        SYS_modify_ldt SYS_putpmsg SYS_security SYS_sysfs SYS_tuxcall SYS_uselib SYS_ustat
        SYS_vserver
    ];
}

/// What changes a mode, with the argument it is in.
pub(super) const SETS_MODE: &[(c_long, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (libc::SYS_fchmodat2, 2),
];

/// What makes a file with a mode, with the argument it is in.
pub(super) const MAKES: &[(c_long, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
    (libc::SYS_mknodat, 2),
];

/// What opens a file, with the argument of its flags; its mode, which counts when the flags say that one
/// is made, is in the next.
pub(super) const OPENS: &[(c_long, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1),
    (libc::SYS_openat, 2),
];
