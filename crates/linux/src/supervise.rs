//! The thread that watches one instance until nothing of it is left.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringfence_isolation::{Exit, Host, LimitKind, LostReason, Usage, Verdict};
use ringfence_manifest::Spec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cgroup::{Alarm, Cgroup, Descriptors};
use crate::ending::{Known, exceeded, nanoseconds};
use crate::instance::Controls;
use crate::launch::{Message, Report};
use crate::namespaces::make_network;
use crate::network::Broker;
use crate::operations::Operations;
use crate::pump::{Pumps, STACK, feed};
use crate::sys::{self, Notification};
use crate::tree::{Room, is_full};

/// How often usage is charged when nothing happens.
const IDLE: Duration = Duration::from_millis(500);
/// The same while files of the host can grow up to a limit.
const WRITING: Duration = Duration::from_millis(50);
/// How close together two looks at the processor time are at least.
const CLOSEST: Duration = Duration::from_millis(1);

/// Everything the thread holds.
pub(crate) struct Supervisor {
    host: Arc<dyn Host>,
    controls: Arc<Controls>,
    pidfd: Arc<OwnedFd>,
    report: Report,
    cgroup: Arc<Cgroup>,
    descriptors: Descriptors,
    broker: Option<Broker>,
    fed: Option<(OwnedFd, OwnedFd)>,
    pumps: Pumps,
    spec: Arc<Spec>,
    charged: Duration,
    operations: Operations,
    /// How much memory there was at the last look.
    memory: u64,
    disk: Disk,
}

/// What of the host's can be changed, when the disk is limited.
struct Disk {
    /// How much it can hold at all.
    bytes: u64,
    /// Where there was room when the program began.
    folders: Vec<PathBuf>,
}

impl Disk {
    fn new(room: Option<&Room>) -> Self {
        match room {
            Some(Room::Bounded { bytes, folders }) => {
                let folders = folders.iter().filter(|folder| !is_full(folder)).cloned().collect();
                Disk { bytes: *bytes, folders }
            }
            Some(Room::Unbounded(_)) | None => Disk { bytes: 0, folders: Vec::new() },
        }
    }

    /// Whether one of them is full now: the kernel held the limit, and the program ran into it.
    fn is_full(&self) -> bool {
        self.folders.iter().any(|folder| is_full(folder))
    }
}

/// What there is to watch.
pub(crate) struct Watched {
    pub(crate) pidfd: Arc<OwnedFd>,
    pub(crate) report: Report,
    pub(crate) cgroup: Arc<Cgroup>,
    pub(crate) broker: Option<Broker>,
    /// What the program is to read, and the pipe it reads from.
    pub(crate) fed: Option<(OwnedFd, OwnedFd)>,
    /// Who passes on what it prints.
    pub(crate) pumps: Pumps,
    /// How much the host's folders can hold.
    pub(crate) room: Option<Room>,
}

/// The thread of a supervisor that is still to come: it starts while the place is built.
pub(crate) struct Watchman {
    supervisor: Sender<Supervisor>,
    network: Option<Receiver<io::Result<OwnedFd>>>,
}

/// A watchman that was started before anybody knew whether it is needed: the network namespace is made while
/// the rest is thought about. There is one at a time in a process, so that what is prepared and never
/// built costs little.
#[derive(Default)]
pub(crate) struct Ahead(Mutex<Option<Watchman>>);

static IS_AHEAD: AtomicBool = AtomicBool::new(false);

impl Ahead {
    /// One that makes a network namespace; or none, and who builds starts one.
    pub(crate) fn start() -> Self {
        if IS_AHEAD.swap(true, Relaxed) {
            return Ahead::default();
        }
        let watchman = Watchman::start(true).ok();
        if watchman.is_none() {
            IS_AHEAD.store(false, Relaxed);
        }
        Ahead(Mutex::new(watchman))
    }

    /// It, the first time.
    pub(crate) fn take(&self) -> Option<Watchman> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if taken.is_some() {
            IS_AHEAD.store(false, Relaxed);
        }
        taken
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Watchman {
    /// Starts the thread; whether it makes a network namespace for the place meanwhile.
    pub(crate) fn start(makes_network: bool) -> io::Result<Self> {
        let (supervisor, arrival) = channel::<Supervisor>();
        let (made, network) = channel();
        thread::Builder::new().name("ringfence-linux".into()).stack_size(STACK).spawn(move || {
            if makes_network {
                let network = make_network();
                let is_lost = network.is_err();
                // Without its own network back, this thread must not do anything more.
                if made.send(network).is_err() || is_lost {
                    return;
                }
            }
            if let Ok(supervisor) = arrival.recv() {
                supervisor.run();
            }
        })?;
        Ok(Watchman { supervisor, network: makes_network.then_some(network) })
    }

    /// The network namespace, when one is made; waits for it.
    pub(crate) fn network(&mut self) -> io::Result<Option<OwnedFd>> {
        let gone = |_| io::Error::other("the thread that makes the network ended");
        self.network.take().map(|network| network.recv().map_err(gone).flatten()).transpose()
    }

    /// Sets it to work.
    pub(crate) fn watch(self, supervisor: Supervisor) -> io::Result<()> {
        let gone = |_| io::Error::other("the thread of the supervisor ended");
        self.supervisor.send(supervisor).map_err(gone)
    }
}

impl Supervisor {
    pub(crate) fn new(host: Arc<dyn Host>, controls: Arc<Controls>, watched: Watched, spec: Arc<Spec>) -> Self {
        let Watched { pidfd, report, cgroup, broker, fed, pumps, room } = watched;
        controls.watch(cgroup.clone());
        let (descriptors, operations) = (Descriptors::new(controls.pid()), Operations::new(controls.pid()));
        Supervisor {
            host,
            controls,
            pidfd,
            report,
            cgroup,
            descriptors,
            broker,
            fed,
            pumps,
            spec,
            charged: Duration::ZERO,
            operations,
            memory: 0,
            disk: Disk::new(room.as_ref()),
        }
    }

    fn run(self) {
        let last = LastWord { controls: self.controls.clone(), pidfd: Some(self.pidfd.clone()) };
        last.say(self.live());
    }

    fn live(mut self) -> Exit {
        let started = Instant::now();
        if let Some(fed) = self.fed.take()
            && start_feeding(fed, self.pumps.over()).is_err()
        {
            self.controls.kill();
        }
        let verdict = self.watch();
        let ended = sys::wait_for(self.pidfd.as_fd());
        if let Some(broker) = self.broker.take() {
            broker.close();
        }
        // Everything of the place is dead now; nobody writes any more who counts.
        self.pumps.finish();
        let counted = self.cgroup.cpu_time().ok().flatten();
        let cpu_time = counted.or(ended.ok()).unwrap_or_default();
        let memory_peak = self.cgroup.memory_peak().ok().flatten().unwrap_or(0);
        self.charge(cpu_time);
        let usage = Usage { memory_peak, cpu_time, wall_time: started.elapsed(), ..Usage::default() };
        self.controls.measured(usage);
        let (out_of_memory, too_many) = (self.cgroup.out_of_memory(), self.cgroup.too_many_processes());
        let unknown = [&out_of_memory, &too_many].into_iter().find_map(|figure| figure.as_ref().err().map(blind));
        let known = Known {
            verdict: verdict.or(unknown),
            message: self.last_message(),
            out_of_memory: out_of_memory.unwrap_or(0),
            too_many: too_many.unwrap_or(0),
            memory_peak,
            cpu_time,
            set_aside: self.disk.bytes,
            killed: self.controls.was_killed(),
        };
        known.exit(&self.spec.limits)
    }

    /// Watches until pid 1 is gone; the limit it was ended for, if it was.
    fn watch(&mut self) -> Option<Exit> {
        let alarms = self.cgroup.alarms();
        let mut verdict = None;
        let mut looked = Instant::now();
        let mut somebody_asks = true;
        loop {
            let timeout = Timespec::try_from(self.next_look()).ok();
            let mut ready = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
            ready.extend(alarms.iter().map(|alarm| PollFd::new(&alarm.descriptor, alarm.interest)));
            let asked = ready.len();
            let takes_calls = self.broker.as_mut().is_some_and(Broker::takes_calls);
            if let Some(broker) = self.broker.as_ref().filter(|_| somebody_asks) {
                ready.extend(broker.freed().map(|freed| PollFd::new(freed, PollFlags::IN)));
                // A descriptor that is not waited for says only that nobody is left who could ask.
                let when = |takes: bool| if takes { PollFlags::IN } else { PollFlags::empty() };
                ready.push(PollFd::new(broker.listener(), when(takes_calls)));
                ready.extend(broker.names().map(|names| PollFd::new(names, when(broker.takes_names()))));
            }
            let Ok(count) = poll(&mut ready, timeout.as_ref()) else { continue };
            let ready: Vec<PollFlags> = ready.iter().map(PollFd::revents).collect();
            let is_ready = |index: usize| ready.get(index).is_some_and(|flags| !flags.is_empty());
            if is_ready(0) {
                return verdict;
            }
            let mut call = None;
            if let Some(broker) = &mut self.broker {
                if is_ready(asked) || is_ready(asked + 1) {
                    broker.resume();
                }
                if is_ready(asked + 2) && ready[asked + 2].contains(PollFlags::IN) {
                    call = broker.serve_call();
                } else if is_ready(asked + 2) {
                    // Nobody is left who could ask; it would be ready for ever.
                    somebody_asks = false;
                }
                if is_ready(asked + 3) {
                    broker.serve_name();
                }
            }
            if let Some(call) = call {
                if verdict.is_none() {
                    verdict = self.weigh(&call);
                    if verdict.is_some() {
                        self.controls.kill();
                    }
                }
                // What would be one too many waits until its process is gone.
                if let Some(broker) = self.broker.as_ref().filter(|_| verdict.is_none()) {
                    broker.let_go_on(call);
                }
            }
            // What is asked often must not make the looks at the limits frequent.
            let is_for_us = count == 0 || (1..asked).any(is_ready) || looked.elapsed() >= CLOSEST;
            if !is_for_us {
                continue;
            }
            looked = Instant::now();
            alarms.iter().for_each(Alarm::rearm);
            if verdict.is_none() {
                // A limit that cannot be looked at does not hold: nothing may go on behind it.
                verdict = self.judge().unwrap_or_else(|error| Some(blind(&error)));
                if verdict.is_some() {
                    self.controls.kill();
                }
            }
        }
    }

    /// How long until the next look: sooner the less processor time is left.
    fn next_look(&self) -> Duration {
        let idle = if self.disk.folders.is_empty() { IDLE } else { WRITING };
        let Some(allowed) = self.spec.limits.cpu_time else { return idle };
        let left = allowed.saturating_sub(self.cgroup.cpu_time().ok().flatten().unwrap_or_default());
        let at_once = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (left / u32::try_from(at_once).unwrap_or(1)).clamp(CLOSEST, idle)
    }

    /// Whether a limit has tripped.
    fn judge(&mut self) -> io::Result<Option<Exit>> {
        let cpu_time = self.cgroup.cpu_time()?.unwrap_or_default();
        let spec = self.spec.clone();
        let limits = &spec.limits;
        if let Some(allowed) = limits.cpu_time.filter(|allowed| cpu_time >= *allowed) {
            return Ok(Some(exceeded(LimitKind::CpuTime, nanoseconds(allowed), nanoseconds(cpu_time))));
        }
        let (out_of_memory, too_many) = (self.cgroup.out_of_memory()?, self.cgroup.too_many_processes()?);
        if limits.memory.is_some() && out_of_memory > 0 || limits.processes.is_some() && too_many > 0 {
            let memory_peak = self.cgroup.memory_peak()?.unwrap_or(0);
            let known = Known { out_of_memory, too_many, memory_peak, ..Known::default() };
            return Ok(Some(known.exit(limits)));
        }
        if let (Some(allowed), Some(used)) = (limits.memory, self.cgroup.memory_in_parts()?)
            && used > allowed.0
        {
            return Ok(Some(exceeded(LimitKind::Memory, allowed.0, used)));
        }
        if let Some(exit) = self.too_many_open(None)? {
            return Ok(Some(exit));
        }
        if let Some(allowed) = limits.disk.filter(|_| self.disk.is_full()) {
            return Ok(Some(exceeded(LimitKind::Disk, allowed.0, allowed.0)));
        }
        Ok(ending_by(self.charge(cpu_time)))
    }

    /// Whether a call that is asked for may not be made.
    fn weigh(&mut self, call: &Notification) -> Option<Exit> {
        if libc::c_long::from(call.number) == libc::SYS_exit_group {
            return self.too_many_open(Some(call.thread)).unwrap_or_else(|error| Some(blind(&error)));
        }
        let allowed = self.spec.limits.io_operations?;
        let io_operations = self.operations.count(call);
        if io_operations == 0 {
            return None;
        }
        let usage = Usage { memory: self.memory, io_operations, ..Usage::default() };
        let verdict = self.host.charge(usage);
        let made = self.operations.made();
        let passed = (made > allowed).then(|| exceeded(LimitKind::IoOperations, allowed, made));
        ending_by(verdict).or(passed)
    }

    /// Whether more is open than is allowed; a process that ends is looked at once more, by its thread that asks.
    fn too_many_open(&mut self, ending: Option<u32>) -> io::Result<Option<Exit>> {
        let Some(allowed) = self.spec.limits.open_files else { return Ok(None) };
        let open = match ending {
            Some(thread) => self.descriptors.with_ending(&self.cgroup, thread.cast_signed())?,
            None => self.descriptors.all(&self.cgroup)?,
        };
        Ok((open > allowed).then(|| exceeded(LimitKind::OpenFiles, allowed, open)))
    }

    fn charge(&mut self, cpu_time: Duration) -> Verdict {
        let since = cpu_time.saturating_sub(self.charged);
        self.charged = cpu_time.max(self.charged);
        self.memory = self.cgroup.memory().ok().flatten().unwrap_or(0);
        self.host.charge(Usage { memory: self.memory, cpu_time: since, ..Usage::default() })
    }

    /// A failure to execute comes before the status it leads to.
    fn last_message(&self) -> Option<Message> {
        let first = self.report.next()?;
        match first {
            Message::Failed(..) | Message::Full(_) => Some(first),
            Message::Ready | Message::Doors(_) | Message::Ended(_) => Some(self.report.next().unwrap_or(first)),
        }
    }
}

/// How an instance ends by the host's verdict, if it does.
fn ending_by(verdict: Verdict) -> Option<Exit> {
    match verdict {
        Verdict::Continue => None,
        Verdict::Exceeded(limit) => Some(Exit::Exceeded(limit)),
        Verdict::Denied(denial) => Some(Exit::Denied(denial)),
        Verdict::Stopped => Some(Exit::Stopped),
    }
}

/// The end of an instance whose limits cannot be looked at.
fn blind(error: &io::Error) -> Exit {
    Exit::Lost(LostReason::Backend(format!("its limits cannot be looked at: {error}")))
}

/// Passes on what the program is to read, until it is gone. Nobody waits for this thread: it holds nothing of the
/// place.
fn start_feeding((from, to): (OwnedFd, OwnedFd), over: Arc<OwnedFd>) -> io::Result<()> {
    let builder = thread::Builder::new().name("ringfence-feed".into()).stack_size(STACK);
    let feeding = builder.spawn(move || {
        // SIGPIPE of its own writing included.
        let _ = sys::block_all_signals();
        feed(&from, &over, &to, None);
    });
    feeding.map(drop)
}

/// Says that the instance is lost should its thread end without a word.
struct LastWord {
    controls: Arc<Controls>,
    pidfd: Option<Arc<OwnedFd>>,
}

impl LastWord {
    fn say(mut self, exit: Exit) {
        self.pidfd = None;
        self.controls.end(exit);
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            self.controls.kill();
            let _ = sys::wait_for(pidfd.as_fd());
            let why = "the thread that watched it ended without a result";
            self.controls.end(Exit::Lost(LostReason::Backend(why.into())));
        }
    }
}
