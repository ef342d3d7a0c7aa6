//! The backend: what it needs, what it refuses, what it prepares.

use std::path::Path;
use std::sync::{Arc, Once, OnceLock};

use ringfence_isolation::{
    Backend, BuildError, Enforcement, Fact, Feature, Guarantee, Level, Prepared, Refusal, Remnant, check_linux_program,
};
use ringfence_manifest::{Kind, Permissions, Spec};
use tokio::runtime::Handle;

use crate::cgroup::{self, Controller};
use crate::facts::{Facts, Missing, REMEDY_FOR_CGROUPS, REMEDY_FOR_DISK};
use crate::landlock::{self, RuleProblem};
use crate::launch::{Arguments, Confinement, Recipe, own_memory, resources};
use crate::learn;
use crate::namespaces::{Identity, Privilege, clone_flags};
use crate::network::Opening;
use crate::operations;
use crate::prepared::{Kept, Ready};
use crate::promise::promise;
use crate::seccomp::{End, Metadata, Network, alone_profile, compile, default_profile};
use crate::stdio;
use crate::supervise::Ahead;
use crate::tree::{Furniture, Plan, PlanError, is_whole};

/// Level `sandbox`.
pub struct Linux {
    facts: OnceLock<Arc<Facts>>,
    executor: Handle,
    swept: Arc<Once>,
}

/// Whether a program has any use for a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talks {
    /// Its permissions say.
    AsGranted,
    /// It never does: it makes no socket, and nobody waits for what it asks. It has no devices and no folders in
    /// memory either.
    Never,
    /// The same, and it stays one process whose memory is its own: no other process, nothing that is shared. Where it
    /// is one file that needs no other, it sees no other.
    Alone,
}

impl Linux {
    /// The backend. Looks at the machine when it is first asked, and changes nothing before the first program. What instances
    /// wait for, such as connections, is waited for on `executor`, which needs its drivers of time and
    /// of input and output.
    pub fn new(executor: Handle) -> Self {
        Linux { facts: OnceLock::new(), executor, swept: Arc::new(Once::new()) }
    }

    /// The backend on a machine of which these are the facts.
    #[cfg(test)]
    pub(crate) fn with_facts(facts: Facts, executor: Handle) -> Self {
        Linux { facts: Arc::new(facts).into(), executor, swept: Arc::new(Once::new()) }
    }

    fn facts(&self) -> &Arc<Facts> {
        self.facts.get_or_init(|| Arc::new(Facts::find()))
    }

    /// What the level cannot be without.
    fn check_machine(&self) -> Result<(), Refusal> {
        let needs = [
            (&self.facts().namespaces, Guarantee::ProcessesHidden),
            (&self.facts().mounts, Guarantee::FilesystemConfined),
            (&self.facts().seccomp, Guarantee::MemoryIsolated),
        ];
        for (found, guarantee) in needs {
            if let Err(Missing { found, remedy }) = found {
                return Err(self.refusal(guarantee, found.clone(), remedy.clone()));
            }
        }
        Ok(())
    }

    fn refusal(&self, guarantee: Guarantee, found: String, remedy: String) -> Refusal {
        Refusal { level: Level::Sandbox, guarantee, found, remedy, facts: self.facts().list() }
    }

    /// Refuses what is required and not held, with the remedy that fits.
    fn check_promise(&self, spec: &Spec, promised: &Enforcement) -> Result<(), Refusal> {
        promised.check(spec).map_err(|refusal| {
            use Guarantee as G;
            let cgroup = [G::MemoryLimit, G::CpuTimeLimit, G::CoresLimit, G::ProcessesLimit, G::OpenFilesLimit];
            let remedy = match refusal.guarantee {
                guarantee if cgroup.contains(&guarantee) => {
                    let limit = guarantee.name().trim_end_matches("-limit").replace('-', "_");
                    format!("{REMEDY_FOR_CGROUPS}; to run without this limit: `--limit {limit}=none`")
                }
                Guarantee::DiskLimit => REMEDY_FOR_DISK.to_owned(),
                Guarantee::NetworkConfined | Guarantee::IoOperationsLimit => match &self.facts().notify {
                    Err(Missing { remedy, .. }) => remedy.clone(),
                    Ok(()) => refusal.remedy,
                },
                _ => refusal.remedy,
            };
            self.refusal(refusal.guarantee, refusal.found, remedy)
        })
    }

    /// Everything that is decided before something is built.
    pub(crate) fn ready(&self, spec: &Spec) -> Result<Ready, BuildError> {
        self.ready_as(spec, Talks::AsGranted)
    }

    /// The same for a program of which is known whether it has any use for a network.
    pub(crate) fn ready_as(&self, spec: &Spec, talks: Talks) -> Result<Ready, BuildError> {
        check_linux_program(spec)?;
        self.check_machine()?;
        check_permissions(spec)?;
        let ahead = if self.facts().privilege == Privilege::Root { Ahead::start() } else { Ahead::default() };
        if let Err(Missing { found, remedy }) = &self.facts().notify
            && spec.permissions.learn
        {
            return Err(self.refusal(Guarantee::FilesystemConfined, found.clone(), remedy.clone()).into());
        }
        self.check_promise(spec, &promise(spec, self.facts(), None))?;
        let identity = Identity::own(self.facts().privilege);
        let furniture = match (talks, &self.facts().landlock) {
            (Talks::Alone, _) if is_whole(&spec.program.path) => Furniture::Bare,
            (Talks::Never | Talks::Alone, _) => Furniture::None,
            (Talks::AsGranted, Ok(_)) => Furniture::Whole,
            (Talks::AsGranted, Err(_)) => Furniture::Granted,
        };
        let tree =
            Plan::new(spec, identity.user, identity.group, furniture).map_err(|error| plan_error(spec, error))?;
        let promised = promise(spec, self.facts(), Some(&tree));
        self.check_promise(spec, &promised)?;
        if let Err(Missing { found, remedy }) = &self.facts().landlock
            && !landlock::mounts_suffice(spec, &tree)
        {
            let found = format!("{found}; mounts alone cannot hold these fs.* permissions apart");
            return Err(self.refusal(Guarantee::FilesystemConfined, found, remedy.clone()).into());
        }
        if let (Err(_), Err(Missing { found, remedy })) = (&self.facts().landlock, &self.facts().own_program) {
            return Err(self.refusal(Guarantee::FilesystemConfined, found.clone(), remedy.clone()).into());
        }
        let recipe = self.recipe(spec, identity, tree, talks)?;
        Ok(Ready {
            recipe: Arc::new(recipe),
            spec: Arc::new(spec.clone()),
            facts: self.facts().clone(),
            promised: Arc::new(promised),
            executor: self.executor.clone(),
            pool: Arc::default(),
            ahead: Arc::new(ahead),
            swept: self.swept.clone(),
        })
    }

    fn recipe(&self, spec: &Spec, identity: Identity, tree: Plan, talks: Talks) -> Result<Recipe, BuildError> {
        let not_text = |path: &Path| BuildError::Program {
            path: path.to_owned(),
            level: Level::Sandbox,
            reason: "an argument, variable or folder contains a NUL character".into(),
        };
        let arguments = Arguments::new(spec, &tree.program).map_err(|_| not_text(&spec.program.path))?;
        let landlock = match self.facts().landlock {
            Ok(abi) => {
                let grants = landlock::grants(spec, &tree, abi).map_err(|problem| self.rule_problem(&problem))?;
                Some((landlock::attributes(abi), landlock::attributes_size(abi), grants))
            }
            Err(_) => None,
        };
        let asks = self.facts().notify.is_ok() && talks == Talks::AsGranted;
        let network = match talks {
            Talks::Never | Talks::Alone => Network::None,
            Talks::AsGranted if asks => Network::Asked,
            Talks::AsGranted => Network::Denied,
        };
        // Who ends with more open than is allowed shows that the limit tripped.
        let end = if asks && spec.limits.open_files.is_some() { End::Asked } else { End::Free };
        let mut profile = default_profile(metadata(spec, &tree), network, end).with(&spec.isolation.seccomp);
        let inner = match talks {
            Talks::Alone => Some(alone_profile()),
            _ => profile.without_others(&spec.isolation.seccomp),
        };
        let inner = inner.as_ref().map(compile);
        if spec.permissions.learn {
            profile = profile.asking(learn::numbers());
        }
        let counts = asks && spec.limits.io_operations.is_some();
        if counts {
            profile = profile.asking(operations::numbers()).asking_about_mappings();
        }
        let filter = compile(&profile);
        let opening = if asks { Opening::new(spec) } else { None };
        let mut resources = resources(spec);
        if let Some(memory) = spec.limits.memory
            && talks == Talks::Alone
            && self.facts().cgroups.place(Controller::Memory).is_none()
        {
            resources.extend(own_memory(memory.0));
        }
        let profile = self.facts().apparmor.as_ref().and_then(|apparmor| apparmor.profile.as_ref());
        let profile = profile.cloned();
        let confinement = Confinement { landlock, filter, inner, profile, asks, counts, opening };
        Ok(Recipe {
            clone_flags: clone_flags(self.facts().privilege),
            identity,
            host_name: spec.capsule.name.clone().into_bytes(),
            confinement,
            arguments,
            resources,
            disk: spec.limits.disk.map(|bytes| tree.left_for_scratch(bytes.0)),
            tree,
        })
    }

    fn rule_problem(&self, problem: &RuleProblem) -> Refusal {
        let remedy = match problem {
            RuleProblem::Missing { .. } => "make it before the run, or write the folder above it",
            RuleProblem::DeleteFile { .. } => "grant fs.delete on the folder it is in",
            RuleProblem::Link { .. } => "write the path it leads to",
        };
        self.refusal(Guarantee::FilesystemConfined, problem.to_string(), remedy.to_owned())
    }
}

impl Backend for Linux {
    fn level(&self) -> Level {
        Level::Sandbox
    }

    fn runs(&self, kind: Kind) -> bool {
        kind == Kind::Linux
    }

    fn probe(&self) -> Vec<Fact> {
        self.facts().list()
    }

    fn offers(&self, feature: Feature, kind: Kind) -> bool {
        kind == Kind::Linux && matches!(feature, Feature::Terminal | Feature::Overlay)
    }

    fn remnants(&self) -> Vec<Remnant> {
        let mut left = cgroup::left_below(Path::new("/sys/fs/cgroup"));
        left.extend(self.facts().cgroups.folders().into_iter().flat_map(cgroup::left_below));
        left.sort_unstable();
        left.dedup();
        left.into_iter().map(|place| Remnant { what: "cgroup", place }).collect()
    }

    fn remove(&self, remnant: &Remnant) -> std::io::Result<()> {
        cgroup::remove(&*self.facts().tree, &remnant.place)
    }

    fn prepare(&self, spec: &Spec) -> Result<Box<dyn Prepared>, BuildError> {
        Ok(Box::new(Kept(self.ready(spec)?)))
    }
}

/// What permissions say that this level has no way to hold.
fn check_permissions(spec: &Spec) -> Result<(), BuildError> {
    let Permissions { clock, random, channel_send, channel_receive, log, learn, .. } = &spec.permissions;
    let reasons = [
        (
            !clock,
            "`clock = false`: a Linux program reads the clock without asking; write `clock = true`, or choose level wasm",
        ),
        (
            !random,
            "`random = false`: a Linux program has random numbers from its processor; write `random = true`, or choose level wasm",
        ),
        (
            !channel_send.is_empty() || !channel_receive.is_empty(),
            "channels are not in this version of level sandbox; take `channel.*` out, or choose level wasm",
        ),
        (*log, "`log` is not in this version of level sandbox; take it out and print instead, or choose level wasm"),
        (
            *learn && spec.session.overlay.is_none(),
            "to learn, changes have to be kept apart (`session.overlay`); the command does that, and so does level wasm",
        ),
    ];
    match reasons.into_iter().find(|(hit, _)| *hit) {
        Some((_, reason)) => Err(BuildError::program(spec, reason)),
        None => Ok(()),
    }
}

fn plan_error(spec: &Spec, error: PlanError) -> BuildError {
    match error {
        PlanError::Open { .. } | PlanError::NoRoot => {
            BuildError::Host { doing: "cannot plan the capsule's tree", source: error.into() }
        }
        PlanError::Room(_) => BuildError::Host { doing: "cannot plan the capsule's tree", source: error.into() },
        PlanError::Unclear { .. }
        | PlanError::Mount { .. }
        | PlanError::Missing { .. }
        | PlanError::Overlay { .. }
        | PlanError::Path(_) => BuildError::program(spec, error.to_string()),
    }
}

/// How much of files' metadata may be changed: all of it when nothing of the host's can be reached, and
/// almost all when every folder of the host's that can be changed may be changed as a whole.
fn metadata(spec: &Spec, tree: &Plan) -> Metadata {
    use ringfence_manifest::Permission::FsWrite;
    let files = &spec.permissions.files;
    let mut writable = tree.places.iter().filter(|place| place.writable);
    if !writable.all(|place| files.allows(FsWrite, place.at.as_bytes())) || stdio::passes_a_file(spec) {
        return Metadata::Denied;
    }
    if tree.writes_to_the_host() { Metadata::WithoutSetId } else { Metadata::Free }
}

#[cfg(test)]
mod tests;
