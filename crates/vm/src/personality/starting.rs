//! Beginning processes and threads: the first one here, those that others ask for in `cloning`.

mod cloning;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvm_bindings::kvm_xsave;
use ringfence_abi::{Call, Handle};
use ringfence_isolation::{Exit, LostReason};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::files::Descriptors;
use super::limits::Limits;
use super::open::{Kind, Open};
use super::process::{Image, Member, NO_PLACE, Parts, Place, Process, lock};
use super::rseq::Registration;
use super::signals::{self, Cause};
use super::thread::Thread;
use super::time;
use super::waiting::Deadlines;
use super::world::{Counted, FIRST, World};
use crate::kvm::Registers;
use crate::loader::{self, Command};
use crate::memory::{Content, Space};
use crate::snapshot::state;
use crate::tree::HostFile;

pub(super) use cloning::{clone, clone3, fork, vfork};

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
    /// Its place among those that are counted, until it is gone.
    pub(super) counted: Option<Counted>,
    pub(super) process: Arc<Process>,
    pub(super) member: Arc<Member>,
    pub(super) registers: Registers,
    pub(super) fs_base: u64,
    pub(super) vectors: Option<Box<kvm_xsave>>,
    pub(super) clear_at_end: u64,
    pub(super) alternate: signals::Alternate,
    pub(super) rseq: Option<Registration>,
    /// What else a thread has that was captured.
    pub(super) more: Option<More>,
}

/// What a thread has that was captured.
pub(super) struct More {
    pub(super) gs_base: u64,
    pub(super) robust: u64,
    /// What the wait of its first call still has, when that had been broken off.
    pub(super) waiting: Option<Duration>,
}

impl First {
    /// Of captured threads.
    pub(super) fn of(main: Begin, others: Vec<Begin>, alarms: Vec<(Arc<Process>, Vec<state::Alarm>)>) -> First {
        First { main, others, alarms }
    }
}

pub(super) fn member(id: u32, blocked: u64) -> Arc<Member> {
    let (pending, blocked) = (AtomicU64::new(0), AtomicU64::new(blocked));
    Arc::new(Member {
        id,
        number: AtomicI32::new(0),
        pending,
        queue: Default::default(),
        blocked,
        earlier: Duration::ZERO,
        inside: AtomicBool::new(false),
        fence: AtomicBool::new(false),
        processor: AtomicU32::new(0),
        affinity: AtomicU64::new(0),
        slack: AtomicU64::new(super::prctl::SLACK),
        first_slack: AtomicU64::new(super::prctl::SLACK),
        name: Mutex::default(),
        is_asleep: AtomicBool::new(false),
        place: AtomicU32::new(NO_PLACE),
        leaves: AtomicBool::new(false),
    })
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
        Ok(Arc::new(HostFile::new(world.system.read(&looked)?, &looked.real)))
    };
    let loaded = loader::load(&world.machine, &world.ledger(), command, file, &open, world.vdso.as_ref())?;
    let descriptors = standard_streams(world)?;
    let limits = Limits::of_spec(spec);
    descriptors.set_most(limits.of(libc::RLIMIT_NOFILE)[0]);
    let counted = world.begin_thread()?;
    let id = counted.id;
    debug_assert_eq!(id, FIRST);
    let folder = spec.program.working_directory.clone().into_bytes();
    let process = Process::new(Parts {
        id,
        parent: 1,
        group: id,
        session: id,
        space: Arc::new(loaded.space),
        descriptors: Arc::new(descriptors),
        actions: Arc::default(),
        place: Arc::new(Mutex::new(Place { folder, mask: 0o022 })),
        image: Arc::new(Image::new(&world.machine, world.system.real(&loaded.path), loaded.arguments)),
        limits,
        niceness: 0,
    });
    let member = member(id, 0);
    lock(&process.threads).insert(id, member.clone());
    world.processes().insert(id, process.clone());
    let registers = loaded.registers;
    let alternate = Default::default();
    let (counted, vectors) = (Some(counted), None);
    let main = Begin {
        counted,
        process,
        member,
        registers,
        fs_base: 0,
        vectors,
        clear_at_end: 0,
        alternate,
        rseq: None,
        more: None,
    };
    Ok(First::of(main, Vec::new(), Vec::new()))
}

/// The streams of the first process: those of the hal, or a terminal.
fn standard_streams(world: &Arc<World>) -> Result<Descriptors, Errno> {
    let descriptors = Descriptors::default();
    let mut handles =
        [(Handle::STDIN, libc::O_RDONLY), (Handle::STDOUT, libc::O_WRONLY), (Handle::STDERR, libc::O_WRONLY)]
            .map(|(handle, flags)| (Kind::Stream(handle), &b"/dev/stdio"[..], flags));
    let path;
    if let (Some(console), Some(size)) = (&world.console, world.spec.session.terminal) {
        console.open_master();
        console.unlock();
        console.control(FIRST, FIRST);
        console.resize(world, [size.rows, size.columns, 0, 0]);
        path = format!("/dev/pts/{}", console.number).into_bytes();
        let error_apart = world.spec.stdio.stderr != ringfence_manifest::StreamOut::Inherit;
        let count = if error_apart { 2 } else { 3 };
        for handle in &mut handles[..count] {
            *handle = (Kind::Terminal(console.clone()), &path, libc::O_RDWR);
        }
    }
    for (kind, path, flags) in handles {
        descriptors.add(Open::new(world, kind, path, flags as u32), 0, false)?;
    }
    Ok(descriptors)
}

/// The user's terminal has another size.
pub(crate) fn resize(world: &World, size: ringfence_manifest::WindowSize) {
    if let Some(console) = &world.console {
        console.resize(world, [size.rows, size.columns, 0, 0]);
    }
}

/// An instance is about to begin: what it waits for is waited for there. Commands may follow at once.
pub(crate) fn attend(world: &World, executor: &tokio::runtime::Handle) {
    // The first one stays; there is one.
    let _ = world.executor.set(executor.clone());
}

/// Runs an instance to its end, on this thread and those it begins. Its status as a shell shows it.
pub(crate) fn live(world: &Arc<World>, first: First, executor: &tokio::runtime::Handle) -> Option<i32> {
    let First { main, others, alarms } = first;
    let process = main.process.clone();
    let served = world.console.as_ref().map(|console| super::terminal::serve(world, console, executor));
    for (process, captured) in alarms {
        process.alarms.revive(world, &process, &captured);
    }
    for begin in others {
        if let Err(errno) = spawn(world, begin, None) {
            world.control.stop(Exit::Lost(LostReason::Backend(format!("no thread for it: {errno}"))));
        }
    }
    run(world, main);
    world.join();
    world.clerk.end();
    if let (Some(console), Some(served)) = (&world.console, served) {
        super::terminal::finish(world, console, served, executor);
    }
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
        // From outside; as `kill` of somebody in no process of the instance.
        let _ = signals::send(world, &process, Cause::sent(signal, libc::SI_USER, 0));
    }
}

/// What a command from outside begins with: the first of these paths that can be executed.
pub(super) struct Beginning {
    pub(super) paths: Vec<Vec<u8>>,
    pub(super) arguments: Vec<Vec<u8>>,
    pub(super) environment: Vec<Vec<u8>>,
    /// Where it begins, when that is elsewhere than where the instance began.
    pub(super) folder: Option<String>,
    /// Told why none can.
    pub(super) failed: oneshot::Sender<Failed>,
}

/// Why a command did not begin.
#[derive(Clone)]
pub(super) enum Failed {
    Execute(Errno),
    /// Its working directory.
    Folder(String, Errno),
}

/// Begins a process that has nothing in its memory yet and executes a program first.
pub(super) fn begin_command(
    world: &Arc<World>,
    process: Arc<Process>,
    counted: Counted,
    beginning: Beginning,
) -> Result<(), Errno> {
    let id = process.id;
    let member = member(id, 0);
    lock(&process.threads).insert(id, member.clone());
    world.processes().insert(id, process.clone());
    let registers = Registers::default();
    let begin = Begin {
        counted: Some(counted),
        process,
        member,
        registers,
        fs_base: 0,
        vectors: None,
        clear_at_end: 0,
        alternate: Default::default(),
        rseq: None,
        more: None,
    };
    spawn(world, begin, Some(beginning))
}

/// The first instruction of a command is that of its program.
fn execute_first(thread: &mut Thread, beginning: Beginning) {
    let Beginning { paths, arguments, environment, folder, failed } = beginning;
    if let Some(folder) = folder {
        let path = thread.absolute(libc::AT_FDCWD, folder.as_bytes());
        match path.and_then(|path| thread.open(&path, (libc::O_DIRECTORY | libc::O_PATH) as u32, true)) {
            Ok(open) => lock(&thread.process.place()).folder = open.place(),
            Err(errno) => {
                // Who asked may have gone.
                let _ = failed.send(Failed::Folder(folder, errno));
                return super::ending::end(&thread.world, &thread.process, 127 << 8);
            }
        }
    }
    let mut why = Errno::NOENT;
    for path in paths {
        match super::execute::execute(thread, path, arguments.clone(), environment.clone()) {
            Ok(_) => return,
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => why = errno,
        }
    }
    let _ = failed.send(Failed::Execute(why));
    super::ending::end(&thread.world, &thread.process, 127 << 8);
}

/// The whole life of a thread, on the calling thread of the host.
fn run(world: &Arc<World>, begin: Begin) {
    run_with(world, begin, None);
}

/// The same, after it executed something. A panic ends the instance and nothing else: everybody who waits for the
/// thread is told.
fn run_with(world: &Arc<World>, mut begin: Begin, beginning: Option<Beginning>) {
    let mut counted = begin.counted.take();
    let (process, member) = (begin.process.clone(), begin.member.clone());
    let number = rustix::thread::gettid().as_raw_nonzero().get();
    member.number.store(number, SeqCst);
    world.control.enlist();
    let entered = world.executor.get().map(tokio::runtime::Handle::enter);
    let contained = |work: &mut dyn FnMut()| {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            let reason = "a thread that served it panicked".into();
            world.control.stop(Exit::Lost(LostReason::Backend(reason)));
        }
    };
    let (mut begin, mut beginning) = (Some(begin), beginning);
    contained(&mut || begin.take().into_iter().for_each(|begin| serve(world, begin, beginning.take(), &mut counted)));
    // Under whatever number it has now: `execve(2)` changes it.
    let id =
        lock(&process.threads).values().find(|member| member.number.load(SeqCst) == number).map(|member| member.id);
    contained(&mut || super::ending::forget(world, &process, id.unwrap_or(member.id), counted.take()));
    world.control.dismiss();
    drop(entered);
}

fn serve(world: &Arc<World>, begin: Begin, beginning: Option<Beginning>, counted: &mut Option<Counted>) {
    let Begin { process, member, registers, fs_base, vectors, clear_at_end, alternate, rseq, more, .. } = begin;
    let processor = process.space().map_err(|errno| errno.to_string()).and_then(|space| {
        let mut processor = world.machine.processor().map_err(|error| error.to_string())?;
        let entered = processor
            .enter(&world.machine, space.root(), fs_base, &landed(&space, registers))
            .and_then(|()| vectors.map_or(Ok(()), |vectors| processor.set_vectors(&vectors)))
            .and_then(|()| match more.as_ref().map_or(0, |more| more.gs_base) {
                0 => Ok(()),
                base => processor.set_gs_base(base),
            });
        entered.map(|()| processor).map_err(|error| error.to_string())
    });
    match processor {
        Ok(processor) => {
            member.processor.store(processor.number(), SeqCst);
            let mut thread = Thread {
                processor: Some(processor),
                context: registers,
                clear_at_end,
                robust: more.as_ref().map_or(0, |more| more.robust),
                alternate,
                rseq,
                deadlines: Deadlines::of(more.and_then(|more| more.waiting).and_then(time::after)),
                ..Thread::of(world.clone(), process.clone(), member)
            };
            if let Some(beginning) = beginning {
                execute_first(&mut thread, beginning);
            }
            if thread.tell_processor().is_err() {
                thread.end_process(libc::SIGSEGV);
            }
            thread.run();
            if let Some(processor) = thread.leave() {
                world.machine.put_back(processor);
            }
            drop(counted.take());
            thread.tell_end();
        }
        Err(reason) => world.control.stop(Exit::Lost(LostReason::Backend(reason))),
    }
}

/// The same on a thread of the host's own.
fn spawn(world: &Arc<World>, begin: Begin, beginning: Option<Beginning>) -> Result<(), Errno> {
    let (process, id, living) = (begin.process.clone(), begin.member.id, world.clone());
    let builder = std::thread::Builder::new().name("microvm".into());
    let spawned = world.keep(|| builder.spawn(move || run_with(&living, begin, beginning)));
    // Its place went with what it was to begin with.
    spawned.inspect_err(|_| super::ending::forget(world, &process, id, None))
}

/// Registers with which a thread begins that may be at a place which was rewritten.
fn landed(space: &Space, registers: Registers) -> Registers {
    Registers { rip: space.landing(registers.rip, registers.rax), ..registers }
}
