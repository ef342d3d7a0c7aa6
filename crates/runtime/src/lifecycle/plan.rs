//! A spec that a backend is ready to build; building it; starting it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_isolation::{Backend, BuildError, Enforcement, Host, Instance, Prepared, Spec, StartError, Stop};

use super::phase::{Event, Phase};
use super::supervise::{self, Controls, Supervision};
use super::{Hal, Timings};

/// A spec that a backend is ready to build, any number of times.
pub struct Plan {
    spec: Arc<Spec>,
    prepared: Box<dyn Prepared>,
    timings: Timings,
}

/// A built instance of which nothing has run. Dropping it removes the place.
pub struct Built(pub(super) Owned);

/// A running instance.
pub struct Started {
    /// The instance itself, for its abilities beyond running.
    pub instance: Arc<dyn Instance>,
    /// Who may stop it.
    pub controls: Controls,
    /// The task that owns it from now on. It has to be polled for a limit or a stop to take hold.
    pub supervision: Supervision,
}

/// What the owner of an instance holds. Dropping it ends the instance, whatever it is doing.
pub(super) struct Owned {
    pub(super) phase: Phase,
    pub(super) spec: Arc<Spec>,
    pub(super) hal: Arc<dyn Hal>,
    pub(super) instance: Arc<dyn Instance>,
    pub(super) timings: Timings,
}

impl Plan {
    /// Lets `backend` get ready for `spec`, and refuses when a required guarantee would not be held.
    /// `resolve` is how long it took to make the spec, for the report.
    ///
    /// # Errors
    /// What the backend says, or [`BuildError::Refused`].
    pub fn new(backend: &dyn Backend, spec: Arc<Spec>, resolve: Duration) -> Result<Self, BuildError> {
        let began = Instant::now();
        Self::of(backend.prepare(&spec)?, spec, resolve, began)
    }

    /// The same, of a program that goes on from a captured state; see [`Backend::restore`].
    ///
    /// # Errors
    /// As for [`Plan::new`], and [`BuildError::Snapshot`].
    pub fn restore(
        backend: &dyn Backend,
        spec: Arc<Spec>,
        file: std::fs::File,
        resolve: Duration,
    ) -> Result<Self, BuildError> {
        let began = Instant::now();
        Self::of(backend.restore(&spec, file)?, spec, resolve, began)
    }

    /// Of a state that was just captured of an instance of this spec.
    ///
    /// # Errors
    /// [`BuildError::Refused`] when a required guarantee would not be held.
    pub fn captured(prepared: Box<dyn Prepared>, spec: Arc<Spec>) -> Result<Self, BuildError> {
        Self::of(prepared, spec, Duration::ZERO, Instant::now())
    }

    fn of(prepared: Box<dyn Prepared>, spec: Arc<Spec>, resolve: Duration, began: Instant) -> Result<Self, BuildError> {
        prepared.promised().check(&spec)?;
        let timings = Timings { resolve, prepare: began.elapsed(), ..Timings::default() };
        Ok(Plan { spec, prepared, timings })
    }

    /// Writes the captured state it builds from; see [`Prepared::save`].
    ///
    /// # Errors
    /// As for [`Prepared::save`].
    pub fn save(&self, into: &mut dyn std::io::Write) -> std::io::Result<()> {
        self.prepared.save(into)
    }

    /// What it was made from.
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// What the backend promises to enforce.
    pub fn promised(&self) -> &Enforcement {
        self.prepared.promised()
    }

    /// Whether starting it runs a program to its end; see [`Prepared::is_command`].
    pub fn is_command(&self) -> bool {
        self.prepared.is_command()
    }

    /// Keeps so many built, empty places at hand; see [`Prepared::keep_warm`].
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.prepared.keep_warm(count)
    }

    /// Builds one instance behind `hal`, and refuses when it is held by less than was promised.
    ///
    /// # Errors
    /// What the backend says, [`BuildError::Shortfall`] or [`BuildError::Refused`]. The place is
    /// removed and the hal closed then.
    pub fn build(&self, hal: Arc<dyn Hal>) -> Result<Built, BuildError> {
        let began = Instant::now();
        let host: Arc<dyn Host> = hal.clone();
        let instance: Arc<dyn Instance> = match self.prepared.build(host) {
            Ok(instance) => Arc::from(instance),
            Err(error) => {
                hal.close();
                return Err(error);
            }
        };
        let timings = Timings { build: began.elapsed(), ..self.timings };
        let mut owned = Owned { phase: Phase::Prepared, spec: self.spec.clone(), hal, instance, timings };
        owned.happened(Event::Built);
        let enforced = owned.instance.enforced();
        if let Some(shortfall) = self.prepared.promised().shortfall(enforced) {
            owned.happened(Event::Refused);
            return Err(BuildError::Shortfall(Box::new(shortfall)));
        }
        if let Err(refusal) = enforced.check(&self.spec) {
            owned.happened(Event::Refused);
            return Err(refusal.into());
        }
        Ok(Built(owned))
    }
}

impl Built {
    /// What is enforced now.
    pub fn enforced(&self) -> &Enforcement {
        self.0.instance.enforced()
    }

    /// Starts the program. Wall time counts from here.
    ///
    /// # Errors
    /// What the backend says; the place is removed then.
    pub fn start(self) -> Result<Started, StartError> {
        let Built(mut owned) = self;
        owned.hal.begin();
        let began = Instant::now();
        owned.instance.start()?;
        owned.happened(Event::Started);
        let instance = owned.instance.clone();
        let (controls, supervision) = supervise::task(owned, began);
        Ok(Started { instance, controls, supervision })
    }
}

impl Owned {
    /// Records an event. One that cannot happen here is a mistake of this module alone.
    pub(super) fn happened(&mut self, event: Event) {
        self.phase = self.phase.after(event).expect("the lifecycle follows its diagram");
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.phase != Phase::Ended {
            self.hal.end(ringfence_isolation::Verdict::Stopped);
        }
        // After a refusal the phase is `Ended` and the place is still there; after an exit this
        // does nothing.
        self.instance.stop(Stop::Kill);
        self.hal.close();
    }
}
