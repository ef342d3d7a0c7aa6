//! Setting a runtime up.

use std::path::PathBuf;
use std::sync::Arc;

use ringfence_isolation::{Backend, Denial};
use ringfence_manifest::Identity;
use ringfence_runtime::{Channels, Functions, Resolver};
use tokio::runtime::Handle;

use crate::backends::{Progress, ProgressSink, Setup, backends};
use crate::executor::Executor;
use crate::function::{HostFunction, erase};
use crate::places::Places;
use crate::runtime::{Inner, Runtime};
use crate::value::FromValues;

pub(crate) type OnDenial = Arc<dyn Fn(&Identity, &Denial) + Send + Sync>;
pub(crate) type OnLog = Arc<dyn Fn(&Identity, u8, &str) + Send + Sync>;

/// Sets a [`Runtime`] up. Everything has a default.
#[derive(Default)]
#[must_use]
pub struct Builder {
    executor: Wanted,
    data_home: Option<PathBuf>,
    cache: Cache,
    instances: Option<u32>,
    resolver: Option<Arc<dyn Resolver>>,
    functions: Functions,
    on_denial: Option<OnDenial>,
    on_log: Option<OnLog>,
    on_progress: Option<Arc<ProgressSink>>,
    own: Vec<Box<dyn Backend>>,
    without_root_folder: bool,
    runner: Option<PathBuf>,
}

#[derive(Default)]
enum Wanted {
    #[default]
    Threads,
    CurrentThread,
    Given(Handle),
}

#[derive(Default)]
enum Cache {
    #[default]
    OfUser,
    At(PathBuf),
    Without,
}

/// Why a runtime was not set up; the host's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The threads cannot be started.
    #[error("cannot start the threads that instances run on")]
    Executor(#[source] std::io::Error),
}

impl Builder {
    /// Runs instances on this Tokio runtime, which needs its input/output and time drivers. The
    /// default is a runtime of our own with a thread for each processor.
    pub fn executor(mut self, handle: Handle) -> Self {
        self.executor = Wanted::Given(handle);
        self
    }

    /// Runs instances on the calling thread, within [`Runtime::block_on`] and the `…_blocking`
    /// functions, and nowhere else. Starts no thread: for programs that run one capsule and end.
    pub fn current_thread(mut self) -> Self {
        self.executor = Wanted::CurrentThread;
        self
    }

    /// The folder for the files of capsules; by default `$XDG_DATA_HOME/ringfence`. Has to be absolute.
    /// Without one, what is granted a folder of its own does not run.
    pub fn data_home(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_home = Some(folder.into());
        self
    }

    /// The folder for compiled code; by default `$XDG_CACHE_HOME/ringfence`.
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Cache::At(folder.into());
        self
    }

    /// Keeps no compiled code.
    pub fn without_cache(mut self) -> Self {
        self.cache = Cache::Without;
        self
    }

    /// Keeps room for so many instances at once, and allows no more: they start faster.
    pub fn instances(mut self, most: u32) -> Self {
        self.instances = Some(most);
        self
    }

    /// Who looks up names; by default the host's resolver. Its answers are checked like any address.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Is called once for each new denial of an instance, on the thread that was denied.
    pub fn on_denial(mut self, hear: impl Fn(&Identity, &Denial) + Send + Sync + 'static) -> Self {
        self.on_denial = Some(Arc::new(hear));
        self
    }

    /// Is called with the level and the text of each line a capsule logs.
    pub fn on_log(mut self, hear: impl Fn(&Identity, u8, &str) + Send + Sync + 'static) -> Self {
        self.on_log = Some(Arc::new(hear));
        self
    }

    /// Is called when something begins that takes long, and when it ends.
    pub fn on_progress(mut self, hear: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(hear));
        self
    }

    /// Offers a function to every capsule, as `interface#function` of its imports. Offering it grants
    /// it: it runs with the embedder's rights, and its arguments come from the capsule.
    ///
    /// ```
    /// # use ringfence::Runtime;
    /// Runtime::builder().function("acme:greeter/lookup#name-of", |(id,): (u32,)| async move {
    ///     if id == 7 { Ok("Ada".to_owned()) } else { Err(format!("nobody has the number {id}")) }
    /// });
    /// ```
    pub fn function<A: FromValues>(mut self, name: impl Into<String>, function: impl HostFunction<A>) -> Self {
        self.functions.offer(name, erase(function));
        self
    }

    /// Instances begin with the folders of their mounts alone, not with the root of their tree. It is
    /// for programs that count on certain descriptors: one that has no folder to begin with fails in its
    /// own C library, before anything is denied, and no denial explains why.
    pub fn without_root_folder(mut self) -> Self {
        self.without_root_folder = true;
        self
    }

    /// The program that carries WebAssembly at levels sandbox and microvm and the monitors of virtual machines: the
    /// `ringfence` command of the same build, or one that calls `runner::run` when its first argument is
    /// `runner::RUNNER`. Without one WebAssembly is refused at both levels, and monitors share this process: more
    /// instances fit into memory, and a fault in one is a fault here, as each report says (`monitor-confined`).
    pub fn runner(mut self, program: impl Into<PathBuf>) -> Self {
        self.runner = Some(program.into());
        self
    }

    /// Uses this backend, instead of the one of this build for the same level.
    pub fn backend(mut self, backend: Box<dyn Backend>) -> Self {
        self.own.push(backend);
        self
    }

    /// The runtime.
    ///
    /// # Errors
    /// [`SetupError`] when there is no thread to run on.
    pub fn build(self) -> Result<Runtime, SetupError> {
        let executor = match self.executor {
            Wanted::Threads => Executor::threads().map_err(SetupError::Executor)?,
            Wanted::CurrentThread => Executor::current_thread().map_err(SetupError::Executor)?,
            Wanted::Given(handle) => Executor::Given(handle),
        };
        let of_user = Places::of_user();
        let data_home = self.data_home.or(of_user.data);
        let cache = match self.cache {
            Cache::OfUser => of_user.cache,
            Cache::At(folder) => Some(folder),
            Cache::Without => None,
        };
        let setup = Setup {
            executor: executor.handle().clone(),
            cache,
            instances: self.instances,
            progress: self.on_progress,
            runner: self.runner,
        };
        let mut known = backends(&setup);
        for own in self.own {
            known.retain(|backend| backend.level() != own.level());
            known.push(own);
        }
        known.sort_by_key(|backend| backend.level());
        Ok(Runtime::new(Inner {
            executor,
            backends: known,
            data_home,
            resolver: self.resolver,
            functions: self.functions,
            channels: Arc::new(Channels::default()),
            on_denial: self.on_denial,
            on_log: self.on_log,
            root_folder: !self.without_root_folder,
        }))
    }
}
