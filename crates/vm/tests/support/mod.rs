//! A capsule for tests: a spec to change, run behind the scoped hal, and the programs.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ringfence_isolation::{Backend, BuildError, CallError, Exit, Guarantee, Level, Point, Prepared, Stop, Then};
use ringfence_manifest::{
    Identity, Isolation, Kind, Limits, Mount, MountMode, PathRule, Permission, Permissions, Program, Spec, Stdio,
    StreamIn, StreamOut,
};
use ringfence_runtime::{Built, Plan, Report, ScopedHal, Started, Surroundings};
use ringfence_vm::Vm;

/// The threads all tests of a file share.
pub(crate) fn executor() -> &'static tokio::runtime::Runtime {
    static EXECUTOR: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    EXECUTOR.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// Set within an emulated machine.
pub(crate) const EMULATED: &str = "RINGFENCE_EMULATED";

/// The backend all tests of a file share.
pub(crate) fn vm() -> &'static Vm {
    static VM: OnceLock<Vm> = OnceLock::new();
    let executor = executor().handle().clone();
    VM.get_or_init(|| if std::env::var_os(EMULATED).is_some() { Vm::emulated(executor) } else { Vm::new(executor) })
}

/// Whether a capsule can be run here at all; says why not otherwise.
pub(crate) fn here() -> bool {
    let missing: Vec<_> = vm().probe().into_iter().filter(|fact| !fact.usable).collect();
    missing.iter().for_each(|fact| eprintln!("skipped: {}: {}", fact.name, fact.found));
    missing.is_empty()
}

/// How long a program may take. In an emulated machine time goes as it likes when the host has other work.
fn patience() -> Duration {
    Duration::from_secs(if std::env::var_os(EMULATED).is_some() { 1800 } else { 60 })
}

/// A capsule with a folder of its own.
pub(crate) struct Lab {
    pub(crate) spec: Spec,
    pub(crate) folder: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = Spec {
            capsule: Identity { name: "lab".into(), version: None },
            program: Program {
                kind: Kind::Linux,
                path: program.into(),
                args: Vec::new(),
                working_directory: "/".into(),
            },
            isolation: Isolation {
                level: Level::MicroVm,
                require: Guarantee::ALWAYS.iter().copied().collect(),
                seccomp: Default::default(),
            },
            permissions: Permissions { clock: true, random: true, ..Permissions::default() },
            mounts: Vec::new(),
            environment: BTreeMap::new(),
            limits: Limits { wall_time: Some(patience()), ..Limits::default() },
            stdio: Stdio { stdin: StreamIn::Null, stdout: StreamOut::Capture, stderr: StreamOut::Capture },
            root: Some(folder.path().join("root")),
            defaults: BTreeSet::new(),
            session: ringfence_manifest::Session::default(),
        };
        Lab { spec, folder }
    }

    /// A program of `tests/programs`, compiled without shared libraries; `None`, said aloud, when that
    /// or a machine to run it is not to be had.
    pub(crate) fn compiled(source: &str, arguments: &[&str]) -> Option<Self> {
        here().then(|| compiled(source, &["-static"]))?.map(|program| Lab::new(program).args(arguments))
    }

    /// `busybox sh -c script`.
    pub(crate) fn shell(script: &str) -> Option<Self> {
        let busybox = Path::new("/bin/busybox");
        if !busybox.exists() {
            eprintln!("skipped: there is no {}", busybox.display());
            return None;
        }
        here().then(|| Lab::new(busybox).args(&["sh", "-c", script]))
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.spec.program.args = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.spec.environment.insert(name.into(), value.into());
        self
    }

    pub(crate) fn stdin(mut self, bytes: &[u8]) -> Self {
        self.spec.stdio.stdin = StreamIn::Bytes(bytes.to_vec());
        self
    }

    pub(crate) fn grant(mut self, permissions: &[Permission], path: &str) -> Self {
        let files = &mut self.spec.permissions.files;
        for permission in permissions {
            let rules = match permission {
                Permission::FsRead => &mut files.read,
                Permission::FsWrite => &mut files.write,
                Permission::FsCreate => &mut files.create,
                Permission::FsDelete => &mut files.delete,
                Permission::FsList => &mut files.list,
                other => panic!("{other} is not about files"),
            };
            rules.push(PathRule(path.into()));
        }
        self
    }

    /// Everything below a path.
    pub(crate) fn grant_all(self, path: &str) -> Self {
        use Permission::{FsCreate, FsDelete, FsList, FsRead, FsWrite};
        self.grant(&[FsRead, FsWrite, FsCreate, FsDelete, FsList], path)
    }

    /// A new folder of the host at `at`.
    pub(crate) fn mount(mut self, at: &str, mode: MountMode) -> Self {
        let from = self.host(at);
        std::fs::create_dir_all(&from).unwrap();
        self.spec.mounts.push(Mount { at: at.into(), name: at.into(), from, mode });
        self
    }

    pub(crate) fn limit(mut self, set: impl FnOnce(&mut Limits)) -> Self {
        set(&mut self.spec.limits);
        self
    }

    /// The folder of the host behind a mount.
    pub(crate) fn host(&self, at: &str) -> PathBuf {
        self.folder.path().join("mounts").join(at.trim_start_matches('/'))
    }

    pub(crate) fn plan(&self) -> Result<Plan, BuildError> {
        Plan::new(vm(), Arc::new(self.spec.clone()), Duration::ZERO)
    }

    /// Runs it to a point, captures it there and ends it.
    pub(crate) fn captured(&self, at: Option<Point>) -> Result<Box<dyn Prepared>, CallError> {
        let mut spec = self.spec.clone();
        spec.session.capture_at = at;
        let started = self.start_of(spec);
        let captured = executor().block_on(started.instance.snapshot().unwrap().capture(Then::End));
        started.controls.stop(Stop::Kill);
        executor().block_on(started.supervision);
        captured
    }

    /// The same, into a file.
    pub(crate) fn saved(&self, at: Point) -> PathBuf {
        let captured = self.captured(Some(at)).unwrap_or_else(|error| panic!("{error}"));
        let path = self.folder.path().join("snapshot");
        captured.save(&mut std::fs::File::create(&path).unwrap()).unwrap();
        path
    }

    /// A plan that goes on from a file.
    pub(crate) fn restored(&self, file: &Path) -> Result<Plan, BuildError> {
        let file = std::fs::File::open(file).unwrap();
        Plan::restore(vm(), Arc::new(self.spec.clone()), file, Duration::ZERO)
    }

    /// Runs one instance of a plan.
    pub(crate) fn run_of(plan: &Plan) -> Result<Outcome, BuildError> {
        let started = Self::build_of(plan)?.start().unwrap();
        let report = executor().block_on(started.supervision);
        drop(started.controls);
        Ok(Outcome::new(report))
    }

    pub(crate) fn build_of(plan: &Plan) -> Result<Built, BuildError> {
        let _guard = executor().enter();
        plan.build(Arc::new(ScopedHal::new(plan.spec().clone(), Surroundings::default()).unwrap()))
    }

    fn start_of(&self, spec: Spec) -> Started {
        let plan =
            Plan::new(vm(), Arc::new(spec), Duration::ZERO).unwrap_or_else(|error| panic!("{}", explain(&error)));
        Self::build_of(&plan).unwrap_or_else(|error| panic!("{}", explain(&error))).start().unwrap()
    }

    /// Builds and starts it.
    pub(crate) fn start(&self) -> Started {
        self.build().start().unwrap()
    }

    pub(crate) fn build(&self) -> Built {
        let _guard = executor().enter();
        let plan = self.plan().unwrap_or_else(|error| panic!("{}", explain(&error)));
        let hal = ScopedHal::new(plan.spec().clone(), Surroundings::default()).unwrap();
        plan.build(Arc::new(hal)).unwrap_or_else(|error| panic!("{}", explain(&error)))
    }

    pub(crate) fn run(&self) -> Outcome {
        let started = self.start();
        let report = executor().block_on(started.supervision);
        drop(started.controls);
        Outcome::new(report)
    }

    /// Runs and expects this to be printed, with status 0.
    pub(crate) fn prints(&self, expected: &str) {
        let outcome = self.run();
        assert_eq!(
            (outcome.stdout.trim_end(), &outcome.report.exit),
            (expected, &Exit::Returned(0)),
            "{}",
            outcome.stderr
        );
    }
}

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    fn new(report: Report) -> Self {
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        Outcome { stdout: text(&report.stdout), stderr: text(&report.stderr), report }
    }
}

/// An error with everything behind it.
pub(crate) fn explain(error: &BuildError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// A program of `tests/programs`, compiled once for each test binary.
pub(crate) fn compiled(name: &str, options: &[&str]) -> Option<PathBuf> {
    static COMPILING: Mutex<()> = Mutex::new(());
    let _one = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name);
    // Another user than the one who built the tests has a folder of their own.
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let writable = tempfile::tempfile_in(built).is_ok();
    let folder = if writable { built.to_owned() } else { std::env::temp_dir() };
    let kind = options.concat();
    let program = folder.join(format!("{}{kind}.{}", name.trim_end_matches(".c"), std::process::id()));
    if program.exists() {
        return Some(program);
    }
    let made = Command::new("cc").args(["-O1", "-pthread"]).args(options).arg("-o").arg(&program).arg(&source).status();
    match made {
        Ok(status) => {
            assert!(status.success(), "{} does not compile", source.display());
            Some(program)
        }
        Err(error) => {
            eprintln!("skipped: no C compiler: {error}");
            None
        }
    }
}
