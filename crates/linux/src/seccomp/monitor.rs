//! What the monitor of a virtual machine calls once it is set up.

use std::collections::BTreeMap;

use super::profile::Profile;
use super::program::{Rule, Test};

/// Memory, files that are open, time, threads, waiting.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fallocate,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getdents64,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_memfd_create,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    // Its arguments lie in memory, where no filter sees them: the mounts, which are read-only, and Landlock judge it.
    libc::SYS_openat2,
];

/// Not here: the caller has another way.
const UNKNOWN: &[libc::c_long] = &[libc::SYS_clone3];

const PERMISSION: Rule = Rule::Fail(libc::EPERM as u16);

/// The letter of KVM's requests (`linux/kvm.h`).
const KVM: u32 = 0xae;
/// Devices and interrupt controllers within the kernel, whose code is the larger part of KVM's: `KVM_CREATE_DEVICE`,
/// `KVM_CREATE_IRQCHIP`, `KVM_CREATE_PIT`, `KVM_CREATE_PIT2`, `KVM_IRQFD`, `KVM_XEN_HVM_CONFIG`,
/// `KVM_SET_NESTED_STATE`, `KVM_MEMORY_ENCRYPT_OP`.
const WITHIN_THE_KERNEL: [u32; 8] = [0xe0, 0x60, 0x64, 0x77, 0x76, 0x7a, 0xbf, 0xba];

/// The profile of the monitor whose process has this number for itself.
pub(crate) fn monitor_profile(own: u32) -> Profile {
    let mut rules = BTreeMap::new();
    let mut give = |numbers: &[libc::c_long], rule: Rule| {
        for &number in numbers {
            let number = u32::try_from(number).expect("numbers of system calls are small");
            let before = rules.insert(number, rule.clone());
            assert!(before.is_none(), "system call {number} has two rules");
        }
    };
    give(ALLOWED, Rule::Allow);
    give(UNKNOWN, Rule::Fail(libc::ENOSYS as u16));
    give(
        &[libc::SYS_clone],
        only(0, (libc::CLONE_THREAD | libc::CLONE_FILES) as u32, &[libc::CLONE_THREAD | libc::CLONE_FILES]),
    );
    give(&[libc::SYS_ioctl], ioctl());
    give(&[libc::SYS_mmap, libc::SYS_mprotect], only(2, libc::PROT_EXEC as u32, &[0]));
    give(&[libc::SYS_openat], only(2, CHANGES, &[0]));
    #[cfg(target_arch = "x86_64")]
    give(&[libc::SYS_open], only(1, CHANGES, &[0]));
    give(
        &[libc::SYS_fcntl],
        only(1, u32::MAX, &[libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC]),
    );
    give(&[libc::SYS_tgkill], only(0, u32::MAX, &[own.cast_signed()]));
    give(&[libc::SYS_prctl], only(0, u32::MAX, &[libc::PR_SET_NAME]));
    // To whoever the socket is connected to.
    give(&[libc::SYS_sendto], only(4, u32::MAX, &[0]));
    Profile { rules, otherwise: PERMISSION }
}

/// Flags of `open(2)` with which something is changed or made.
const CHANGES: u32 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) as u32
    | (libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;

/// Lets it through when these bits of an argument are one of these values.
fn only(argument: u32, mask: u32, values: &[i32]) -> Rule {
    let tests = values.iter().map(|&value| Test { argument, mask, equals: value as u32, then: Rule::Allow });
    Rule::Test(tests.collect(), Box::new(PERMISSION))
}

fn ioctl() -> Rule {
    let request = |letter: u32, number: u32| letter << 8 | number;
    let mut tests: Vec<Test> = WITHIN_THE_KERNEL
        .iter()
        .map(|&number| Test { argument: 1, mask: 0xffff, equals: request(KVM, number), then: PERMISSION })
        .collect();
    tests.push(Test { argument: 1, mask: 0xff00, equals: request(KVM, 0), then: Rule::Allow });
    tests.push(Test { argument: 1, mask: u32::MAX, equals: libc::FIONBIO as u32, then: Rule::Allow });
    Rule::Test(tests, Box::new(PERMISSION))
}
