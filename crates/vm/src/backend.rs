//! The backend: what it needs, what it refuses, what it prepares.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use ringfence_isolation::{
    Backend, BuildError, Fact, Feature, Guarantee, Level, Prepared, Refusal, check_linux_program,
};
use ringfence_manifest::{Kind, Permissions, Spec};
use tokio::runtime::Handle;

use crate::kvm::{Kvm, Missing, Processors, StubKind};
use crate::loader::Elf;
use crate::prepared::Ready;
use crate::promise::promise;
use crate::snapshot::{Frozen, Image};
use crate::tree::System;

/// Level `microvm`.
pub struct Vm {
    device: PathBuf,
    executor: Handle,
    processors: Processors,
    kvm: OnceLock<Result<(Arc<Kvm>, StubKind), Missing>>,
}

impl Vm {
    /// The backend, on `/dev/kvm`. Looks at the machine when it is first asked. What instances wait
    /// for is waited for on `executor`, which needs its drivers of time and of input and output.
    pub fn new(executor: Handle) -> Self {
        Self::on(PathBuf::from("/dev/kvm"), executor)
    }

    /// The same, on another device file of KVM.
    pub fn on(device: PathBuf, executor: Handle) -> Self {
        Vm { device, executor, processors: Processors::Real, kvm: OnceLock::new() }
    }

    /// The same within QEMU's TCG, whose emulated processors differ from real ones in a detail. Only
    /// tests need it.
    #[doc(hidden)]
    pub fn emulated(executor: Handle) -> Self {
        Vm { processors: Processors::Emulated, ..Self::new(executor) }
    }

    fn kvm(&self) -> &Result<(Arc<Kvm>, StubKind), Missing> {
        self.kvm.get_or_init(|| {
            let kvm = Arc::new(Kvm::open(&self.device, self.processors)?);
            let kind = kvm.stub_kind()?;
            Ok((kvm, kind))
        })
    }
}

impl Backend for Vm {
    fn level(&self) -> Level {
        Level::MicroVm
    }

    fn runs(&self, kind: Kind) -> bool {
        kind == Kind::Linux
    }

    fn probe(&self) -> Vec<Fact> {
        match self.kvm() {
            Ok((_, StubKind::User)) => {
                vec![Fact::good("kvm", "usable; virtualization in software (PVM): leaving the guest is slow")]
            }
            Ok((_, StubKind::Supervisor)) => vec![Fact::good("kvm", "usable")],
            Err(missing) => vec![Fact::missing("kvm", missing.found.clone(), missing.remedy)],
        }
    }

    fn prepare(&self, spec: &Spec) -> Result<Box<dyn Prepared>, BuildError> {
        Ok(Box::new(self.ready(spec)?))
    }

    fn restore(&self, spec: &Spec, file: File) -> Result<Box<dyn Prepared>, BuildError> {
        let ready = self.ready(spec)?;
        let image = Image::load(file).map_err(|error| BuildError::Snapshot(error.to_string()))?;
        Ok(Box::new(Frozen::new(ready, image)?))
    }

    fn offers(&self, feature: Feature, kind: Kind) -> bool {
        feature == Feature::Capture && kind == Kind::Linux
    }
}

impl Vm {
    fn ready(&self, spec: &Spec) -> Result<Ready, BuildError> {
        check_linux_program(spec)?;
        let (kvm, kind) = self.kvm().as_ref().map_err(|missing| Refusal {
            level: Level::MicroVm,
            guarantee: Guarantee::OwnKernel,
            found: missing.found.clone(),
            remedy: missing.remedy.into(),
            facts: self.probe(),
        })?;
        check_permissions(spec)?;
        let promised = promise(spec, *kind == StubKind::User);
        promised.check(spec).map_err(|refusal| Refusal { facts: self.probe(), ..refusal })?;
        let system = System::open(spec)
            .map_err(|errno| BuildError::Unreadable { path: spec.program.path.clone(), source: errno.into() })?;
        check_elf(spec, &system)?;
        Ok(Ready {
            kvm: kvm.clone(),
            kind: *kind,
            spec: Arc::new(spec.clone()),
            system: Arc::new(system),
            promised,
            executor: self.executor.clone(),
        })
    }
}

/// An ELF file of this processor's, or a script: what its interpreter is shows when it is loaded.
fn check_elf(spec: &Spec, system: &System) -> Result<(), BuildError> {
    use crate::memory::Content;
    let unreadable =
        |errno: rustix::io::Errno| BuildError::Unreadable { path: spec.program.path.clone(), source: errno.into() };
    let file = system.program_file().map_err(unreadable)?;
    let mut start = [0; 2];
    let length = file.read_at(0, &mut start).map_err(unreadable)?;
    if start[..length] == *b"#!" {
        return Ok(());
    }
    Elf::read(&file).map(drop).map_err(|error| BuildError::program(spec, error.to_string()))
}

/// What permissions say that this level has no way to hold.
fn check_permissions(spec: &Spec) -> Result<(), BuildError> {
    let Permissions { clock, random, channel_send, channel_receive, log, .. } = &spec.permissions;
    let reasons = [
        (
            !clock,
            "`clock = false`: a Linux program reads the processor's clock without asking; write `clock = true`, or choose level wasm",
        ),
        (
            !random,
            "`random = false`: a Linux program has random numbers from its processor; write `random = true`, or choose level wasm",
        ),
        (
            !channel_send.is_empty() || !channel_receive.is_empty(),
            "channels are not in this version of level microvm; take `channel.*` out, or choose level wasm",
        ),
        (*log, "`log` is not in this version of level microvm; take it out and print instead, or choose level wasm"),
    ];
    match reasons.into_iter().find(|(hit, _)| *hit) {
        Some((_, reason)) => Err(BuildError::program(spec, reason)),
        None => Ok(()),
    }
}
