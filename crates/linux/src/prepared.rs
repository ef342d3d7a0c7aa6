//! A spec ready to be built.

use std::os::fd::AsFd;
use std::sync::Arc;

use ringfence_isolation::{BuildError, Enforcement, Host, Instance, Level, Prepared};
use ringfence_manifest::Spec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cgroup::{Cgroup, CgroupError, Wanted};
use crate::facts::Facts;
use crate::instance::{Controls, Lines, LinuxInstance};
use crate::launch::{self, Ends, Message, Recipe, Report, Step};
use crate::network::{Broker, Doors};
use crate::observe;
use crate::stdio::Streams;
use crate::supervise::{Supervisor, Watched};
use crate::sys;

/// How long setting a place up may take.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Everything instances of one spec share.
pub(crate) struct Ready {
    pub(crate) recipe: Arc<Recipe>,
    pub(crate) spec: Arc<Spec>,
    pub(crate) facts: Facts,
    pub(crate) promised: Enforcement,
    pub(crate) executor: tokio::runtime::Handle,
}

impl Prepared for Ready {
    fn promised(&self) -> &Enforcement {
        &self.promised
    }

    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        let cgroup = Cgroup::create(
            self.facts.tree.clone(),
            &self.facts.cgroups,
            &Wanted::of(&self.spec.limits).possible(&self.facts.cgroups),
        );
        let cgroup = cgroup.map_err(cgroup_error)?;
        let streams =
            Streams::open(&self.spec).map_err(|source| host_error("cannot open the standard streams", source))?;
        let pipes = || launch::pair().map_err(|errno| host_error("cannot make a pipe", errno));
        let ((commands, command_end), (gate, gate_end)) = (pipes()?, pipes()?);
        let (report, report_end) = launch::line().map_err(|errno| host_error("cannot make a socket pair", errno))?;
        let ends = Ends {
            report: report_end,
            commands,
            gate,
            streams: streams.inside,
            cgroups: cgroup.open_one().map_err(cgroup_error)?,
        };
        let into = cgroup.open_two().map_err(cgroup_error)?;
        let cloned = launch::launch(&self.recipe, &ends, into.as_ref());
        let (pid, pidfd) = cloned.map_err(|errno| clone_error(errno, into.is_some()))?;
        // From here on a process exists: whatever goes wrong, dropping it ends it.
        let child = Child { pid, pidfd: Some(pidfd) };
        drop(ends);
        let report = Report(report);
        let doors = self.await_ready(&report)?;
        let enforced = observe::enforced(&self.promised, child.pid, &cgroup);
        let pid = child.pid;
        let pidfd = Arc::new(child.release());
        let lines = Lines { pidfd: pidfd.clone(), commands: command_end, gate: gate_end };
        let controls = Arc::new(Controls::new(pid, lines));
        let executor = self.executor.clone();
        let broker = doors.map(|doors| Broker::new(doors, host.clone(), executor.clone(), &self.spec));
        let watched = Watched { pidfd, report, cgroup: Arc::new(cgroup), broker };
        let supervisor = Supervisor::new(host, controls.clone(), watched, streams.outside, self.spec.clone(), executor);
        supervisor.spawn().map_err(|source| host_error("cannot start the supervisor's thread", source))?;
        Ok(Box::new(LinuxInstance::new(controls, enforced)))
    }
}

impl Ready {
    /// Waits until the program's process stands at the gate; what leads from the place to here.
    fn await_ready(&self, report: &Report) -> Result<Option<Doors>, BuildError> {
        let first = self.next_message(report)?;
        let (message, doors) = match first {
            Some((Message::Doors, doors)) => (self.next_message(report)?.map(|(message, _)| message), doors),
            other => (other.map(|(message, _)| message), None),
        };
        self.check_ready(message)?;
        if self.recipe.confinement.asks && doors.is_none() {
            return Err(host_error("the place did not say where it asks", Errno::PROTO));
        }
        Ok(doors)
    }

    fn next_message(&self, report: &Report) -> Result<Option<(Message, Option<Doors>)>, BuildError> {
        let mut ready = [PollFd::new(&report.0, PollFlags::IN)];
        loop {
            match poll(&mut ready, Some(&PATIENCE)) {
                Err(Errno::INTR) => {}
                Ok(0) => return Err(host_error("the place was not set up in time", Errno::TIMEDOUT)),
                _ => break,
            }
        }
        Ok(report.next_with_doors())
    }

    fn check_ready(&self, message: Option<Message>) -> Result<(), BuildError> {
        match message {
            Some(Message::Ready) => Ok(()),
            Some(Message::Failed(Step::WorkingDirectory, errno)) => Err(BuildError::Program {
                path: self.spec.program.path.clone(),
                level: Level::Sandbox,
                reason: format!("its working directory {}: {errno}", self.spec.program.working_directory),
            }),
            Some(Message::Failed(step, errno)) => Err(host_error(step.doing(), errno)),
            Some(Message::Ended(_) | Message::Full(_) | Message::Doors) | None => {
                Err(host_error("the place ended while it was set up (too little memory?)", Errno::CHILD))
            }
        }
    }
}

/// Pid 1 of a place that nobody supervises yet.
struct Child {
    pid: i32,
    pidfd: Option<std::os::fd::OwnedFd>,
}

impl Child {
    fn release(mut self) -> std::os::fd::OwnedFd {
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

fn host_error(doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BuildError {
    BuildError::Host { doing, source: source.into() }
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
