//! The runtime: what all capsules of an embedder share.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_isolation::{Backend, BuildError, Enforcement, Feature, Level, Spec};
use ringfence_manifest::{self as manifest, Identity, Kind, Manifest, Overrides, ResolveError};
use ringfence_runtime::{Channels, Functions, Plan, Resolver, Surroundings, SystemResolver};

use crate::builder::{Builder, OnDenial, OnLog};
use crate::capsule::Capsule;
use crate::executor::Executor;
use crate::load::{Load, LoadError};

/// What all capsules of an embedder share: the backends, the threads they run on, the functions they
/// may call. Cloning it is cheap and gives the same one.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) executor: Executor,
    pub(crate) backends: Vec<Box<dyn Backend>>,
    pub(crate) data_home: Option<PathBuf>,
    pub(crate) resolver: Option<Arc<dyn Resolver>>,
    pub(crate) functions: Functions,
    pub(crate) channels: Arc<Channels>,
    pub(crate) on_denial: Option<OnDenial>,
    pub(crate) on_log: Option<OnLog>,
    pub(crate) root_folder: bool,
}

/// A spec, and how long it took to make it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The spec.
    pub spec: Spec,
    /// How long it took.
    pub took: Duration,
}

/// What a backend would hold for a spec, whether that is enough or not.
#[derive(Debug)]
pub struct Examination {
    /// Each guarantee, and what would hold it. `None` when the program itself will not do.
    pub promised: Option<Enforcement>,
    /// Why it would not run, if it would not.
    pub refused: Option<BuildError>,
}

impl From<Spec> for Resolved {
    fn from(spec: Spec) -> Self {
        Resolved { spec, took: Duration::ZERO }
    }
}

impl Runtime {
    /// A runtime to be set up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Runtime(Arc::new(inner))
    }

    /// Loads what is at `path`: a folder with a `capsule.toml`, a manifest, or a bare program, which
    /// is granted nothing.
    ///
    /// # Errors
    /// [`LoadError`]; nothing of the capsule has run.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Capsule, LoadError> {
        self.load_with(Load::path(path)?)
    }

    /// Loads a manifest with flags.
    ///
    /// # Errors
    /// [`LoadError`]; nothing of the capsule has run.
    pub fn load_manifest(&self, manifest: Manifest, overrides: Overrides) -> Result<Capsule, LoadError> {
        self.load_with(Load::manifest(manifest).overrides(overrides))
    }

    /// Loads what `load` says.
    ///
    /// # Errors
    /// [`LoadError`]; nothing of the capsule has run.
    pub fn load_with(&self, load: Load) -> Result<Capsule, LoadError> {
        Ok(self.prepare(self.resolve(&load)?)?)
    }

    /// The spec of what is to be loaded.
    ///
    /// # Errors
    /// What is wrong with the manifest or the flags, or why no level will do.
    pub fn resolve(&self, load: &Load) -> Result<Resolved, LoadError> {
        let began = Instant::now();
        let current_directory = std::env::current_dir().map_err(LoadError::CurrentDirectory)?;
        let surroundings = manifest::Surroundings {
            directory: load
                .directory
                .as_ref()
                .map_or_else(|| current_directory.clone(), |at| current_directory.join(at)),
            current_directory,
            data_home: self.0.data_home.clone(),
            host_environment: &|name| std::env::var(name).ok(),
            levels: self.levels_for(load.manifest.program.kind()),
            extra_args: load.args.clone(),
        };
        let mut spec = load.manifest.resolve(&load.overrides, &surroundings)?;
        if let Some(stdin) = &load.stdin {
            spec.stdio.stdin = stdin.clone();
        }
        if let Some(stdout) = &load.stdout {
            spec.stdio.stdout = stdout.clone();
        }
        if let Some(stderr) = &load.stderr {
            spec.stdio.stderr = stderr.clone();
        }
        spec.session.terminal = load.terminal;
        spec.session.capture_at = load.capture_at;
        Ok(Resolved { spec, took: began.elapsed() })
    }

    /// The folder for the files of a capsule's own, which may not exist; `None` when there is no place for
    /// such folders.
    pub fn folder_of(&self, capsule: &Identity) -> Option<PathBuf> {
        Some(manifest::folder_of(self.0.data_home.as_ref()?, capsule))
    }

    /// Gets a capsule ready to start: its program is read and compiled.
    ///
    /// # Errors
    /// Why the backend will not have it; a refusal when a required guarantee would not be held.
    pub fn prepare(&self, resolved: impl Into<Resolved>) -> Result<Capsule, BuildError> {
        let Resolved { spec, took } = resolved.into();
        check_regular(&spec)?;
        let backend = self.backend(spec.isolation.level)?;
        check_session(&spec, backend)?;
        let plan = Plan::new(backend, Arc::new(spec), took)?;
        Ok(Capsule::new(self.clone(), plan))
    }

    /// Gets a capsule ready whose instances go on from a snapshot that [`Capsule::save`] wrote. It has to be of
    /// the same program with the same arguments and environment; what it may do is the spec's to say. The file
    /// is not trusted.
    ///
    /// # Errors
    /// As for [`Runtime::prepare`], and [`BuildError::Snapshot`].
    pub fn restore(&self, resolved: impl Into<Resolved>, file: impl AsRef<Path>) -> Result<Capsule, BuildError> {
        let Resolved { spec, took } = resolved.into();
        check_regular(&spec)?;
        let backend = self.backend(spec.isolation.level)?;
        check_session(&spec, backend)?;
        let path = file.as_ref();
        let unreadable = |source| BuildError::Unreadable { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(BuildError::Snapshot(format!("{} is no regular file", path.display())));
        }
        let plan = Plan::restore(backend, Arc::new(spec), file, took)?;
        Ok(Capsule::new(self.clone(), plan))
    }

    /// What would be held for `spec`, and whether that would be enough. Runs nothing.
    pub fn examine(&self, spec: &Spec) -> Examination {
        // Asked without requirements, a backend says what it would hold instead of refusing.
        let mut lenient = spec.clone();
        lenient.isolation.require.clear();
        let backend = check_regular(spec).and_then(|()| self.backend(spec.isolation.level));
        let examined = backend.and_then(|backend| backend.prepare(&lenient));
        match examined {
            Ok(prepared) => {
                let promised = prepared.promised().clone();
                let refused = promised.check(spec).err().map(BuildError::from);
                Examination { promised: Some(promised), refused }
            }
            Err(error) => Examination { promised: None, refused: Some(error) },
        }
    }

    /// The backends, weakest level first.
    pub fn backends(&self) -> &[Box<dyn Backend>] {
        &self.0.backends
    }

    /// The levels there are backends for, weakest first.
    pub fn levels(&self) -> impl Iterator<Item = Level> {
        self.0.backends.iter().map(|backend| backend.level())
    }

    /// The levels whose backends run programs of this kind.
    fn levels_for(&self, kind: Kind) -> Vec<Level> {
        self.0.backends.iter().filter(|backend| backend.runs(kind)).map(|backend| backend.level()).collect()
    }

    /// Waits for `future`, from outside of any Tokio runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.executor.block_on(future)
    }

    pub(crate) fn executor(&self) -> &tokio::runtime::Handle {
        self.0.executor.handle()
    }

    fn backend(&self, level: Level) -> Result<&dyn Backend, BuildError> {
        let found = self.0.backends.iter().find(|backend| backend.level() == level);
        found.map(|backend| &**backend).ok_or_else(|| BuildError::Host {
            doing: "cannot find the backend of the level",
            source: Box::new(ResolveError::Unavailable {
                level,
                written: "the spec".into(),
                available: self.levels().collect(),
            }),
        })
    }

    /// What is around a new instance of `spec`.
    pub(crate) fn surroundings(&self, spec: &Arc<Spec>) -> Surroundings {
        #[cfg(all(feature = "sandbox", target_os = "linux"))]
        if spec.permissions.has_names() {
            ringfence_linux::look_names_up_plainly();
        }
        let inner = &self.0;
        let whose = |spec: &Arc<Spec>| spec.clone();
        Surroundings {
            resolver: inner.resolver.clone().unwrap_or_else(|| Arc::new(SystemResolver::default())),
            functions: inner.functions.clone(),
            channels: inner.channels.clone(),
            root_folder: inner.root_folder,
            denied: inner.on_denial.clone().map(|hear| {
                let spec = whose(spec);
                Arc::new(move |denial: &_| hear(&spec.capsule, denial)) as _
            }),
            log: inner.on_log.clone().map(|hear| {
                let spec = whose(spec);
                Arc::new(move |level, line: &str| hear(&spec.capsule, level, line)) as _
            }),
        }
    }
}

/// Refuses what is asked for one run and the level does not offer.
fn check_session(spec: &Spec, backend: &dyn Backend) -> Result<(), BuildError> {
    let asked = [
        (
            spec.session.terminal.is_some(),
            Feature::Terminal,
            "it gives this program no terminal; level sandbox gives one to Linux programs",
        ),
        (
            spec.session.overlay.is_some(),
            Feature::Overlay,
            "changes are not kept apart (--dry-run-fs) for it; level sandbox does that for Linux programs",
        ),
        (
            spec.session.capture_at.is_some(),
            Feature::Capture,
            "it is not captured at this level; level microvm does that for Linux programs",
        ),
    ];
    match asked.into_iter().find(|(asked, feature, _)| *asked && !backend.offers(*feature, spec.program.kind)) {
        None => Ok(()),
        Some((.., reason)) => Err(BuildError::Program {
            path: spec.program.path.clone(),
            level: backend.level(),
            reason: reason.to_owned(),
        }),
    }
}

/// Refuses a program that is a pipe or a device: reading it might never end.
fn check_regular(spec: &Spec) -> Result<(), BuildError> {
    let path = &spec.program.path;
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(BuildError::Unreadable { path: path.clone(), source: std::io::Error::other("it is no regular file") })
        }
        // What is missing is told by the backend, which knows what it needs.
        _ => Ok(()),
    }
}
