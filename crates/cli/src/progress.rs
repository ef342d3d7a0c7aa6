//! A line on the terminal while something takes long.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What takes no longer is not worth a line.
const PATIENCE: Duration = Duration::from_millis(300);
const FRAME: Duration = Duration::from_millis(100);

/// A line with the time that has gone by, until it is dropped.
pub(crate) struct Elapsed {
    ended: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Elapsed {
    /// Begins to count; `None` when standard error is no terminal.
    pub(crate) fn begin(doing: String) -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let (ended, end) = mpsc::channel();
        let thread = thread::Builder::new().spawn(move || draw(&doing, &end)).ok()?;
        Some(Elapsed { ended: Some(ended), thread: Some(thread) })
    }
}

impl Drop for Elapsed {
    fn drop(&mut self) {
        drop(self.ended.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn draw(doing: &str, end: &mpsc::Receiver<()>) {
    let began = Instant::now();
    let mut stderr = std::io::stderr();
    let mut wait = PATIENCE;
    while end.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = FRAME;
        let _ = write!(stderr, "\r\x1b[Kringfence: {doing} … {:.1} s", began.elapsed().as_secs_f64());
    }
    if wait == FRAME {
        let _ = write!(stderr, "\r\x1b[K");
    }
}
