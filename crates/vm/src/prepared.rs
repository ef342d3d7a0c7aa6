//! A spec ready to be built.

use std::sync::Arc;

use ringfence_isolation::{BuildError, Enforcement, Host, Instance, Level, Prepared};
use ringfence_manifest::Spec;
use rustix::io::Errno;

use crate::control::Control;
use crate::instance::VmInstance;
use crate::kvm::{Kvm, Machine, MachineError, StubKind};
use crate::personality::{self, First, World};
use crate::pool::Pool;
use crate::snapshot::Used;
use crate::tree::System;

/// Everything instances of one spec share.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) kvm: Arc<Kvm>,
    pub(crate) kind: StubKind,
    pub(crate) spec: Arc<Spec>,
    pub(crate) system: Arc<System>,
    pub(crate) promised: Enforcement,
    pub(crate) executor: tokio::runtime::Handle,
    pub(crate) pool: Arc<Pool>,
    /// Whether an instance can be captured. For that it keeps KVM's device, which another one than the machine of
    /// its own can be made with.
    pub(crate) is_captured: bool,
}

impl Prepared for Ready {
    fn promised(&self) -> &Enforcement {
        &self.promised
    }

    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        let machine = self.pool.machine().map_err(no_machine)?;
        let first = |world: &Arc<World>| personality::first_thread(world).map_err(|errno| self.program_error(errno));
        self.build_in(machine, host, None, first)
    }

    /// Machines without a program: a place shows the mounts as they are when it is built.
    fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.pool.keep(count).map_err(no_machine)
    }
}

pub(crate) fn no_machine(source: MachineError) -> BuildError {
    BuildError::Host { doing: "cannot make a virtual machine", source: source.into() }
}

impl Ready {
    /// Builds the place in a machine that `used` gets at the end; `fill` puts a program into it.
    pub(crate) fn build_in(
        &self,
        machine: Machine,
        host: Arc<dyn Host>,
        used: Option<Arc<Used>>,
        fill: impl FnOnce(&Arc<World>) -> Result<First, BuildError>,
    ) -> Result<Box<dyn Instance>, BuildError> {
        let control = Control::new(host.clone(), self.spec.limits.clone());
        let world =
            World::new(host, machine, self.spec.clone(), self.system.clone(), control.clone(), self.kvm.counter());
        let first = fill(&world).inspect_err(|_| personality::clear(&world))?;
        Ok(Box::new(VmInstance::new(self.clone(), control, world, first, used)))
    }

    fn program_error(&self, errno: Errno) -> BuildError {
        let reason = match errno {
            Errno::NOENT => "its interpreter is not in the capsule's tree".into(),
            Errno::NOMEM => "it does not fit into its memory limit".into(),
            Errno::LIBBAD => "its interpreter is no program".into(),
            Errno::NOTDIR => format!("its working directory {} is no folder", self.spec.program.working_directory),
            errno => format!("it cannot be loaded: {errno}"),
        };
        BuildError::Program { path: self.spec.program.path.clone(), level: Level::MicroVm, reason }
    }
}
