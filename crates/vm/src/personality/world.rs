//! Everything the threads of an instance share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfence_abi::{Call, Handle, Reply, Timestamp};
use ringfence_isolation::{Exit, Host, Limit, LimitKind};
use ringfence_manifest::Spec;
use rustix::io::Errno;
use tokio::runtime;

use super::desk::Clerk;
use super::futex::Futexes;
use super::inotify::Watchers;
use super::locks::Locks;
use super::owners::Owners;
use super::pi::Handed;
use super::pipe::Fifos;
use super::process::{Process, lock};
use super::queues::MessageQueues;
use super::rest::Rest;
use super::segments::Segments;
use super::semaphores::Semaphores;
use super::shared::Shared;
use super::socket::{Names, Queues};
use super::table::Barred;
use super::terminal::{Terminal, Terminals};
use super::{MOST_THREADS, THREADS_AT_ONCE, errno};
use crate::control::Control;
use crate::kvm::{Kept, Machine};
use crate::memory::{Content, Ledger, Segment};
use crate::scratch::Scratch;
use crate::tree::{HostFile, System};
use crate::vdso::Vdso;

/// The number of whoever began the instance: the parent of its first process, and of those whose own has ended.
pub(super) const OUTSIDE: u32 = 1;

/// The first process; 1 is whoever started it.
pub(super) const FIRST: u32 = 2;
/// How many processes may be over and not asked for: `pid_max` of `proc(5)`.
const MOST_LEFT: usize = 32768;
/// About what the host keeps for each.
const LEFT: usize = 4096;

/// Everything the threads of an instance share.
pub(crate) struct World {
    pub(super) host: Arc<dyn Host>,
    pub(super) machine: Arc<Machine>,
    pub(super) spec: Arc<Spec>,
    pub(super) system: Arc<System>,
    pub(super) control: Arc<Control>,
    pub(super) futexes: Futexes,
    pub(super) handed: Handed,
    /// Folders in memory.
    pub(super) scratch: Scratch,
    /// Files that are mapped and shared.
    pub(super) shared: Shared,
    pub(super) locks: Locks,
    /// The page of time, where the processor's counter can tell it.
    pub(super) vdso: Option<Vdso>,
    pub(super) rest: Rest,
    /// The pages of time of programs that were captured with such, where there is no clock for them, and the
    /// generation that was captured.
    pub(super) silent_time: OnceLock<(Arc<Segment>, u32)>,
    /// How long it had run when it was captured.
    pub(super) before: OnceLock<Duration>,
    /// How much the monotonic clock is ahead of the host's: it goes on from where it was captured.
    pub(super) ahead: OnceLock<Timestamp>,
    /// The last number of what has no name: a pipe, a socket.
    numbers: AtomicU64,
    pub(super) executor: OnceLock<runtime::Handle>,
    /// How many timers run.
    pub(super) alarms: Arc<AtomicUsize>,
    /// Unix sockets: what is on its way, and their names.
    pub(super) links: Queues,
    pub(super) names: Names,
    pub(super) fifos: Fifos,
    /// Memory, semaphores and messages that are shared by a number.
    pub(super) segments: Segments,
    pub(super) semaphores: Semaphores,
    pub(super) queues: MessageQueues,
    /// Whose files are.
    pub(super) owners: Owners,
    /// Who watches files and folders.
    pub(super) watchers: Watchers,
    pub(super) terminals: Terminals,
    /// The calls that are there and not let through.
    pub(super) barred: Option<Barred>,
    /// Who answers calls of threads that are in the guest.
    pub(super) clerk: Clerk,
    /// The one that is the user's.
    pub(super) console: Option<Arc<Terminal>>,
    /// `localhost` was asked for, so that its addresses are known as such.
    pub(super) localhost: OnceLock<()>,
    /// The folder at the top of what the hal serves.
    pub(super) root: Option<Handle>,
    processes: Mutex<BTreeMap<u32, Arc<Process>>>,
    threads: Mutex<Threads>,
    began: Instant,
    living: Arc<AtomicU32>,
    /// Processes that are over and nobody asked for yet.
    left: Mutex<(usize, Kept)>,
    open: AtomicU64,
    next: AtomicU32,
}

/// A thread that is counted for as long as this is kept, also when it never begins.
pub(super) struct Counted {
    pub(super) id: u32,
    living: Arc<AtomicU32>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.living.fetch_sub(1, SeqCst);
    }
}

/// Threads of the host beside the first one.
#[derive(Default)]
struct Threads {
    kept: Vec<JoinHandle<()>>,
    /// All were waited for.
    is_over: bool,
}

impl World {
    pub(crate) fn new(
        host: Arc<dyn Host>,
        machine: Machine,
        spec: Arc<Spec>,
        system: Arc<System>,
        control: Arc<Control>,
        counter: Option<u32>,
    ) -> Arc<Self> {
        let root = host.folders().first().map(|folder| folder.handle);
        let machine = Arc::new(machine);
        let now = match host.call(Call::Now { clock: ringfence_abi::Clock::Wall }).now() {
            Ok(Reply::Time(time)) => time,
            _ => 0,
        };
        let terminals = Terminals::default();
        let console = spec.session.terminal.and_then(|_| terminals.create().ok());
        let vdso = counter.and_then(|kilohertz| Vdso::new(&machine, &*host, kilohertz));
        let rest = Rest::new(spec.session.capture_at);
        let clerk = Clerk::new(&spec);
        let barred = Barred::of(&spec.isolation.seccomp);
        let scratch = Scratch::new(&spec, &machine, &control, now);
        let left = Mutex::new((0, Kept::new(machine.clone())));
        Arc::new(World {
            host,
            machine,
            spec,
            system,
            control,
            futexes: Futexes::default(),
            handed: Handed::default(),
            scratch,
            vdso,
            shared: Shared::default(),
            locks: Locks::default(),
            rest,
            silent_time: OnceLock::new(),
            before: OnceLock::new(),
            ahead: OnceLock::new(),
            numbers: AtomicU64::new(0),
            executor: OnceLock::new(),
            alarms: Arc::default(),
            links: Queues::default(),
            names: Names::default(),
            fifos: Fifos::default(),
            segments: Segments::default(),
            semaphores: Semaphores::default(),
            queues: MessageQueues::default(),
            owners: Owners::default(),
            watchers: Watchers::default(),
            terminals,
            barred,
            clerk,
            console,
            localhost: OnceLock::new(),
            root,
            processes: Mutex::default(),
            threads: Mutex::default(),
            began: Instant::now(),
            living: Arc::default(),
            left,
            open: AtomicU64::new(0),
            next: AtomicU32::new(FIRST),
        })
    }

    /// How long it has run, without what it rested in a snapshot.
    pub(super) fn uptime(&self) -> Duration {
        self.began.elapsed().saturating_add(self.before.get().copied().unwrap_or_default())
    }

    /// The machine it is in.
    pub(crate) fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Whether it has a terminal of the user's.
    pub(crate) fn has_console(&self) -> bool {
        self.console.is_some()
    }

    /// Keeps the page of time right; to be called now and then.
    pub(crate) fn refresh_clock(&self) {
        if let Some(vdso) = &self.vdso {
            vdso.refresh(&*self.host);
        }
    }

    pub(super) fn ledger(&self) -> Arc<dyn Ledger> {
        self.control.clone()
    }

    /// A way to wait for the point at which everything rests to be captured.
    pub(crate) fn arrival(&self) -> tokio::sync::watch::Receiver<bool> {
        self.rest.arrival()
    }

    /// A call that the hal answers at once.
    pub(super) fn call(&self, call: Call<'_>) -> Result<Reply, Errno> {
        self.host.call(call).now().map_err(|code| self.failed(code))
    }

    /// Whether the host may keep so many bytes more for programs; when not, everything ends.
    pub(super) fn may_keep(&self, bytes: usize) -> Result<(), Errno> {
        if self.control.may_hold(self.machine.used() + bytes as u64) { Ok(()) } else { Err(Errno::NOMEM) }
    }

    /// Reads a file of the system's, and counts that.
    pub(super) fn read_system(&self, file: &HostFile, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let count = file.read_at(offset, into)?;
        self.control.charge_io(1, count as u64);
        Ok(count)
    }

    /// The errno of a code; when it says that the instance has to end, it does.
    pub(super) fn failed(&self, code: ringfence_abi::ErrorCode) -> Errno {
        if code == ringfence_abi::ErrorCode::Stopping {
            self.control.stop_by(self.host.verdict());
        }
        errno(code)
    }

    /// Room for one more thread, and its number; `EAGAIN` when there is none.
    pub(super) fn begin_thread(&self) -> Result<Counted, Errno> {
        let allowed = self.spec.limits.processes.unwrap_or(u64::MAX);
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).0;
        let living = u64::from(self.living.fetch_add(1, SeqCst)) + 1;
        let mut counted = Counted { id: 0, living: self.living.clone() };
        let used = living + left as u64;
        if used > allowed {
            self.control.stop(Exit::Exceeded(Limit { limit: LimitKind::Processes, allowed, used }));
            return Err(Errno::AGAIN);
        }
        if living > u64::from(MOST_THREADS) || left >= MOST_LEFT || self.may_keep(0).is_err() {
            return Err(Errno::AGAIN);
        }
        let may_keep = |bytes: usize| self.may_keep(bytes).is_ok();
        if living > THREADS_AT_ONCE && !self.machine.has_processors(living as usize, may_keep) {
            return Err(Errno::AGAIN);
        }
        counted.id = self.next.fetch_add(1, SeqCst);
        Ok(counted)
    }

    fn count_left(&self, change: isize) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.0 = left.0.saturating_add_signed(change);
        let bytes = left.0 * LEFT;
        left.1.set(bytes);
    }

    /// A process is over and stays until its parent asks.
    pub(super) fn left_over(&self) {
        self.count_left(1);
    }

    /// Its parent asked, or nobody will.
    pub(super) fn asked_for(&self) {
        self.count_left(-1);
    }

    /// How much the monotonic clock is ahead of the host's, in nanoseconds.
    pub(super) fn ahead(&self) -> Timestamp {
        self.ahead.get().copied().unwrap_or(0)
    }

    /// A number that nothing without a name has had yet.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, SeqCst) + 1
    }

    /// How much memory programs are told that there is.
    pub(super) fn memory(&self) -> u64 {
        self.spec.limits.memory.map_or(16 << 30, |bytes| bytes.0)
    }

    /// The names at the root that are not the hal's.
    pub(super) fn names_at_the_top(&self) -> Vec<Vec<u8>> {
        let mut names = self.system.names_in(b"/");
        let known = |name: &Vec<u8>| self.is_known(&[b"/", &name[..]].concat());
        names.extend(self.scratch.names_in(b"/").into_iter().filter(known));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The names in a folder that holds parts of the system: theirs, and those of mounts of which anything is granted.
    pub(super) fn names_of_system(&self, folder: &[u8]) -> Vec<Vec<u8>> {
        let mut names = self.system.names_in(folder);
        let mounts = self.system.mounts_in(folder).filter(|mount| self.is_known(mount));
        let name = |mount: &[u8]| mount[folder.len() + 1..].split(|&byte| byte == b'/').next().map(<[u8]>::to_vec);
        names.extend(mounts.filter_map(name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether something is granted at a path, or on the way.
    pub(super) fn is_known(&self, path: &[u8]) -> bool {
        self.spec.permissions.learn || self.spec.permissions.files.knows(path)
    }

    /// How many threads there are.
    pub(super) fn living(&self) -> usize {
        self.living.load(SeqCst) as usize
    }

    /// The number of the next thread.
    pub(super) fn next_number(&self) -> u32 {
        self.next.load(SeqCst)
    }

    pub(super) fn set_next_number(&self, next: u32) {
        self.next.store(next, SeqCst);
    }

    /// Whether there are no threads but these.
    pub(super) fn are_everybody(&self, all: &[u32]) -> bool {
        let processes: Vec<Arc<Process>> = self.processes().values().cloned().collect();
        processes.iter().all(|process| lock(&process.threads).keys().all(|id| all.contains(id)))
    }

    /// Gets every thread but these out of the guest or out of its waiting.
    pub(super) fn interrupt_all(&self, but: &[u32]) {
        for process in self.processes().values() {
            for member in lock(&process.threads).values().filter(|member| !but.contains(&member.id)) {
                self.control.interrupt(member.number.load(SeqCst));
            }
        }
    }

    /// One more thing is open; beyond the limit everything ends.
    pub(super) fn count_open(&self) {
        let used = self.open.fetch_add(1, SeqCst) + 1;
        if let Some(allowed) = self.spec.limits.open_files
            && used > allowed
        {
            self.control.stop(Exit::Exceeded(Limit { limit: LimitKind::OpenFiles, allowed, used }));
        }
    }

    pub(super) fn count_closed(&self) {
        self.open.fetch_sub(1, SeqCst);
    }

    /// Keeps a thread of the host, to wait for it at the end, after which none begins any more.
    pub(super) fn keep(&self, begin: impl FnOnce() -> std::io::Result<JoinHandle<()>>) -> Result<(), Errno> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.is_over {
            return Err(Errno::AGAIN);
        }
        let thread = begin().map_err(|_| Errno::AGAIN)?;
        threads.kept.retain(|thread| !thread.is_finished());
        threads.kept.push(thread);
        Ok(())
    }

    /// Waits until every thread has ended.
    pub(super) fn join(&self) {
        loop {
            let thread = {
                let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
                threads.is_over = threads.kept.is_empty();
                threads.kept.pop()
            };
            match thread {
                // A thread that panicked has said so; what it held is gone with it.
                Some(thread) => drop(thread.join()),
                None => return,
            }
        }
    }

    pub(super) fn processes(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Process>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn process(&self, id: u32) -> Option<Arc<Process>> {
        self.processes().get(&id).cloned()
    }

    /// Whether a process is there: it runs, or nobody was told yet that it ended.
    pub(super) fn has(&self, process: &Arc<Process>) -> bool {
        self.processes().get(&process.id).is_some_and(|found| Arc::ptr_eq(found, process))
    }
}
