//! Who a program is and where it runs: `getpid(2)`, `uname(2)`, `getgroups(2)`, …

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ringfence_abi::Call;
use rustix::io::Errno;

use super::process::{Process, lock};
use super::thread::Thread;
use super::world::OUTSIDE;
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

/// The version of `struct __user_cap_header_struct` with 64 capabilities.
const CAPABILITIES: u32 = 0x2008_0522;

/// How many bytes a version has for capabilities.
fn capability_bytes(version: u32) -> Option<usize> {
    match version {
        0x1998_0330 => Some(12),
        0x2007_1026 | CAPABILITIES => Some(24),
        _ => None,
    }
}

/// `capget(2)`: nobody has a capability.
pub(super) fn capget(thread: &mut Thread, [header, data, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let (version, id) = (space.read_u32(header)?, space.read_u32(header.wrapping_add(4))? as i32);
    let Some(length) = capability_bytes(version) else {
        space.write_u32(header, CAPABILITIES)?;
        return if data == 0 { Ok(0) } else { Err(Errno::INVAL) };
    };
    if id < 0 {
        return Err(Errno::INVAL);
    }
    let is_thread = |process: &Arc<Process>| lock(&process.threads).contains_key(&id.unsigned_abs());
    if id != 0 && id != OUTSIDE as i32 && !thread.world.processes().values().any(is_thread) {
        return Err(Errno::SRCH);
    }
    if data == 0 { Ok(0) } else { space.write(data, &[0; 24][..length]).map(|()| 0) }
}

/// `capset(2)`: none is had.
pub(super) fn capset(thread: &mut Thread, [header, data, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let (version, id) = (space.read_u32(header)?, space.read_u32(header.wrapping_add(4))?);
    let Some(length) = capability_bytes(version) else {
        space.write_u32(header, CAPABILITIES)?;
        return Err(Errno::INVAL);
    };
    let mut wanted = [0; 24];
    space.read(data, &mut wanted[..length])?;
    let mine = id == 0 || id == thread.process.id;
    if mine && wanted.iter().all(|&byte| byte == 0) { Ok(0) } else { Err(Errno::PERM) }
}

/// `getpgrp(2)`
pub(super) fn getpgrp(thread: &mut Thread, _: Arguments) -> Answer {
    Ok(thread.process.group.load(SeqCst).into())
}

/// A process by its number; 0 is the calling one.
fn process(thread: &Thread, id: u64) -> Result<Arc<Process>, Errno> {
    match id as u32 {
        0 => Ok(thread.process.clone()),
        id => thread.world.process(id).ok_or(Errno::SRCH),
    }
}

/// `getpgid(2)`
pub(super) fn getpgid(thread: &mut Thread, [id, ..]: Arguments) -> Answer {
    if id as u32 == OUTSIDE {
        return Ok(OUTSIDE.into());
    }
    Ok(process(thread, id)?.group.load(SeqCst).into())
}

/// `getsid(2)`
pub(super) fn getsid(thread: &mut Thread, [id, ..]: Arguments) -> Answer {
    if id as u32 == OUTSIDE {
        return Ok(OUTSIDE.into());
    }
    Ok(process(thread, id)?.session.load(SeqCst).into())
}

/// `setpgid(2)`
pub(super) fn setpgid(thread: &mut Thread, [id, group, ..]: Arguments) -> Answer {
    if int(group) < 0 || (int(group) == 0 && int(id) < 0) {
        return Err(Errno::INVAL);
    }
    let wanted = process(thread, id)?;
    let me = &thread.process;
    let session = wanted.session.load(SeqCst);
    if wanted.id != me.id {
        if wanted.parent.load(SeqCst) != me.id {
            return Err(Errno::SRCH);
        }
        if session != me.session.load(SeqCst) {
            return Err(Errno::PERM);
        }
        if wanted.has_executed.load(SeqCst) {
            return Err(Errno::ACCESS);
        }
    }
    if session == wanted.id {
        return Err(Errno::PERM);
    }
    let group = if group as u32 == 0 { wanted.id } else { group as u32 };
    let is_there = || {
        let processes = thread.world.processes();
        processes.values().any(|other| other.group.load(SeqCst) == group && other.session.load(SeqCst) == session)
    };
    if group != wanted.id && !is_there() {
        return Err(Errno::PERM);
    }
    wanted.group.store(group, SeqCst);
    Ok(0)
}

/// `setsid(2)`
pub(super) fn setsid(thread: &mut Thread, _: Arguments) -> Answer {
    let me = &thread.process;
    if thread.world.processes().values().any(|process| process.group.load(SeqCst) == me.id) {
        return Err(Errno::PERM);
    }
    me.group.store(me.id, SeqCst);
    me.session.store(me.id, SeqCst);
    Ok(me.id.into())
}

/// Of a personality: what can be read can be run. Gone with `execve(2)`.
pub(super) const READ_IMPLIES_EXEC: u32 = libc::READ_IMPLIES_EXEC as u32;

/// `PER_LINUX32`: a machine of 32 bits by its name.
const LINUX32: u32 = 8;

/// `uname(2)`
pub(super) fn uname(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    let mut bytes = [0; 6 * 65];
    let name = thread.world.spec.capsule.name.clone();
    let persona = thread.process.persona.load(SeqCst);
    let release = if persona & libc::UNAME26 as u32 != 0 { "2.6.61" } else { "6.1.0" };
    let machine = if persona & 0xff == LINUX32 { "i686" } else { "x86_64" };
    let texts = ["Linux", &name, release, "#1 ringfence microvm", machine, "(none)"];
    for (field, text) in bytes.chunks_exact_mut(65).zip(texts) {
        let length = text.len().min(64);
        field[..length].copy_from_slice(&text.as_bytes()[..length]);
    }
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// `sysinfo(2)`
pub(super) fn sysinfo(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    let total = thread.world.memory();
    let free = total.saturating_sub(thread.world.machine.used());
    let mut bytes = [0; 112];
    for (at, word) in [(0, thread.world.uptime().as_secs()), (32, total), (40, free)] {
        bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    let processes = thread.world.processes().len() as u16;
    bytes[80..82].copy_from_slice(&processes.to_le_bytes());
    bytes[104..108].copy_from_slice(&1_u32.to_le_bytes());
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// `getrusage(2)`
pub(super) fn getrusage(thread: &mut Thread, [whose, at, ..]: Arguments) -> Answer {
    let used = match int(whose) {
        libc::RUSAGE_SELF => thread.process.cpu_time(),
        libc::RUSAGE_CHILDREN => *lock(&thread.process.children_time),
        libc::RUSAGE_THREAD => thread.process.thread_time(thread.member.id).unwrap_or_default(),
        _ => return Err(Errno::INVAL),
    };
    let mut bytes = [0; 144];
    bytes[..8].copy_from_slice(&used.as_secs().to_le_bytes());
    bytes[8..16].copy_from_slice(&u64::from(used.subsec_micros()).to_le_bytes());
    let [own, children] = thread.process.peaks();
    let peak = if int(whose) == libc::RUSAGE_CHILDREN { children } else { own };
    bytes[32..40].copy_from_slice(&(peak / 1024).to_le_bytes());
    thread.process.space()?.write(at, &bytes).map(|()| 0)
}

/// `arch_prctl(2)`
pub(super) fn arch_prctl(thread: &mut Thread, [code, at, ..]: Arguments) -> Answer {
    match code {
        0x1002 if at < crate::kvm::USER_END => thread.processor()?.set_fs_base(at).map(|()| 0).map_err(|_| Errno::IO),
        0x1002 => Err(Errno::PERM),
        0x1003 => {
            let base = thread.processor()?.fs_base().map_err(|_| Errno::IO)?;
            thread.process.space()?.write_u64(at, base).map(|()| 0)
        }
        // `ARCH_GET_CPUID`: it does not fault; `ARCH_SET_CPUID`: nor can it.
        0x1011 => Ok(1),
        0x1012 => Err(Errno::NODEV),
        _ => Err(Errno::INVAL),
    }
}

/// Namespaces, of which there are no others than the instance's: `namespaces(7)`.
pub(super) const SPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWCGROUP
    // `CLONE_NEWTIME`
    | 0x80;

/// `unshare(2)`: what nobody shares need not be set apart; there are no namespaces.
pub(super) fn unshare(thread: &mut Thread, [flags, ..]: Arguments) -> Answer {
    const APART: i32 = libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_SYSVSEM;
    const OF_MEMORY: i32 = libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM;
    let flags = int(flags);
    let is_alone = lock(&thread.process.threads).len() == 1;
    match () {
        () if flags & !(APART | SPACES | OF_MEMORY) != 0 => Err(Errno::INVAL),
        () if flags & SPACES != 0 => Err(Errno::PERM),
        () if flags & OF_MEMORY != 0 && !is_alone => Err(Errno::INVAL),
        () => {
            // One is the process's own, and one is looked at here.
            let is_shared = |count: usize| !is_alone || count > 2;
            let files = flags & libc::CLONE_FILES != 0 && is_shared(Arc::strong_count(&thread.process.descriptors()));
            let place = flags & libc::CLONE_FS != 0 && is_shared(Arc::strong_count(&thread.process.place()));
            if files || place {
                return Err(Errno::NOSYS);
            }
            if flags & libc::CLONE_SYSVSEM != 0 && is_alone {
                thread.world.semaphores.ended(&thread.world, thread.process.id);
            }
            Ok(0)
        }
    }
}

/// `personality(2)`: kept and told; what of it changes anything here is what can be read can be run, and the names of
/// `uname(2)`.
pub(super) fn personality(thread: &mut Thread, [wanted, ..]: Arguments) -> Answer {
    let persona = &thread.process.persona;
    let before = match wanted as u32 {
        u32::MAX => persona.load(SeqCst),
        wanted => persona.swap(wanted, SeqCst),
    };
    Ok(before.into())
}

/// `getrandom(2)`
pub(super) fn getrandom(thread: &mut Thread, [at, length, flags, ..]: Arguments) -> Answer {
    let kinds = flags & u64::from(libc::GRND_RANDOM | libc::GRND_INSECURE);
    let known = u64::from(libc::GRND_RANDOM | libc::GRND_INSECURE | libc::GRND_NONBLOCK);
    if flags & !known != 0 || kinds == u64::from(libc::GRND_RANDOM | libc::GRND_INSECURE) {
        return Err(Errno::INVAL);
    }
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
