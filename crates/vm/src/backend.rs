//! The backend: what it needs, what it refuses, what it prepares.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use ringfence_isolation::{
    Backend, BuildError, Enforcement, Fact, Feature, Guarantee, Level, Prepared, Refusal, SystemCall,
    check_linux_program,
};
use ringfence_manifest::{Kind, Permissions, Spec};
use tokio::runtime::Handle;

use crate::kvm::{Findings, Kvm, Missing, Processors, Shortcuts, StubKind};
use crate::loader::Elf;
use crate::pool::{Pool, Wanted};
use crate::prepared::Ready;
use crate::promise::{UNCONFINED, promise};
use crate::snapshot::{self, Frozen, Image, Sealed};
use crate::tree::{HostFile, System};

/// What is known of a spec before anything is built, and what of the host runs it.
#[derive(Debug)]
pub struct Examined {
    /// KVM's device, open for reading and writing.
    pub device: OwnedFd,
    /// The program's file, open for reading.
    pub program: OwnedFd,
    /// Whether this machine's KVM virtualizes in software.
    pub software: bool,
    /// What would be enforced by a monitor in the process of whoever runs it.
    pub promised: Enforcement,
}

/// KVM, once it was looked at.
type Opened = OnceLock<Result<(Arc<Kvm>, StubKind), Missing>>;

/// Level `microvm`.
pub struct Vm {
    device: PathBuf,
    executor: Handle,
    processors: Processors,
    shortcuts: Shortcuts,
    kvm: Arc<Opened>,
    /// Whether anything was examined for another process.
    has_examined: AtomicBool,
}

impl Vm {
    /// The backend, on `/dev/kvm`. Looks at the machine when it is first asked. What instances wait
    /// for is waited for on `executor`, which needs its drivers of time and of input and output.
    pub fn new(executor: Handle) -> Self {
        Self::on(PathBuf::from("/dev/kvm"), executor)
    }

    /// The same, on another device file of KVM.
    pub fn on(device: PathBuf, executor: Handle) -> Self {
        Vm {
            device,
            executor,
            processors: Processors::Real,
            shortcuts: Shortcuts::all(),
            kvm: Arc::default(),
            has_examined: AtomicBool::new(false),
        }
    }

    /// The same within QEMU's TCG, whose emulated processors differ from real ones in a detail. Only
    /// tests need it.
    #[doc(hidden)]
    pub fn emulated(executor: Handle) -> Self {
        Vm { processors: Processors::Emulated, ..Self::new(executor) }
    }

    /// The backend in a process that others made for it, on KVM's device that they opened, with what they found out.
    ///
    /// # Errors
    /// What of KVM is missing.
    pub fn passed(device: OwnedFd, findings: &Findings, executor: Handle) -> Result<Self, String> {
        let kvm = Kvm::passed(device, findings).map_err(|missing| missing.found)?;
        let kind = kvm.stub_kind().map_err(|missing| missing.found)?;
        Ok(Vm { kvm: Arc::new(Ok((Arc::new(kvm), kind)).into()), ..Self::new(executor) })
    }

    /// What another process needs to know of KVM for what was examined here. For the first one nothing is tried
    /// out: that process has to make a machine anyway. For further ones it is, once.
    ///
    /// # Errors
    /// When KVM does not work after all, or not as its modules say.
    pub fn findings(&self, examined: &Examined) -> Result<Findings, BuildError> {
        if self.kvm.get().is_none() && !self.has_examined.swap(true, Relaxed) {
            let seen = Kvm::seen(&examined.device, examined.software);
            return seen.map_err(|missing| self.refusal(&missing).into());
        }
        let (kvm, kind) = self.kvm().as_ref().map_err(|missing| self.refusal(missing))?;
        if (*kind == StubKind::User) == examined.software {
            return kvm.findings().map_err(|missing| self.refusal(&missing).into());
        }
        let source = "it virtualizes in another way than its modules say".into();
        Err(BuildError::Host { doing: "cannot find out what KVM is", source })
    }

    /// What [`prepare`](Backend::prepare) looks at, and what another process needs to run it. Nothing is required
    /// of what would be enforced.
    ///
    /// # Errors
    /// As for `prepare`, but for what the spec requires.
    pub fn examine(&self, spec: &Spec) -> Result<Examined, BuildError> {
        check_linux_program(spec)?;
        let looked = Kvm::look(&self.device).and_then(|(device, kind)| match kind {
            Some(kind) => Ok((device, kind)),
            None => Ok((device, self.kvm().as_ref().map_err(Clone::clone)?.1)),
        });
        let (device, kind) = looked.map_err(|missing| self.refusal(&missing))?;
        check_permissions(spec)?;
        let unreadable = |source| BuildError::Unreadable { path: spec.program.path.clone(), source };
        let program: OwnedFd = std::fs::File::open(&spec.program.path).map_err(unreadable)?.into();
        let file = HostFile::new(program.try_clone().map_err(unreadable)?, b"");
        check_elf(spec, file)?;
        let software = kind == StubKind::User;
        let promised = promise(spec, software, UNCONFINED);
        Ok(Examined { device, program, software, promised })
    }

    /// The second half of [`prepare`](Backend::prepare), for a spec that another process examined: everything that
    /// runs it, here, with the program's file as that process opened it.
    ///
    /// # Errors
    /// As for `prepare`.
    pub fn prepare_examined(&self, spec: &Spec, program: OwnedFd) -> Result<Box<dyn Prepared>, BuildError> {
        Ok(Box::new(self.ready_examined(spec, program)?))
    }

    /// Reads the snapshot that another process is to go on from, and looks at what it is of. That process decodes
    /// the rest.
    ///
    /// # Errors
    /// [`BuildError::Snapshot`] when it is damaged, holds more memory than the spec allows, or is not of this program
    /// on such a machine.
    pub fn examine_snapshot(
        &self,
        spec: &Spec,
        examined: &Examined,
        from: &mut dyn Read,
    ) -> Result<Sealed, BuildError> {
        check_streams(spec)?;
        let unreadable = |source| BuildError::Unreadable { path: spec.program.path.clone(), source };
        let sealed = Sealed::read(from, spec.limits.memory).map_err(|error| BuildError::Snapshot(error.to_string()))?;
        let opened;
        let kvm = match self.kvm.get() {
            Some(Ok((kvm, _))) => &**kvm,
            // Nothing is run for this.
            _ => {
                opened = Kvm::open(&self.device, self.processors, self.shortcuts).and_then(|kvm| {
                    kvm.find_out()?;
                    Ok(kvm)
                });
                opened.as_ref().map_err(|missing| self.refusal(missing))?
            }
        };
        let kind = if examined.software { StubKind::User } else { StubKind::Supervisor };
        let program = examined.program.try_clone().map_err(unreadable)?;
        let here = System::around(spec, program)
            .and_then(|system| snapshot::origin(spec, &system, kvm, kind, Some(&sealed.origin().program)));
        let here = here.map_err(|errno| unreadable(errno.into()))?;
        snapshot::check(sealed.origin(), &here).map_err(BuildError::Snapshot)?;
        Ok(sealed)
    }

    /// Does what [`prepare_examined`](Self::prepare_examined) does for what another process
    /// [examined](Self::examine_snapshot) and sealed; what is in it is not trusted.
    ///
    /// # Errors
    /// As for `prepare_examined`, and [`BuildError::Snapshot`].
    pub fn restore_examined(
        &self,
        spec: &Spec,
        program: OwnedFd,
        sealed: OwnedFd,
    ) -> Result<Box<dyn Prepared>, BuildError> {
        let ready = self.ready_examined(spec, program)?;
        let image = Image::sealed(sealed.into(), spec.limits.memory)
            .map_err(|error| BuildError::Snapshot(error.to_string()))?;
        Ok(Box::new(Frozen::of(ready, image)))
    }

    fn ready_examined(&self, spec: &Spec, program: OwnedFd) -> Result<Ready, BuildError> {
        let (kvm, kind) = self.kvm().as_ref().map_err(|missing| self.refusal(missing))?;
        let system = System::around(spec, program)
            .map_err(|errno| BuildError::Unreadable { path: spec.program.path.clone(), source: errno.into() })?;
        let ready = self.ready(kvm, *kind, spec, system, promise(spec, *kind == StubKind::User, UNCONFINED));
        Ok(Ready { is_captured: spec.session.capture_at.is_some(), ..ready })
    }

    /// Does what [`prepare`](Backend::prepare) does, and says why the monitor will have no walls of its own.
    ///
    /// # Errors
    /// As for `prepare`.
    pub fn prepare_unconfined(&self, spec: &Spec, why: String) -> Result<Box<dyn Prepared>, BuildError> {
        Ok(Box::new(self.checked(spec, &why)?))
    }

    /// The same for [`restore`](Backend::restore).
    ///
    /// # Errors
    /// As for `restore`.
    pub fn restore_unconfined(&self, spec: &Spec, file: File, why: String) -> Result<Box<dyn Prepared>, BuildError> {
        check_streams(spec)?;
        let ready = self.checked(spec, &why)?;
        let image = Image::load(file, spec.limits.memory).map_err(|error| BuildError::Snapshot(error.to_string()))?;
        Ok(Box::new(Frozen::new(ready, image)?))
    }

    fn checked(&self, spec: &Spec, why: &str) -> Result<Ready, BuildError> {
        check_linux_program(spec)?;
        let (kvm, kind) = self.kvm().as_ref().map_err(|missing| self.refusal(missing))?;
        check_permissions(spec)?;
        let promised = promise(spec, *kind == StubKind::User, why);
        promised.check(spec).map_err(|refusal| Refusal { facts: self.probe(), ..refusal })?;
        let system = System::open(spec)
            .map_err(|errno| BuildError::Unreadable { path: spec.program.path.clone(), source: errno.into() })?;
        let file = system.program_file();
        let file =
            file.map_err(|errno| BuildError::Unreadable { path: spec.program.path.clone(), source: errno.into() })?;
        check_elf(spec, file)?;
        Ok(self.ready(kvm, *kind, spec, system, promised))
    }

    fn ready(&self, kvm: &Arc<Kvm>, kind: StubKind, spec: &Spec, system: System, promised: Enforcement) -> Ready {
        let wanted = Wanted { kvm: kvm.clone(), kind, memory: spec.limits.memory.map(|bytes| bytes.0) };
        Ready {
            kvm: kvm.clone(),
            kind,
            pool: Arc::new(Pool::new(wanted)),
            spec: Arc::new(spec.clone()),
            system: Arc::new(system),
            promised,
            executor: self.executor.clone(),
            is_captured: true,
        }
    }

    fn refusal(&self, missing: &Missing) -> Refusal {
        Refusal {
            level: Level::MicroVm,
            guarantee: Guarantee::OwnKernel,
            found: missing.found.clone(),
            remedy: missing.remedy.into(),
            facts: self.probe(),
        }
    }

    /// The same without the ways to be faster that nothing depends on. Only tests need it.
    #[doc(hidden)]
    pub fn plain(executor: Handle) -> Self {
        Vm { shortcuts: Shortcuts::empty(), ..Self::new(executor) }
    }

    fn kvm(&self) -> &Result<(Arc<Kvm>, StubKind), Missing> {
        open(&self.kvm, &self.device, (self.processors, self.shortcuts))
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

    fn offers(&self, feature: Feature, kind: Kind) -> bool {
        matches!(feature, Feature::Terminal | Feature::Capture) && self.runs(kind)
    }

    fn system_calls(&self) -> Vec<SystemCall> {
        crate::personality::system_calls()
    }

    fn prepare(&self, spec: &Spec) -> Result<Box<dyn Prepared>, BuildError> {
        self.prepare_unconfined(spec, UNCONFINED.to_owned())
    }

    fn restore(&self, spec: &Spec, file: File) -> Result<Box<dyn Prepared>, BuildError> {
        self.restore_unconfined(spec, file, UNCONFINED.to_owned())
    }
}

/// What was captured had no terminal.
fn check_streams(spec: &Spec) -> Result<(), BuildError> {
    match spec.session.terminal {
        None => Ok(()),
        Some(_) => Err(BuildError::Snapshot("what is captured has no terminal, and is given none".into())),
    }
}

fn open<'a>(
    opened: &'a Opened,
    device: &Path,
    (processors, shortcuts): (Processors, Shortcuts),
) -> &'a Result<(Arc<Kvm>, StubKind), Missing> {
    opened.get_or_init(|| {
        let kvm = Arc::new(Kvm::open(device, processors, shortcuts)?);
        let kind = kvm.stub_kind()?;
        Ok((kvm, kind))
    })
}

/// An ELF file of this processor's, or a script: what its interpreter is shows when it is loaded.
fn check_elf(spec: &Spec, file: HostFile) -> Result<(), BuildError> {
    use crate::memory::Content;
    let unreadable =
        |errno: rustix::io::Errno| BuildError::Unreadable { path: spec.program.path.clone(), source: errno.into() };
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
