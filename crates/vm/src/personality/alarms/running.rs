//! Timers that run: each is a task of the host's that waits for its moment.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::io::Errno;

use super::{Measure, Setting};
use crate::personality::process::{Process, lock};
use crate::personality::signals;
use crate::personality::world::World;

/// They expire no more often than this: each time costs the host something.
const SHORTEST: Duration = Duration::from_millis(1);
/// Processor time is looked at no more often than this.
const LOOK: Duration = Duration::from_millis(4);
/// Where nobody uses any, the time until the next look doubles so many times.
const IDLE: u32 = 4;
/// What a look costs the host for each thread, about, beside what each time costs.
const COST_OF_THREAD: Duration = Duration::from_nanos(250);
/// How many an instance can have that run.
const MOST_RUNNING: usize = 256;
/// So many expire as often as they like; with more, each does so less often.
const OFTEN: usize = 8;
/// What the host spends on each time, about.
const COST: Duration = Duration::from_micros(5);

/// When processor time is looked at again of which so much is left, when each timer may look this often and the last
/// looks found nothing used.
fn next_look(left: Duration, shortest: Duration, idle: u32) -> Duration {
    left.max(LOOK.max(shortest).saturating_mul(1 << idle.min(IDLE)))
}

/// One of the timers of an instance that run.
pub(super) struct Running(Arc<AtomicUsize>);

impl Running {
    pub(super) fn new(all: &Arc<AtomicUsize>) -> Result<Running, Errno> {
        let running = Running(all.clone());
        if all.fetch_add(1, SeqCst) < MOST_RUNNING { Ok(running) } else { Err(Errno::AGAIN) }
    }

    /// How often each may expire, so that all of them together cost the host no more than a few.
    fn shortest(&self) -> Duration {
        let all = u32::try_from(self.0.load(SeqCst).div_ceil(OFTEN)).unwrap_or(u32::MAX);
        SHORTEST.saturating_mul(all.max(1))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Sends the signal at each moment.
pub(super) async fn expire(
    running: Arc<Running>,
    world: Weak<World>,
    process: Weak<Process>,
    number: i32,
    setting: Setting,
) {
    let Setting { turn, measure, effect, start, next, interval } = setting;
    let Some(mut next) = next else { return };
    let (mut before, mut idle) = (Duration::MAX, 0);
    loop {
        let (now, threads) = match process.upgrade() {
            Some(process) => (measure.now(&process, start), lock(&process.threads).len()),
            None => return,
        };
        let Some(now) = now else { return };
        if now < next {
            let left = match measure {
                Measure::Clock(_) => next - now,
                Measure::Process | Measure::Thread(_) => {
                    let Some(world) = world.upgrade() else { return };
                    let threads = u32::try_from(threads).unwrap_or(u32::MAX);
                    world.control.spend(COST.saturating_add(COST_OF_THREAD.saturating_mul(threads)));
                    idle = if now == before { idle + 1 } else { 0 };
                    before = now;
                    next_look(next - now, running.shortest(), idle)
                }
            };
            tokio::time::sleep(left).await;
            continue;
        }
        let (Some(world), Some(process)) = (world.upgrade(), process.upgrade()) else { return };
        world.control.spend(COST);
        // Who sets it anew or takes it away has heard the last of it then.
        let alarms = lock(&process.alarms.0);
        if alarms.get(&number).is_none_or(|alarm| alarm.set.turn != turn) {
            return;
        }
        // One that waits stands for those that follow: `timer_getoverrun(2)`.
        let stands = |signal| effect.thread.is_none() && signals::is_pending(&process, signal);
        if let Some(cause) = effect.cause
            && !stands(cause.signal)
        {
            let member = effect.thread.map(|id| lock(&process.threads).get(&id).cloned());
            // When too many wait already, this one is lost, as in Linux.
            let _ = match member {
                None => signals::send(&world, &process, cause),
                Some(Some(member)) => signals::send_to(&world, &process, &member, cause),
                Some(None) => return,
            };
        }
        drop(alarms);
        if interval.is_zero() {
            return;
        }
        next = next.saturating_add(interval.max(running.shortest())).max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_that_nobody_uses_is_looked_at_less_and_less_often() {
        let (soon, often) = (Duration::from_micros(1), SHORTEST);
        assert_eq!(next_look(soon, often, 0), LOOK);
        assert_eq!(next_look(Duration::from_secs(5), often, 0), Duration::from_secs(5));
        let looks = [1, 2, 3, 4, 5, u32::MAX].map(|idle| next_look(soon, often, idle).as_millis());
        assert_eq!(looks, [8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn many_timers_look_together_no_more_often_than_a_few() {
        let all = Arc::new(AtomicUsize::new(0));
        let running: Vec<_> = (0..MOST_RUNNING).map(|_| Running::new(&all).unwrap()).collect();
        let each = next_look(Duration::ZERO, running[0].shortest(), 0);
        assert!(each * OFTEN as u32 >= SHORTEST * MOST_RUNNING as u32, "{each:?}");
    }
}
