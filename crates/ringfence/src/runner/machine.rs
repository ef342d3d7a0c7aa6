//! Level `microvm` with its monitor in a process of its own, behind the walls of level `sandbox`.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringfence_isolation::{
    Backend, BuildError, Enforcement, Fact, Feature, Folder, Guarantee, Held, Host, Instance, Level, Prepared, Refusal,
    Remnant, SystemCall,
};
use ringfence_linux::{Carrier, Linux};
use ringfence_manifest::{Kind, Permission, Point, Spec, StreamOut};
use ringfence_vm::{Examined, Findings, Sealed, Vm};
use ringfence_wasm::Wasm;
use tokio::runtime::Handle;

use super::backend::{Nobody, by_own_process, carrier_spec, command, runner, sealed};
use super::captures::Captures;
use super::capturing::Capturing;
use super::carried::{Carried, Lines, Own, Told};
use super::commands::{Commands, MOST_COMMANDS};
use super::parcel;
use super::serve::{Answers, Beside, Desk};
use super::wire::{CaptureAt, Counted, MachineOrder};
use super::within;

/// What the monitor itself needs beside its guest's memory, and what the kernel keeps for the machine: processors,
/// and page tables that follow the guest's.
const MONITOR: u64 = 128 << 20;
/// The part of its guest's memory that is added for the tables.
const TABLES: u64 = 32;
/// The processor time that setting the machine up may take.
const SET_UP: Duration = Duration::from_secs(2);
/// The threads of a guest, which are threads of the monitor.
const THREADS: u64 = 1000;
/// Those of the monitor's own, and three for the streams of each further command.
const OWN_THREADS: u64 = 16 + 3 * MOST_COMMANDS as u64;

/// The rules that the monitor itself looks at, to know what to leave to the hal.
const RULES: [Permission; 7] = [
    Permission::FsRead,
    Permission::FsWrite,
    Permission::FsCreate,
    Permission::FsDelete,
    Permission::FsList,
    Permission::NetConnect,
    Permission::NetResolve,
];

/// Level `microvm`: the monitor in a runner where that can be, else in this process.
pub(crate) struct Machines {
    vm: Arc<Vm>,
    linux: Linux,
    wasm: Wasm,
    executor: Handle,
    runner: Option<PathBuf>,
}

impl Machines {
    pub(crate) fn new(vm: Vm, linux: Linux, wasm: Wasm, executor: Handle, runner: Option<PathBuf>) -> Self {
        Machines { vm: Arc::new(vm), linux, wasm, executor, runner }
    }

    fn prepare_wasm(&self, spec: &Spec) -> Result<Box<dyn Prepared>, BuildError> {
        let runner = runner(&self.runner, spec)?;
        let machine = self.prepare_in(runner, &within::machine_spec(spec, runner.clone()), None)?;
        let wasm = Wasm::promise(spec);
        let promised = within::combined(&wasm, machine.promised());
        let facts = |refusal: Refusal| Refusal { level: Level::MicroVm, facts: self.facts(), ..refusal };
        promised.check(spec).map_err(facts)?;
        let code = command(&self.wasm, spec)?.into();
        let executor = self.executor.clone();
        Ok(Box::new(within::Ready { machine, code, wasm, promised, spec: spec.clone(), executor }))
    }

    fn prepare_in(
        &self,
        runner: &Path,
        spec: &Spec,
        mut snapshot: Option<File>,
    ) -> Result<Box<dyn Prepared>, BuildError> {
        let examined = self.vm.examine(spec)?;
        let carrier = match self.linux.carrier(&carrier_spec(spec, runner.to_owned(), own(spec), threads(spec))) {
            Ok(carrier) => carrier,
            Err(BuildError::Refused(why)) if !spec.isolation.require.contains(&Guarantee::MonitorConfined) => {
                let why = format!("the monitor has no process of its own: {}; remedy: {}", why.found, why.remedy);
                return match snapshot {
                    Some(file) => self.vm.restore_unconfined(spec, file, why),
                    None => self.vm.prepare_unconfined(spec, why),
                };
            }
            Err(BuildError::Refused(why)) => {
                let guarantee = Guarantee::MonitorConfined;
                return Err(Refusal { level: Level::MicroVm, guarantee, ..why }.into());
            }
            Err(other) => return Err(other),
        };
        let promised = combined(&examined.promised, carrier.promised());
        let facts = |refusal: Refusal| Refusal { facts: self.facts(), ..refusal };
        promised.check(spec).map_err(facts)?;
        let snapshot = snapshot.as_mut().map(|file| self.vm.examine_snapshot(spec, &examined, file)).transpose()?;
        let (vm, executor) = (self.vm.clone(), self.executor.clone());
        let kit = Arc::new(Kit { vm, carrier, examined, promised, executor });
        Ok(Box::new(Ready { kit, snapshot, spec: spec.clone() }))
    }

    fn facts(&self) -> Vec<Fact> {
        let mut facts = self.vm.probe();
        facts.extend(self.linux.probe());
        facts
    }
}

impl Backend for Machines {
    fn level(&self) -> Level {
        Level::MicroVm
    }

    fn runs(&self, kind: Kind) -> bool {
        match kind {
            Kind::Wasm => self.runner.is_some(),
            kind => self.vm.runs(kind),
        }
    }

    fn probe(&self) -> Vec<Fact> {
        self.vm.probe()
    }

    fn offers(&self, feature: Feature, kind: Kind) -> bool {
        self.vm.offers(feature, kind)
    }

    fn system_calls(&self) -> Vec<SystemCall> {
        self.vm.system_calls()
    }

    fn remnants(&self) -> Vec<Remnant> {
        self.vm.remnants()
    }

    fn remove(&self, remnant: &Remnant) -> std::io::Result<()> {
        self.vm.remove(remnant)
    }

    fn prepare(&self, spec: &Spec) -> Result<Box<dyn Prepared>, BuildError> {
        match &self.runner {
            _ if spec.program.kind == Kind::Wasm => self.prepare_wasm(spec),
            Some(runner) => self.prepare_in(runner, spec, None),
            None => self.vm.prepare(spec),
        }
    }

    fn restore(&self, spec: &Spec, file: File) -> Result<Box<dyn Prepared>, BuildError> {
        match &self.runner {
            Some(runner) => self.prepare_in(runner, spec, Some(file)),
            None => self.vm.restore(spec, file),
        }
    }
}

/// Whether a limit is on single operations.
fn counts_each(spec: &Spec) -> bool {
    spec.limits.io_operations.is_some() || spec.limits.io_bytes.is_some()
}

/// Whether no limit counts what goes over connections before it goes.
fn shares_connections(spec: &Spec) -> bool {
    !counts_each(spec) && spec.limits.bandwidth.is_none()
}

/// What the monitor's process holds beside its guest's memory; where that is captured, all of it once more.
fn overhead(spec: &Spec) -> u64 {
    let memory = spec.limits.memory.map_or(0, |bytes| bytes.0);
    let captured = if spec.session.capture_at.is_some() { memory } else { 0 };
    (MONITOR + memory / TABLES).saturating_add(captured)
}

/// What is the monitor's own of its process.
fn own(spec: &Spec) -> Own {
    Own { memory: overhead(spec), cpu_time: SET_UP }
}

/// How many threads the monitor's process may have.
fn threads(spec: &Spec) -> u64 {
    spec.limits.processes.unwrap_or(THREADS).min(THREADS) + OWN_THREADS
}

/// What holds each guarantee when the monitor stands within the walls of its process.
fn combined(machine: &Enforcement, carrier: &Enforcement) -> Enforcement {
    use Guarantee as G;
    let mut both = Enforcement::new();
    for (guarantee, inner) in machine.iter() {
        let outer = carrier.get(guarantee);
        let held = match (guarantee, inner, &outer) {
            (G::MonitorConfined, ..) => by_own_process(carrier),
            (G::KillWorks | G::NothingLeft, ..) | (G::CoresLimit, Held::Not { .. }, _) => outer,
            (G::MemoryLimit, Held::By { .. }, Held::By { .. }) => {
                Held::by("pages of guest memory, counted as they are made; behind that the cgroup of the monitor")
            }
            (G::CpuTimeLimit, Held::By { .. }, Held::By { .. }) => {
                Held::by("thread clocks of its processors; behind that the cgroup of the monitor")
            }
            _ => inner.clone(),
        };
        both.set(guarantee, held);
    }
    both
}

/// An examined program with a carrier for its monitor.
pub(super) struct Kit {
    pub(super) vm: Arc<Vm>,
    carrier: Carrier,
    pub(super) examined: Examined,
    promised: Enforcement,
    executor: Handle,
}

/// The same, to begin or to go on.
pub(super) struct Ready {
    pub(super) kit: Arc<Kit>,
    /// What it goes on from, if it does not begin.
    pub(super) snapshot: Option<Sealed>,
    pub(super) spec: Spec,
}

impl Ready {
    fn order(&self, host: &dyn Host, findings: Findings) -> MachineOrder {
        let Spec { capsule, program, mounts, environment, permissions, limits, .. } = &self.spec;
        let rules = RULES.iter().map(|&permission| (permission.name().to_owned(), permission));
        MachineOrder {
            name: capsule.name.clone(),
            program: program.path.as_os_str().as_bytes().to_vec(),
            args: program.args.clone(),
            working_directory: program.working_directory.clone(),
            environment: environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            mounts: mounts.iter().map(|mount| mount.at.clone()).collect(),
            rules: rules.map(|(name, permission)| (name, permissions.texts(permission))).collect(),
            learn: permissions.learn,
            seccomp: self.spec.isolation.seccomp.words().map(str::to_owned).collect(),
            terminal: self.spec.session.terminal.map(|size| (size.rows, size.columns)),
            error_apart: self.spec.stdio.stderr != StreamOut::Inherit,
            limits: Counted {
                memory: limits.memory.map(|bytes| bytes.0),
                cpu_time: limits.cpu_time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
                processes: limits.processes,
                open_files: limits.open_files,
                disk: limits.disk.map(|bytes| bytes.0),
                file_size: limits.file_size.map(|bytes| bytes.0),
            },
            counts_each: counts_each(&self.spec),
            has_connections: shares_connections(&self.spec),
            folders: host.folders().into_iter().map(|Folder { name, handle }| (name, handle)).collect(),
            // By that name alone: what an embedder offers to WebAssembly is not reached from a machine.
            asks: host.functions().iter().any(|name| name == ringfence_vm::ASK),
            kvm: findings,
            goes_on: self.snapshot.is_some(),
            capture_at: self.spec.session.capture_at.map(|point| match point {
                Point::Start => CaptureAt::Start,
                Point::Marker => CaptureAt::Marker,
                Point::Anywhere => CaptureAt::Anywhere,
            }),
        }
    }

    /// The lines to a runner, ours and its own.
    fn lines(&self) -> std::io::Result<(Ours, [OwnedFd; 3])> {
        let ((asks, theirs), (more, their_more)) = (UnixStream::pair()?, UnixStream::pair()?);
        let ((answers, their_answers), (parcels, their_parcels)) = (UnixStream::pair()?, UnixStream::pair()?);
        answers.set_nonblocking(true)?;
        let _within = self.kit.executor.enter();
        let answers = Answers::new(answers)?;
        let ours = Ours { asks: vec![asks, more], answers, parcels, their_more };
        Ok((ours, [theirs.into(), their_answers.into(), their_parcels.into()]))
    }

    /// Everything a monitor needs, put on its way.
    fn pack(&self, order: &MachineOrder, parcels: &UnixStream, line: UnixStream) -> std::io::Result<()> {
        let order = sealed(&postcard::to_stdvec(order).map_err(std::io::Error::other)?)?;
        let (device, program) = (self.kit.examined.device.try_clone()?, self.kit.examined.program.try_clone()?);
        let mut parcel = vec![device, program, order, line.into()];
        parcel.extend(self.snapshot.as_ref().map(Sealed::file).transpose()?);
        parcel::pass(parcels, &parcel)
    }
}

/// The supervisor's ends.
struct Ours {
    asks: Vec<UnixStream>,
    answers: Answers,
    parcels: UnixStream,
    /// The other end of the second one.
    their_more: UnixStream,
}

impl Prepared for Ready {
    fn promised(&self) -> &Enforcement {
        &self.kit.promised
    }

    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        let failed =
            |source| BuildError::Host { doing: "cannot make the lines to the monitor", source: Box::new(source) };
        let (Ours { asks, answers, parcels, their_more }, theirs) = self.lines().map_err(failed)?;
        let process = self.kit.carrier.build(Arc::new(Nobody), theirs, || {
            let order = self.order(&*host, self.kit.vm.findings(&self.kit.examined)?);
            self.pack(&order, &parcels, their_more).map_err(failed)
        })?;
        let enforced = combined(&self.kit.examined.promised, process.enforced());
        let told = Told::new(host, self.spec.limits.clone());
        let executor = self.kit.executor.clone();
        let signals = Some((answers.clone(), executor.clone()));
        let commands = Commands::new(answers.clone(), executor.clone(), told.host.clone());
        let captures = Arc::<Captures>::default();
        let capturing = self.spec.session.capture_at.map(|_| Capturing {
            kit: self.kit.clone(),
            spec: self.spec.clone(),
            captures: captures.clone(),
            answers: answers.clone(),
            executor: executor.clone(),
        });
        let shares_connections = shares_connections(&self.spec);
        let beside = Beside { parcels, commands: commands.clone(), captures, shares_connections };
        let (desk, served) = Desk::new(told.clone(), executor, answers, None, Some(beside));
        let own = own(&self.spec);
        let has_terminal = self.spec.session.terminal.is_some();
        let lines = Lines::new(desk, asks);
        Ok(Box::new(Carried {
            process,
            enforced,
            told,
            lines,
            served,
            signals,
            has_terminal,
            commands: Some(commands),
            capturing,
            ended: Default::default(),
            own,
        }))
    }

    fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.kit.carrier.keep_warm(count)
    }

    fn save(&self, into: &mut dyn std::io::Write) -> std::io::Result<()> {
        match &self.snapshot {
            Some(snapshot) => snapshot.save(into),
            None => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }
}
