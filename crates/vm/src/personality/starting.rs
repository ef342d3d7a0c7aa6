//! Beginning processes and threads: the first one, `clone(2)`, `fork(2)`, `vfork(2)`, `clone3(2)`.

use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvm_bindings::kvm_xsave;
use ringfence_abi::{Call, Handle};
use ringfence_isolation::{Exit, LostReason};
use rustix::io::Errno;

use super::files::Descriptors;
use super::open::{Kind, Open};
use super::process::{Image, Member, Parts, Place, Process, lock};
use super::signals;
use super::thread::{Next, Thread};
use super::world::{FIRST, World};
use super::{Answer, Arguments, time};
use crate::kvm::Registers;
use crate::loader::{self, Command};
use crate::memory::Content;
use crate::snapshot::state;
use crate::tree::HostFile;

/// The first thread of an instance, which has not run yet.
pub(crate) struct First {
    main: Begin,
    /// Those that begin with it.
    others: Vec<Begin>,
    /// Timers that go on.
    alarms: Vec<(Arc<Process>, Vec<state::Alarm>)>,
}

/// What a thread begins with.
pub(super) struct Begin {
    pub(super) process: Arc<Process>,
    pub(super) member: Arc<Member>,
    pub(super) registers: Registers,
    pub(super) fs_base: u64,
    pub(super) vectors: Option<Box<kvm_xsave>>,
    pub(super) clear_at_end: u64,
    /// What else a thread has that was captured.
    pub(super) more: Option<More>,
}

/// What a thread has that was captured.
pub(super) struct More {
    pub(super) gs_base: u64,
    pub(super) robust: u64,
    pub(super) alternate: signals::Alternate,
    /// What the wait of its first call still has, when that had been given up.
    pub(super) waiting: Option<Option<Duration>>,
}

impl First {
    /// Of captured threads.
    pub(super) fn of(main: Begin, others: Vec<Begin>, alarms: Vec<(Arc<Process>, Vec<state::Alarm>)>) -> First {
        First { main, others, alarms }
    }
}

pub(super) fn member(id: u32, blocked: u64) -> Arc<Member> {
    let (pending, blocked) = (AtomicU64::new(0), AtomicU64::new(blocked));
    Arc::new(Member { id, number: AtomicI32::new(0), pending, blocked })
}

/// Loads the program of the spec.
pub(crate) fn first_thread(world: &Arc<World>) -> Result<First, Errno> {
    let spec = &world.spec;
    let mut random = [0; 16];
    world.call(Call::Random { into: &mut random })?;
    let path = world.system.program().to_vec();
    let mut arguments = vec![path.clone()];
    arguments.extend(spec.program.args.iter().map(|argument| argument.clone().into_bytes()));
    let variables = spec.environment.iter().map(|(name, value)| format!("{name}={value}").into_bytes());
    let user = rustix::process::getuid().as_raw();
    let command = Command { path, arguments, environment: variables.collect(), random, user };
    let file: Arc<dyn Content> = Arc::new(world.system.program_file()?);
    // Before a process exists only the system can be asked for an interpreter.
    let open = |path: &[u8]| -> Result<Arc<dyn Content>, Errno> {
        let looked = world.system.look(path, true)?;
        Ok(Arc::new(HostFile::new(world.system.read(&looked)?, path)))
    };
    let loaded = loader::load(&world.machine, &world.ledger(), command, file, &open)?;
    let descriptors = Descriptors::default();
    for (handle, flags) in
        [(Handle::STDIN, libc::O_RDONLY), (Handle::STDOUT, libc::O_WRONLY), (Handle::STDERR, libc::O_WRONLY)]
    {
        descriptors.add(Open::new(world, Kind::Stream(handle), b"/dev/stdio", flags as u32), 0, false)?;
    }
    let id = world.begin_thread()?;
    debug_assert_eq!(id, FIRST);
    let folder = spec.program.working_directory.clone().into_bytes();
    let process = Process::new(Parts {
        id,
        parent: 1,
        group: id,
        space: Arc::new(loaded.space),
        descriptors: Arc::new(descriptors),
        actions: Arc::default(),
        place: Arc::new(Mutex::new(Place { folder, mask: 0o022 })),
        image: Image { path: loaded.path, arguments: loaded.arguments },
    });
    let member = member(id, 0);
    lock(&process.threads).insert(id, member.clone());
    world.processes().insert(id, process.clone());
    let registers = loaded.registers;
    let main = Begin { process, member, registers, fs_base: 0, vectors: None, clear_at_end: 0, more: None };
    Ok(First::of(main, Vec::new(), Vec::new()))
}

/// Runs an instance to its end, on this thread and those it begins. Its status as a shell shows it.
pub(crate) fn live(world: &Arc<World>, first: First, executor: &tokio::runtime::Handle) -> Option<i32> {
    let _ = world.executor.set(executor.clone());
    let First { main, others, alarms } = first;
    let process = main.process.clone();
    for (process, captured) in alarms {
        process.alarms.revive(world, &process, &captured);
    }
    for begin in others {
        if let Err(error) = spawn(world, begin) {
            world.control.stop(Exit::Lost(LostReason::Backend(format!("no thread for it: {error}"))));
        }
    }
    run(world, main);
    world.join();
    clear(world);
    super::ending::shell_status(process.status.load(SeqCst))
}

/// Lets go of everything when nothing runs any more, or nothing ever ran: what processes hold refers to
/// the world, and the world to them.
pub(crate) fn clear(world: &World) {
    let processes = std::mem::take(&mut *world.processes());
    for process in processes.values() {
        process.set_descriptors(Arc::default());
        process.set_space(None);
    }
    world.links.clear();
    world.shared.clear();
}

/// A signal from outside, for the first process.
pub(crate) fn signal_first(world: &World, signal: i32) {
    if let Some(process) = world.process(FIRST) {
        signals::send(world, &process, signal);
    }
}

/// The whole life of a thread, on the calling thread of the host.
fn run(world: &Arc<World>, begin: Begin) {
    let Begin { process, member, registers, fs_base, vectors, clear_at_end, more } = begin;
    let id = member.id;
    let number = rustix::thread::gettid().as_raw_nonzero().get();
    member.number.store(number, SeqCst);
    world.control.enlist();
    let entered = world.executor.get().map(tokio::runtime::Handle::enter);
    let processor = process.space().map_err(|errno| errno.to_string()).and_then(|space| {
        let mut processor = world.machine.processor().map_err(|error| error.to_string())?;
        let entered = processor
            .enter(&world.machine, space.root(), fs_base, &registers)
            .and_then(|()| vectors.map_or(Ok(()), |vectors| processor.set_vectors(&vectors)))
            .and_then(|()| match more.as_ref().map_or(0, |more| more.gs_base) {
                0 => Ok(()),
                base => processor.set_gs_base(base),
            });
        entered.map(|()| processor).map_err(|error| error.to_string())
    });
    match processor {
        Ok(processor) => {
            let mut thread = Thread {
                world: world.clone(),
                process: process.clone(),
                member,
                processor,
                context: registers,
                next: Next::Return,
                clear_at_end,
                robust: more.as_ref().map_or(0, |more| more.robust),
                alternate: more.as_ref().map_or_else(Default::default, |more| more.alternate),
                restore_mask: None,
                given_up: Cell::new(more.and_then(|more| more.waiting).map(|left| left.and_then(time::after))),
                going_on: None,
                is_at_marker: false,
            };
            thread.run();
            let processor = thread.leave();
            world.machine.put_back(processor);
            super::ending::forget(world, &process, id);
        }
        Err(reason) => {
            world.control.stop(Exit::Lost(LostReason::Backend(reason)));
            super::ending::forget(world, &process, id);
        }
    }
    world.control.dismiss();
    drop(entered);
}

/// The same on a thread of the host's own.
fn spawn(world: &Arc<World>, begin: Begin) -> std::io::Result<()> {
    let (process, id) = (begin.process.clone(), begin.member.id);
    let spawned = std::thread::Builder::new().name("microvm".into()).spawn({
        let world = world.clone();
        move || run(&world, begin)
    });
    spawned.map(|thread| world.keep(thread)).inspect_err(|_| super::ending::forget(world, &process, id))
}

const VM: u64 = 0x100;
const PLACE: u64 = 0x200;
const FILES: u64 = 0x400;
const ACTIONS: u64 = 0x800;
const VFORK: u64 = 0x4000;
const THREAD: u64 = 0x1_0000;
const SET_TLS: u64 = 0x8_0000;
const PARENT_SET_ID: u64 = 0x10_0000;
const CHILD_CLEAR_ID: u64 = 0x20_0000;
const CHILD_SET_ID: u64 = 0x100_0000;
/// Namespaces, pidfds, tracing: nothing of it is here.
const UNKNOWN: u64 = 0x7e02_0000 | 0x1000 | 0x2000 | 0x80;

/// What `clone(2)` and `clone3(2)` ask for.
struct Wanted {
    flags: u64,
    stack: u64,
    parent_id: u64,
    child_id: u64,
    tls: u64,
}

fn begin(thread: &mut Thread, wanted: &Wanted) -> Answer {
    let flags = wanted.flags;
    let is_thread = flags & THREAD != 0;
    if flags & UNKNOWN != 0 || (is_thread && flags & (VM | ACTIONS) != VM | ACTIONS) {
        return Err(Errno::INVAL);
    }
    let world = thread.world.clone();
    let parent = thread.process.clone();
    let fs_base = match flags & SET_TLS {
        0 => thread.processor.fs_base().map_err(|_| Errno::IO)?,
        _ => wanted.tls,
    };
    let vectors = thread.processor.vectors().map_err(|_| Errno::IO)?;
    let space = match flags & VM {
        0 => Arc::new(parent.space()?.duplicate()?),
        _ => parent.space()?,
    };
    let id = world.begin_thread()?;
    let member = member(id, thread.member.blocked.load(SeqCst));
    let process = match is_thread {
        true => parent.clone(),
        false => child(&parent, id, flags, space.clone()),
    };
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
        world.processes().insert(id, process.clone());
    }
    let mut registers = Registers { rax: 0, ..thread.context };
    if wanted.stack != 0 {
        registers.rsp = wanted.stack;
    }
    let clear_at_end = if flags & CHILD_CLEAR_ID != 0 { wanted.child_id } else { 0 };
    drop(space);
    let vectors = Some(Box::new(vectors));
    let process_of = process.clone();
    let begin = Begin { process: process_of, member, registers, fs_base, vectors, clear_at_end, more: None };
    spawn(&world, begin).map_err(|_| Errno::AGAIN)?;
    if flags & VFORK != 0 {
        while !process.has_left.load(SeqCst) && !thread.has_to_end() {
            // A signal waits until the child has left.
            let left = thread.wait(&[&process.left], None, || process.has_left.load(SeqCst).then_some(()));
            if left == Err(Errno::INTR) && !thread.has_to_end() {
                world.rest.object("a process waits for its child of vfork(2) to leave its memory");
                std::thread::park_timeout(std::time::Duration::from_millis(1));
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
    let copied_actions = if flags & ACTIONS != 0 { actions } else { Arc::new(Mutex::new(lock(&actions).clone())) };
    Process::new(Parts {
        id,
        parent: parent.id,
        group: parent.group.load(SeqCst),
        space,
        descriptors: if flags & FILES != 0 { descriptors } else { Arc::new(descriptors.duplicate()) },
        actions: copied_actions,
        place: copy(flags & PLACE != 0, place),
        image: parent.image(),
    })
}

/// `clone(2)`
pub(super) fn clone(thread: &mut Thread, [flags, stack, parent_id, child_id, tls, _]: Arguments) -> Answer {
    begin(thread, &Wanted { flags, stack, parent_id, child_id, tls })
}

/// `fork(2)`
pub(super) fn fork(thread: &mut Thread, _: Arguments) -> Answer {
    begin(thread, &Wanted { flags: 0, stack: 0, parent_id: 0, child_id: 0, tls: 0 })
}

/// `vfork(2)`
pub(super) fn vfork(thread: &mut Thread, _: Arguments) -> Answer {
    begin(thread, &Wanted { flags: VM | VFORK, stack: 0, parent_id: 0, child_id: 0, tls: 0 })
}

/// `clone3(2)`
pub(super) fn clone3(thread: &mut Thread, [at, size, ..]: Arguments) -> Answer {
    if size < 64 {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let mut words = [0; 8];
    for (index, word) in words.iter_mut().enumerate() {
        *word = space.read_u64(at.wrapping_add(index as u64 * 8))?;
    }
    let [flags, _, child_id, parent_id, _, stack, length, tls] = words;
    let stack = if stack == 0 { 0 } else { stack.wrapping_add(length) };
    begin(thread, &Wanted { flags, stack, parent_id, child_id, tls })
}
