//! An instance whose guest runs in a runner.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ringfence_isolation::{
    Activity, BoxFuture, Count, Enforcement, Exec, Exit, Host, Instance, Limit, LimitKind, LostReason, Pause,
    StartError, Stop, Terminal, Trap, Usage, Verdict,
};
use ringfence_manifest::{Limits, WindowSize};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::commands::Commands;
use super::serve::{Answers, Desk, Said};
use super::wire::{End, News, Steer};

/// As many names as Linux has system calls, about.
const MOST_NAMES: usize = 512;

/// The runner's process, and what it says.
pub(super) struct Carried {
    pub(super) process: Box<dyn Instance>,
    pub(super) enforced: Enforcement,
    pub(super) told: Arc<Told>,
    /// What the runner will ask on.
    pub(super) lines: Lines,
    /// Resolves when the lines to the runner have ended.
    pub(super) served: watch::Receiver<bool>,
    /// Where signals for the guest go, if it has any.
    pub(super) signals: Option<(Answers, Handle)>,
    /// Whether the guest has a terminal.
    pub(super) has_terminal: bool,
    /// Further commands, if the guest can run any.
    pub(super) commands: Option<Arc<Commands>>,
    /// What it takes to capture it.
    #[cfg(all(feature = "microvm", target_arch = "x86_64"))]
    pub(super) capturing: Option<super::capturing::Capturing>,
    /// How it ended, for those who wait with a further command.
    pub(super) ended: OnceLock<Ended>,
    /// What of its process is the runner's own.
    pub(super) own: Own,
}

/// Lines that nobody serves before there is somebody who could ask.
#[derive(Clone)]
pub(super) struct Lines(Arc<Mutex<Option<Unserved>>>);

/// How a guest ended, when it has.
pub(super) type Ended = watch::Receiver<Option<Exit>>;

type Unserved = (Arc<Desk>, Vec<UnixStream>);

impl Lines {
    pub(super) fn new(desk: Arc<Desk>, lines: Vec<UnixStream>) -> Self {
        Lines(Arc::new(Mutex::new(Some((desk, lines)))))
    }

    pub(super) fn are_unserved(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// They are served, or closed, from here on.
    fn take(&self) -> Option<Unserved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What of its process is the runner's own, and no part of what its guest used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    /// Bytes.
    pub(super) memory: u64,
    pub(super) cpu_time: Duration,
}

/// What is known of the guest's end.
pub(super) struct Told {
    pub(super) host: Arc<dyn Host>,
    pub(super) limits: Limits,
    pub(super) said: Mutex<Option<Said>>,
    /// What the guest asked of its monitor, as that says.
    pub(super) activity: Mutex<Option<Activity>>,
    /// How it ended, once that was asked for: who asks later, of a host that has closed, is told the same.
    pub(super) came: OnceLock<Exit>,
}

impl Instance for Carried {
    fn enforced(&self) -> &Enforcement {
        &self.enforced
    }

    fn start(&self) -> Result<(), StartError> {
        // First: who is let go is often to run on this very processor, as soon as this thread has nothing more to do.
        if let Some((desk, lines)) = self.lines.take() {
            for line in lines {
                // Without somebody to answer, its process ends.
                if desk.serve(line).is_err() {
                    self.process.stop(Stop::Kill);
                }
            }
        }
        self.process.start()
    }

    /// WASI has no signals: whatever is sent ends such a guest, as at level wasm.
    fn stop(&self, how: Stop) {
        match (how, &self.signals) {
            (Stop::Signal(signal), Some((answers, executor))) if (1..=64).contains(&signal) => {
                executor.spawn(answers.clone().tell(News::Steer(Steer::Signal(signal))));
            }
            _ => self.process.stop(Stop::Kill),
        }
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let (exited, told, mut served) = (self.process.exited(), self.told.clone(), self.served.clone());
        let (lines, own) = (self.lines.clone(), self.own);
        Box::pin(async move {
            let exit = exited.await;
            drop(lines.take());
            // The process is gone, and so is its end of the line.
            let _ = served.wait_for(|&ended| ended).await;
            told.exit(exit, own)
        })
    }

    fn usage(&self) -> Usage {
        let fuel = self.told.said.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |(_, fuel)| *fuel);
        let process = self.process.usage();
        Usage {
            fuel,
            memory: process.memory.saturating_sub(self.own.memory),
            memory_peak: process.memory_peak.saturating_sub(self.own.memory),
            cpu_time: process.cpu_time.saturating_sub(self.own.cpu_time),
            ..process
        }
    }

    fn activity(&self) -> Option<Activity> {
        let told = self.told.activity.lock().unwrap_or_else(PoisonError::into_inner).clone();
        told.or_else(|| self.process.activity())
    }

    fn pause(&self) -> Option<&dyn Pause> {
        self.process.pause()
    }

    fn terminal(&self) -> Option<&dyn Terminal> {
        self.has_terminal.then_some(self)
    }

    #[cfg(all(feature = "microvm", target_arch = "x86_64"))]
    fn snapshot(&self) -> Option<&dyn ringfence_isolation::Snapshot> {
        self.capturing.as_ref().map(|_| self as _)
    }

    fn exec(&self) -> Option<&dyn Exec> {
        self.commands.as_ref().map(|_| self as &dyn Exec)
    }
}

impl Carried {
    /// How it ended, when it has; found out on `executor`.
    pub(super) fn end(&self, executor: &Handle) -> Ended {
        let ended = self.ended.get_or_init(|| {
            let (tell, ended) = watch::channel(None);
            let exited = self.exited();
            executor.spawn(async move { tell.send_replace(Some(exited.await)) });
            ended
        });
        ended.clone()
    }
}

impl Terminal for Carried {
    fn resize(&self, size: WindowSize) {
        if let Some((answers, executor)) = &self.signals {
            executor.spawn(answers.clone().tell(News::Steer(Steer::Resize(size.rows, size.columns))));
        }
    }
}

impl Told {
    pub(super) fn new(host: Arc<dyn Host>, limits: Limits) -> Arc<Self> {
        Arc::new(Told { host, limits, said: Mutex::default(), activity: Mutex::default(), came: OnceLock::new() })
    }

    /// Keeps what the guest asked for; names that are none are left out.
    pub(super) fn count(&self, mut activity: Activity) {
        let is_name =
            |count: &Count| count.name.len() < 64 && count.name.bytes().all(|byte| (b' '..127).contains(&byte));
        for counts in [&mut activity.calls, &mut activity.exits] {
            counts.truncate(MOST_NAMES);
            counts.retain(is_name);
        }
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = Some(activity);
    }

    /// Keeps the runner's word on how its guest ended; the first one counts.
    pub(super) fn say(&self, said: Said) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(said);
    }

    /// How the guest ended, when its runner's process ended like this. A verdict of the host's counts
    /// more than what the kernel says, and that more than what the runner says.
    fn exit(&self, process: Exit, own: Own) -> Exit {
        self.came.get_or_init(|| self.find_out(process, own)).clone()
    }

    fn find_out(&self, process: Exit, own: Own) -> Exit {
        match self.host.verdict() {
            Verdict::Exceeded(limit) => return Exit::Exceeded(limit),
            Verdict::Denied(denial) => return Exit::Denied(denial),
            Verdict::Stopped => return Exit::Stopped,
            Verdict::Continue => {}
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (process, said) {
            (Exit::Exceeded(limit), _) => Exit::Exceeded(of_guest(limit, &self.limits, own)),
            (Exit::Stopped, _) => Exit::Stopped,
            (Exit::Lost(why), _) => Exit::Lost(why),
            (_, Some((end, fuel))) => self.ended(end, fuel),
            (process, None) => lost(format!("the runner ended without a word: {process}")),
        }
    }

    fn ended(&self, end: End, fuel: u64) -> Exit {
        match end {
            End::Returned(status) => Exit::Returned(status),
            End::StackOverflow => Exit::Trapped(Trap::StackOverflow),
            End::MemoryOutOfBounds => Exit::Trapped(Trap::MemoryOutOfBounds),
            End::Arithmetic(message) => Exit::Trapped(Trap::Arithmetic(message)),
            End::Unreachable => Exit::Trapped(Trap::Unreachable),
            End::NotExecuted(reason) => Exit::Trapped(Trap::NotExecutable(reason)),
            End::Trapped(message) => Exit::Trapped(Trap::Other(message)),
            End::Fuel => match self.limits.fuel {
                Some(allowed) => Exit::Exceeded(Limit { limit: LimitKind::Fuel, allowed, used: fuel }),
                None => lost("the runner counted instructions that nobody limits".into()),
            },
            End::Exceeded { limit, used } => self.counted(&limit, used),
            End::ByVerdict => Exit::Stopped,
            End::Lost(message) => lost(message),
        }
    }

    /// The runner says that its guest went over a limit that it counts itself. There has to be one.
    fn counted(&self, name: &str, used: u64) -> Exit {
        let Limits { memory, cpu_time, processes, open_files, disk, file_size, .. } = &self.limits;
        let allowed = LimitKind::ALL.iter().find(|limit| limit.name() == name).and_then(|&limit| {
            let allowed = match limit {
                LimitKind::Memory => memory.map(|bytes| bytes.0),
                LimitKind::CpuTime => cpu_time.and_then(|time| u64::try_from(time.as_nanos()).ok()),
                LimitKind::Processes => *processes,
                LimitKind::OpenFiles => *open_files,
                LimitKind::Disk => disk.map(|bytes| bytes.0),
                LimitKind::FileSize => file_size.map(|bytes| bytes.0),
                _ => None,
            };
            allowed.map(|allowed| (limit, allowed))
        });
        match allowed {
            Some((limit, allowed)) => Exit::Exceeded(Limit { limit, allowed, used: used.max(allowed) }),
            None => lost("the runner told of a limit that nobody set".into()),
        }
    }
}

/// A limit on the runner as the limit on its guest that it stands for, without what is the runner's own.
fn of_guest(limit: Limit, limits: &Limits, own: Own) -> Limit {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (allowed, own) = match limit.limit {
        LimitKind::Memory => (limits.memory.map(|bytes| bytes.0), own.memory),
        LimitKind::CpuTime => (limits.cpu_time.map(nanoseconds), nanoseconds(own.cpu_time)),
        LimitKind::Processes => (limits.processes, 0),
        _ => (None, 0),
    };
    let allowed = allowed.unwrap_or(limit.allowed);
    Limit { allowed, used: limit.used.saturating_sub(own).max(allowed), ..limit }
}

fn lost(why: String) -> Exit {
    Exit::Lost(LostReason::Backend(why))
}

#[cfg(test)]
mod tests {
    use ringfence_manifest::Bytes;

    use super::*;

    #[test]
    fn what_a_runner_needs_for_itself_is_no_part_of_what_its_guest_is_told_to_have_used() {
        let own = Own { memory: 130 << 20, cpu_time: Duration::from_secs(2) };
        let limits = Limits {
            memory: Some(Bytes(64 << 20)),
            cpu_time: Some(Duration::from_secs(1)),
            processes: Some(4),
            ..Limits::default()
        };
        let told = |limit, allowed, used| {
            let Limit { allowed, used, .. } = of_guest(Limit { limit, allowed, used }, &limits, own);
            (allowed, used)
        };
        assert_eq!(told(LimitKind::Memory, 194 << 20, 195 << 20), (64 << 20, 65 << 20));
        assert_eq!(told(LimitKind::Memory, 194 << 20, 120 << 20), (64 << 20, 64 << 20), "no less than was allowed");
        assert_eq!(told(LimitKind::CpuTime, 3_000_000_000, 3_500_000_000), (1_000_000_000, 1_500_000_000));
        assert_eq!(told(LimitKind::Processes, 36, 37), (4, 37));
        assert_eq!(told(LimitKind::WallTime, 5, 6), (5, 6), "the runner's own limit");
    }
}
