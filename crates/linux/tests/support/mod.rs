//! A capsule for tests: a spec to change, a host that keeps what is printed, and the programs.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod judged;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ringfence_abi::{Call, ErrorCode, Handle, Reply};
use ringfence_isolation::{Answer, Backend, BuildError, Exit, Guarantee, Host, Instance, Level, Usage, Verdict};
use ringfence_linux::Linux;
use ringfence_manifest::{
    Identity, Isolation, Kind, Limits, Mount, MountMode, PathRule, Permission, Permissions, Program, Spec, Stdio,
    StreamIn, StreamOut,
};

/// Keeps what is printed, and lets everything go on.
pub(crate) struct Keeper {
    printed: Mutex<[Vec<u8>; 2]>,
    most: AtomicUsize,
    verdict: Mutex<Verdict>,
    charged_output: AtomicU64,
}

impl Default for Keeper {
    fn default() -> Self {
        Keeper {
            printed: Mutex::default(),
            most: AtomicUsize::new(usize::MAX),
            verdict: Mutex::new(Verdict::Continue),
            charged_output: AtomicU64::new(0),
        }
    }
}

impl Keeper {
    /// Ends what is charged to it from now on.
    pub(crate) fn stop(&self, verdict: Verdict) {
        *self.verdict.lock().unwrap() = verdict;
    }

    /// Keeps so many bytes and takes no more.
    pub(crate) fn take_at_most(&self, bytes: usize) {
        self.most.store(bytes, Relaxed);
    }

    /// How much was charged as printed elsewhere.
    pub(crate) fn charged_output(&self) -> u64 {
        self.charged_output.load(Relaxed)
    }

    /// What was printed to standard output so far.
    pub(crate) fn printed(&self) -> Vec<u8> {
        self.printed.lock().unwrap()[0].clone()
    }
}

impl Host for Keeper {
    fn call<'a>(&'a self, call: Call<'a>) -> Answer<'a> {
        let Call::Send { stream, from } = call else { return Answer::Now(Err(ErrorCode::Denied)) };
        let mut printed = self.printed.lock().unwrap();
        let kept = &mut printed[usize::from(stream == Handle::STDERR)];
        let count = from.len().min(self.most.load(Relaxed).saturating_sub(kept.len()));
        kept.extend_from_slice(&from[..count]);
        Answer::Now(if count == 0 { Err(ErrorCode::Stopping) } else { Ok(Reply::Count(count)) })
    }

    fn charge(&self, used: Usage) -> Verdict {
        self.charged_output.fetch_add(used.output, Relaxed);
        self.verdict()
    }

    fn verdict(&self) -> Verdict {
        self.verdict.lock().unwrap().clone()
    }
}

/// The backend, with threads for what instances wait for.
pub(crate) fn linux() -> Linux {
    Linux::new(executor().handle().clone())
}

/// The threads all tests of a file share.
pub(crate) fn executor() -> &'static tokio::runtime::Runtime {
    static EXECUTOR: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    EXECUTOR.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) usage: Usage,
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
                level: Level::Sandbox,
                require: Guarantee::ALWAYS.iter().copied().collect(),
                seccomp: Default::default(),
            },
            permissions: Permissions { clock: true, random: true, ..Permissions::default() },
            mounts: Vec::new(),
            environment: BTreeMap::new(),
            limits: Limits::default(),
            stdio: Stdio { stdin: StreamIn::Null, stdout: StreamOut::Capture, stderr: StreamOut::Capture },
            root: Some(folder.path().join("root")),
            defaults: BTreeSet::new(),
            session: ringfence_manifest::Session::default(),
        };
        Lab { spec, folder }
    }

    /// `sh -c script`.
    pub(crate) fn shell(script: &str) -> Self {
        Lab::new("/bin/sh").args(&["-c", script])
    }

    /// A program of `tests/programs`, with these arguments; `None`, said aloud, without a C compiler.
    pub(crate) fn hostile(arguments: &[&str]) -> Option<Self> {
        Some(Lab::new(compiled("hostile.c")?).args(arguments))
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.spec.program.args = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    pub(crate) fn grant(mut self, permission: Permission, path: &str) -> Self {
        let files = &mut self.spec.permissions.files;
        let rules = match permission {
            Permission::FsRead => &mut files.read,
            Permission::FsWrite => &mut files.write,
            Permission::FsCreate => &mut files.create,
            Permission::FsDelete => &mut files.delete,
            Permission::FsList => &mut files.list,
            other => panic!("{other} is not about files"),
        };
        rules.push(PathRule(path.into()));
        self
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
        self.spec.isolation.require.extend(self.spec.limits_required());
        self
    }

    /// The folder of the host behind a mount.
    pub(crate) fn host(&self, at: &str) -> PathBuf {
        self.folder.path().join("mounts").join(at.trim_start_matches('/'))
    }

    pub(crate) fn build(&self) -> Result<(Box<dyn Instance>, Arc<Keeper>), BuildError> {
        let keeper = Arc::new(Keeper::default());
        let prepared = linux().prepare(&self.spec)?;
        let instance = prepared.build(keeper.clone())?;
        assert_eq!(prepared.promised().shortfall(instance.enforced()), None);
        Ok((instance, keeper))
    }

    pub(crate) fn try_run(&self) -> Result<Outcome, BuildError> {
        let (instance, keeper) = self.build()?;
        instance.start().unwrap();
        let exit = wait(instance.exited());
        let [stdout, stderr] = std::mem::take(&mut *keeper.printed.lock().unwrap());
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Outcome { exit, stdout: text(stdout), stderr: text(stderr), usage: instance.usage() })
    }

    pub(crate) fn run(&self) -> Outcome {
        match self.try_run() {
            Ok(outcome) => outcome,
            Err(error) => panic!("{}", explain(&error)),
        }
    }

    /// Runs and expects this to be printed, with status 0.
    pub(crate) fn prints(&self, expected: &str) {
        let outcome = self.run();
        assert_eq!((outcome.stdout.trim_end(), &outcome.exit), (expected, &Exit::Returned(0)), "{outcome:?}");
    }
}

trait LimitsRequired {
    fn limits_required(&self) -> Vec<Guarantee>;
}

impl LimitsRequired for Spec {
    fn limits_required(&self) -> Vec<Guarantee> {
        let limits = &self.limits;
        [
            limits.memory.map(|_| Guarantee::MemoryLimit),
            limits.cpu_time.map(|_| Guarantee::CpuTimeLimit),
            limits.cores.map(|_| Guarantee::CoresLimit),
            limits.processes.map(|_| Guarantee::ProcessesLimit),
            limits.open_files.map(|_| Guarantee::OpenFilesLimit),
            limits.disk.map(|_| Guarantee::DiskLimit),
            limits.file_size.map(|_| Guarantee::FileSizeLimit),
            limits.output.map(|_| Guarantee::OutputLimit),
            limits.io_operations.map(|_| Guarantee::IoOperationsLimit),
        ]
        .into_iter()
        .flatten()
        .collect()
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

/// Waits for a future on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Waits until `done`, for what the kernel or another thread finishes in its own time; fails after a while.
#[track_caller]
pub(crate) fn eventually(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        thread::yield_now();
    }
}

/// Whether this machine has a fact by name; says what is missing otherwise.
pub(crate) fn has(facts: &[&str]) -> bool {
    let found = linux().probe();
    facts.iter().all(|name| {
        let fact = found.iter().find(|fact| fact.name == *name).unwrap_or_else(|| panic!("no fact {name}"));
        if !fact.usable {
            eprintln!("skipped: {name}: {}", fact.found);
        }
        fact.usable
    })
}

/// Whether a capsule can be run here at all.
pub(crate) fn here() -> bool {
    has(&["namespaces", "mount interface", "landlock", "seccomp"])
}

/// A program of `tests/programs`, compiled once for each test binary.
pub(crate) fn compiled(name: &str) -> Option<PathBuf> {
    static COMPILING: Mutex<()> = Mutex::new(());
    let _one = COMPILING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name);
    // Another user than the one who built the tests has a folder of their own.
    let built = option_env!("CARGO_TARGET_TMPDIR").map(Path::new);
    let built = built.filter(|folder| tempfile::tempfile_in(folder).is_ok());
    let folder = built.map_or_else(std::env::temp_dir, Path::to_owned);
    let program = folder.join(format!("{}.{}", name.trim_end_matches(".c"), std::process::id()));
    if program.exists() {
        return Some(program);
    }
    let made = Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(&source).arg("-lpthread").status();
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
