//! The task that owns a running instance.

use std::future::{self, Future};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ringfence_isolation::{BoxFuture, Exit, Guarantee, Limit, LimitKind, LostReason, Stop, Usage, Verdict};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::phase::{Event, Phase};
use super::plan::Owned;
use super::report::{Denied, NotHeld, Report};

/// How long a killed instance may take to be gone before it is given up as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// The right to stop an instance. It may be cloned; when the last one is dropped, the instance is
/// killed.
#[derive(Clone)]
pub struct Controls {
    wishes: mpsc::UnboundedSender<Stop>,
}

impl Controls {
    /// Asks the instance to end. After its end this does nothing.
    pub fn stop(&self, how: Stop) {
        let _ = self.wishes.send(how);
    }
}

/// Owns a running instance until it is over; resolves to its report. Dropping it kills the instance.
#[must_use = "limits and stops take hold only while this is polled"]
pub struct Supervision(BoxFuture<'static, Report>);

impl Future for Supervision {
    type Output = Report;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Report> {
        self.0.as_mut().poll(context)
    }
}

/// The task for an instance that was started at `began`, and the right to stop it.
pub(super) fn task(owned: Owned, began: Instant) -> (Controls, Supervision) {
    let (wishes, asked) = mpsc::unbounded_channel();
    (Controls { wishes }, Supervision(Box::pin(supervise(owned, began, asked))))
}

async fn supervise(mut owned: Owned, began: Instant, mut asked: mpsc::UnboundedReceiver<Stop>) -> Report {
    let hal = owned.hal.clone();
    let mut exited = owned.instance.exited();
    let mut ended = hal.ended();
    let mut deadline = owned.spec.limits.wall_time.and_then(|limit| began.checked_add(limit));
    let mut killed: Option<Instant> = None;
    let mut controlled = true;
    let exit = loop {
        tokio::select! {
            biased;
            exit = &mut exited => break Some(exit),
            () = at(deadline) => {
                deadline = None;
                hal.end(Verdict::Exceeded(wall_time(&owned, began)));
            }
            () = &mut ended, if killed.is_none() => {
                killed = Some(Instant::now());
                owned.happened(Event::StopAsked);
                owned.instance.stop(Stop::Kill);
            }
            wish = asked.recv(), if controlled => match wish {
                Some(signal @ Stop::Signal(_)) => {
                    owned.happened(Event::StopAsked);
                    owned.instance.stop(signal);
                }
                Some(Stop::Kill) => hal.end(Verdict::Stopped),
                None => {
                    controlled = false;
                    hal.end(Verdict::Stopped);
                }
            },
            () = at(killed.map(|at| at + PATIENCE)) => break None,
        }
    };
    drop(ended);
    owned.happened(Event::Exited);
    report(owned, began, exit)
}

/// Resolves at that moment, or never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => future::pending().await,
    }
}

fn wall_time(owned: &Owned, began: Instant) -> Limit {
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let allowed = owned.spec.limits.wall_time.unwrap_or(Duration::MAX);
    Limit { limit: LimitKind::WallTime, allowed: nanoseconds(allowed), used: nanoseconds(began.elapsed()) }
}

/// The report of an instance that ended as its backend says, or that did not end when it was killed.
fn report(mut owned: Owned, began: Instant, said: Option<Exit>) -> Report {
    debug_assert_eq!(owned.phase, Phase::Ended);
    owned.timings.run = began.elapsed();
    // What the hal knows of the reason comes before what the backend saw of its effect.
    let verdict = owned.hal.verdict();
    let lost = said.is_none();
    let exit = match (verdict, said) {
        (Verdict::Exceeded(limit), _) => Exit::Exceeded(limit),
        (Verdict::Denied(denial), _) => Exit::Denied(denial),
        (Verdict::Continue | Verdict::Stopped, Some(exit)) => exit,
        (Verdict::Continue | Verdict::Stopped, None) => Exit::Lost(LostReason::Backend(not_gone())),
    };
    let usage = together(owned.hal.usage(), owned.instance.usage(), owned.timings.run);
    let [stdout, stderr] = owned.hal.captured();
    let (denials, denials_dropped) = owned.hal.denials();
    owned.hal.close();
    let enforced = owned.instance.enforced().clone();
    let mut not_held = Report::not_held(&owned.spec, &enforced);
    if lost {
        for guarantee in [Guarantee::KillWorks, Guarantee::NothingLeft] {
            not_held.push(NotHeld { guarantee, why: not_gone() });
        }
    }
    Report {
        capsule: owned.spec.capsule.clone(),
        level: owned.spec.isolation.level,
        tripped: match exit {
            Exit::Exceeded(limit) => Some(limit),
            _ => None,
        },
        exit,
        enforced,
        not_held,
        usage,
        activity: owned.instance.activity(),
        denials: denials.into_iter().map(|(denial, count)| Denied { denial, count }).collect(),
        denials_dropped,
        timings: owned.timings,
        stdout,
        stderr,
    }
}

fn not_gone() -> String {
    format!("the instance was not gone {PATIENCE:?} after it was killed")
}

/// What the hal counted and what the backend measured; where both know, the larger.
fn together(hal: Usage, backend: Usage, run: Duration) -> Usage {
    Usage {
        memory: backend.memory,
        memory_peak: hal.memory_peak.max(backend.memory_peak),
        cpu_time: hal.cpu_time.max(backend.cpu_time),
        wall_time: run,
        open_files: hal.open_files.max(backend.open_files),
        open_files_peak: hal.open_files_peak.max(backend.open_files_peak),
        disk: hal.disk.max(backend.disk),
        io_operations: hal.io_operations.max(backend.io_operations),
        io_bytes: hal.io_bytes.max(backend.io_bytes),
        network_bytes: hal.network_bytes.max(backend.network_bytes),
        output: hal.output.max(backend.output),
        fuel: hal.fuel.max(backend.fuel),
    }
}
