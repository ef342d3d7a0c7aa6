//! Processes and threads that others begin: `clone(2)`, `fork(2)`, `vfork(2)`, `clone3(2)`.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::{Begin, member, spawn};
use crate::kvm::{Registers, USER_END};
use crate::personality::identity;
use crate::personality::process::{Parts, Place, Process, lock};
use crate::personality::thread::Thread;
use crate::personality::world::FIRST;
use crate::personality::{Answer, Arguments};
use crate::words::u64_at;

/// `CLONE_CLEAR_SIGHAND`, of `clone3(2)` alone.
const CLEAR_ACTIONS: u64 = 0x1_0000_0000;
const VM: u64 = 0x100;
const PLACE: u64 = 0x200;
const FILES: u64 = 0x400;
const ACTIONS: u64 = 0x800;
const VFORK: u64 = 0x4000;
const THREAD: u64 = 0x1_0000;
const PARENT: u64 = 0x8000;
const SET_TLS: u64 = 0x8_0000;
const PARENT_SET_ID: u64 = 0x10_0000;
const CHILD_CLEAR_ID: u64 = 0x20_0000;
const CHILD_SET_ID: u64 = 0x100_0000;
/// Undoing of semaphores, which each process does for itself; whether somebody follows, which nobody does; input and
/// output that is scheduled together.
const IGNORED: u64 = 0x4_0000 | 0x80_0000 | 0x8000_0000;
/// What `clone(2)` alone ignores.
const DETACHED: u64 = 0x40_0000;
const NEW_MOUNTS: u64 = 0x2_0000;
const NEW_USERS: u64 = 0x1000_0000;
const NEW_PROCESSES: u64 = 0x2000_0000;
/// What is served. Tracing, control groups: nothing of it is here.
const KNOWN: u64 = VM
    | PLACE
    | FILES
    | ACTIONS
    | DESCRIPTOR
    | VFORK
    | PARENT
    | THREAD
    | SET_TLS
    | PARENT_SET_ID
    | CHILD_CLEAR_ID
    | CHILD_SET_ID
    | CLEAR_ACTIONS
    | IGNORED;
/// Where `clone(2)` has the signal at the end: `CSIGNAL`.
const SIGNAL: u64 = 0xff;
/// A descriptor of the new process: where `clone(2)` takes a place for the parent's word on it.
const DESCRIPTOR: u64 = 0x1000;

/// What `clone(2)` and `clone3(2)` ask for.
#[derive(Default)]
struct Wanted {
    flags: u64,
    stack: u64,
    parent_id: u64,
    child_id: u64,
    tls: u64,
    descriptor: u64,
    /// What the parent hears of its end, or 0.
    signal: i32,
}

fn begin(thread: &mut Thread, wanted: &Wanted) -> Answer {
    let flags = wanted.flags;
    let is_thread = flags & THREAD != 0;
    let has = |all: u64| flags & all == all;
    let spaces = flags & u64::from(identity::SPACES.unsigned_abs());
    let flags = flags & !spaces;
    // Some contradict others.
    let mixed = (flags & PLACE != 0 && spaces & (NEW_MOUNTS | NEW_USERS) != 0)
        || (is_thread && spaces & (NEW_USERS | NEW_PROCESSES) != 0);
    let incomplete = (is_thread && !has(ACTIONS)) || (has(ACTIONS) && !has(VM));
    // The first process has no parent here of whom there could be another child.
    let alone = has(PARENT) && !is_thread && thread.process.id == FIRST;
    if flags & !KNOWN != 0
        || mixed
        || incomplete
        || alone
        || (is_thread && has(DESCRIPTOR))
        || has(ACTIONS | CLEAR_ACTIONS)
    {
        return Err(Errno::INVAL);
    }
    if spaces != 0 || (flags & SET_TLS != 0 && wanted.tls >= USER_END) {
        return Err(Errno::PERM);
    }
    if flags & VM != 0 {
        thread.give_desk_up();
    }
    let world = thread.world.clone();
    let parent = thread.process.clone();
    let fs_base = match flags & SET_TLS {
        0 => thread.processor()?.fs_base().map_err(|_| Errno::IO)?,
        _ => wanted.tls,
    };
    let vectors = thread.processor()?.vectors().map_err(|_| Errno::IO)?;
    let space = match flags & VM {
        0 => Arc::new(parent.space()?.duplicate()?),
        _ => parent.space()?,
    };
    let counted = world.begin_thread()?;
    let id = counted.id;
    let member = member(id, thread.member.blocked.load(SeqCst));
    member.affinity.store(thread.member.affinity.load(SeqCst), SeqCst);
    let slack = thread.member.slack.load(SeqCst);
    member.slack.store(slack, SeqCst);
    member.first_slack.store(slack, SeqCst);
    let name = parent.name_of(thread.member.id);
    let process = match is_thread {
        true => parent.clone(),
        false => child(&parent, id, flags, space.clone()),
    };
    if is_thread {
        *lock(&member.name) = name;
    } else {
        process.name_it(Some(name));
        process.take_after(&parent);
        let credentials = lock(&parent.credentials).clone();
        *lock(&process.credentials) = credentials;
        process.barriers.store(parent.barriers.load(SeqCst), SeqCst);
        // A brother's end is told as that of who asks.
        let told = if flags & PARENT != 0 { parent.last_signal.load(SeqCst) } else { wanted.signal };
        process.last_signal.store(told, SeqCst);
        process.gains_nothing.store(parent.gains_nothing.load(SeqCst), SeqCst);
        let resets = parent.policy.load(SeqCst) & libc::SCHED_RESET_ON_FORK != 0;
        if !resets {
            process.policy.store(parent.policy.load(SeqCst), SeqCst);
            process.priority.store(parent.priority.load(SeqCst), SeqCst);
        }
    }
    if !is_thread && lock(&process.limits).of(libc::RLIMIT_CPU)[0] != u64::MAX {
        crate::personality::alarms::limit_processor(&world, &process)?;
    }
    if flags & PARENT_SET_ID != 0 {
        // As in Linux: the child is there also when this cannot be told.
        let _ = parent.space()?.write_u32(wanted.parent_id, id);
    }
    if flags & CHILD_SET_ID != 0 {
        let _ = space.write_u32(wanted.child_id, id);
    }
    {
        let mut threads = lock(&process.threads);
        threads.insert(id, member.clone());
    }
    if !is_thread {
        let mut processes = world.processes();
        let parent = processes.get(&process.parent.load(SeqCst));
        if parent.is_none_or(|parent| parent.is_over.load(SeqCst)) {
            // The parent of a brother has just ended.
            process.parent.store(1, SeqCst);
        }
        processes.insert(id, process.clone());
    }
    if flags & DESCRIPTOR != 0 {
        // As above: the child is there also when this cannot be told.
        if let Ok(number) = crate::personality::pidfd::add(thread, &process, 0) {
            let _ = parent.space()?.write_u32(wanted.descriptor, number as u32);
        }
    }
    let mut registers = Registers { rax: 0, ..thread.context };
    if wanted.stack != 0 {
        registers.rsp = wanted.stack;
    }
    let clear_at_end = if flags & CHILD_CLEAR_ID != 0 { wanted.child_id } else { 0 };
    drop(space);
    // In the same memory there are two stacks for handlers, unless one thread waits for the other.
    let alternate = if flags & (VM | VFORK) == VM { Default::default() } else { thread.alternate };
    let vectors = Some(Box::new(vectors));
    // A child with its own copy of the memory has what its parent has there.
    let rseq = if flags & VM == 0 { thread.rseq } else { None };
    let begin = Begin {
        counted: Some(counted),
        process: process.clone(),
        member,
        registers,
        fs_base,
        vectors,
        clear_at_end,
        alternate,
        rseq,
        more: None,
    };
    spawn(&world, begin, None)?;
    if flags & VFORK != 0 {
        while !process.has_left.load(SeqCst) && !thread.has_to_end() {
            // A signal waits until the child has left.
            let left = thread.wait(&[&process.left], None, || process.has_left.load(SeqCst).then_some(()));
            if left == Err(Errno::INTR) && !thread.has_to_end() {
                world.rest.object("a process waits for its child of vfork(2) to leave its memory");
                let moment = std::time::Duration::from_millis(1);
                world.control.parked(|| std::thread::park_timeout(moment));
            }
        }
    }
    Ok(u64::from(id))
}

fn child(parent: &Arc<Process>, id: u32, flags: u64, space: Arc<crate::memory::Space>) -> Arc<Process> {
    let descriptors = parent.descriptors();
    let actions = parent.actions();
    let place = parent.place();
    let copy = |shared: bool, place: Arc<Mutex<Place>>| match shared {
        true => place,
        false => Arc::new(Mutex::new(lock(&place).clone())),
    };
    let copied_actions = match () {
        () if flags & ACTIONS != 0 => actions,
        () if flags & CLEAR_ACTIONS != 0 => Arc::new(Mutex::new(lock(&actions).after_exec())),
        () => Arc::new(Mutex::new(lock(&actions).clone())),
    };
    Process::new(Parts {
        id,
        parent: if flags & PARENT != 0 { parent.parent.load(SeqCst) } else { parent.id },
        group: parent.group.load(SeqCst),
        session: parent.session.load(SeqCst),
        space,
        descriptors: if flags & FILES != 0 { descriptors } else { Arc::new(descriptors.duplicate()) },
        actions: copied_actions,
        place: copy(flags & PLACE != 0, place),
        image: parent.image(),
        limits: *lock(&parent.limits),
        niceness: parent.niceness.load(SeqCst),
    })
}

/// `clone(2)`
pub(in crate::personality) fn clone(
    thread: &mut Thread,
    [flags, stack, parent_id, child_id, tls, _]: Arguments,
) -> Answer {
    // The upper half says nothing.
    let flags = flags & u64::from(u32::MAX);
    if flags & DESCRIPTOR != 0 && flags & (PARENT_SET_ID | DETACHED) != 0 {
        return Err(Errno::INVAL);
    }
    let signal = (flags & SIGNAL) as i32;
    if signal > 64 {
        return Err(Errno::INVAL);
    }
    let flags = flags & !(SIGNAL | DETACHED);
    begin(thread, &Wanted { flags, stack, parent_id, child_id, tls, descriptor: parent_id, signal })
}

/// `fork(2)`
pub(in crate::personality) fn fork(thread: &mut Thread, _: Arguments) -> Answer {
    begin(thread, &Wanted { signal: libc::SIGCHLD, ..Wanted::default() })
}

/// `vfork(2)`
pub(in crate::personality) fn vfork(thread: &mut Thread, _: Arguments) -> Answer {
    begin(thread, &Wanted { flags: VM | VFORK, signal: libc::SIGCHLD, ..Wanted::default() })
}

/// `clone3(2)`: `struct clone_args` is copied first, and what follows what is known has to be zero.
pub(in crate::personality) fn clone3(thread: &mut Thread, [at, size, ..]: Arguments) -> Answer {
    const KNOWN: u64 = 88;
    match size {
        ..64 => return Err(Errno::INVAL),
        64..=4096 => {}
        _ => return Err(Errno::TOOBIG),
    }
    let mut bytes = vec![0; size.max(KNOWN) as usize];
    thread.process.space()?.read(at, &mut bytes[..size as usize])?;
    if bytes[KNOWN as usize..].iter().any(|&byte| byte != 0) {
        return Err(Errno::TOOBIG);
    }
    let word = |index: usize| u64_at(&bytes, index * 8);
    let [flags, descriptor, child_id, parent_id, signal, stack, length, tls] = std::array::from_fn(word);
    let [ids, count, _] = [8, 9, 10].map(word);
    let has_stack = (stack == 0, length == 0) == (false, false);
    let known = 0xffff_ff00 & !u64::from(libc::CLONE_DETACHED.unsigned_abs()) | CLEAR_ACTIONS | 0x80;
    // Numbers of one's own choosing: nobody may.
    if flags & !known != 0
        || signal > 64
        || (!has_stack && (stack, length) != (0, 0))
        || (ids == 0) != (count == 0)
        || (signal != 0 && flags & (THREAD | PARENT) != 0)
        || stack.checked_add(length).is_none_or(|end| end > USER_END)
    {
        return Err(Errno::INVAL);
    }
    if count != 0 {
        return Err(Errno::PERM);
    }
    let signal = signal as i32;
    begin(thread, &Wanted { flags, stack: stack + length, parent_id, child_id, tls, descriptor, signal })
}
