//! The list of backends of this build.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfence_isolation::Backend;
use tokio::runtime::Handle;

/// What backends are set up with.
#[derive(Clone)]
pub struct Setup {
    /// Where instances run.
    pub executor: Handle,
    /// The folder for what is made once and used again, such as compiled code; `None` for none.
    pub cache: Option<PathBuf>,
    /// Keep room for so many instances at once, and allow no more; `None` makes room for each.
    pub instances: Option<u32>,
    /// Is told of what takes long.
    pub progress: Option<Arc<ProgressSink>>,
    /// The program that carries WebAssembly at levels sandbox and microvm, and monitors at level microvm; `None` for none.
    pub runner: Option<PathBuf>,
}

/// Is told of what takes long.
pub(crate) type ProgressSink = dyn Fn(Progress<'_>) + Send + Sync;

/// What takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A program is being compiled.
    Compiling {
        /// Which.
        path: &'a Path,
        /// Its size in bytes.
        bytes: usize,
    },
    /// It has been.
    Compiled,
    /// What is compiled is not kept, so that every run compiles.
    NoCache {
        /// Where it would be.
        folder: &'a Path,
        /// Why.
        reason: &'a str,
    },
}

/// Every backend of this build, chosen by cargo features, weakest level first. Makes nothing and
/// looks at nothing yet.
#[allow(clippy::vec_init_then_push, reason = "features decide which there are")]
pub fn backends(setup: &Setup) -> Vec<Box<dyn Backend>> {
    #[allow(unused_mut, reason = "there may be none")]
    let mut backends: Vec<Box<dyn Backend>> = Vec::new();
    #[cfg(feature = "wasm")]
    backends.push(Box::new(wasm(setup)));
    #[cfg(all(feature = "sandbox", target_os = "linux"))]
    backends.push(sandbox(setup));
    #[cfg(all(feature = "microvm", target_os = "linux", target_arch = "x86_64"))]
    backends.push(microvm(setup));
    #[cfg(not(any(feature = "wasm", feature = "sandbox", feature = "microvm")))]
    let _ = setup;
    backends
}

#[cfg(all(feature = "sandbox", target_os = "linux"))]
fn sandbox(setup: &Setup) -> Box<dyn Backend> {
    let linux = ringfence_linux::Linux::new(setup.executor.clone());
    #[cfg(not(feature = "wasm"))]
    return Box::new(linux);
    #[cfg(feature = "wasm")]
    {
        // A runner has one instance, and compiled code fits engines that are set up alike.
        let wasm = wasm(&Setup { instances: None, ..setup.clone() });
        Box::new(crate::runner::Sandbox::new(linux, wasm, setup.executor.clone(), setup.runner.clone()))
    }
}

#[cfg(all(feature = "microvm", target_os = "linux", target_arch = "x86_64"))]
fn microvm(setup: &Setup) -> Box<dyn Backend> {
    let vm = ringfence_vm::Vm::new(setup.executor.clone());
    #[cfg(not(all(feature = "wasm", feature = "sandbox")))]
    return Box::new(vm);
    #[cfg(all(feature = "wasm", feature = "sandbox"))]
    {
        let linux = ringfence_linux::Linux::new(setup.executor.clone());
        let wasm = wasm(&Setup { instances: None, ..setup.clone() });
        Box::new(crate::runner::Machines::new(vm, linux, wasm, setup.executor.clone(), setup.runner.clone()))
    }
}

#[cfg(feature = "wasm")]
fn wasm(setup: &Setup) -> ringfence_wasm::Wasm {
    type Tell = Arc<dyn Fn(ringfence_wasm::Progress<'_>) + Send + Sync>;
    let progress = setup.progress.clone().map(|tell| -> Tell {
        Arc::new(move |progress| match progress {
            ringfence_wasm::Progress::Compiling { path, bytes } => tell(Progress::Compiling { path, bytes }),
            ringfence_wasm::Progress::Compiled => tell(Progress::Compiled),
            ringfence_wasm::Progress::NoCache { folder, reason } => tell(Progress::NoCache { folder, reason }),
            _ => {}
        })
    });
    ringfence_wasm::Wasm::new(ringfence_wasm::Options {
        cache: setup.cache.as_deref().map(crate::places::compiled),
        executor: setup.executor.clone(),
        pooling: setup.instances,
        progress,
        metering: ringfence_wasm::Metering::Engine,
    })
}
