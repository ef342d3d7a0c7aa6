//! An instance whose guest runs in a runner.

use std::sync::{Arc, Mutex, PoisonError};

use ringfence_isolation::{
    BoxFuture, Enforcement, Exit, Host, Instance, Limit, LimitKind, LostReason, Pause, StartError, Stop, Trap, Usage,
    Verdict,
};
use ringfence_manifest::Limits;
use tokio::sync::watch;

use super::serve::Said;
use super::wire::End;

/// The runner's process, and what it says.
pub(super) struct Carried {
    pub(super) process: Box<dyn Instance>,
    pub(super) enforced: Enforcement,
    pub(super) told: Arc<Told>,
    /// Resolves when the line to the runner has ended.
    pub(super) served: watch::Receiver<bool>,
}

/// What is known of the guest's end.
pub(super) struct Told {
    pub(super) host: Arc<dyn Host>,
    pub(super) limits: Limits,
    pub(super) said: Mutex<Option<Said>>,
}

impl Instance for Carried {
    fn enforced(&self) -> &Enforcement {
        &self.enforced
    }

    fn start(&self) -> Result<(), StartError> {
        self.process.start()
    }

    /// WASI has no signals: whatever is sent ends the guest, as at level wasm.
    fn stop(&self, _: Stop) {
        self.process.stop(Stop::Kill);
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let (exited, told, mut served) = (self.process.exited(), self.told.clone(), self.served.clone());
        Box::pin(async move {
            let exit = exited.await;
            // The process is gone, and so is its end of the line.
            let _ = served.wait_for(|&ended| ended).await;
            told.exit(exit)
        })
    }

    fn usage(&self) -> Usage {
        let fuel = self.told.said.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |(_, fuel)| *fuel);
        Usage { fuel, ..self.process.usage() }
    }

    fn pause(&self) -> Option<&dyn Pause> {
        self.process.pause()
    }
}

impl Told {
    /// How the guest ended, when its runner's process ended like this. A verdict of the host's counts
    /// more than what the kernel says, and that more than what the runner says.
    fn exit(&self, process: Exit) -> Exit {
        match self.host.verdict() {
            Verdict::Exceeded(limit) => return Exit::Exceeded(limit),
            Verdict::Denied(denial) => return Exit::Denied(denial),
            Verdict::Stopped => return Exit::Stopped,
            Verdict::Continue => {}
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (process, said) {
            (Exit::Exceeded(limit), _) => Exit::Exceeded(self.own(limit)),
            (Exit::Stopped, _) => Exit::Stopped,
            (Exit::Lost(why), _) => Exit::Lost(why),
            (_, Some((end, fuel))) => self.ended(end, fuel),
            (process, None) => lost(format!("the runner ended without a word: {process}")),
        }
    }

    fn ended(&self, end: End, fuel: u64) -> Exit {
        match end {
            End::Returned(status) => Exit::Returned(status),
            End::StackOverflow => Exit::Trapped(Trap::StackOverflow),
            End::MemoryOutOfBounds => Exit::Trapped(Trap::MemoryOutOfBounds),
            End::Arithmetic(message) => Exit::Trapped(Trap::Arithmetic(message)),
            End::Unreachable => Exit::Trapped(Trap::Unreachable),
            End::Trapped(message) => Exit::Trapped(Trap::Other(message)),
            End::Fuel => match self.limits.fuel {
                Some(allowed) => Exit::Exceeded(Limit { limit: LimitKind::Fuel, allowed, used: fuel }),
                None => lost("the runner counted instructions that nobody limits".into()),
            },
            End::ByVerdict => Exit::Stopped,
            End::Lost(message) => lost(message),
        }
    }

    /// A limit on the runner as the limit on its guest that it stands for.
    fn own(&self, limit: Limit) -> Limit {
        let allowed = match limit.limit {
            LimitKind::Memory => self.limits.memory.map(|bytes| bytes.0),
            LimitKind::CpuTime => self.limits.cpu_time.and_then(|time| u64::try_from(time.as_nanos()).ok()),
            _ => None,
        };
        Limit { allowed: allowed.unwrap_or(limit.allowed), ..limit }
    }
}

fn lost(why: String) -> Exit {
    Exit::Lost(LostReason::Backend(why))
}
