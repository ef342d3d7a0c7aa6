//! Counting operations on files and the network.
//!
//! While they are limited, the filter of system calls asks the supervisor about each call that is one
//! (`seccomp_unotify(2)`), and the supervisor counts it before it lets it go on. It counts by the number of the
//! call, which the kernel copied and nobody can change, and looks at nothing else: the one that is too many
//! is never made, whichever process asks and however that ends.
//!
//! What `connect`, `bind` and `listen` do is done, and counted, by the scoped hal. Calls on pipes and streams cannot be
//! told from those on files without looking at what may change, and count as well.

use libc::c_long;

use crate::seccomp::Network;
use crate::sys::Notification;

macro_rules! numbers {
    ([$($name:ident)*] + x86_64 [$($legacy:ident)*]) => {
        &[$(libc::$name,)* $(#[cfg(target_arch = "x86_64")] libc::$legacy,)*]
    };
}

/// The calls that are an operation each, but for those of [`MANY`].
const CALLS: &[c_long] = numbers!(
    [
        SYS_accept SYS_accept4 SYS_copy_file_range SYS_execve SYS_execveat SYS_faccessat SYS_faccessat2
        SYS_fadvise64 SYS_fallocate SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_fchown SYS_fchownat SYS_fdatasync
        SYS_fgetxattr SYS_flistxattr SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fsync SYS_ftruncate SYS_getdents64
        SYS_getxattr SYS_lgetxattr SYS_linkat SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lsetxattr
        SYS_mkdirat SYS_mknodat SYS_msync SYS_name_to_handle_at SYS_newfstatat SYS_openat SYS_openat2 SYS_pread64 SYS_preadv SYS_preadv2
        SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom
        SYS_recvmmsg SYS_recvmsg SYS_removexattr SYS_renameat2 SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto
        SYS_setxattr SYS_splice SYS_statx SYS_symlinkat SYS_sync SYS_sync_file_range SYS_syncfs SYS_tee
        SYS_truncate SYS_unlinkat SYS_utimensat SYS_vmsplice SYS_write SYS_writev
    ] + x86_64 [
        SYS_access SYS_chmod SYS_chown SYS_creat SYS_futimesat SYS_getdents SYS_lchown SYS_link SYS_lstat SYS_mkdir
        SYS_mknod SYS_open SYS_readlink SYS_rename SYS_renameat SYS_rmdir SYS_stat SYS_symlink SYS_unlink SYS_utime
        SYS_utimes
    ]
);

/// The calls that are as many operations as this argument says, up to what the kernel takes at once.
const MANY: (c_long, usize) = (libc::SYS_sendmmsg, 2);
/// `UIO_MAXIOV`, the most messages of one call.
const MOST: u64 = 1024;

/// The numbers of the calls that the supervisor is to be asked about.
pub(crate) fn numbers() -> impl Iterator<Item = c_long> {
    CALLS.iter().copied()
}

/// The operations of one instance so far.
#[derive(Debug)]
pub(crate) struct Operations {
    /// Pid 1 of the place, which is ours.
    first: u32,
    /// Whether a program was executed: what comes before is ours, too.
    began: bool,
    made: u64,
}

impl Operations {
    pub(crate) fn new(first: i32) -> Self {
        Operations { first: first.unsigned_abs(), began: false, made: 0 }
    }

    /// Counts a call that is about to be made; how many operations it is.
    pub(crate) fn count(&mut self, call: &Notification) -> u64 {
        let number = c_long::from(call.number);
        if call.thread == self.first || is_network_call(number) || number == libc::SYS_exit_group {
            return 0;
        }
        if !self.began {
            // The streams of the program are passed to it by calls of ours.
            self.began = matches!(number, libc::SYS_execve | libc::SYS_execveat);
            return 0;
        }
        let operations = if number == MANY.0 { u64::from(call.arguments[MANY.1] as u32).clamp(1, MOST) } else { 1 };
        self.made = self.made.saturating_add(operations);
        operations
    }

    /// How many were counted.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }
}

/// What the scoped hal does, and counts.
fn is_network_call(number: c_long) -> bool {
    Network::CALLS.contains(&number)
}

#[cfg(test)]
mod tests {
    use ringfence_manifest::SystemCalls;
    use syscalls::Sysno;

    use super::*;

    fn call(thread: u32, number: c_long) -> Notification {
        let mut call = Notification::default();
        (call.thread, call.number) = (thread, i32::try_from(number).unwrap());
        call
    }

    #[test]
    fn counting_begins_with_the_program_and_leaves_pid_1_out() {
        let mut operations = Operations::new(10);
        let made = [
            (11, libc::SYS_write, 0),
            (11, libc::SYS_execve, 0),
            (11, libc::SYS_read, 1),
            (10, libc::SYS_read, 0),
            (12, libc::SYS_execve, 1),
            (12, libc::SYS_connect, 0),
            (12, libc::SYS_exit_group, 0),
        ];
        for (thread, number, expected) in made {
            assert_eq!(operations.count(&call(thread, number)), expected, "{thread} {number}");
        }
        assert_eq!(operations.made(), 2);
    }

    #[test]
    fn many_datagrams_of_one_call_are_many_operations() {
        let mut operations = Operations { first: 1, began: true, made: 0 };
        for (count, expected) in [(3, 3), (0, 1), (u64::MAX, MOST), (1 << 32, 1)] {
            let mut sent = call(2, libc::SYS_sendmmsg);
            sent.arguments[2] = count;
            assert_eq!(operations.count(&sent), expected, "{count}");
        }
    }

    /// A call that reads or writes and that the supervisor is not asked about would be a way past the limit.
    #[test]
    fn everything_that_is_let_through_and_moves_bytes_is_counted() {
        let moves = ["read", "write", "send", "recv", "splice", "tee", "copy", "open", "stat", "dents", "xattr"];
        // File systems, processes, memory and what of a file is in it are not files.
        let known = [
            "statfs",
            "fstatfs",
            "pidfd_open",
            "pidfd_send_signal",
            "process_vm_readv",
            "process_vm_writev",
            "cachestat",
        ];
        let calls = SystemCalls::of(["permissive".into()]);
        let moves_bytes = |name: &str| moves.iter().any(|word| name.contains(word)) && !known.contains(&name);
        let mut found = 0;
        for call in Sysno::iter().filter(|call| calls.lets_through(call.name()) && moves_bytes(call.name())) {
            found += 1;
            assert!(CALLS.contains(&(call.id() as c_long)), "{call} is not counted");
        }
        assert!(found > 30, "{found}");
    }
}
