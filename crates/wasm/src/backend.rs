//! The backend: what it needs, what it promises.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ringfence_isolation::{Backend, BuildError, Enforcement, Fact, Guarantee, Held, Level, Prepared, Refusal, Remnant};
use ringfence_manifest::{Kind, Spec};
use tokio::runtime::Handle;
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, Linker};

use crate::cache::Cache;
use crate::engine::{self, Flavour};
use crate::prepared::{Ready, run_of};
use crate::program::{self, ProgramError};
use crate::state::State;
use crate::ticker::Ticker;
use crate::{sys, wasi};

/// How to set the backend up.
#[derive(Clone)]
pub struct Options {
    /// The folder of compiled code; `None` compiles every time.
    pub cache: Option<PathBuf>,
    /// Where instances run.
    pub executor: Handle,
    /// Keep memory and stacks of so many instances reserved, and allow no more at once. `None`
    /// allocates for each instance, which costs less to set up and more to use.
    pub pooling: Option<u32>,
    /// Is told when a compilation begins and ends.
    pub progress: Option<Arc<OnProgress>>,
    /// Who measures and interrupts guest code.
    pub metering: Metering,
}

/// Who measures how long guest code runs, and interrupts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metering {
    /// The engine: a thread interrupts guest code every millisecond, and its time is charged at each look.
    #[default]
    Engine,
    /// What is around this process, such as a virtual machine: it knows the time of its processors, charges that, and
    /// ends the process at any moment. Guest code is not interrupted here.
    Around,
}

/// Is told when a compilation begins and ends.
pub type OnProgress = dyn Fn(Progress<'_>) + Send + Sync;

/// What takes long enough to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A program is being compiled.
    Compiling {
        /// Which.
        path: &'a Path,
        /// Its size.
        bytes: usize,
    },
    /// It has been.
    Compiled,
    /// Compiled code is not kept, so that every run compiles.
    NoCache {
        /// Where it would be.
        folder: &'a Path,
        /// Why.
        reason: &'a str,
    },
}

/// Level `wasm`.
pub struct Wasm {
    options: Options,
    /// Opened with the first program.
    cache: OnceLock<Option<Cache>>,
    plain: OnceLock<Arc<Shared>>,
    counting: OnceLock<Arc<Shared>>,
}

/// What all instances of one engine share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    /// Where the engine interrupts guest code itself.
    pub(crate) ticker: Option<Ticker>,
}

impl Wasm {
    /// The backend. Nothing is set up before the first program.
    pub fn new(options: Options) -> Self {
        Wasm { options, cache: OnceLock::new(), plain: OnceLock::new(), counting: OnceLock::new() }
    }

    fn shared(&self, flavour: Flavour) -> Result<&Arc<Shared>, BuildError> {
        let slot = match flavour {
            Flavour::Plain => &self.plain,
            Flavour::Counting => &self.counting,
        };
        if let Some(shared) = slot.get() {
            return Ok(shared);
        }
        let shared = Shared::new(flavour, &self.options).map_err(|source| BuildError::Host {
            doing: "cannot set up the WebAssembly engine",
            source: source.into(),
        })?;
        Ok(slot.get_or_init(|| Arc::new(shared)))
    }

    /// The cache, or `None` when it cannot be used, which is told: compiling is slower and as safe.
    fn cache(&self) -> Option<&Cache> {
        let open = |folder: &PathBuf| match Cache::open(folder) {
            Ok(cache) => Some(cache),
            Err(error) => {
                let source = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
                self.tell(Progress::NoCache { folder, reason: &format!("{error}{source}") });
                None
            }
        };
        self.cache.get_or_init(|| self.options.cache.as_ref().and_then(open)).as_ref()
    }

    fn tell(&self, progress: Progress<'_>) {
        if let Some(tell) = &self.options.progress {
            tell(progress);
        }
    }

    fn compile(&self, engine: &Engine, path: &Path) -> Result<(Component, Vec<u8>), BuildError> {
        let bytes = std::fs::read(path).map_err(|source| BuildError::Unreadable { path: path.to_owned(), source })?;
        let name = Cache::name(&bytes, &engine_identity(engine));
        if let Some(code) = self.cache().and_then(|cache| cache.load(&name))
            && let Ok(component) = sys::load_compiled(engine, &code)
        {
            return Ok((component, code));
        }
        let refuse = |reason: String| BuildError::Program { path: path.to_owned(), level: Level::Wasm, reason };
        let component = program::component(&bytes).map_err(|error: ProgramError| refuse(error.to_string()))?;
        self.tell(Progress::Compiling { path, bytes: bytes.len() });
        let code = engine.precompile_component(&component);
        self.tell(Progress::Compiled);
        let code = code.map_err(|error| refuse(format!("{error:#}")))?;
        if let Some(cache) = self.cache() {
            // A full disk costs the next run a compilation and this one nothing.
            let _ = cache.store(&name, &code);
        }
        let component = sys::load_compiled(engine, &code).map_err(|error| refuse(format!("{error:#}")))?;
        Ok((component, code))
    }

    /// What this level would hold for a capsule, whatever runs it.
    pub fn promise(spec: &Spec) -> Enforcement {
        promise(spec)
    }

    /// The program of a spec as code for [`prepare_compiled`](Self::prepare_compiled) of the same build
    /// and settings on this machine, and whether it is a command.
    ///
    /// # Errors
    /// [`BuildError`] when it cannot be read or compiled.
    pub fn compiled(&self, spec: &Spec) -> Result<(Vec<u8>, bool), BuildError> {
        check_kind(spec)?;
        let (component, code) = self.compile(&self.shared(flavour(spec))?.engine, &spec.program.path)?;
        Ok((code, run_in(&component, spec)?.is_some()))
    }

    /// A program that was compiled elsewhere. Who calls this vouches for `code`: it must come from
    /// [`compiled`](Self::compiled) over a way that nobody else can write to, because code that does not
    /// may do anything.
    ///
    /// # Errors
    /// [`BuildError`] when another build or other settings compiled it.
    pub fn prepare_compiled(&self, spec: &Spec, code: &[u8]) -> Result<Box<dyn Prepared>, BuildError> {
        let shared = self.shared(flavour(spec))?.clone();
        let component = sys::load_compiled(&shared.engine, code).map_err(|error| BuildError::Program {
            path: spec.program.path.clone(),
            level: Level::Wasm,
            reason: format!("{error:#}"),
        })?;
        self.ready(spec, shared, component, promise(spec))
    }

    fn ready(
        &self,
        spec: &Spec,
        shared: Arc<Shared>,
        component: Component,
        promised: Enforcement,
    ) -> Result<Box<dyn Prepared>, BuildError> {
        Ok(Box::new(Ready {
            shared,
            executor: self.options.executor.clone(),
            spec: spec.clone(),
            run: run_in(&component, spec)?,
            component,
            promised,
            linked: std::sync::Mutex::new(None),
        }))
    }
}

fn check_kind(spec: &Spec) -> Result<(), BuildError> {
    if spec.program.kind == Kind::Wasm {
        return Ok(());
    }
    Err(BuildError::Program {
        path: spec.program.path.clone(),
        level: Level::Wasm,
        reason: "it is not WebAssembly".into(),
    })
}

fn flavour(spec: &Spec) -> Flavour {
    if spec.limits.fuel.is_some() { Flavour::Counting } else { Flavour::Plain }
}

fn run_in(component: &Component, spec: &Spec) -> Result<Option<ComponentExportIndex>, BuildError> {
    run_of(component).map_err(|reason| BuildError::Program {
        path: spec.program.path.clone(),
        level: Level::Wasm,
        reason: reason.into(),
    })
}

/// What compiled code depends on beside the program: the engine's version and settings, and how a
/// core module is made into a component here.
fn engine_identity(engine: &Engine) -> Vec<u8> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{} {} {:016x}", env!("CARGO_PKG_VERSION"), program::EDITION, hasher.finish()).into_bytes()
}

impl Shared {
    fn new(flavour: Flavour, options: &Options) -> wasmtime::Result<Self> {
        let engine = engine::build(flavour, options.pooling)?;
        let mut linker = Linker::new(&engine);
        wasi::add(&mut linker)?;
        let ticker = match options.metering {
            Metering::Engine => Some(Ticker::start(engine.clone())?),
            Metering::Around => None,
        };
        Ok(Shared { engine, linker, ticker })
    }
}

impl Backend for Wasm {
    fn level(&self) -> Level {
        Level::Wasm
    }

    fn probe(&self) -> Vec<Fact> {
        let mut facts = vec![Fact::good("wasmtime", "48, built in")];
        facts.push(match &self.options.cache {
            None => Fact::good("compiled-code cache", "not used: every run compiles"),
            Some(folder) => match Cache::inspect(folder) {
                Ok(found) => Fact::good("compiled-code cache", found),
                Err(error) => Fact::missing(
                    "compiled-code cache",
                    format!("{error}; every run compiles"),
                    format!("make {} a folder of yours that nobody else can write to", folder.display()),
                ),
            },
        });
        facts
    }

    fn remnants(&self) -> Vec<Remnant> {
        let left = self.options.cache.iter().flat_map(|folder| Cache::left(folder));
        left.map(|place| Remnant { what: "compiled code, unfinished", place }).collect()
    }

    fn remove(&self, remnant: &Remnant) -> std::io::Result<()> {
        std::fs::remove_file(&remnant.place)
    }

    fn prepare(&self, spec: &Spec) -> Result<Box<dyn Prepared>, BuildError> {
        check_kind(spec)?;
        let promised = promise(spec);
        promised.check(spec).map_err(|refusal| Refusal { facts: self.probe(), ..refusal })?;
        let shared = self.shared(flavour(spec))?.clone();
        let (component, _) = self.compile(&shared.engine, &spec.program.path)?;
        self.ready(spec, shared, component, promised)
    }
}

/// What holds each guarantee at this level.
fn promise(spec: &Spec) -> Enforcement {
    use Guarantee as G;
    let mut enforcement = Enforcement::new();
    for &guarantee in Guarantee::ALL {
        let held = match guarantee {
            G::MemoryIsolated => Held::by("linear memory, bounds-checked by wasmtime"),
            G::FilesystemConfined => Held::by("scoped hal: path resolution and fs.* rules"),
            G::NetworkConfined => Held::by("scoped hal: net.* rules on pinned addresses"),
            G::EnvironmentConfined => Held::by("scoped hal: its own environment"),
            G::SystemCallsConfined => Held::by("WebAssembly makes none"),
            G::ProcessesHidden => Held::by("WASI has no processes"),
            G::KillWorks => Held::by("epoch interruption, and host calls that can be dropped"),
            G::NothingLeft => Held::by("one task owns the store; handles close with it"),
            G::DenialsReported => Held::by("scoped hal: every verdict is its own"),
            G::MemoryLimit => Held::by("wasmtime ResourceLimiter"),
            G::CpuTimeLimit => Held::by("thread clock at every epoch"),
            G::WallTimeLimit => Held::by("timer, with epoch interruption"),
            G::CoresLimit => match spec.limits.cores {
                Some(cores) if cores.0 < 1000 => {
                    Held::not("a share of less than one core needs a cgroup; level sandbox has one")
                }
                _ => Held::by("one thread per instance"),
            },
            G::ProcessesLimit => Held::by("one thread per instance"),
            G::OpenFilesLimit => Held::by("scoped hal: handle table"),
            G::DiskLimit | G::FileSizeLimit => Held::by("scoped hal: growth charged before each write"),
            G::BandwidthLimit => Held::by("scoped hal: token bucket"),
            G::IoOperationsLimit | G::IoBytesLimit | G::OutputLimit => Held::by("scoped hal: meter"),
            G::FuelLimit => Held::by("wasmtime fuel"),
            G::OwnAddressSpace => Held::not("the capsule's memory lies inside the host's process"),
            G::OwnKernel | G::HardwareBoundary => Held::not("no virtual machine at this level"),
            G::MonitorConfined => Held::not("the engine is a part of the host's process"),
            G::MemoryEncrypted | G::Attested => Held::not("no trusted hardware at this level"),
            _ => continue,
        };
        enforcement.set(guarantee, held);
    }
    enforcement
}
