//! Who a program is and where it runs: `getpid(2)`, `getuid(2)`, `uname(2)`, `getrlimit(2)`, `prctl(2)`, …

use std::sync::atomic::Ordering::SeqCst;

use ringfence_abi::Call;
use ringfence_manifest::Point;
use rustix::io::Errno;

use super::files::MOST;
use super::thread::Thread;
use super::{Answer, Arguments, int};

/// `getpid(2)`
pub(super) fn getpid(thread: &mut Thread, _: Arguments) -> Answer {
    Ok(thread.process.id.into())
}

/// `gettid(2)`
pub(super) fn gettid(thread: &mut Thread, _: Arguments) -> Answer {
    Ok(thread.member.id.into())
}

/// `getppid(2)`
pub(super) fn getppid(thread: &mut Thread, _: Arguments) -> Answer {
    Ok(thread.process.parent.load(SeqCst).into())
}

/// `getuid(2)`, `getgid(2)`, `geteuid(2)`, `getegid(2)`
pub(super) fn getuid(_: &mut Thread, _: Arguments) -> Answer {
    Ok(rustix::process::getuid().as_raw().into())
}

/// `getresuid(2)`, `getresgid(2)`
pub(super) fn getresuid(thread: &mut Thread, [first, second, third, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    for at in [first, second, third] {
        space.write_u32(at, rustix::process::getuid().as_raw())?;
    }
    Ok(0)
}

/// `setuid(2)` and its like: nobody becomes somebody else.
pub(super) fn setuid(_: &mut Thread, [user, ..]: Arguments) -> Answer {
    if user as u32 == rustix::process::getuid().as_raw() { Ok(0) } else { Err(Errno::PERM) }
}

/// `setresuid(2)`, `setreuid(2)` and their like.
pub(super) fn setresuid(_: &mut Thread, users: Arguments) -> Answer {
    let mine = rustix::process::getuid().as_raw();
    let same = users[..2].iter().all(|&user| user as u32 == mine || user as u32 == u32::MAX);
    if same { Ok(0) } else { Err(Errno::PERM) }
}

/// `setgroups(2)`: there are none, and none are had.
pub(super) fn setgroups(_: &mut Thread, [count, ..]: Arguments) -> Answer {
    if count as u32 == 0 { Ok(0) } else { Err(Errno::PERM) }
}

/// `getgroups(2)`: none.
pub(super) fn getgroups(_: &mut Thread, _: Arguments) -> Answer {
    Ok(0)
}

/// `getpgrp(2)`, `getsid(2)`
pub(super) fn getpgrp(thread: &mut Thread, _: Arguments) -> Answer {
    Ok(thread.process.group.load(SeqCst).into())
}

/// `getpgid(2)`
pub(super) fn getpgid(thread: &mut Thread, [process, ..]: Arguments) -> Answer {
    let process = match process as u32 {
        0 => thread.process.clone(),
        id => thread.world.process(id).ok_or(Errno::SRCH)?,
    };
    Ok(process.group.load(SeqCst).into())
}

/// `setpgid(2)`
pub(super) fn setpgid(thread: &mut Thread, [process, group, ..]: Arguments) -> Answer {
    let process = match process as u32 {
        0 => thread.process.clone(),
        id => thread.world.process(id).ok_or(Errno::SRCH)?,
    };
    let group = if group as u32 == 0 { process.id } else { group as u32 };
    process.group.store(group, SeqCst);
    Ok(0)
}

/// `setsid(2)`
pub(super) fn setsid(thread: &mut Thread, _: Arguments) -> Answer {
    thread.process.group.store(thread.process.id, SeqCst);
    Ok(thread.process.id.into())
}

/// `uname(2)`
pub(super) fn uname(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    let mut bytes = [0; 6 * 65];
    let name = thread.world.spec.capsule.name.clone();
    let texts = ["Linux", &name, "6.1.0", "#1 ringfence microvm", "x86_64", "(none)"];
    for (field, text) in bytes.chunks_exact_mut(65).zip(texts) {
        let length = text.len().min(64);
        field[..length].copy_from_slice(&text.as_bytes()[..length]);
    }
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// `sysinfo(2)`
pub(super) fn sysinfo(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    let total = thread.world.spec.limits.memory.map_or(16 << 30, |bytes| bytes.0);
    let free = total.saturating_sub(thread.world.machine.used());
    let mut bytes = [0; 112];
    for (at, word) in [(32, total), (40, free)] {
        bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    let processes = thread.world.processes().len() as u16;
    bytes[80..82].copy_from_slice(&processes.to_le_bytes());
    bytes[104..108].copy_from_slice(&1_u32.to_le_bytes());
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// The limit of a resource: `getrlimit(2)`.
fn limit(resource: u64) -> Result<u64, Errno> {
    match resource as u32 {
        libc::RLIMIT_STACK => Ok(crate::loader::STACK),
        libc::RLIMIT_NOFILE => Ok(MOST as u64),
        libc::RLIMIT_CORE => Ok(0),
        libc::RLIMIT_NPROC => Ok(u64::from(super::MOST_THREADS)),
        0..=15 => Ok(u64::MAX),
        _ => Err(Errno::INVAL),
    }
}

/// `getrlimit(2)`
pub(super) fn getrlimit(thread: &mut Thread, [resource, at, ..]: Arguments) -> Answer {
    let limit = limit(resource)?;
    thread.process.space()?.write(at, &[limit, limit].map(u64::to_le_bytes).concat()).map(|()| 0)
}

/// `setrlimit(2)`: what is asked for is checked, and the limits of the manifest stay.
pub(super) fn setrlimit(thread: &mut Thread, [resource, at, ..]: Arguments) -> Answer {
    limit(resource)?;
    thread.process.space()?.read_u64(at).map(|_| 0)
}

/// `prlimit(2)`
pub(super) fn prlimit(thread: &mut Thread, [process, resource, new, old, ..]: Arguments) -> Answer {
    if process != 0 && process as u32 != thread.process.id {
        return Err(Errno::PERM);
    }
    if old != 0 {
        getrlimit(thread, [resource, old, 0, 0, 0, 0])?;
    }
    if new != 0 { setrlimit(thread, [resource, new, 0, 0, 0, 0]) } else { limit(resource).map(|_| 0) }
}

/// `getrusage(2)`
pub(super) fn getrusage(thread: &mut Thread, [_, at, ..]: Arguments) -> Answer {
    let used = thread.world.control.cpu_time();
    let mut bytes = [0; 144];
    bytes[..8].copy_from_slice(&used.as_secs().to_le_bytes());
    bytes[8..16].copy_from_slice(&u64::from(used.subsec_micros()).to_le_bytes());
    bytes[32..40].copy_from_slice(&(thread.world.machine.used() / 1024).to_le_bytes());
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// `arch_prctl(2)`
pub(super) fn arch_prctl(thread: &mut Thread, [code, at, ..]: Arguments) -> Answer {
    match code {
        0x1002 if at < crate::kvm::USER_END => thread.processor.set_fs_base(at).map(|()| 0).map_err(|_| Errno::IO),
        0x1002 => Err(Errno::PERM),
        0x1003 => {
            let base = thread.processor.fs_base().map_err(|_| Errno::IO)?;
            thread.process.space()?.write_u64(at, base).map(|()| 0)
        }
        _ => Err(Errno::INVAL),
    }
}

/// "RFNG": the program is at a point where it may be captured. Elsewhere this is no option (`EINVAL`).
const MARKER: i32 = 0x5246_4e47;

/// `prctl(2)`: names, and what is as it is.
pub(super) fn prctl(thread: &mut Thread, [option, at, ..]: Arguments) -> Answer {
    match int(option) {
        libc::PR_SET_NAME => thread.process.space()?.read(at, &mut [0; 1]).map(|()| 0),
        libc::PR_GET_NAME => thread.process.space()?.write(at, b"microvm\0\0\0\0\0\0\0\0\0").map(|()| 0),
        libc::PR_SET_PDEATHSIG | libc::PR_SET_DUMPABLE | libc::PR_SET_NO_NEW_PRIVS => Ok(0),
        libc::PR_GET_DUMPABLE | libc::PR_GET_NO_NEW_PRIVS => Ok(1),
        MARKER => {
            thread.is_at_marker = thread.arrive(Point::Marker) || thread.world.rest.is_wanted();
            // In an instance that goes on from here the answer is 1.
            Ok(0)
        }
        _ => Err(Errno::INVAL),
    }
}

/// `personality(2)`: Linux.
pub(super) fn personality(_: &mut Thread, [wanted, ..]: Arguments) -> Answer {
    if wanted as u32 == 0 || wanted as u32 == u32::MAX { Ok(0) } else { Err(Errno::INVAL) }
}

/// `getrandom(2)`
pub(super) fn getrandom(thread: &mut Thread, [at, length, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let length = space.writable(at, length.min(1 << 20))?;
    let mut bytes = vec![0; length];
    thread.world.call(Call::Random { into: &mut bytes })?;
    space.write(at, &bytes)?;
    Ok(length as u64)
}

/// `set_tid_address(2)`
pub(super) fn set_tid_address(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    thread.clear_at_end = at;
    Ok(thread.member.id.into())
}
