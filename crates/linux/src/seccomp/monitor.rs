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
    libc::SYS_getcpu,
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
    libc::SYS_sched_setaffinity,
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

/// The requests to KVM that level microvm makes (`linux/kvm.h`), whole: several share a number, and differ in what they
/// take. Whatever is not here fails: devices and interrupt controllers within the kernel are the larger part of KVM.
const REQUESTS: [u32; 19] = [
    0xae00,      // KVM_GET_API_VERSION
    0xae01,      // KVM_CREATE_VM
    0xae03,      // KVM_CHECK_EXTENSION
    0xae04,      // KVM_GET_VCPU_MMAP_SIZE
    0xae41,      // KVM_CREATE_VCPU
    0x4020_ae46, // KVM_SET_USER_MEMORY_REGION
    0xae80,      // KVM_RUN
    0x8138_ae83, // KVM_GET_SREGS
    0x4138_ae84, // KVM_SET_SREGS
    0x4008_ae89, // KVM_SET_MSRS
    0x4004_ae8b, // KVM_SET_SIGNAL_MASK
    0x4008_ae90, // KVM_SET_CPUID2
    0xc008_ae91, // KVM_GET_CPUID2
    0x4040_aea0, // KVM_SET_VCPU_EVENTS
    0xaea3,      // KVM_GET_TSC_KHZ
    0x9000_aea4, // KVM_GET_XSAVE
    0x5000_aea5, // KVM_SET_XSAVE
    0x4188_aea7, // KVM_SET_XCRS
    // Of a processor: its counter is all that has attributes there, and no device is ever made.
    0x4018_aee1, // KVM_SET_DEVICE_ATTR
];

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
    give(&[libc::SYS_sendto], to_the_peer());
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

/// Sending to whoever the socket is connected to. No address, which is no longer than 0 bytes wherever it lies, and no
/// `MSG_FASTOPEN`: with it a socket that has lost its peer is connected to another one.
fn to_the_peer() -> Rule {
    const CONDITIONS: [(u32, u32); 3] = [(5, u32::MAX), (4, u32::MAX), (3, libc::MSG_FASTOPEN as u32)];
    CONDITIONS.into_iter().fold(Rule::Allow, |then, (argument, mask)| {
        Rule::Test(vec![Test { argument, mask, equals: 0, then }], Box::new(PERMISSION))
    })
}

fn ioctl() -> Rule {
    let asked = REQUESTS.into_iter().chain([libc::FIONBIO as u32]);
    let tests = asked.map(|request| Test { argument: 1, mask: u32::MAX, equals: request, then: Rule::Allow });
    Rule::Test(tests.collect(), Box::new(PERMISSION))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What makes a request in `crates/vm`: methods of kvm-ioctls.
    const MADE_BY: [(&str, &[u32]); 17] = [
        ("get_api_version", &[0xae00]),
        ("create_vm", &[0xae01, 0xae04]),
        ("check_extension", &[0xae03]),
        // The supervisor asks that.
        ("get_supported_cpuid", &[]),
        ("get_cpuid2", &[0xc008_ae91]),
        ("create_vcpu", &[0xae41]),
        ("set_user_memory_region", &[0x4020_ae46]),
        ("run", &[0xae80]),
        ("get_sregs", &[0x8138_ae83]),
        ("set_sregs", &[0x4138_ae84]),
        ("set_msrs", &[0x4008_ae89]),
        ("set_cpuid2", &[0x4008_ae90]),
        ("set_vcpu_events", &[0x4040_aea0]),
        ("get_tsc_khz", &[0xaea3]),
        ("get_xsave", &[0x9000_aea4]),
        ("set_xsave", &[0x5000_aea5]),
        ("set_xcrs", &[0x4188_aea7]),
    ];
    /// How names of methods begin that may make a request.
    const VERBS: [&str; 11] =
        ["get", "set", "create", "check", "enable", "register", "unregister", "has", "signal", "memory", "kvmclock"];
    /// Methods with such names that make none.
    const OTHERS: [&str; 7] = [
        "get_atomic_ref",
        "get_mut",
        "get_or_init",
        "has_even_counter",
        "set_sync_dirty_reg",
        "set_sync_valid_reg",
        "set_vectors",
    ];

    /// The methods that are called in a text, by their names.
    fn called(text: &str) -> impl Iterator<Item = &str> {
        text.split('.').skip(1).filter_map(|rest| {
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')?;
            rest[end..].starts_with('(').then_some(&rest[..end])
        })
    }

    #[test]
    fn the_requests_to_kvm_are_those_that_level_microvm_makes() {
        let vm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm/src");
        let mut text = String::new();
        for folder in ["kvm", "sys"] {
            for file in fs::read_dir(vm.join(folder)).unwrap() {
                text += &fs::read_to_string(file.unwrap().path()).unwrap();
            }
        }
        let mut made = BTreeSet::new();
        for name in called(&text) {
            let known = MADE_BY.iter().find(|(method, _)| *method == name);
            let may_ask = name.split_once('_').is_some_and(|(verb, _)| VERBS.contains(&verb));
            assert!(known.is_some() || !may_ask || OTHERS.contains(&name), "is {name} a request to KVM?");
            made.extend(known.into_iter().flat_map(|(_, requests)| *requests));
        }
        for line in text.lines().filter(|line| line.starts_with("const KVM_")) {
            let number = line.split("= 0x").nth(1).unwrap().trim_end_matches(';').replace('_', "");
            made.insert(u32::from_str_radix(&number, 16).unwrap());
        }
        assert_eq!(made, BTreeSet::from(REQUESTS));
    }
}
