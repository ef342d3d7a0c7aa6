//! A place with a program in it.

use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use ringfence_isolation::{
    self as isolation, BoxFuture, CallError, Enforcement, Exec, Exit, Instance, Pause, StartError, Stop, Usage,
};
use ringfence_manifest::WindowSize;
use rustix::io::{Errno, ioctl_fionbio, write};
use rustix::process::{Signal, pidfd_send_signal};

use crate::cgroup::Cgroup;
use crate::exec::Means;
use crate::launch::{Order, order, pass_streams};
use crate::spent::Spent;
use crate::terminal::Terminal;
use crate::tree::Identity;

/// A built place.
pub(crate) struct LinuxInstance {
    pub(crate) controls: Arc<Controls>,
    enforced: Enforcement,
    pub(crate) means: Means,
}

/// What the owner of an instance and the thread that watches it share.
pub(crate) struct Controls {
    pid: i32,
    state: Mutex<State>,
}

/// The ways into a place.
pub(crate) struct Lines {
    /// Names pid 1 for good, also when it is gone.
    pub(crate) pidfd: Arc<OwnedFd>,
    /// Where pid 1 takes signals from.
    pub(crate) commands: OwnedFd,
    /// Where pid 2 waits for its streams.
    pub(crate) gate: OwnedFd,
    /// The streams.
    pub(crate) streams: Option<[OwnedFd; 3]>,
    /// The supervisor's part of its terminal.
    pub(crate) terminal: Option<Terminal>,
    /// The user's terminal, as the place has it.
    pub(crate) console: Option<Identity>,
}

/// What its owner has done with an instance. That it has ended is not among them: the thread that watches it
/// says so by [`State::exit`], whatever the owner did.
///
/// ```text
/// Built ──start──▶ Started
///   └────stop────▶ Stopped
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Built,
    Started,
    Stopped,
}

struct State {
    phase: Phase,
    /// Closed when the place is gone.
    lines: Option<Lines>,
    killed: bool,
    /// Whether anybody did.
    dying: bool,
    usage: Usage,
    exit: Option<Exit>,
    waiting: Vec<Waker>,
    cgroup: Option<Arc<Cgroup>>,
}

impl Controls {
    pub(crate) fn new(pid: i32, lines: Lines) -> Self {
        // Who passes signals on must not wait until somebody reads them.
        let _ = ioctl_fionbio(&lines.commands, true);
        let state = State {
            phase: Phase::Built,
            lines: Some(lines),
            killed: false,
            dying: false,
            usage: Usage::default(),
            exit: None,
            waiting: Vec::new(),
            cgroup: None,
        };
        Controls { pid, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of pid 1 of the place, outside.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Ends everything of the place.
    pub(crate) fn kill(&self) {
        let cgroup = {
            let mut state = self.state();
            state.kill();
            state.cgroup.clone()
        };
        if let Some(cgroup) = cgroup {
            cgroup.thaw_for_good();
        }
    }

    /// Whether the owner killed it.
    pub(crate) fn was_killed(&self) -> bool {
        self.state().killed
    }

    pub(crate) fn watch(&self, cgroup: Arc<Cgroup>) {
        self.state().cgroup = Some(cgroup);
    }

    pub(crate) fn measured(&self, usage: Usage) {
        self.state().usage = usage;
    }

    /// Records the end and lets go of what must be gone when somebody learns of it.
    pub(crate) fn end(&self, exit: Exit) {
        let mut state = self.state();
        let (cgroup, lines) = (state.cgroup.take(), state.lines.take());
        drop(state);
        drop((cgroup, lines));
        let waiting = {
            let mut state = self.state();
            state.exit.get_or_insert(exit);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Resolves when the place is gone, to how it ended.
    pub(crate) fn ended(&self) -> impl Future<Output = Exit> {
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(exit) = &state.exit {
                return Poll::Ready(exit.clone());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
    }

    /// The user's terminal, as the place has it.
    pub(crate) fn console(&self) -> Option<Identity> {
        self.state().lines.as_ref().and_then(|lines| lines.console)
    }

    /// Orders a command from pid 1; the line on which its end is reported, and the one on which it is steered.
    pub(crate) fn order(&self, streams: &[OwnedFd; 3], wanted: &Order) -> Result<(OwnedFd, OwnedFd), CallError> {
        let state = self.state();
        if let Some(exit) = &state.exit {
            return Err(CallError::Ended(exit.clone()));
        }
        if state.phase != Phase::Started {
            return Err(CallError::Unsupported("the instance has not been started"));
        }
        let lines = state.lines.as_ref().ok_or(CallError::Unsupported("the instance is ending"))?;
        order(&lines.commands, streams, lines.console, wanted).map_err(|errno| match errno {
            Errno::TOOBIG => CallError::Arguments {
                function: "exec".into(),
                reason: "the words and variables of the command are too long together".into(),
            },
            _ => CallError::Unsupported("the command cannot be passed on"),
        })
    }

    /// Freezing takes time: the lock is not held meanwhile, or nobody could kill what does not stand still.
    fn freeze(&self, frozen: bool) -> Result<(), CallError> {
        let cgroup = {
            let state = self.state();
            if let Some(exit) = &state.exit {
                return Err(CallError::Ended(exit.clone()));
            }
            state.cgroup.clone().ok_or(CallError::Unsupported("there is no cgroup to freeze"))?
        };
        let done = cgroup.freeze(frozen);
        // Half frozen is worse than not, and frozen while it should die is for ever.
        if frozen && (done.is_err() || self.state().dying) {
            let _ = cgroup.freeze(false);
        }
        done.map_err(|_| CallError::Unsupported("the kernel does not freeze this cgroup"))
    }
}

impl State {
    fn kill(&mut self) {
        self.dying = true;
        if let Some(lines) = &self.lines {
            let _ = pidfd_send_signal(&lines.pidfd, Signal::KILL);
        }
    }
}

impl LinuxInstance {
    pub(crate) fn new(controls: Arc<Controls>, enforced: Enforcement, means: Means) -> Self {
        LinuxInstance { controls, enforced, means }
    }
}

impl Instance for LinuxInstance {
    fn enforced(&self) -> &Enforcement {
        &self.enforced
    }

    fn start(&self) -> Result<(), StartError> {
        let mut state = self.controls.state();
        match state.phase {
            Phase::Started => Err(StartError::AlreadyStarted),
            Phase::Stopped => Err(StartError::Stopped),
            Phase::Built => {
                state.phase = Phase::Started;
                // When it fails the place is gone already, and its end says why.
                if let Some(lines) = &mut state.lines
                    && let Some(streams) = lines.streams.take()
                {
                    let _ = pass_streams(&lines.gate, &streams, lines.console);
                    if let Some(terminal) = &mut lines.terminal {
                        // Without a thread nothing is typed; what the program shows is seen all the same.
                        let _ = terminal.begin();
                    }
                }
                Ok(())
            }
        }
    }

    fn stop(&self, how: Stop) {
        let mut state = self.controls.state();
        match (how, state.phase) {
            (Stop::Signal(signal), Phase::Started) if (1..=64).contains(&signal) => {
                if let Some(lines) = &state.lines {
                    let _ = write(&lines.commands, &[signal.unsigned_abs() as u8]);
                }
            }
            (Stop::Signal(_) | Stop::Kill, _) => {
                if state.phase == Phase::Built {
                    state.phase = Phase::Stopped;
                }
                state.killed = true;
                drop(state);
                self.controls.kill();
            }
        }
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let controls = self.controls.clone();
        Box::pin(async move { controls.ended().await })
    }

    fn usage(&self) -> Usage {
        let (usage, cgroup) = {
            let state = self.controls.state();
            (state.usage, state.cgroup.clone())
        };
        match cgroup {
            None => usage,
            Some(cgroup) => {
                // Where no limit wants something counted, it is looked up when somebody asks.
                let (memory, cpu_time) = (cgroup.memory().ok().flatten(), cgroup.cpu_time().ok().flatten());
                let looked = match (memory, cpu_time) {
                    (Some(_), Some(_)) => Spent::default(),
                    _ => Spent::below(self.controls.pid()),
                };
                Usage {
                    memory: memory.unwrap_or(looked.memory),
                    memory_peak: cgroup.memory_peak().ok().flatten().unwrap_or(usage.memory_peak),
                    cpu_time: cpu_time.unwrap_or(looked.cpu_time).max(usage.cpu_time),
                    ..usage
                }
            }
        }
    }

    fn pause(&self) -> Option<&dyn Pause> {
        let freezes = self.controls.state().cgroup.as_ref().is_some_and(|cgroup| cgroup.freezes());
        freezes.then_some(self)
    }

    fn exec(&self) -> Option<&dyn Exec> {
        Some(self)
    }

    fn terminal(&self) -> Option<&dyn isolation::Terminal> {
        let has_one = self.controls.state().lines.as_ref().is_some_and(|lines| lines.terminal.is_some());
        has_one.then_some(self)
    }
}

impl isolation::Terminal for LinuxInstance {
    fn resize(&self, size: WindowSize) {
        if let Some(terminal) = self.controls.state().lines.as_ref().and_then(|lines| lines.terminal.as_ref()) {
            terminal.resize(size);
        }
    }
}

impl Pause for LinuxInstance {
    fn pause(&self) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async { self.controls.freeze(true) })
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async { self.controls.freeze(false) })
    }
}

impl Drop for LinuxInstance {
    fn drop(&mut self) {
        self.stop(Stop::Kill);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::path::Path;
    use std::process::Command;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;
    use crate::cgroup::{Hierarchies, Tree, Wanted};
    use crate::launch;
    use crate::support::{Keeper, Lab, executor};

    /// A tree in which nothing ever stands still, and who asks it whether it does.
    struct Restless {
        asked: Mutex<Sender<()>>,
        written: Mutex<Vec<String>>,
    }

    impl Tree for Restless {
        fn make(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn remove(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn read(&self, file: &Path) -> io::Result<String> {
            if file.ends_with("freezer.state") {
                let _ = self.asked.lock().unwrap().send(());
            }
            Ok(String::new())
        }

        fn open(&self, _: &Path) -> io::Result<File> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn write(&self, file: &Path, value: &str) -> io::Result<()> {
            if file.ends_with("freezer.state") {
                self.written.lock().unwrap().push(value.to_owned());
            }
            Ok(())
        }

        fn writable(&self, _: &Path) -> bool {
            true
        }
    }

    fn restless() -> (Arc<Restless>, Cgroup, Receiver<()>) {
        let (asked, asks) = channel();
        let tree = Arc::new(Restless { asked: Mutex::new(asked), written: Mutex::default() });
        let mounts =
            "31 30 0:27 / /memory rw - cgroup cgroup rw,memory\n32 30 0:28 / /freezer rw - cgroup cgroup rw,freezer\n";
        let found = Hierarchies::from_text(&*tree, mounts, "1:memory:/\n2:freezer:/\n");
        let cgroup = Cgroup::create(tree.clone(), &found, &Wanted::default()).unwrap();
        (tree, cgroup, asks)
    }

    /// An instance of which nothing is there but a process to kill, and what nobody reads.
    fn instance() -> (LinuxInstance, std::process::Child, OwnedFd) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id().cast_signed();
        let pidfd = Arc::new(pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap());
        let (unread, commands) = launch::line().unwrap();
        let (gate, _) = launch::line().unwrap();
        let lines = Lines { pidfd, commands, gate, streams: None, terminal: None, console: None };
        let controls = Arc::new(Controls::new(pid, lines));
        let means = Means {
            host: Arc::new(Keeper::default()),
            spec: Arc::new(Lab::new("/bin/true").spec.clone()),
            executor: executor().handle().clone(),
        };
        (LinuxInstance::new(controls, Enforcement::new(), means), child, unread)
    }

    #[test]
    fn what_does_not_stand_still_can_be_killed_at_once_and_thaws() {
        let (tree, cgroup, asks) = restless();
        let (instance, mut child, _unread) = instance();
        instance.controls.watch(Arc::new(cgroup));
        std::thread::scope(|scope| {
            let controls = instance.controls.clone();
            let freezing = scope.spawn(move || controls.freeze(true));
            asks.recv().unwrap();
            let began = Instant::now();
            instance.stop(Stop::Kill);
            child.wait().unwrap();
            assert!(freezing.join().unwrap().is_err());
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        });
        let written = tree.written.lock().unwrap();
        assert_eq!(
            (written.first().map(String::as_str), written.last().map(String::as_str)),
            (Some("FROZEN"), Some("THAWED"))
        );
    }

    #[test]
    fn signals_that_nobody_takes_make_nobody_wait() {
        let (instance, mut child, unread) = instance();
        instance.start().unwrap();
        for _ in 0..100_000 {
            instance.stop(Stop::Signal(10));
        }
        instance.stop(Stop::Kill);
        child.wait().unwrap();
        drop(unread);
    }
}
