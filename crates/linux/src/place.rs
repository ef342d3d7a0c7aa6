//! A place: processes behind every wall, in a cgroup of their own, of which one waits to become the
//! program. It knows nothing yet of who will watch it or of what its streams are connected to.

use std::os::fd::{AsFd, OwnedFd};

use ringfence_isolation::{BuildError, Enforcement, Guarantee, Level, Refusal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cgroup::{Cgroup, CgroupError, Wanted};
use crate::facts::Facts;
use crate::launch::{self, Ends, Message, Report, Step};
use crate::namespaces::Privilege;
use crate::network::{Doors, is_granted};
use crate::observe::Observation;
use crate::prepared::Ready;
use crate::supervise::Watchman;
use crate::sys;
use crate::terminal::Terminal;

/// How long setting a place up may take.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// A place whose pid 1 puts the walls up, or has done so. Dropping it ends its processes, and then removes its cgroup.
pub(crate) struct Place {
    pub(crate) child: Child,
    pub(crate) report: Report,
    /// Where pid 1 takes signals from.
    pub(crate) commands: OwnedFd,
    /// What pid 2 waits for.
    pub(crate) gate: OwnedFd,
    pub(crate) cgroup: Cgroup,
    pub(crate) watchman: Watchman,
    pub(crate) terminal: Option<Terminal>,
    observation: Observation,
}

/// What there is once every wall stands, and the program's process waits at the gate.
pub(crate) struct Standing {
    pub(crate) doors: Option<Doors>,
    pub(crate) enforced: Enforcement,
}

impl Place {
    /// Begins to build one: its pid 1 is at work when this returns.
    pub(crate) fn begin(ready: &Ready) -> Result<Place, BuildError> {
        let apart =
            ready.facts.privilege == Privilege::Root && ready.recipe.clone_flags & libc::CLONE_NEWNET as u64 != 0;
        let mut watchman = match ready.ahead.take().filter(|_| apart) {
            Some(watchman) => watchman,
            None => {
                Watchman::start(apart).map_err(|source| host_error("cannot start the supervisor's thread", source))?
            }
        };
        let wanted = Wanted::of(&ready.spec.limits, is_granted(&ready.spec.permissions.network));
        let wanted = wanted.possible(&ready.facts.cgroups);
        let cgroup = Cgroup::create(ready.facts.tree.clone(), &ready.facts.cgroups, &wanted);
        let cgroup = cgroup.map_err(cgroup_error)?;
        let line = || launch::line().map_err(|errno| host_error("cannot make a socket pair", errno));
        let ((gate, gate_end), (report, report_end)) = (line()?, line()?);
        let (commands, commands_end) = line()?;
        let cgroups = cgroup.open_one().map_err(cgroup_error)?;
        let into = cgroup.open_two().map_err(cgroup_error)?;
        let terminal = ready.spec.session.terminal.map(|size| Terminal::open(size, &ready.spec)).transpose();
        let terminal = terminal.map_err(|source| host_error("cannot make a terminal", source))?;
        let (terminal, peer) = terminal.unzip();
        let ends = Ends { report: report_end, commands: commands_end, gate: gate_end, terminal: peer, cgroups };
        let cloned = launch::launch(&ready.recipe, &ends, into.as_ref(), apart);
        let (pid, pidfd) = cloned.map_err(|errno| clone_error(errno, into.is_some()))?;
        // From here on a process exists: whatever goes wrong, dropping it ends it.
        let child = Child { pid, pidfd: Some(pidfd) };
        drop(ends);
        let network = watchman.network().map_err(|source| host_error("cannot make a network namespace", source))?;
        if let Some(network) = network {
            // When pid 1 is gone, its report says why.
            let _ = launch::pass_network(&gate, &network);
        }
        let observation = Observation::of_clone(pid);
        ready.sweep();
        Ok(Place { child, report: Report(report), commands, gate, cgroup, watchman, terminal, observation })
    }

    /// Waits until it stands.
    pub(crate) fn stand(&mut self, ready: &Ready) -> Result<Standing, BuildError> {
        let first = ready.next_message(&self.report, None)?;
        let (message, doors) = match first {
            Some((Message::Doors(_), doors)) => {
                // Nothing but the program's own process is missing now.
                self.observation.of_walls(&self.cgroup);
                (ready.next_message(&self.report, doors.as_ref())?.map(|(message, _)| message), doors)
            }
            other => (other.map(|(message, _)| message), None),
        };
        ready.check_ready(message)?;
        if ready.recipe.confinement.asks && doors.is_none() {
            return Err(host_error("the place did not say where it asks", Errno::PROTO));
        }
        if doors.is_none() {
            self.observation.of_walls(&self.cgroup);
        }
        Ok(Standing { doors, enforced: self.observation.enforced(&ready.promised) })
    }

    /// Whether its processes are there.
    pub(crate) fn lives(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ended = |pidfd: &OwnedFd| poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)) != Ok(0);
        !self.child.pidfd.as_ref().is_none_or(ended)
    }
}

impl Ready {
    /// The next thing the place says; while it does, calls that are asked about go on.
    fn next_message(
        &self,
        report: &Report,
        doors: Option<&Doors>,
    ) -> Result<Option<(Message, Option<Doors>)>, BuildError> {
        let listener = doors.map(|doors| &doors.listener);
        let mut ready = vec![PollFd::new(&report.0, PollFlags::IN)];
        ready.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        loop {
            match poll(&mut ready, Some(&PATIENCE)) {
                Err(Errno::INTR) => continue,
                Ok(0) => return Err(host_error("the place was not set up in time", Errno::TIMEDOUT)),
                _ if !ready[0].revents().is_empty() => return Ok(report.next_with_doors()),
                _ => {}
            }
            if let Some(listener) = listener.filter(|_| ready[1].revents().contains(PollFlags::IN)) {
                // No program is there yet: who asks is ours.
                if let Ok(call) = sys::notify_receive(listener.as_fd()) {
                    let _ = sys::notify_continue(listener.as_fd(), call.id);
                }
            } else {
                // Nobody is left who could ask, or report.
                ready.truncate(1);
            }
        }
    }

    fn check_ready(&self, message: Option<Message>) -> Result<(), BuildError> {
        match message {
            Some(Message::Ready) => Ok(()),
            Some(Message::Failed(Step::WorkingDirectory, errno)) => Err(BuildError::Program {
                path: self.spec.program.path.clone(),
                level: Level::Sandbox,
                reason: format!("its working directory {}: {errno}", self.spec.program.working_directory),
            }),
            Some(Message::Failed(Step::Overlay, errno)) => Err(no_overlay(errno, &self.facts).into()),
            Some(Message::Failed(step, errno)) => Err(host_error(step.doing(), errno)),
            Some(Message::Ended(_) | Message::Full(_) | Message::Doors(_)) | None => {
                Err(host_error("the place ended while it was set up (too little memory?)", Errno::CHILD))
            }
        }
    }
}

/// Pid 1 of a place that nobody supervises yet.
pub(crate) struct Child {
    pid: i32,
    pidfd: Option<OwnedFd>,
}

impl Child {
    /// Its number outside.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Leaves it to the caller.
    pub(crate) fn release(mut self) -> OwnedFd {
        self.pidfd.take().expect("only this takes it, and only once")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
            let _ = sys::wait_for(pidfd.as_fd());
        }
    }
}

/// A failure of this machine while something was done.
pub(crate) fn host_error(
    doing: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> BuildError {
    BuildError::Host { doing, source: source.into() }
}

fn no_overlay(errno: Errno, facts: &Facts) -> Refusal {
    Refusal {
        level: Level::Sandbox,
        guarantee: Guarantee::FilesystemConfined,
        found: format!("changes to files cannot be kept apart: overlayfs: {errno}"),
        remedy:
            "Linux 5.11 or newer with overlayfs, and a folder for changes ($XDG_STATE_HOME) on ext4, xfs, btrfs or \
                 tmpfs; or run without --dry-run-fs"
                .to_owned(),
        facts: facts.list(),
    }
}

fn cgroup_error(error: CgroupError) -> BuildError {
    host_error("cannot set the limits", error)
}

fn clone_error(errno: Errno, into_cgroup: bool) -> BuildError {
    let doing = match errno {
        Errno::PERM | Errno::NOSPC => "cannot make the namespaces (see `ringfence doctor`)",
        Errno::BUSY | Errno::ACCESS if into_cgroup => "cannot begin in the cgroup",
        _ => "cannot start a process",
    };
    host_error(doing, errno)
}
