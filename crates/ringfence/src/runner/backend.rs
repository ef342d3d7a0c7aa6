//! Level `sandbox` for every kind of program it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringfence_abi::{Call, ErrorCode};
use ringfence_isolation::{
    Answer, Backend, BuildError, Enforcement, Fact, Feature, Folder, Guarantee, Held, Host, Instance, Level, Prepared,
    Refusal, Remnant, Usage, Verdict,
};
use ringfence_linux::{Carrier, Linux};
use ringfence_manifest::{
    Bytes, Isolation, Kind, Limits, Permissions, Program, Session, Spec, Stdio, StreamIn, StreamOut,
};
use ringfence_wasm::Wasm;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::write;
use tokio::runtime::Handle;

use super::carried::{Carried, Lines, Own, Told};
use super::process::RUNNER;
use super::serve::{Answers, Desk};
use super::wire::Order;

/// What the engine itself needs beside its guest's memory.
pub(super) const ENGINE: u64 = 128 << 20;
/// The processor time that setting the engine up may take.
pub(super) const SET_UP: Duration = Duration::from_secs(2);

/// How many threads the engine may have.
pub(super) const THREADS: u64 = 16;

/// Level `sandbox`: Linux programs as they are, WebAssembly in a runner.
pub(crate) struct Sandbox {
    linux: Linux,
    wasm: Wasm,
    executor: Handle,
    runner: Option<PathBuf>,
}

impl Sandbox {
    pub(crate) fn new(linux: Linux, wasm: Wasm, executor: Handle, runner: Option<PathBuf>) -> Self {
        Sandbox { linux, wasm, executor, runner }
    }

    fn prepare_wasm(&self, spec: &Spec) -> Result<Box<dyn Prepared>, BuildError> {
        let runner = runner(&self.runner, spec)?;
        let carrier = self.linux.carrier_alone(&carrier_spec(
            spec,
            runner.clone(),
            Own { memory: ENGINE, cpu_time: SET_UP },
            THREADS,
        ))?;
        let wasm = Wasm::promise(spec);
        let promised = combined(&wasm, carrier.promised());
        promised.check(spec).map_err(|refusal| Refusal { level: Level::Sandbox, facts: self.probe(), ..refusal })?;
        let code = sealed(&command(&self.wasm, spec)?).map_err(|source| BuildError::Host {
            doing: "cannot keep compiled code in memory",
            source: Box::new(source),
        })?;
        Ok(Box::new(Ready { carrier, code, wasm, promised, spec: spec.clone(), executor: self.executor.clone() }))
    }
}

impl Backend for Sandbox {
    fn level(&self) -> Level {
        Level::Sandbox
    }

    fn runs(&self, kind: Kind) -> bool {
        match kind {
            Kind::Wasm => self.runner.is_some(),
            kind => self.linux.runs(kind),
        }
    }

    fn probe(&self) -> Vec<Fact> {
        self.linux.probe()
    }

    fn offers(&self, feature: Feature, kind: Kind) -> bool {
        self.linux.offers(feature, kind)
    }

    fn remnants(&self) -> Vec<Remnant> {
        self.linux.remnants()
    }

    fn remove(&self, remnant: &Remnant) -> std::io::Result<()> {
        self.linux.remove(remnant)
    }

    fn prepare(&self, spec: &Spec) -> Result<Box<dyn Prepared>, BuildError> {
        match spec.program.kind {
            Kind::Wasm => self.prepare_wasm(spec),
            _ => self.linux.prepare(spec),
        }
    }
}

/// The spec of the process that carries a runner: granted nothing. Beyond the limits of the guest it has what is the
/// runner's own, and so many threads altogether.
pub(super) fn carrier_spec(spec: &Spec, runner: PathBuf, own: Own, threads: u64) -> Spec {
    let limits = &spec.limits;
    Spec {
        capsule: spec.capsule.clone(),
        program: Program { kind: Kind::Linux, path: runner, args: vec![RUNNER.into()], working_directory: "/".into() },
        isolation: Isolation {
            level: Level::Sandbox,
            require: Guarantee::ALWAYS.iter().copied().collect(),
            seccomp: Default::default(),
        },
        permissions: Permissions { clock: true, random: true, ..Permissions::default() },
        mounts: Vec::new(),
        environment: BTreeMap::new(),
        limits: Limits {
            // The host counts exactly; these hold should the runner not be itself any more.
            memory: limits.memory.map(|bytes| Bytes(bytes.0.saturating_add(own.memory))),
            cpu_time: limits.cpu_time.map(|time| time.saturating_add(own.cpu_time)),
            cores: limits.cores,
            processes: Some(threads),
            ..Limits::default()
        },
        stdio: Stdio { stdin: StreamIn::Null, stdout: StreamOut::Null, stderr: StreamOut::Null },
        root: None,
        defaults: BTreeSet::new(),
        session: Session::default(),
    }
}

/// What holds each guarantee when level wasm's walls stand within those of the runner.
fn combined(wasm: &Enforcement, carrier: &Enforcement) -> Enforcement {
    use Guarantee as G;
    let mut both = Enforcement::new();
    for (guarantee, inner) in wasm.iter() {
        let outer = carrier.get(guarantee);
        let held = match (guarantee, inner, &outer) {
            (G::MonitorConfined, ..) => by_own_process(carrier),
            (G::OwnAddressSpace | G::KillWorks | G::NothingLeft, ..) | (G::CoresLimit, Held::Not { .. }, _) => outer,
            (G::MemoryIsolated, Held::By { .. }, Held::By { .. }) => {
                Held::by("linear memory, bounds-checked by wasmtime, in a process of its own")
            }
            (G::FilesystemConfined, Held::By { .. }, Held::By { .. }) => {
                Held::by("scoped hal: path resolution and fs.* rules; the engine's process has no files to open")
            }
            (G::NetworkConfined, Held::By { .. }, Held::By { .. }) => {
                Held::by("scoped hal: net.* rules on pinned addresses; the engine's process has no network")
            }
            (G::MemoryIsolated | G::FilesystemConfined | G::NetworkConfined, ..) => outer,
            _ => inner.clone(),
        };
        both.set(guarantee, held);
    }
    both
}

/// Whether the process that carries something has all the walls that there are.
pub(super) fn by_own_process(carrier: &Enforcement) -> Held {
    use Guarantee as G;
    let walls = [G::OwnAddressSpace, G::FilesystemConfined, G::NetworkConfined, G::ProcessesHidden, G::MemoryIsolated];
    let missing = walls.into_iter().find_map(|wall| match carrier.get(wall) {
        Held::By { .. } => None,
        held => Some(format!("{wall} of its process is {held}")),
    });
    match missing {
        None => Held::by("a process of its own at level sandbox, with lines to its supervisor and nothing else"),
        Some(missing) => Held::Partly { by: "a process of its own", missing },
    }
}

/// What an engine is told of its guest.
pub(super) fn order(spec: &Spec, host: &dyn Host) -> Order {
    Order {
        name: spec.capsule.name.clone(),
        working_directory: spec.program.working_directory.clone(),
        memory: spec.limits.memory.map(|bytes| bytes.0),
        fuel: spec.limits.fuel,
        folders: host.folders().into_iter().map(|Folder { name, handle }| (name, handle)).collect(),
        functions: host.functions().to_vec(),
    }
}

/// The compiled code of a program that a runner runs to its end.
pub(super) fn command(wasm: &Wasm, spec: &Spec) -> Result<Vec<u8>, BuildError> {
    let level = spec.isolation.level;
    match wasm.compiled(spec)? {
        (code, true) => Ok(code),
        (_, false) => {
            let why = format!("it has functions to be called; at level {level} only programs run: choose level wasm");
            Err(BuildError::program(spec, why))
        }
    }
}

/// The runner, where there is one.
pub(super) fn runner<'a>(runner: &'a Option<PathBuf>, spec: &Spec) -> Result<&'a PathBuf, BuildError> {
    let level = spec.isolation.level;
    let place = if level == Level::MicroVm { "a virtual machine" } else { "a process" };
    runner.as_ref().ok_or_else(|| {
        let why = format!(
            "WebAssembly runs in {place} of its own at level {level}, and no program is set for that: \
             `Builder::runner` takes the path of the ringfence command"
        );
        BuildError::program(spec, why)
    })
}

/// A file in memory that nobody can change any more.
pub(super) fn sealed(code: &[u8]) -> Result<OwnedFd, rustix::io::Errno> {
    let file = memfd_create(c"code", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = code;
    while !rest.is_empty() {
        rest = &rest[write(&file, rest)?..];
    }
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// A compiled program with a carrier.
struct Ready {
    carrier: Carrier,
    code: OwnedFd,
    wasm: Enforcement,
    promised: Enforcement,
    spec: Spec,
    executor: Handle,
}

impl Prepared for Ready {
    fn promised(&self) -> &Enforcement {
        &self.promised
    }

    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        let failed =
            |source| BuildError::Host { doing: "cannot make the lines to the runner", source: Box::new(source) };
        let lines = || -> std::io::Result<_> {
            let _within = self.executor.enter();
            let line = || -> std::io::Result<(UnixStream, OwnedFd)> {
                let (ours, theirs) = UnixStream::pair()?;
                Ok((ours, theirs.into()))
            };
            let (answers, their_answers) = line()?;
            answers.set_nonblocking(true)?;
            // Each runner reads the code from a description of its own.
            let code = std::fs::File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.code)))?;
            Ok((line()?, (Answers::new(answers)?, their_answers), code))
        };
        let ((asks, their_asks), (answers, their_answers), code) = lines().map_err(failed)?;
        let descriptors = [their_asks, their_answers, code.into()];
        let process = self.carrier.build(Arc::new(Nobody), descriptors, || Ok(()))?;
        let enforced = combined(&self.wasm, process.enforced());
        let order = order(&self.spec, &*host);
        let told = Told::new(host, self.spec.limits.clone());
        let (desk, served) = Desk::new(told.clone(), self.executor.clone(), answers, Some(order), None);
        Ok(Box::new(Carried {
            process,
            enforced,
            told,
            served,
            lines: Lines::new(desk, vec![asks]),
            signals: None,
            has_terminal: false,
            commands: None,
            #[cfg(all(feature = "microvm", target_arch = "x86_64"))]
            capturing: None,
            ended: Default::default(),
            own: Own::default(),
        }))
    }

    fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.carrier.keep_warm(count)
    }
}

/// The host of the carrier itself, which has nothing to ask.
pub(super) struct Nobody;

impl Host for Nobody {
    fn call<'a>(&'a self, _: Call<'a>) -> Answer<'a> {
        Answer::Now(Err(ErrorCode::Denied))
    }

    fn charge(&self, _: Usage) -> Verdict {
        Verdict::Continue
    }

    fn verdict(&self) -> Verdict {
        Verdict::Continue
    }
}
