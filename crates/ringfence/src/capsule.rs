//! A capsule that is ready to start.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ringfence_isolation::{BuildError, Enforcement, Spec};
use ringfence_runtime::{HalError, Mounts, Plan, Report, ScopedHal, Started, TreeError};

use crate::instance::Instance;
use crate::runtime::Runtime;

/// A capsule that is ready to start, any number of times. Its instances are independent of each
/// other, but for the files they share.
#[derive(Clone)]
pub struct Capsule {
    runtime: Runtime,
    prepared: Arc<Prepared>,
}

/// What all instances of a capsule share.
struct Prepared {
    plan: Plan,
    /// Opened for the first instance.
    mounts: Mutex<Option<Mounts>>,
}

/// Why an instance did not start. Nothing of the capsule has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its files or streams cannot be opened.
    #[error(transparent)]
    Hal(#[from] HalError),
    /// Its place cannot be built, or would hold less than was promised.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The backend did not start it.
    #[error(transparent)]
    Start(#[from] ringfence_isolation::StartError),
}

impl Capsule {
    pub(crate) fn new(runtime: Runtime, plan: Plan) -> Self {
        Capsule { runtime, prepared: Arc::new(Prepared { plan, mounts: Mutex::default() }) }
    }

    /// What it was resolved to.
    pub fn spec(&self) -> &Spec {
        self.prepared.plan.spec()
    }

    /// Each guarantee, and what will hold it.
    pub fn enforcement(&self) -> &Enforcement {
        self.prepared.plan.promised()
    }

    /// Keeps so many places built ahead from now on, until the capsule is dropped or this is called with
    /// zero: an instance that finds one only has to execute its program. The first of them stand when this
    /// returns, and each that is used is replaced in the background. A place shows the mounts as they were
    /// when it was built. Of a restored capsule at level `microvm` as many machines whose instance has ended are kept as well:
    /// each is put back as it was at the capture, and the next instance takes a fifth of the time to run. At levels where
    /// building takes no time worth saving this does nothing.
    ///
    /// # Errors
    /// What the backend says when a place cannot be built.
    pub fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.prepared.plan.keep_warm(count)
    }

    /// Writes the captured state that its instances go on from, for [`Runtime::restore`]: to a file of this
    /// user's alone, which takes the place of another one as a whole. It holds what the program had in memory,
    /// secrets too.
    ///
    /// # Errors
    /// Why it was not written; `Unsupported` for a capsule that begins at its beginning.
    pub fn save(&self, file: impl AsRef<Path>) -> std::io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = file.as_ref();
        let mut name = file.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_owned();
        name.push(format!(".{}.unfinished", std::process::id()));
        let unfinished = file.with_file_name(name);
        let mut open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        // Whoever removes what killed processes left can tell that this one lives.
        let _ = open.try_lock();
        let written = self.prepared.plan.save(&mut open).and_then(|()| std::fs::rename(&unfinished, file));
        written.inspect_err(|_| drop(std::fs::remove_file(&unfinished)))
    }

    /// Starts an instance. A program with a beginning of its own (a command) begins; one without
    /// waits for its functions to be called.
    ///
    /// # Errors
    /// [`StartError`]; nothing of it has run, and nothing is left.
    pub fn start(&self) -> Result<Instance, StartError> {
        let (hal, started) = self.begin()?;
        Ok(Instance::new(self.runtime.clone(), self.prepared.plan.spec().clone(), hal, started))
    }

    /// Whether starting it runs a program to its end. Otherwise an instance waits for calls of its
    /// functions, and ends when it is stopped.
    pub fn is_command(&self) -> bool {
        self.prepared.plan.is_command()
    }

    /// Runs an instance to its end. Dropping the future kills it.
    ///
    /// # Errors
    /// [`StartError`] when it does not start, or has no program to run. How it ended is in the report.
    pub async fn run(&self) -> Result<Report, StartError> {
        self.check_command()?;
        let (_hal, Started { controls, supervision, .. }) = self.begin()?;
        let report = supervision.await;
        // Kept to the end: an instance that nobody can stop is killed.
        drop(controls);
        Ok(report)
    }

    /// The same, from outside of any Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] when it does not start. How it ended is in the report.
    pub fn run_blocking(&self) -> Result<Report, StartError> {
        self.runtime.block_on(self.run())
    }

    /// Refuses a capsule that has no program to run, but functions to be called.
    ///
    /// # Errors
    /// [`BuildError::Program`].
    pub fn check_command(&self) -> Result<(), BuildError> {
        if self.is_command() {
            return Ok(());
        }
        let program = &self.spec().program;
        Err(BuildError::Program {
            path: program.path.clone(),
            level: self.spec().isolation.level,
            reason: "it has functions to be called (through the library), and no program to run: neither `_start` \
                     nor wasi:cli/run"
                .into(),
        })
    }

    fn begin(&self) -> Result<(Arc<ScopedHal>, Started), StartError> {
        let _within = self.runtime.executor().enter();
        let spec = self.prepared.plan.spec();
        let mounts = self.prepared.mounts().map_err(HalError::from)?;
        let hal = Arc::new(ScopedHal::within(mounts, spec.clone(), self.runtime.surroundings(spec))?);
        let started = self.prepared.plan.build(hal.clone())?.start()?;
        Ok((hal, started))
    }
}

impl Prepared {
    /// The root and the mounts; opened anew when one of them has been deleted since.
    fn mounts(&self) -> Result<Mounts, TreeError> {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        match &*mounts {
            Some(open) if open.are_there() => Ok(open.clone()),
            _ => Ok(mounts.insert(Mounts::open(self.plan.spec())?).clone()),
        }
    }
}
