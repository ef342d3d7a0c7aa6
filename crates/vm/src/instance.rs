//! A built virtual machine with a program in it.
//!
//! ```text
//! Built ──start──▶ Started ──(the first thread)──▶ ended
//!   └────stop────▶ ended
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_isolation::{
    Activity, BoxFuture, CallError, Command, Enforcement, Exec, Exit, Instance, LostReason, Pause, Prepared, Running,
    Snapshot, StartError, Stop, Terminal, Then, Trap, Usage,
};
use ringfence_manifest::{Point, WindowSize};
use tokio::runtime::Handle;

use crate::control::{Control, LastWord};
use crate::personality::{self, CaptureError, First, World};
use crate::prepared::Ready;
use crate::snapshot::{self, Frozen, Used};

/// A built virtual machine.
pub(crate) struct VmInstance {
    /// What it was built from, where it can be captured.
    ready: Option<Ready>,
    executor: Handle,
    enforced: Enforcement,
    control: Arc<Control>,
    phase: Mutex<Phase>,
    has_terminal: bool,
    after: After,
}

/// What becomes of an instance's machine after it.
#[derive(Clone)]
enum After {
    /// It is given back.
    GivenBack,
    /// It ends with its process, which gives it back at once, and faster than this could piece by piece.
    WithProcess,
    /// Others have it.
    Used(Arc<Used>),
}

/// How far an instance has come.
enum Phase {
    Built(Box<(Arc<World>, First)>),
    Started(std::sync::Weak<World>),
    Stopped,
}

impl VmInstance {
    pub(crate) fn new(
        ready: Ready,
        control: Arc<Control>,
        world: Arc<World>,
        first: First,
        used: Option<Arc<Used>>,
    ) -> Self {
        let has_terminal = world.has_console();
        let phase = Mutex::new(Phase::Built(Box::new((world, first))));
        let (executor, enforced) = (ready.executor.clone(), ready.promised.clone());
        let after = match used {
            Some(used) => After::Used(used),
            None if ready.kvm.is_for_one() => After::WithProcess,
            None => After::GivenBack,
        };
        VmInstance {
            ready: Some(ready).filter(|ready| ready.is_captured),
            executor,
            enforced,
            control,
            phase,
            has_terminal,
            after,
        }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first thread: runs the program, and outlives every other thread of the instance.
fn live(world: Arc<World>, first: First, control: &Arc<Control>, executor: &Handle, after: &After) {
    let _last = LastWord(control.clone());
    // Emptied before the world is let go of, so that nobody else ever holds it last.
    let clock = Arc::new(Mutex::new(Some(Arc::downgrade(&world))));
    let charging = executor.spawn({
        let control = Arc::downgrade(control);
        let clock = clock.clone();
        async move {
            while let Some(next) = control.upgrade().map(|control| control.next_charge()) {
                tokio::time::sleep(next).await;
                if let Some(control) = control.upgrade() {
                    control.charge();
                }
                let world = clock.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(world) = world.as_ref().and_then(std::sync::Weak::upgrade) {
                    world.refresh_clock();
                }
            }
        }
    });
    let status = personality::live(&world, first, executor);
    charging.abort();
    *clock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    control.charge();
    let machine = world.machine().clone();
    drop(world);
    let left = match after {
        After::GivenBack => {
            drop(machine);
            None
        }
        After::WithProcess => {
            std::mem::forget(machine);
            None
        }
        // Nobody else has it, unless somebody is looking at the world at this moment.
        After::Used(used) => {
            Some(machine).filter(|_| control.is_sound()).and_then(Arc::into_inner).and_then(|left| used.take_over(left))
        }
    };
    control.end(match status {
        Some(status) => Exit::Returned(status),
        None => Exit::Lost(LostReason::Backend("its first process ended without a status".into())),
    });
    if let Some(left) = left {
        left.put_back();
    }
}

impl Instance for VmInstance {
    fn enforced(&self) -> &Enforcement {
        &self.enforced
    }

    fn start(&self) -> Result<(), StartError> {
        let mut phase = self.phase();
        match std::mem::replace(&mut *phase, Phase::Stopped) {
            Phase::Started(world) => {
                *phase = Phase::Started(world);
                Err(StartError::AlreadyStarted)
            }
            Phase::Stopped => Err(StartError::Stopped),
            Phase::Built(parts) => {
                let (world, first) = *parts;
                personality::attend(&world, &self.executor);
                let started = Arc::downgrade(&world);
                *phase = Phase::Started(started.clone());
                let (control, executor) = (self.control.clone(), self.executor.clone());
                let thread = std::thread::Builder::new().name("microvm".into());
                let after = self.after.clone();
                if let Err(error) = thread.spawn(move || live(world, first, &control, &executor, &after)) {
                    // What its process has refers to the world, and the world to it.
                    if let Some(world) = started.upgrade() {
                        personality::clear(&world);
                    }
                    self.control.end(Exit::Lost(LostReason::Backend(format!("no thread for it: {error}"))));
                }
                Ok(())
            }
        }
    }

    fn stop(&self, how: Stop) {
        let mut phase = self.phase();
        match (&*phase, how) {
            (Phase::Started(world), Stop::Signal(signal)) if (1..=64).contains(&signal) => {
                if let Some(world) = world.upgrade() {
                    personality::signal_first(&world, signal);
                }
            }
            (Phase::Started(_), _) => self.control.stop(Exit::Stopped),
            (Phase::Stopped, _) => {}
            (Phase::Built(parts), _) => {
                self.control.stop(Exit::Stopped);
                personality::clear(&parts.0);
                *phase = Phase::Stopped;
                self.control.end(Exit::Stopped);
            }
        }
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let mut watch = self.control.watch();
        Box::pin(async move {
            let lost = || Exit::Lost(LostReason::Backend("the instance is gone".into()));
            watch.wait_for(Option::is_some).await.map_or_else(|_| lost(), |exit| exit.clone().unwrap_or_else(lost))
        })
    }

    fn usage(&self) -> Usage {
        self.control.usage()
    }

    fn terminal(&self) -> Option<&dyn Terminal> {
        self.has_terminal.then_some(self)
    }

    fn pause(&self) -> Option<&dyn Pause> {
        Some(self)
    }

    fn exec(&self) -> Option<&dyn Exec> {
        Some(self)
    }

    fn activity(&self) -> Option<Activity> {
        Some(self.control.activity())
    }

    fn snapshot(&self) -> Option<&dyn Snapshot> {
        Some(self)
    }
}

impl Terminal for VmInstance {
    fn resize(&self, size: WindowSize) {
        match &*self.phase() {
            Phase::Built(parts) => personality::resize(&parts.0, size),
            Phase::Started(world) => {
                if let Some(world) = world.upgrade() {
                    personality::resize(&world, size);
                }
            }
            Phase::Stopped => {}
        }
    }
}

impl Pause for VmInstance {
    fn pause(&self) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async {
            self.check_running()?;
            self.control.pause().await;
            self.check_running().map(drop)
        })
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async {
            self.control.resume();
            self.check_running().map(drop)
        })
    }
}

impl Exec for VmInstance {
    fn exec(&self, command: Vec<String>) -> BoxFuture<'_, Result<Exit, CallError>> {
        Box::pin(async move {
            let command = Command { words: command, ..Command::default() };
            let begun = personality::begin(&self.check_running()?, command)?;
            match begun.ended().await {
                Err(CallError::NotExecuted { reason, .. }) => Ok(Exit::Trapped(Trap::NotExecutable(reason))),
                ended => ended,
            }
        })
    }

    fn begin(&self, command: Command) -> Result<Box<dyn Running>, CallError> {
        Ok(Box::new(personality::begin(&self.check_running()?, command)?))
    }
}

impl VmInstance {
    /// What it lives in, as long as it does.
    fn check_running(&self) -> Result<Arc<World>, CallError> {
        let world = match &*self.phase() {
            Phase::Started(world) => world.upgrade(),
            Phase::Built(_) => return Err(CallError::Unsupported("it has not been started")),
            Phase::Stopped => None,
        };
        let ended = self.control.ended();
        match (world, ended) {
            (Some(world), None) => Ok(world),
            (_, ended) => Err(CallError::Ended(ended.unwrap_or(Exit::Stopped))),
        }
    }
}

impl Snapshot for VmInstance {
    fn capture(&self, then: Then) -> BoxFuture<'_, Result<Box<dyn Prepared>, CallError>> {
        Box::pin(async move {
            let world = match &*self.phase() {
                Phase::Started(world) => world.upgrade(),
                Phase::Built(_) => return Err(CallError::Unsupported("it has to be started before it is captured")),
                Phase::Stopped => None,
            };
            let Some(world) = world else { return Err(CallError::Ended(self.exited().await)) };
            let Some(mut ready) = self.ready.clone() else {
                return Err(CallError::Unsupported("its monitor gave up what it would be captured with"));
            };
            if ready.spec.session.capture_at.is_some_and(|point| point != Point::Anywhere) {
                let mut arrival = world.arrival();
                tokio::select! {
                    biased;
                    _ = arrival.wait_for(|arrived| *arrived) => {}
                    exit = self.exited() => return Err(CallError::Ended(exit)),
                }
            }
            // What goes on from there comes to no point any more.
            Arc::make_mut(&mut ready.spec).session.capture_at = None;
            let captured = self.executor.spawn_blocking(move || {
                let origin = snapshot::origin(&ready.spec, &ready.system, &ready.kvm, ready.kind, None)
                    .map_err(|errno| CaptureError::unread(ready.spec.program.path.display(), errno))?;
                personality::capture(&world, origin, then).map(|image| Frozen::of(ready, image))
            });
            match captured.await {
                Ok(Ok(frozen)) => Ok(Box::new(frozen) as Box<dyn Prepared>),
                Ok(Err(CaptureError::Ending)) => Err(CallError::Ended(self.exited().await)),
                Ok(Err(error)) => Err(CallError::NotCaptured(error.to_string())),
                Err(_) => Err(CallError::NotCaptured("the runtime is shutting down".into())),
            }
        })
    }
}

impl Drop for VmInstance {
    fn drop(&mut self) {
        self.stop(Stop::Kill);
    }
}
