//! What a program prints where events go, made events of its own.
//!
//! With `--json` standard error is an object on a line each. A program that inherits it could print lines that read like
//! ours. So it never has it: in its place is a pipe, and what comes there is passed on in objects that say so. When
//! standard output is the same pipe or file (`2>&1`), that is marked as well.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, fcntl_dupfd_cloexec, ioctl_fionbio, read};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};

use crate::events::Events;

/// How much is read at once, and of one line told at once.
const CHUNK: usize = 4096;
/// Above what programs take for standard streams.
const ABOVE: i32 = 3;
/// How long whoever reads events may take for what the program printed last.
const PATIENCE: Duration = Duration::from_secs(2);

/// Standard streams that lead to events. What is printed is told until this is [finished](Marked::finish).
pub(crate) struct Marked {
    over: OwnedFd,
    told: Receiver<()>,
}

/// Where events are written, once nothing else is.
pub(crate) struct Apart {
    stderr: File,
    printed: Vec<(&'static str, OwnedFd)>,
}

impl Apart {
    /// What standard error was.
    pub(crate) fn stderr(&self) -> io::Result<File> {
        self.stderr.try_clone()
    }
}

/// Puts pipes in the place of this process's standard error, and of standard output where that is the same.
pub(crate) fn set_apart() -> io::Result<Apart> {
    let both = are_same(stdout(), stderr());
    let own = fcntl_dupfd_cloexec(stderr(), ABOVE)?;
    let mut printed = Vec::new();
    let mut pipe = |name, replace: &dyn Fn(&OwnedFd) -> Result<(), Errno>| -> io::Result<()> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        replace(&writer)?;
        printed.push((name, fcntl_dupfd_cloexec(reader, ABOVE)?));
        Ok(())
    };
    pipe("stderr", &|writer| dup2_stderr(writer))?;
    if both {
        pipe("stdout", &|writer| dup2_stdout(writer))?;
    }
    Ok(Apart { stderr: own.into(), printed })
}

/// Whether two streams are one pipe or file.
fn are_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let identity = |stream| fstat(stream).map(|found| (found.st_dev, found.st_ino, found.st_mode)).ok();
    let found = identity(one);
    let kinds = [FileType::Fifo, FileType::RegularFile];
    found.is_some_and(|(.., mode)| kinds.contains(&FileType::from_raw_mode(mode))) && found == identity(other)
}

impl Marked {
    /// Tells what is printed to `events`, from a thread.
    pub(crate) fn begin(printed: Apart, events: &Events) -> io::Result<Self> {
        let (over, end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (done, told) = channel();
        let (streams, events) = (printed.printed, events.clone());
        for (_, stream) in &streams {
            ioctl_fionbio(stream, true)?;
        }
        thread::Builder::new().name("printed".into()).spawn(move || {
            tell(streams, &over, &events);
            drop(done);
        })?;
        Ok(Marked { over: end, told })
    }

    /// When nothing is printed any more: tells the rest, as long as somebody takes it.
    pub(crate) fn finish(self) {
        drop(self.over);
        // Nothing is ever sent: this ends when the thread does.
        let _ = self.told.recv_timeout(PATIENCE);
    }
}

/// Tells what comes until `over` closes, and what is there then.
fn tell(streams: Vec<(&'static str, OwnedFd)>, over: &OwnedFd, events: &Events) {
    let mut lines: Vec<Lines> =
        streams.into_iter().map(|(name, from)| Lines { name, from, begun: Vec::new() }).collect();
    loop {
        let mut ready: Vec<PollFd<'_>> = lines.iter().map(|line| PollFd::new(&line.from, PollFlags::IN)).collect();
        ready.push(PollFd::new(over, PollFlags::empty()));
        if poll(&mut ready, None).is_err() {
            continue;
        }
        let is_over = ready.last().is_some_and(|over| !over.revents().is_empty());
        let mut came = false;
        for line in &mut lines {
            came |= line.take(events);
        }
        if is_over && !came {
            break;
        }
    }
    for line in &mut lines {
        if !line.begun.is_empty() {
            line.tell(line.begun.len(), events);
        }
    }
}

/// One stream.
struct Lines {
    name: &'static str,
    from: OwnedFd,
    /// Of a line that is not finished.
    begun: Vec<u8>,
}

impl Lines {
    /// Takes what is there; whether something was.
    fn take(&mut self, events: &Events) -> bool {
        let mut chunk = [0; CHUNK];
        let Ok(length @ 1..) = read(&self.from, &mut chunk) else { return false };
        self.begun.extend(&chunk[..length]);
        while let Some(end) = self.begun.iter().position(|&byte| byte == b'\n') {
            self.tell(end + 1, events);
        }
        while self.begun.len() >= CHUNK {
            self.tell(CHUNK, events);
        }
        true
    }

    fn tell(&mut self, length: usize, events: &Events) {
        let piece: Vec<u8> = self.begun.drain(..length).collect();
        let line = piece.strip_suffix(b"\n");
        events.printed(self.name, &String::from_utf8_lossy(line.unwrap_or(&piece)), line.is_some());
    }
}
