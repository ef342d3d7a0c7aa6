//! Standard error, written by a thread of its own: a reader that does not read holds up nobody.
//!
//! What waits to be written is bounded. What does not fit is counted, and the count is told at the end.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::terminal;

/// So many bytes wait at most.
const MOST: usize = 1 << 20;
/// As much as a pipe takes whole or not at all: `PIPE_BUF`, `pipe(7)`.
const CHUNK: usize = 4096;
/// How long who says something waits for it to be written, so that it stands before what comes next.
/// When that was too short once, nobody waits again.
const GRACE: Duration = Duration::from_millis(20);
/// However much is left: at the end nobody waits longer.
const LONGEST: Duration = Duration::from_secs(10);

/// Texts on their way to standard error.
pub(crate) struct Stderr(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<String>,
    /// Bytes that wait, and those of the text that is being written.
    bytes: usize,
    /// How many chunks were written.
    written: u64,
    left_out: u64,
    slow: bool,
    /// Until the first text comes, with which the thread begins.
    sink: Option<Box<dyn Write + Send>>,
}

impl Stderr {
    /// The process's own.
    pub(crate) fn of_process() -> Self {
        Self::to(Box::new(std::io::stderr()))
    }

    /// Another one.
    pub(crate) fn to(sink: Box<dyn Write + Send>) -> Self {
        let state =
            State { waiting: VecDeque::new(), bytes: 0, written: 0, left_out: 0, slow: false, sink: Some(sink) };
        Stderr(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// Writes a text if there is room for it.
    pub(crate) fn write(&self, text: String) {
        let mut state = self.0.lock();
        if state.bytes + text.len() > MOST {
            state.left_out += 1;
            return;
        }
        self.push(state, text);
    }

    /// Writes a text when there is room for it.
    pub(crate) fn wait(&self, text: String) {
        let is_full = |state: &mut State| state.bytes > 0 && state.bytes + text.len() > MOST;
        let state = self.0.changed.wait_while(self.0.lock(), is_full).unwrap_or_else(PoisonError::into_inner);
        self.push(state, text);
    }

    /// Writes a text that must not be left out.
    pub(crate) fn insist(&self, text: String) {
        let state = self.0.lock();
        self.push(state, text);
    }

    /// Waits until everything is written, as long as something is, and no longer than `patience` for
    /// each piece of it.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let began = Instant::now();
        let mut state = self.0.lock();
        while state.bytes > 0 {
            let seen = state.written;
            let waited = self.0.changed.wait_timeout_while(state, patience, |state| state.written == seen);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() || began.elapsed() > LONGEST {
                return false;
            }
            state = now;
        }
        true
    }

    /// How many texts were left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.0.lock().left_out
    }

    fn push(&self, mut state: MutexGuard<'_, State>, text: String) {
        let text = if terminal::is_raw() { text.replace('\n', "\r\n") } else { text };
        state.bytes += text.len();
        state.waiting.push_back(text);
        if let Some(sink) = state.sink.take() {
            let shared = self.0.clone();
            let begun = thread::Builder::new().name("stderr".into()).spawn(move || shared.serve(sink));
            // Without a thread nothing is ever written, and nobody is to wait for it.
            state.slow |= begun.is_err();
        }
        self.0.changed.notify_all();
        if !state.slow {
            let waited = self.0.changed.wait_timeout_while(state, GRACE, |state| state.bytes > 0);
            let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state.slow = timeout.timed_out();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut sink: Box<dyn Write + Send>) {
        loop {
            let waited = self.changed.wait_while(self.lock(), |state| state.waiting.is_empty());
            let Some(text) = waited.unwrap_or_else(PoisonError::into_inner).waiting.pop_front() else { continue };
            for chunk in text.as_bytes().chunks(CHUNK) {
                write_all(&mut *sink, chunk);
                let mut state = self.lock();
                state.bytes -= chunk.len();
                state.written += 1;
                self.changed.notify_all();
            }
        }
    }
}

/// Standard error may be closed; the capsule runs on.
fn write_all(sink: &mut dyn Write, mut chunk: &[u8]) {
    while !chunk.is_empty() {
        match sink.write(chunk) {
            Ok(0) => return,
            Ok(written) => chunk = &chunk[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read_and_what_does_not_fit_is_counted() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stderr = Stderr::to(Box::new(writer));
        let line = "x".repeat(999) + "\n";
        let most = 2 * MOST / line.len();
        for _ in 0..most {
            stderr.write(line.clone());
        }
        assert!(!stderr.flush(Duration::from_millis(10)));
        let left_out = usize::try_from(stderr.left_out()).unwrap();
        assert!(left_out > 0 && left_out < most, "{left_out} of {most}");

        stderr.insist("the end".into());
        let mut read = vec![0; (most - left_out) * line.len() + "the end".len()];
        reader.read_exact(&mut read).unwrap();
        assert!(read.ends_with(b"\nthe end"));
        assert!(stderr.flush(Duration::from_secs(60)));
    }

    #[test]
    fn a_reader_that_is_gone_holds_up_nobody() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let stderr = Stderr::to(Box::new(writer));
        stderr.write("x".repeat(100_000));
        assert!(stderr.flush(Duration::from_secs(60)));
    }

    #[test]
    fn what_was_said_is_written_in_its_order() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stderr = Stderr::to(Box::new(writer));
        for number in 0..100 {
            stderr.write(format!("{number}\n"));
        }
        assert!(stderr.flush(Duration::from_secs(60)));
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        let mut read = vec![0; expected.len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), expected);
    }
}
