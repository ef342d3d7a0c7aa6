//! A running instance.

use std::sync::Arc;

use ringfence_abi::Value;
use ringfence_isolation::{self as isolation, Command, Running, Spec, Stop, Then};
use ringfence_manifest::{Permission, WindowSize};
use ringfence_runtime::{Controls, Plan, Report, ScopedHal, Started};
use tokio::sync::watch;

use crate::capsule::Capsule;
use crate::runtime::Runtime;
use crate::value::{self, FromValue, IntoValues, ValueError};

/// A running instance. Dropping it kills the instance.
pub struct Instance {
    runtime: Runtime,
    spec: Arc<Spec>,
    hal: Arc<ScopedHal>,
    instance: Arc<dyn isolation::Instance>,
    controls: Controls,
    report: watch::Receiver<Option<Arc<Report>>>,
}

/// Why a call gave no result of the type that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The function was not called, or did not return.
    #[error(transparent)]
    Call(#[from] isolation::CallError),
    /// It returned something of another type; the caller's mistake, or the capsule's.
    #[error("{function} returned something else: {reason}")]
    Returned {
        /// Which function.
        function: String,
        /// What is different.
        reason: ValueError,
    },
}

/// Why an instance was not captured. It goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It has ended, or cannot be captured as it is.
    #[error(transparent)]
    Call(#[from] isolation::CallError),
    /// What was captured would not be held by what is required.
    #[error(transparent)]
    Build(#[from] isolation::BuildError),
}

impl Instance {
    pub(crate) fn new(runtime: Runtime, spec: Arc<Spec>, hal: Arc<ScopedHal>, started: Started) -> Self {
        let Started { instance, controls, supervision } = started;
        let (ended, report) = watch::channel(None);
        runtime.executor().spawn(async move {
            let report = supervision.await;
            ended.send_replace(Some(Arc::new(report)));
        });
        Instance { runtime, spec, hal, instance, controls, report }
    }

    /// Calls an exported function, named `function` or `interface#function`, with a tuple of
    /// arguments. Calls on one instance are served one after the other and share its state.
    ///
    /// ```no_run
    /// # async fn example(instance: ringfence::Instance) -> Result<(), Box<dyn std::error::Error>> {
    /// let greeting: Result<String, String> = instance.call("greet", (7u32,)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError`] when it was not called, did not return, or returned something of another type.
    pub async fn call<A: IntoValues, R: FromValue>(&self, function: &str, arguments: A) -> Result<R, CallError> {
        let values = self.invoke(function, arguments.into_values()).await?;
        value::returned(values).map_err(|reason| CallError::Returned { function: function.to_owned(), reason })
    }

    /// The same, from outside of any Tokio runtime.
    ///
    /// # Errors
    /// As for [`Instance::call`].
    pub fn call_blocking<A: IntoValues, R: FromValue>(&self, function: &str, arguments: A) -> Result<R, CallError> {
        self.runtime.block_on(self.call(function, arguments))
    }

    /// Calls an exported function with values.
    ///
    /// # Errors
    /// Why it was not called or did not return.
    pub async fn invoke(&self, function: &str, arguments: Vec<Value>) -> Result<Vec<Value>, isolation::CallError> {
        let Some(invoke) = self.instance.invoke() else {
            return Err(isolation::CallError::Unsupported("functions cannot be called at this level"));
        };
        match invoke.call(function, arguments).await {
            // The report knows which limit it was.
            Err(isolation::CallError::Ended(_)) => Err(isolation::CallError::Ended(self.exited().await.exit)),
            result => result,
        }
    }

    /// Asks it to end; [`Instance::exited`] says when it has.
    pub fn stop(&self, how: Stop) {
        self.controls.stop(how);
    }

    /// Runs another command in the same place, behind the same walls and within the same limits, at a level
    /// that can. It gets the streams of the instance, but for standard input. Dropping the future ends it.
    ///
    /// # Errors
    /// [`isolation::CallError`] when it was not started, or the instance ended before it did.
    pub async fn exec<T: Into<String>>(
        &self,
        command: impl IntoIterator<Item = T>,
    ) -> Result<isolation::Exit, isolation::CallError> {
        let Some(exec) = self.instance.exec() else {
            return Err(isolation::CallError::Unsupported("no further commands can be run at this level"));
        };
        match exec.exec(command.into_iter().map(Into::into).collect()).await {
            // The report knows which limit it was.
            Err(isolation::CallError::Ended(_)) => Err(isolation::CallError::Ended(self.exited().await.exit)),
            result => result,
        }
    }

    /// Starts another command in the same place, with streams, a terminal, variables and a working directory of
    /// its own, and goes on. What it returns is a handle on the command: dropping it ends the command.
    ///
    /// # Errors
    /// [`isolation::CallError`] when it was not started; `Unsupported` at a level that cannot.
    pub fn begin(&self, command: Command) -> Result<Box<dyn Running>, isolation::CallError> {
        match self.instance.exec() {
            Some(exec) => exec.begin(command),
            None => Err(isolation::CallError::Unsupported("no further commands can be run at this level")),
        }
    }

    /// Freezes it: it uses no processor time until it is [resumed](Self::resume).
    ///
    /// # Errors
    /// When it has ended, or cannot be frozen.
    pub async fn pause(&self) -> Result<(), isolation::CallError> {
        self.pausing()?.pause().await
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// As for [`Instance::pause`].
    pub async fn resume(&self) -> Result<(), isolation::CallError> {
        self.pausing()?.resume().await
    }

    fn pausing(&self) -> Result<&dyn isolation::Pause, isolation::CallError> {
        self.instance.pause().ok_or(isolation::CallError::Unsupported("it cannot be frozen"))
    }

    /// Captures it: instances of the capsule that comes of it go on from this moment, or from the point that
    /// was [asked for](crate::Load::capture_at), for which this waits. This one goes on as well. Each has
    /// its own memory, clocks and random bytes; what the program has open is opened anew for each.
    ///
    /// # Errors
    /// [`SnapshotError`]; what cannot be captured is named.
    pub async fn snapshot(&self) -> Result<Capsule, SnapshotError> {
        self.capture(Then::GoOn).await
    }

    /// The same, and this one ends there: not one instruction more of it is run.
    ///
    /// # Errors
    /// As for [`Instance::snapshot`]; it goes on then, unless it has ended.
    pub async fn snapshot_and_stop(&self) -> Result<Capsule, SnapshotError> {
        self.capture(Then::End).await
    }

    async fn capture(&self, then: Then) -> Result<Capsule, SnapshotError> {
        let unsupported = isolation::CallError::Unsupported(
            "it is not captured: level microvm does that for what was loaded with `capture_at`",
        );
        let captured = self.instance.snapshot().ok_or(unsupported)?.capture(then).await;
        let captured = match captured {
            // The report knows which limit it was.
            Err(isolation::CallError::Ended(_)) => Err(isolation::CallError::Ended(self.exited().await.exit)),
            captured => captured,
        }?;
        let mut spec = Spec::clone(&self.spec);
        spec.session.capture_at = None;
        let plan = Plan::captured(captured, Arc::new(spec))?;
        Ok(Capsule::new(self.runtime.clone(), plan))
    }

    /// The size of its terminal changed. Without a terminal this does nothing.
    pub fn resize(&self, size: WindowSize) {
        if let Some(terminal) = self.instance.terminal() {
            terminal.resize(size);
        }
    }

    /// Waits until it has ended and nothing of it is left.
    pub async fn exited(&self) -> Report {
        let mut report = self.report.clone();
        match report.wait_for(Option::is_some).await {
            Ok(report) => report.as_deref().expect("it was waited for").clone(),
            Err(_) => Report::lost(&self.spec, "the Tokio runtime it ran on was shut down"),
        }
    }

    /// The same, from outside of any Tokio runtime.
    pub fn exited_blocking(&self) -> Report {
        self.runtime.block_on(self.exited())
    }

    /// What it used so far.
    pub fn usage(&self) -> isolation::Usage {
        let (counted, measured) = (self.hal.usage(), self.instance.usage());
        isolation::Usage {
            memory: counted.memory.max(measured.memory),
            memory_peak: counted.memory_peak.max(measured.memory_peak),
            cpu_time: counted.cpu_time.max(measured.cpu_time),
            ..counted
        }
    }

    /// What it was resolved to.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Each permission it used and on which resource, when its spec says to learn.
    pub fn learned(&self) -> Vec<(Permission, String)> {
        self.hal.learned()
    }
}
