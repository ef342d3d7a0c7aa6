//! Another command in the place: pid 1 forks it, so that no process of the host's ever enters.
//!
//! ```text
//! supervisor ──commands: 0, a line──▶ pid 1 ──clone──▶ child: streams, words ──▶ execve
//!     ▲                                 │                │ cannot be executed
//!     └────────── on the line: ended ◀──┘ ◀──────────────┘
//! ```
//!
//! The child stands behind every wall that pid 1 put up around itself, and gets the limits that pid 2 got.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{Launch, Message, Step, gate, line, second};
use crate::sys::{self, Words};

/// How many commands may run at once beside the program.
pub(super) const MOST: usize = 8;
/// How long the words of one may be together.
const LONGEST: usize = 64 << 10;

/// Orders a command: the first of `paths` that is there is executed with these arguments. Its end, or why
/// it has none, is reported on the line that is returned; closing that line ends it.
pub(crate) fn order(
    commands: &OwnedFd,
    streams: &[OwnedFd; 3],
    paths: &[CString],
    arguments: &[CString],
) -> Result<OwnedFd, Errno> {
    let (ours, theirs) = line()?;
    gate::pass_streams(&ours, streams)?;
    for words in [paths, arguments] {
        let text: Vec<u8> = words.iter().flat_map(|word| word.as_bytes_with_nul()).copied().collect();
        if text.len() > LONGEST {
            return Err(Errno::TOOBIG);
        }
        send(&ours, &text, SendFlags::NOSIGNAL)?;
    }
    gate::pass_line(commands, theirs.as_fd())?;
    Ok(ours)
}

/// The commands that run.
#[derive(Default)]
pub(super) struct Orders([Option<Running>; MOST]);

struct Running {
    pid: i32,
    line: OwnedFd,
}

impl Orders {
    /// Starts the command that is ordered on this line.
    pub(super) fn start(&mut self, launch: &Launch<'_>, line: OwnedFd) {
        let Some(free) = self.0.iter_mut().find(|running| running.is_none()) else {
            Message::Failed(Step::Clone, Errno::AGAIN).send(&line);
            return;
        };
        match sys::clone_copying_memory(carry_out, &(launch, &line)) {
            Ok(pid) => *free = Some(Running { pid, line }),
            Err(errno) => Message::Failed(Step::Clone, errno).send(&line),
        }
    }

    /// Reports the end of one of them.
    pub(super) fn ended(&mut self, pid: i32, status: i32) {
        let its = self.0.iter_mut().find(|running| running.as_ref().is_some_and(|running| running.pid == pid));
        if let Some(running) = its.and_then(Option::take) {
            Message::Ended(status).send(&running.line);
        }
    }

    /// The line of one of them, if it runs.
    pub(super) fn line(&self, index: usize) -> Option<&OwnedFd> {
        self.0.get(index)?.as_ref().map(|running| &running.line)
    }

    /// Ends one, with its session's processes, that nobody waits for any more.
    pub(super) fn give_up(&mut self, index: usize) {
        if let Some(running) = self.0.get_mut(index).and_then(Option::take) {
            let _ = sys::kill(-running.pid, libc::SIGKILL);
            // It may not lead a session yet.
            let _ = sys::kill(running.pid, libc::SIGKILL);
        }
    }
}

/// What the child does. It has a copy of the memory of pid 1: it allocates nothing, takes no lock and does
/// not panic.
fn carry_out(&(launch, line): &(&Launch<'_>, &OwnedFd)) -> ! {
    let (step, errno) = match prepare(launch, line) {
        Ok((mut paths, arguments)) => (Step::Execute, execute(launch, &mut paths, &arguments)),
        Err(failed) => failed,
    };
    Message::Failed(step, errno).send(line);
    sys::exit(127)
}

fn prepare(launch: &Launch<'_>, line: &OwnedFd) -> Result<(Words, Words), (Step, Errno)> {
    second::become_ready(launch)?;
    if !gate::take_streams(line).map_err(|errno| (Step::Streams, errno))? {
        return Err((Step::Streams, Errno::CONNABORTED));
    }
    let words = || words(line).map_err(|errno| (Step::Execute, errno));
    Ok((words()?, words()?))
}

fn words(line: &OwnedFd) -> Result<Words, Errno> {
    let mut words = Words::room(LONGEST)?;
    let (count, _) = retry_on_intr(|| recv(line, words.bytes(), RecvFlags::empty()))?;
    words.split(count)?;
    Ok(words)
}

/// Becomes the first of the paths that is there; returns when there is none, or it cannot be executed.
fn execute(launch: &Launch<'_>, paths: &mut Words, arguments: &Words) -> Errno {
    let mut last = Errno::NOENT;
    for path in paths.iter() {
        let path: &CStr = path;
        match sys::execve_words(path, arguments, &launch.recipe.arguments.environment) {
            Errno::NOENT => {}
            errno => last = errno,
        }
    }
    last
}
