//! The only way guest code is run.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringfence_isolation::{Host, Usage, Verdict};
use rustix::time::{ClockId, clock_gettime};

use crate::control::Control;
use crate::ticker::Ticker;

/// A future that runs guest code: each poll is timed on the thread's processor clock
/// (`CLOCK_THREAD_CPUTIME_ID`, clock_gettime(2)) and charged to the instance, and the instance ends
/// here when the host's verdict says so. Without a ticker somebody around this process does both.
pub(crate) struct Metered<'a, F> {
    guest: Pin<&'a mut F>,
    host: &'a dyn Host,
    control: &'a Control,
    ticker: Option<&'a Ticker>,
}

/// The host's verdict ended it, or it was asked to stop.
#[derive(Debug)]
pub(crate) struct Ended;

/// Runs guest code until it is done, a limit trips, or a stop is asked for. When it does not run to
/// its end, `guest` is dropped in the middle of whatever it was doing.
pub(crate) async fn run<F: Future>(
    guest: F,
    host: &Arc<dyn Host>,
    control: &Control,
    ticker: Option<&Ticker>,
) -> Result<F::Output, Ended> {
    let guest = std::pin::pin!(guest);
    let metered = Metered { guest, host: &**host, control, ticker };
    tokio::select! {
        biased;
        () = control.stopped() => Err(Ended),
        result = metered => result,
    }
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = Result<F::Output, Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.host.verdict() != Verdict::Continue {
            return Poll::Ready(Err(Ended));
        }
        let Some(ticker) = self.ticker else { return self.guest.as_mut().poll(context).map(Ok) };
        let before = thread_time();
        let inside = ticker.enter();
        let polled = self.guest.as_mut().poll(context);
        drop(inside);
        let cpu_time = thread_time().saturating_sub(before);
        self.control.add_cpu(cpu_time);
        let used = Usage { cpu_time, memory: self.control.memory(), ..Usage::default() };
        let verdict = self.host.charge(used);
        match polled {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if verdict != Verdict::Continue => Poll::Ready(Err(Ended)),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
