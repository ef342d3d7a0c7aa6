//! A process: `credentials(7)`, `clone(2)`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::alarms::Alarms;
use super::causes::Queue;
use super::credentials::Credentials;
use super::files::Descriptors;
use super::limits::Limits;
use super::shared::Identity;
use super::signals::Actions;
use super::stopping::Halt;
use super::waiting::Bell;
use crate::kvm::{Kept, Machine};
use crate::memory::Space;

/// How long the name of a thread can be: `TASK_COMM_LEN`, without its end.
pub(super) const LONGEST_NAME: usize = 15;

/// A process, or what is left of one until its parent has asked.
pub(super) struct Process {
    pub(super) id: u32,
    pub(super) parent: AtomicU32,
    pub(super) group: AtomicU32,
    space: Mutex<Option<Arc<Space>>>,
    descriptors: Mutex<Arc<Descriptors>>,
    pub(super) actions: Mutex<Arc<Mutex<Actions>>>,
    pub(super) place: Mutex<Arc<Mutex<Place>>>,
    image: Mutex<Arc<Image>>,
    /// Its threads, by their numbers.
    pub(super) threads: Mutex<BTreeMap<u32, Arc<Member>>>,
    /// The thread that goes on alone, as in `execve(2)`; 0 while all do.
    pub(super) alone: AtomicU32,
    /// Rung when a thread of it has ended.
    pub(super) fewer: Bell,
    /// How it is to end, or ended: a status as `wait(2)` has it. Negative while it lives.
    pub(super) status: AtomicI32,
    pub(super) is_over: AtomicBool,
    /// Rung when a child has ended.
    pub(super) children: Bell,
    /// Rung when there is a signal for it or one of its threads.
    pub(super) signalled: Bell,
    /// Rung when it has left its parent's space: `vfork(2)`.
    pub(super) left: Bell,
    pub(super) has_left: AtomicBool,
    pub(super) alarms: Alarms,
    /// Signals for whichever thread takes them, and their causes.
    pub(super) pending: AtomicU64,
    pub(super) queue: Queue,
    pub(super) halt: Halt,
    pub(super) session: AtomicU32,
    /// Whether it has begun another program: `setpgid(2)`.
    pub(super) has_executed: AtomicBool,
    /// Processor time of its threads that have ended, and of children that were waited for.
    pub(super) ended_time: Mutex<Duration>,
    pub(super) children_time: Mutex<Duration>,
    /// The most memory it had at once before it began another program or ended, and the most of children that were
    /// waited for, in bytes: `getrusage(2)`.
    peaks: Mutex<[u64; 2]>,
    /// `getrlimit(2)`
    pub(super) limits: Mutex<Limits>,
    /// `setpriority(2)`
    pub(super) niceness: AtomicI32,
    /// The name of its first thread: `PR_SET_NAME`.
    pub(super) name: Mutex<Option<Vec<u8>>>,
    /// `PR_SET_PDEATHSIG`, `PR_SET_DUMPABLE`
    pub(super) at_parents_end: AtomicU32,
    pub(super) dumpable: AtomicU32,
    /// Whether descendants whose parent ends become its children: `PR_SET_CHILD_SUBREAPER`.
    pub(super) adopts: AtomicBool,
    /// What its parent hears of its end: `clone(2)`, "the child termination signal"; 0 is nothing.
    pub(super) last_signal: AtomicI32,
    /// `sched_setscheduler(2)`: the policy and the priority, which change nothing.
    pub(super) policy: AtomicI32,
    pub(super) priority: AtomicU32,
    /// Who it is.
    pub(super) credentials: Mutex<Credentials>,
    /// It said that it gains no privileges, as nobody does: `PR_SET_NO_NEW_PRIVS`.
    pub(super) gains_nothing: AtomicBool,
    /// Which of others it would be ended before when memory is short: `oom_score_adj` of `proc(5)`, which is kept, and
    /// the least who is not user 0 may set.
    pub(super) oom: Mutex<[i32; 2]>,
    /// `personality(2)`
    pub(super) persona: AtomicU32,
    /// `PR_SET_KEEPCAPS`, `PR_SET_THP_DISABLE`
    pub(super) keeps_capabilities: AtomicBool,
    pub(super) no_huge_pages: AtomicBool,
    /// What it has registered for `membarrier(2)`.
    pub(super) barriers: AtomicI32,
    /// Told of its end, when somebody outside waits for that.
    pub(super) awaited: Mutex<Option<tokio::sync::oneshot::Sender<i32>>>,
}

/// No number among the threads of a process.
pub(super) const NO_PLACE: u32 = u32::MAX;

/// What others know of a thread.
pub(super) struct Member {
    pub(super) id: u32,
    /// The number of its thread of the host; 0 before it runs.
    pub(super) number: AtomicI32,
    pub(super) pending: AtomicU64,
    pub(super) queue: Queue,
    pub(super) blocked: AtomicU64,
    /// Processor time it had before it was captured.
    pub(super) earlier: Duration,
    /// It runs in the guest, or is about to.
    pub(super) inside: AtomicBool,
    /// It is to pass a barrier: `membarrier(2)`.
    pub(super) fence: AtomicBool,
    /// The number of the processor it has.
    pub(super) processor: AtomicU32,
    /// The processors it may run on, as it was asked for: `sched_setaffinity(2)`; 0 is any.
    pub(super) affinity: AtomicU64,
    /// How much later it may be woken: `PR_SET_TIMERSLACK`.
    pub(super) slack: AtomicU64,
    /// The same for who says 0: what its creator had.
    pub(super) first_slack: AtomicU64,
    /// Its name, of another than the first thread: `PR_SET_NAME`.
    pub(super) name: Mutex<Vec<u8>>,
    /// It waits in a call.
    pub(super) is_asleep: AtomicBool,
    /// Its number among the threads of its process: `rseq(2)`; [`NO_PLACE`] before somebody asks.
    pub(super) place: AtomicU32,
    /// It ends, and owns no lock any more.
    pub(super) leaves: AtomicBool,
}

impl Member {
    /// The same thread under another number.
    pub(super) fn renumbered(&self, id: u32) -> Member {
        let (number, pending, blocked) =
            (self.number.load(SeqCst), self.pending.load(SeqCst), self.blocked.load(SeqCst));
        let (queue, earlier) = (self.queue.duplicate(), self.earlier);
        Member {
            id,
            number: number.into(),
            pending: pending.into(),
            queue,
            blocked: blocked.into(),
            earlier,
            inside: AtomicBool::new(false),
            fence: AtomicBool::new(self.fence.load(SeqCst)),
            processor: AtomicU32::new(self.processor.load(SeqCst)),
            affinity: AtomicU64::new(self.affinity.load(SeqCst)),
            slack: AtomicU64::new(self.slack.load(SeqCst)),
            first_slack: AtomicU64::new(self.first_slack.load(SeqCst)),
            name: Mutex::new(lock(&self.name).clone()),
            is_asleep: AtomicBool::new(false),
            place: AtomicU32::new(NO_PLACE),
            leaves: AtomicBool::new(false),
        }
    }

    /// Processor time on its thread of the host; none before that runs.
    pub(super) fn time(&self) -> Option<Duration> {
        match self.number.load(SeqCst) {
            0 => Some(Duration::ZERO),
            number => crate::sys::thread_time(number),
        }
    }
}

/// Where a process is in the tree of files: `chdir(2)`, `umask(2)`.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) folder: Vec<u8>,
    pub(super) mask: u32,
}

/// What it runs: `/proc/self/exe`, `/proc/self/cmdline`.
#[derive(Default)]
pub(super) struct Image {
    pub(super) path: Vec<u8>,
    pub(super) arguments: Vec<Vec<u8>>,
    /// Which file it is, where that is known.
    pub(super) identity: Option<Identity>,
    _kept: Option<Kept>,
}

impl Image {
    /// It counts as memory.
    pub(super) fn new(machine: &Arc<Machine>, path: Vec<u8>, arguments: Vec<Vec<u8>>) -> Image {
        let each = size_of::<Vec<u8>>() + 16;
        let bytes = path.len() + arguments.iter().map(|text| text.len() + each).sum::<usize>();
        Image { path, arguments, identity: None, _kept: Some(Kept::of(machine, bytes)) }
    }

    /// The same, of this file.
    pub(super) fn of(self, identity: Option<Identity>) -> Image {
        Image { identity, ..self }
    }
}

/// What a new process begins with.
pub(super) struct Parts<S = Arc<Space>> {
    pub(super) id: u32,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    pub(super) space: S,
    pub(super) descriptors: Arc<Descriptors>,
    pub(super) actions: Arc<Mutex<Actions>>,
    pub(super) place: Arc<Mutex<Place>>,
    pub(super) image: Arc<Image>,
    pub(super) limits: Limits,
    pub(super) niceness: i32,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let space = Some(parts.space.clone());
        Self::revived(parts, space)
    }

    /// The same, with the memory it has left: none when it is over.
    pub(super) fn revived<S>(parts: Parts<S>, space: Option<Arc<Space>>) -> Arc<Self> {
        Arc::new(Process {
            id: parts.id,
            parent: AtomicU32::new(parts.parent),
            group: AtomicU32::new(parts.group),
            space: Mutex::new(space),
            descriptors: Mutex::new(parts.descriptors),
            actions: Mutex::new(parts.actions),
            place: Mutex::new(parts.place),
            image: Mutex::new(parts.image),
            threads: Mutex::default(),
            alone: AtomicU32::new(0),
            fewer: Bell::default(),
            status: AtomicI32::new(-1),
            is_over: AtomicBool::new(false),
            children: Bell::default(),
            signalled: Bell::default(),
            left: Bell::default(),
            has_left: AtomicBool::new(false),
            alarms: Alarms::default(),
            pending: AtomicU64::new(0),
            queue: Queue::default(),
            halt: Halt::default(),
            session: AtomicU32::new(parts.session),
            has_executed: AtomicBool::new(false),
            ended_time: Mutex::default(),
            children_time: Mutex::default(),
            peaks: Mutex::default(),
            limits: Mutex::new(parts.limits),
            niceness: AtomicI32::new(parts.niceness),
            name: Mutex::default(),
            at_parents_end: AtomicU32::new(0),
            dumpable: AtomicU32::new(1),
            adopts: AtomicBool::new(false),
            last_signal: AtomicI32::new(libc::SIGCHLD),
            policy: AtomicI32::new(libc::SCHED_OTHER),
            priority: AtomicU32::new(0),
            credentials: Mutex::default(),
            gains_nothing: AtomicBool::new(false),
            oom: Mutex::default(),
            persona: AtomicU32::new(0),
            keeps_capabilities: AtomicBool::new(false),
            no_huge_pages: AtomicBool::new(false),
            barriers: AtomicI32::new(0),
            awaited: Mutex::new(None),
        })
    }

    /// What a child has of its parent that neither of them uses for anything here: it is told again.
    pub(super) fn take_after(&self, parent: &Process) {
        *lock(&self.oom) = *lock(&parent.oom);
        self.persona.store(parent.persona.load(SeqCst), SeqCst);
        self.keeps_capabilities.store(parent.keeps_capabilities.load(SeqCst), SeqCst);
        self.no_huge_pages.store(parent.no_huge_pages.load(SeqCst), SeqCst);
    }

    /// Its memory; `ESRCH` when it is over.
    pub(super) fn space(&self) -> Result<Arc<Space>, Errno> {
        lock(&self.space).clone().ok_or(Errno::SRCH)
    }

    /// Gives it other memory, or none.
    pub(super) fn set_space(&self, space: Option<Arc<Space>>) {
        let old = std::mem::replace(&mut *lock(&self.space), space);
        if let Some(old) = &old {
            let mut peaks = lock(&self.peaks);
            peaks[0] = peaks[0].max(old.peak());
        }
        drop(old);
    }

    /// The most memory it had at once, and the most of children that were waited for, in bytes.
    pub(super) fn peaks(&self) -> [u64; 2] {
        let now = self.space().map_or(0, |space| space.peak());
        let [own, children] = *lock(&self.peaks);
        [own.max(now), children]
    }

    /// It had so much.
    pub(super) fn set_peaks(&self, peaks: [u64; 2]) {
        *lock(&self.peaks) = peaks;
    }

    /// A child was waited for that had so much, as had those it waited for.
    pub(super) fn had_child(&self, peak: u64) {
        let mut peaks = lock(&self.peaks);
        peaks[1] = peaks[1].max(peak);
    }

    /// Processor time of all its threads so far.
    pub(super) fn cpu_time(&self) -> Duration {
        let threads = lock(&self.threads);
        let living = threads.values().filter_map(|member| member.time());
        *lock(&self.ended_time) + living.sum::<Duration>()
    }

    /// Processor time of one of its threads; `None` when it has ended.
    pub(super) fn thread_time(&self, id: u32) -> Option<Duration> {
        let member = lock(&self.threads).get(&id)?.clone();
        Some(member.time()? + member.earlier)
    }

    pub(super) fn descriptors(&self) -> Arc<Descriptors> {
        lock(&self.descriptors).clone()
    }

    pub(super) fn set_descriptors(&self, descriptors: Arc<Descriptors>) {
        let old = std::mem::replace(&mut *lock(&self.descriptors), descriptors);
        drop(old);
    }

    pub(super) fn actions(&self) -> Arc<Mutex<Actions>> {
        lock(&self.actions).clone()
    }

    pub(super) fn place(&self) -> Arc<Mutex<Place>> {
        lock(&self.place).clone()
    }

    pub(super) fn image(&self) -> Arc<Image> {
        lock(&self.image).clone()
    }

    /// The name of its first thread: `PR_GET_NAME`.
    pub(super) fn name(&self) -> Vec<u8> {
        let given = lock(&self.name).clone();
        given.unwrap_or_else(|| {
            let path = &self.image().path;
            let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            last[..last.len().min(LONGEST_NAME)].to_vec()
        })
    }

    /// The name of one of its threads; that of the first when it has ended.
    pub(super) fn name_of(&self, who: u32) -> Vec<u8> {
        let member = if who == self.id { None } else { lock(&self.threads).get(&who).cloned() };
        member.map_or_else(|| self.name(), |member| lock(&member.name).clone())
    }

    /// Names one of its threads, with no more than [`LONGEST_NAME`] bytes before a NUL.
    pub(super) fn name_thread(&self, who: u32, name: &[u8]) {
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let name = name[..name.len().min(LONGEST_NAME)].to_vec();
        let member = if who == self.id { None } else { lock(&self.threads).get(&who).cloned() };
        match member {
            Some(member) => *lock(&member.name) = name,
            None => self.name_it(Some(name)),
        }
    }

    /// Its name, if it was given one.
    pub(super) fn given_name(&self) -> Option<Vec<u8>> {
        lock(&self.name).clone()
    }

    /// Gives it a name, or none.
    pub(super) fn name_it(&self, name: Option<Vec<u8>>) {
        *lock(&self.name) = name;
    }

    pub(super) fn set_image(&self, image: Image) {
        let old = std::mem::replace(&mut *lock(&self.image), Arc::new(image));
        drop(old);
        *lock(&self.name) = None;
    }
}
