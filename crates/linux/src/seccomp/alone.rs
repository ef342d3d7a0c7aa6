//! What a process may not that is to stay one, with memory of its own only.

use std::collections::BTreeMap;

use super::profile::Profile;
use super::program::{Rule, Test};

const PERMISSION: Rule = Rule::Fail(libc::EPERM as u16);
/// Not here: the caller has another way.
const UNKNOWN: Rule = Rule::Fail(libc::ENOSYS as u16);

/// `MAP_TYPE` of `mmap(2)`.
const TYPE: u32 = 0x0f;

/// For a process that holds back nothing but its own private memory and its threads, so that limits on a process
/// (`RLIMIT_DATA`, `RLIMIT_AS`: `getrlimit(2)`) bound all of its memory: no further process, no memory that is shared or has a
/// descriptor, no System V IPC and no message queues. It stands beside another filter, and forbids nothing else.
pub(crate) fn alone_profile() -> Profile {
    let number = |call: libc::c_long| u32::try_from(call).expect("numbers of system calls are small");
    let thread = Test {
        argument: 0,
        mask: (libc::CLONE_THREAD | libc::CLONE_VM) as u32,
        equals: (libc::CLONE_THREAD | libc::CLONE_VM) as u32,
        then: Rule::Allow,
    };
    let private = Test { argument: 3, mask: TYPE, equals: libc::MAP_PRIVATE as u32, then: Rule::Allow };
    let mut rules = BTreeMap::from([
        (number(libc::SYS_clone), Rule::Test(vec![thread], Box::new(PERMISSION))),
        (number(libc::SYS_clone3), UNKNOWN),
        (number(libc::SYS_mmap), Rule::Test(vec![private], Box::new(PERMISSION))),
        // Who makes images of memory does without where this is not known.
        (number(libc::SYS_memfd_create), UNKNOWN),
    ]);
    let others = [libc::SYS_shmget, libc::SYS_shmat, libc::SYS_msgget, libc::SYS_semget, libc::SYS_mq_open];
    rules.extend(others.map(|call| (number(call), PERMISSION)));
    #[cfg(target_arch = "x86_64")]
    rules.extend([libc::SYS_fork, libc::SYS_vfork].map(|call| (number(call), PERMISSION)));
    Profile { rules, otherwise: Rule::Allow }
}
