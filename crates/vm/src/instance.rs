//! A built virtual machine with a program in it.
//!
//! ```text
//! Built ──start──▶ Started ──(the first thread)──▶ ended
//!   └────stop────▶ ended
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_isolation::{Activity, BoxFuture, Enforcement, Exit, Instance, LostReason, StartError, Stop, Usage};
use tokio::runtime::Handle;

use crate::control::{Control, LastWord};
use crate::personality::{self, First, World};

/// A built virtual machine.
pub(crate) struct VmInstance {
    executor: Handle,
    control: Arc<Control>,
    enforced: Enforcement,
    phase: Mutex<Phase>,
}

/// How far an instance has come.
enum Phase {
    Built(Box<(Arc<World>, First)>),
    Started(std::sync::Weak<World>),
    Stopped,
}

impl VmInstance {
    pub(crate) fn new(
        executor: Handle,
        control: Arc<Control>,
        world: Arc<World>,
        first: First,
        enforced: Enforcement,
    ) -> Self {
        let phase = Mutex::new(Phase::Built(Box::new((world, first))));
        VmInstance { executor, control, enforced, phase }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first thread: runs the program, and outlives every other thread of the instance.
fn live(world: Arc<World>, first: First, control: &Arc<Control>, executor: &Handle) {
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
    drop(world);
    control.end(match status {
        Some(status) => Exit::Returned(status),
        None => Exit::Lost(LostReason::Backend("its first process ended without a status".into())),
    });
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
                let started = Arc::downgrade(&world);
                *phase = Phase::Started(started.clone());
                let (control, executor) = (self.control.clone(), self.executor.clone());
                let thread = std::thread::Builder::new().name("microvm".into());
                if let Err(error) = thread.spawn(move || live(world, first, &control, &executor)) {
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

    fn activity(&self) -> Option<Activity> {
        Some(self.control.activity())
    }
}

impl Drop for VmInstance {
    fn drop(&mut self) {
        self.stop(Stop::Kill);
    }
}
