//! The system calls that get something else than to be let through.

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
