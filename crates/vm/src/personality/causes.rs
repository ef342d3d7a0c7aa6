//! Why there is a signal, and the signals that wait: `siginfo_t` of `sigaction(2)`, `signal(7)`.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use rustix::io::Errno;

use super::process::lock;
use crate::snapshot::state;
use crate::words::u64_at;

/// How many signals of one process or thread wait at most: `RLIMIT_SIGPENDING`.
const MOST: usize = 1024;
/// The first of those that are queued, each with its value.
const REAL_TIME: i32 = 32;

/// The bit of a signal in a set.
pub(super) fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Why there is a signal: `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) signal: i32,
    pub(super) code: i32,
    /// What lies behind signal, error and code: who sent it and a value, or an address.
    pub(super) words: [u64; 2],
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl Cause {
    /// The thread's own fault, at an address.
    pub(super) fn fault(signal: i32, code: i32, address: u64) -> Self {
        Cause { signal, code, words: [address, 0] }
    }

    /// Raised for the thread by a call it made.
    pub(super) fn own(signal: i32) -> Self {
        Cause { signal, code: libc::SI_KERNEL, words: [0; 2] }
    }

    /// Sent by a process.
    pub(super) fn sent(signal: i32, code: i32, by: u32) -> Self {
        Cause { signal, code, words: [pair(by, rustix::process::getuid().as_raw()), 0] }
    }

    /// Something happened to a child: `CLD_*`, with its status or signal.
    pub(super) fn child(code: i32, child: u32, status: i32) -> Self {
        let words = [pair(child, rustix::process::getuid().as_raw()), pair(status as u32, 0)];
        Cause { signal: libc::SIGCHLD, code, words }
    }

    /// A timer of this number expired; `value` is the program's own.
    pub(super) fn timer(signal: i32, timer: i32, value: u64) -> Self {
        Cause { signal, code: libc::SI_TIMER, words: [pair(timer as u32, 0), value] }
    }

    /// What a program wrote down.
    pub(super) fn read(signal: i32, bytes: &[u8; 128]) -> Self {
        let word = |at: usize| u64_at(bytes, at);
        Cause { signal, code: word(8) as u32 as i32, words: [word(16), word(24)] }
    }

    /// One that was captured; `None` when there is no such signal.
    pub(super) fn of(&state::Cause { signal, code, words }: &state::Cause) -> Option<Cause> {
        (1..=64).contains(&signal).then_some(Cause { signal, code, words })
    }

    /// `siginfo_t`
    pub(super) fn bytes(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[..4].copy_from_slice(&self.signal.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.code.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.words[0].to_le_bytes());
        bytes[24..32].copy_from_slice(&self.words[1].to_le_bytes());
        bytes
    }

    /// `struct signalfd_siginfo`
    pub(super) fn record(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        let mut put = |at: usize, word: u32| bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        let [first, second] = self.words;
        put(0, self.signal as u32);
        put(8, self.code as u32);
        match self.code {
            libc::SI_TIMER => {
                put(24, first as u32);
                put(32, (first >> 32) as u32);
            }
            _ => {
                put(12, first as u32);
                put(16, (first >> 32) as u32);
            }
        }
        match (self.signal, self.code) {
            (libc::SIGCHLD, 1..) => put(40, second as u32),
            _ => {
                put(44, second as u32);
                bytes[48..56].copy_from_slice(&second.to_le_bytes());
            }
        }
        bytes
    }
}

/// Signals that wait, with their causes. Beside it stands a set of the same signals, which is looked at
/// without a lock.
#[derive(Default)]
pub(super) struct Queue(Mutex<VecDeque<Cause>>);

impl Queue {
    /// The same signals wait.
    pub(super) fn duplicate(&self) -> Queue {
        Queue(Mutex::new(lock(&self.0).clone()))
    }

    /// One more waits. An ordinary signal waits once; `EAGAIN` when too many of the others wait.
    pub(super) fn put(&self, set: &AtomicU64, cause: Cause) -> Result<(), Errno> {
        let mut queue = lock(&self.0);
        let waits = set.load(SeqCst) & bit(cause.signal) != 0;
        if waits && cause.signal < REAL_TIME {
            return Ok(());
        }
        if cause.signal >= REAL_TIME && queue.len() >= MOST {
            return Err(Errno::AGAIN);
        }
        queue.push_back(cause);
        set.fetch_or(bit(cause.signal), SeqCst);
        Ok(())
    }

    /// Takes the first of the lowest of these signals.
    pub(super) fn take(&self, set: &AtomicU64, mask: u64) -> Option<Cause> {
        if set.load(SeqCst) & mask == 0 {
            return None;
        }
        let mut queue = lock(&self.0);
        let found = set.load(SeqCst) & mask;
        let signal = (1..=64).find(|&signal| found & bit(signal) != 0)?;
        let at = queue.iter().position(|cause| cause.signal == signal);
        let cause = at.and_then(|at| queue.remove(at)).unwrap_or_else(|| Cause::own(signal));
        if !queue.iter().any(|cause| cause.signal == signal) {
            set.fetch_and(!bit(signal), SeqCst);
        }
        Some(cause)
    }

    /// Those that wait, in their order.
    pub(super) fn captured(&self) -> Vec<state::Cause> {
        let cause = |&Cause { signal, code, words }: &Cause| state::Cause { signal, code, words };
        lock(&self.0).iter().map(cause).collect()
    }

    /// The reverse of [`captured`](Self::captured); `None` when they cannot be so.
    pub(super) fn revive(&self, set: &AtomicU64, captured: &[state::Cause]) -> Option<()> {
        captured.iter().try_for_each(|cause| self.put(set, Cause::of(cause)?).ok())
    }

    /// None waits any more, and nothing is kept for them.
    pub(super) fn empty(&self, set: &AtomicU64) {
        let mut queue = lock(&self.0);
        *queue = VecDeque::new();
        set.store(0, SeqCst);
    }

    /// None of these waits any more.
    pub(super) fn clear(&self, set: &AtomicU64, mask: u64) {
        let mut queue = lock(&self.0);
        queue.retain(|cause| bit(cause.signal) & mask == 0);
        set.fetch_and(!mask, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_signals_wait_once_and_those_of_real_time_in_order() {
        let (queue, set) = (Queue::default(), AtomicU64::new(0));
        for value in 0..3 {
            queue.put(&set, Cause { signal: 40, code: -1, words: [0, value] }).unwrap();
            queue.put(&set, Cause { signal: 10, code: 0, words: [0, value] }).unwrap();
        }
        assert_eq!(queue.take(&set, bit(40)).map(|cause| cause.words[1]), Some(0));
        let rest: Vec<_> = std::iter::from_fn(|| queue.take(&set, u64::MAX)).map(|cause| cause.signal).collect();
        assert_eq!((rest, set.load(SeqCst)), (vec![10, 40, 40], 0));
    }

    #[test]
    fn nothing_is_kept_for_signals_that_nobody_takes_any_more() {
        let (queue, set) = (Queue::default(), AtomicU64::new(0));
        while queue.put(&set, Cause { signal: 64, code: -1, words: [0; 2] }).is_ok() {}
        queue.empty(&set);
        let capacity = lock(&queue.0).capacity();
        assert_eq!((capacity, set.load(SeqCst), queue.captured().len()), (0, 0, 0));
    }

    #[test]
    fn no_program_fills_the_host_with_signals() {
        let (queue, set) = (Queue::default(), AtomicU64::new(0));
        let cause = Cause { signal: 64, code: -1, words: [0; 2] };
        while queue.put(&set, cause).is_ok() {}
        assert_eq!(lock(&queue.0).len(), MOST);
        queue.put(&set, Cause::own(libc::SIGTERM)).unwrap();
    }
}
