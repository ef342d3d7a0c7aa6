//! A spec ready to be built.

use std::sync::{Arc, Once};

use ringfence_isolation::{BuildError, Enforcement, Host, Instance, Prepared};
use ringfence_manifest::Spec;

use crate::cgroup::sweep;
use crate::exec::Means;
use crate::facts::Facts;
use crate::instance::{Controls, Lines, LinuxInstance};
use crate::launch::Recipe;
use crate::learn::Notes;
use crate::network::{Broker, Within};
use crate::place::{Place, Standing, host_error};
use crate::pool::Pool;
use crate::pump::Pumps;
use crate::stdio::{Streams, passes_a_socket};
use crate::supervise::{Ahead, Supervisor, Watched};

/// Everything instances of one spec share.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) recipe: Arc<Recipe>,
    pub(crate) spec: Arc<Spec>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) promised: Arc<Enforcement>,
    pub(crate) executor: tokio::runtime::Handle,
    pub(crate) pool: Arc<Pool>,
    pub(crate) ahead: Arc<Ahead>,
    pub(crate) swept: Arc<Once>,
}

/// What the embedder holds. When it is gone, no place is kept for it: the thread that builds places has a
/// [`Ready`] of its own.
pub(crate) struct Kept(pub(crate) Ready);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.pool.close();
    }
}

impl Prepared for Kept {
    fn promised(&self) -> &Enforcement {
        self.0.promised()
    }

    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        self.0.build(host)
    }

    fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.0.keep_warm(count)
    }
}

impl Prepared for Ready {
    fn promised(&self) -> &Enforcement {
        &self.promised
    }

    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        let streams = Streams::open(&self.spec, self.recipe.tree.console());
        let streams = streams.map_err(|source| host_error("cannot open the standard streams", source))?;
        self.build_with(host, streams, || Ok(()))
    }

    fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        // Changes that are kept apart are those of one run.
        let count = if self.spec.session.overlay.is_some() { 0 } else { count };
        self.pool.keep(count, self)
    }
}

impl Ready {
    /// Where the place's own Unix sockets may be.
    fn within(&self) -> Option<Within> {
        let judges = self.facts.landlock.as_ref().is_ok_and(|abi| abi.judges_sockets());
        (judges && !passes_a_socket(&self.spec)).then(|| Within::new(self.recipe.tree.scratch.clone()))
    }

    /// Removes what others left, the first time.
    pub(crate) fn sweep(&self) {
        self.swept.call_once(|| sweep(&*self.facts.tree, &self.facts.cgroups));
    }

    /// An instance whose streams are these, with something that is done while its place is under construction.
    pub(crate) fn build_with(
        &self,
        host: Arc<dyn Host>,
        mut streams: Streams,
        meanwhile: impl FnOnce() -> Result<(), BuildError>,
    ) -> Result<Box<dyn Instance>, BuildError> {
        let (mut place, standing) = match self.pool.take(self) {
            Some((place, standing)) => (place, Some(standing)),
            None => (Place::begin(self)?, None),
        };
        let terminal = place.terminal.take().map(|terminal| streams.connect(terminal)).transpose();
        let terminal = terminal.map_err(|source| host_error("cannot connect the terminal", source))?;
        let printed = std::mem::take(&mut streams.passed.printed);
        // Pid 1 is at work meanwhile.
        let pumps = Pumps::start(printed, &host, &self.executor);
        let pumps = pumps.map_err(|source| host_error("cannot pass on what is printed", source))?;
        meanwhile()?;
        let Standing { doors, enforced } = standing.map_or_else(|| place.stand(self), Ok)?;
        let Place { child, report, commands, gate, cgroup, watchman, .. } = place;
        let pid = child.pid();
        let pidfd = Arc::new(child.release());
        let console = self.recipe.tree.console();
        let lines = Lines { pidfd: pidfd.clone(), commands, gate, streams: Some(streams.inside), terminal, console };
        let controls = Arc::new(Controls::new(pid, lines));
        let executor = self.executor.clone();
        let cgroup = Arc::new(cgroup);
        let broker = doors
            .map(|doors| Broker::new(doors, host.clone(), executor.clone(), &self.spec, &cgroup, self.within()))
            .transpose();
        let broker = broker.map_err(|source| host_error("cannot start what relays for the place", source))?;
        let broker = broker.map(|broker| match self.spec.permissions.learn {
            true => broker.learning(Notes::new(host.clone(), &self.recipe.tree)),
            false => broker,
        });
        let means = Means { host: host.clone(), spec: self.spec.clone(), executor: executor.clone() };
        let room = self.recipe.tree.room.clone();
        let watched = Watched { pidfd, report, cgroup, broker, fed: streams.passed.fed, pumps, room };
        let supervisor = Supervisor::new(host, controls.clone(), watched, self.spec.clone());
        watchman.watch(supervisor).map_err(|source| host_error("cannot start the supervisor", source))?;
        Ok(Box::new(LinuxInstance::new(controls, enforced, means)))
    }
}
