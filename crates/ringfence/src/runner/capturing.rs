//! The facet `Snapshot` of a guest whose monitor has a process of its own.

use std::sync::Arc;

use ringfence_isolation::{BoxFuture, CallError, Exit, Prepared, Snapshot, Then};
use ringfence_manifest::Spec;
use tokio::runtime::Handle;

use super::captures::{Captures, Word};
use super::carried::Carried;
use super::commands::plain;
use super::machine::{Kit, Ready};
use super::serve::Answers;
use super::wire::{News, Steer};

/// What it takes to capture a guest, and to go on from that.
pub(super) struct Capturing {
    pub(super) kit: Arc<Kit>,
    pub(super) spec: Spec,
    pub(super) captures: Arc<Captures>,
    pub(super) answers: Answers,
    pub(super) executor: Handle,
}

fn not_captured(why: impl ToString) -> CallError {
    CallError::NotCaptured(why.to_string())
}

impl Snapshot for Carried {
    fn capture(&self, then: Then) -> BoxFuture<'_, Result<Box<dyn Prepared>, CallError>> {
        Box::pin(async move {
            let Some(capturing) = &self.capturing else {
                return Err(CallError::Unsupported("it is not captured"));
            };
            if self.lines.are_unserved() {
                return Err(CallError::Unsupported("it has to be started before it is captured"));
            }
            let begun = capturing.captures.begin().map_err(not_captured)?;
            let (mut state, mut word) = begun.ok_or_else(|| not_captured("it is being captured; try again"))?;
            // What comes once it is captured is that of a spec without a point to come to.
            let mut spec = capturing.spec.clone();
            spec.session.capture_at = None;
            let (kit, limits) = (capturing.kit.clone(), spec.clone());
            let reading =
                capturing.executor.spawn_blocking(move || kit.vm.examine_snapshot(&limits, &kit.examined, &mut state));
            let ends = then == Then::End;
            capturing.answers.clone().tell(News::Steer(Steer::Capture { ends })).await;
            let mut guest = self.end(&capturing.executor);
            let said: Option<Word> = tokio::select! {
                biased;
                said = &mut word => said.ok(),
                _ = guest.wait_for(Option::is_some) => word.try_recv().ok(),
            };
            match said {
                Some(Ok(())) => {}
                Some(Err(why)) => return Err(not_captured(plain(&why))),
                None => return Err(CallError::Ended(guest.borrow().clone().unwrap_or(Exit::Stopped))),
            }
            let sealed = reading.await.map_err(|_| not_captured("the runtime is shutting down"))?;
            let snapshot = Some(sealed.map_err(not_captured)?);
            Ok(Box::new(Ready { kit: capturing.kit.clone(), snapshot, spec }) as Box<dyn Prepared>)
        })
    }
}
