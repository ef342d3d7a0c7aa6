//! A capsule that is ready to start.

use std::sync::Arc;

use ringfence_isolation::{BuildError, Enforcement, Spec};
use ringfence_runtime::{HalError, Plan, Report, ScopedHal, Started};

use crate::instance::Instance;
use crate::runtime::Runtime;

/// A capsule that is ready to start, any number of times. Its instances are independent of each
/// other, but for the files they share.
#[derive(Clone)]
pub struct Capsule {
    runtime: Runtime,
    plan: Arc<Plan>,
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
        Capsule { runtime, plan: Arc::new(plan) }
    }

    /// What it was resolved to.
    pub fn spec(&self) -> &Spec {
        self.plan.spec()
    }

    /// Each guarantee, and what will hold it.
    pub fn enforcement(&self) -> &Enforcement {
        self.plan.promised()
    }

    /// Starts an instance. A program with a beginning of its own (a command) begins; one without
    /// waits for its functions to be called.
    ///
    /// # Errors
    /// [`StartError`]; nothing of it has run, and nothing is left.
    pub fn start(&self) -> Result<Instance, StartError> {
        let (hal, started) = self.begin()?;
        Ok(Instance::new(self.runtime.clone(), self.plan.spec().clone(), hal, started))
    }

    /// Runs an instance to its end. Dropping the future kills it.
    ///
    /// # Errors
    /// [`StartError`] when it does not start. How it ended is in the report.
    pub async fn run(&self) -> Result<Report, StartError> {
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

    fn begin(&self) -> Result<(Arc<ScopedHal>, Started), StartError> {
        let _within = self.runtime.executor().enter();
        let spec = self.plan.spec();
        let hal = Arc::new(ScopedHal::new(spec.clone(), self.runtime.surroundings(spec))?);
        let started = self.plan.build(hal.clone())?.start()?;
        Ok((hal, started))
    }
}
