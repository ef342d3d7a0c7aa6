//! What an instance used, and whether it may go on.
//!
//! Counters are atomics that a call adds to; a limit that is passed sets the verdict. The first
//! verdict stands, and from then on every call is answered [`ErrorCode::Stopping`].

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ringfence_abi::ErrorCode;
use ringfence_isolation::{Limit, LimitKind, Usage, Verdict};
use ringfence_manifest::Limits;
use tokio::sync::Notify;

/// The counters and limits of one instance.
pub(crate) struct Meter {
    started: OnceLock<Instant>,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    cpu_time: Counter,
    open_files: AtomicU64,
    open_files_peak: AtomicU64,
    disk: Counter,
    io_operations: Counter,
    io_bytes: Counter,
    network_bytes: AtomicU64,
    output: Counter,
    fuel: Counter,
    memory_limit: u64,
    open_files_limit: u64,
    file_size_limit: u64,
    wall_time_limit: Option<Duration>,
    stopping: AtomicBool,
    verdict: Mutex<Verdict>,
    bell: Notify,
}

/// A sum and how far it may go.
struct Counter {
    used: AtomicU64,
    limit: u64,
}

impl Counter {
    fn new(limit: Option<u64>) -> Self {
        Self { used: AtomicU64::new(0), limit: limit.unwrap_or(u64::MAX) }
    }

    /// Adds, and gives the sum when it is past the limit.
    #[inline]
    fn add(&self, amount: u64) -> Result<(), u64> {
        // A counter must not come around; only the size of a sparse file is ever so large.
        let before = if amount < 1 << 40 {
            self.used.fetch_add(amount, Relaxed)
        } else {
            let add = |used: u64| Some(used.saturating_add(amount));
            self.used.fetch_update(Relaxed, Relaxed, add).unwrap_or(u64::MAX)
        };
        let used = before.saturating_add(amount);
        if used > self.limit { Err(used) } else { Ok(()) }
    }

    #[inline]
    fn subtract(&self, amount: u64) {
        if amount == 0 {
            return;
        }
        let _ = self.used.fetch_update(Relaxed, Relaxed, |used| Some(used.saturating_sub(amount)));
    }

    fn get(&self) -> u64 {
        self.used.load(Relaxed)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Meter {
    /// Nothing used yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            started: OnceLock::new(),
            memory: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            cpu_time: Counter::new(limits.cpu_time.map(nanoseconds)),
            open_files: AtomicU64::new(0),
            open_files_peak: AtomicU64::new(0),
            disk: Counter::new(limits.disk.map(|bytes| bytes.0)),
            io_operations: Counter::new(limits.io_operations),
            io_bytes: Counter::new(limits.io_bytes.map(|bytes| bytes.0)),
            network_bytes: AtomicU64::new(0),
            output: Counter::new(limits.output.map(|bytes| bytes.0)),
            fuel: Counter::new(limits.fuel),
            memory_limit: limits.memory.map_or(u64::MAX, |bytes| bytes.0),
            open_files_limit: limits.open_files.unwrap_or(u64::MAX),
            file_size_limit: limits.file_size.map_or(u64::MAX, |bytes| bytes.0),
            wall_time_limit: limits.wall_time,
            stopping: AtomicBool::new(false),
            verdict: Mutex::new(Verdict::Continue),
            bell: Notify::new(),
        }
    }

    /// The program starts now: wall time counts from here. Later calls change nothing.
    pub(crate) fn begin(&self) {
        self.started.get_or_init(Instant::now);
    }

    /// `Stopping` once a verdict has fallen.
    #[inline]
    pub(crate) fn go_on(&self) -> Result<(), ErrorCode> {
        if self.stopping.load(Relaxed) { Err(ErrorCode::Stopping) } else { Ok(()) }
    }

    /// Resolves when a verdict falls.
    pub(crate) async fn stopped(&self) {
        let bell = self.bell.notified();
        tokio::pin!(bell);
        bell.as_mut().enable();
        if !self.stopping.load(SeqCst) {
            bell.await;
        }
    }

    /// Whether the instance may go on.
    pub(crate) fn verdict(&self) -> Verdict {
        self.check_wall_time();
        if self.go_on().is_ok() {
            return Verdict::Continue;
        }
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the instance for this reason, unless it was ended before. Always `Stopping`.
    pub(crate) fn end(&self, reason: Verdict) -> ErrorCode {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if *verdict == Verdict::Continue {
            *verdict = reason;
            // Set under the lock: who sees the flag finds the verdict.
            self.stopping.store(true, SeqCst);
        }
        drop(verdict);
        self.bell.notify_waiters();
        ErrorCode::Stopping
    }

    #[cold]
    fn exceed(&self, limit: LimitKind, allowed: u64, used: u64) -> ErrorCode {
        self.end(Verdict::Exceeded(Limit { limit, allowed, used }))
    }

    fn check_wall_time(&self) {
        if let (Some(limit), Some(started)) = (self.wall_time_limit, self.started.get()) {
            let elapsed = started.elapsed();
            if elapsed > limit {
                self.exceed(LimitKind::WallTime, nanoseconds(limit), nanoseconds(elapsed));
            }
        }
    }

    /// One file or network operation.
    #[inline]
    pub(crate) fn operation(&self) -> Result<(), ErrorCode> {
        let counter = &self.io_operations;
        counter.add(1).map_err(|used| self.exceed(LimitKind::IoOperations, counter.limit, used))
    }

    /// Bytes read or written, files and network together.
    #[inline]
    pub(crate) fn transferred(&self, bytes: u64) -> Result<(), ErrorCode> {
        let counter = &self.io_bytes;
        counter.add(bytes).map_err(|used| self.exceed(LimitKind::IoBytes, counter.limit, used))
    }

    /// Takes back bytes that were charged and not transferred.
    pub(crate) fn not_transferred(&self, bytes: u64) {
        self.io_bytes.subtract(bytes);
    }

    /// Bytes sent or received over the network.
    pub(crate) fn network(&self, bytes: u64) -> Result<(), ErrorCode> {
        self.network_bytes.fetch_add(bytes, Relaxed);
        self.transferred(bytes)
    }

    /// Takes back bytes that were charged and not sent over the network.
    pub(crate) fn not_sent(&self, bytes: u64) {
        let less = |sent: u64| Some(sent.saturating_sub(bytes));
        let _ = self.network_bytes.fetch_update(Relaxed, Relaxed, less);
        self.not_transferred(bytes);
    }

    /// How many of `bytes` may still be printed.
    pub(crate) fn output_left(&self, bytes: usize) -> usize {
        let left = self.output.limit.saturating_sub(self.output.get());
        bytes.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Bytes printed.
    pub(crate) fn printed(&self, bytes: u64) -> Result<(), ErrorCode> {
        self.output.add(bytes).map_err(|used| self.exceed(LimitKind::Output, self.output.limit, used))
    }

    /// Growth of what is stored; charged before it happens.
    pub(crate) fn grow_disk(&self, bytes: u64) -> Result<(), ErrorCode> {
        self.disk.add(bytes).map_err(|used| self.exceed(LimitKind::Disk, self.disk.limit, used))
    }

    /// Less is stored.
    pub(crate) fn shrink_disk(&self, bytes: u64) {
        self.disk.subtract(bytes);
    }

    /// A file is to have this size.
    pub(crate) fn file_size(&self, size: u64) -> Result<(), ErrorCode> {
        if size > self.file_size_limit {
            return Err(self.exceed(LimitKind::FileSize, self.file_size_limit, size));
        }
        Ok(())
    }

    /// One more open handle.
    pub(crate) fn open_handle(&self) -> Result<(), ErrorCode> {
        if self.try_open_handle() {
            return Ok(());
        }
        let used = self.open_files_limit.saturating_add(1);
        Err(self.exceed(LimitKind::OpenFiles, self.open_files_limit, used))
    }

    /// One more open handle if the limit allows it; trips nothing.
    pub(crate) fn try_open_handle(&self) -> bool {
        let allowed = |open: u64| (open < self.open_files_limit).then_some(open + 1);
        match self.open_files.fetch_update(Relaxed, Relaxed, allowed) {
            Ok(before) => {
                self.open_files_peak.fetch_max(before + 1, Relaxed);
                true
            }
            Err(_) => false,
        }
    }

    /// One open handle less.
    pub(crate) fn close_handle(&self) {
        self.open_files.fetch_sub(1, Relaxed);
    }

    /// Adds what the backend measured; memory is the amount held now, and of a charge that says nothing of it what it
    /// was before.
    pub(crate) fn charge(&self, used: &Usage) -> Verdict {
        if used.memory > 0 {
            self.memory.store(used.memory, Relaxed);
        }
        self.memory_peak.fetch_max(used.memory.max(used.memory_peak), Relaxed);
        if used.memory > self.memory_limit {
            self.exceed(LimitKind::Memory, self.memory_limit, used.memory);
        }
        let added = [
            (&self.cpu_time, nanoseconds(used.cpu_time), LimitKind::CpuTime),
            (&self.fuel, used.fuel, LimitKind::Fuel),
            (&self.io_operations, used.io_operations, LimitKind::IoOperations),
            (&self.io_bytes, used.io_bytes, LimitKind::IoBytes),
            (&self.output, used.output, LimitKind::Output),
            (&self.disk, used.disk, LimitKind::Disk),
        ];
        for (counter, amount, limit) in added {
            if amount > 0
                && let Err(used) = counter.add(amount)
            {
                self.exceed(limit, counter.limit, used);
            }
        }
        self.network_bytes.fetch_add(used.network_bytes, Relaxed);
        self.verdict()
    }

    /// What was used so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            memory: self.memory.load(Relaxed),
            memory_peak: self.memory_peak.load(Relaxed),
            cpu_time: Duration::from_nanos(self.cpu_time.get()),
            wall_time: self.started.get().map_or(Duration::ZERO, Instant::elapsed),
            open_files: self.open_files.load(Relaxed),
            open_files_peak: self.open_files_peak.load(Relaxed),
            disk: self.disk.get(),
            io_operations: self.io_operations.get(),
            io_bytes: self.io_bytes.get(),
            network_bytes: self.network_bytes.load(Relaxed),
            output: self.output.get(),
            fuel: self.fuel.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringfence_manifest::Bytes;

    use super::*;

    #[test]
    fn the_first_limit_that_trips_is_the_verdict() {
        let meter = Meter::new(&Limits { io_operations: Some(2), io_bytes: Some(Bytes(10)), ..Limits::default() });
        assert_eq!(meter.operation(), Ok(()));
        assert_eq!(meter.operation(), Ok(()));
        assert_eq!(meter.operation(), Err(ErrorCode::Stopping));
        assert_eq!(meter.transferred(11), Err(ErrorCode::Stopping));
        let limit = Limit { limit: LimitKind::IoOperations, allowed: 2, used: 3 };
        assert_eq!(meter.verdict(), Verdict::Exceeded(limit));
        assert_eq!(meter.go_on(), Err(ErrorCode::Stopping));
    }

    #[test]
    fn memory_is_charged_as_an_amount_and_time_as_a_difference() {
        let meter = Meter::new(&Limits { cpu_time: Some(Duration::from_millis(5)), ..Limits::default() });
        let used = Usage { memory: 100, cpu_time: Duration::from_millis(3), ..Usage::default() };
        assert_eq!(meter.charge(&used), Verdict::Continue);
        assert_eq!(meter.usage().memory, 100);
        let verdict = meter.charge(&Usage { memory: 50, ..used });
        let limit = Limit { limit: LimitKind::CpuTime, allowed: 5_000_000, used: 6_000_000 };
        assert_eq!(verdict, Verdict::Exceeded(limit));
        assert_eq!((meter.usage().memory, meter.usage().memory_peak), (50, 100));
    }

    #[test]
    fn a_charge_that_says_nothing_of_memory_leaves_it() {
        let meter = Meter::new(&Limits::default());
        meter.charge(&Usage { memory: 100, ..Usage::default() });
        meter.charge(&Usage { output: 4096, ..Usage::default() });
        assert_eq!((meter.usage().memory, meter.usage().output), (100, 4096));
    }

    #[test]
    fn a_disk_credit_never_makes_a_debt_of_the_host() {
        let meter = Meter::new(&Limits { disk: Some(Bytes(100)), ..Limits::default() });
        meter.grow_disk(10).unwrap();
        meter.shrink_disk(500);
        assert_eq!(meter.usage().disk, 0);
        assert_eq!(meter.grow_disk(101), Err(ErrorCode::Stopping));
    }

    #[test]
    fn the_handle_that_would_be_too_many_is_not_counted() {
        let meter = Meter::new(&Limits { open_files: Some(1), ..Limits::default() });
        meter.open_handle().unwrap();
        assert!(!meter.try_open_handle());
        assert_eq!(meter.verdict(), Verdict::Continue);
        assert_eq!(meter.open_handle(), Err(ErrorCode::Stopping));
        assert_eq!(meter.usage().open_files, 1);
    }

    #[tokio::test]
    async fn a_verdict_wakes_those_who_wait_before_and_after_it() {
        let meter = std::sync::Arc::new(Meter::new(&Limits::default()));
        let waiting = tokio::spawn({
            let meter = meter.clone();
            async move { meter.stopped().await }
        });
        tokio::task::yield_now().await;
        meter.end(Verdict::Stopped);
        waiting.await.unwrap();
        meter.stopped().await;
        assert_eq!(meter.verdict(), Verdict::Stopped);
    }
}
