//! Another command in the place: pid 1 forks it, so that no process of the host's ever enters.
//!
//! ```text
//! supervisor ──commands: 0, a line, steering──▶ pid 1 ──clone──▶ child: streams, words ──▶ execve
//!     ▲   │                                      ▲ │                │ cannot be executed
//!     │   └──── steering: signals, or its end ───┘ │                │
//!     └──────────── on the line: ended ◀───────────┘ ◀──────────────┘
//! ```
//!
//! The child stands behind every wall that pid 1 put up around itself, and gets the limits that pid 2 got. Nothing
//! of the host's is open in it when it reads what to do, but the line and its streams: a working directory or a
//! program cannot be reached through what is left open (CVE-2024-21626, CVE-2019-5736).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{chdir, ioctl_tiocsctty};
use rustix::stdio::stdin;

use super::descriptors::beside;
use super::{Launch, Message, Step, gate, line, second};
use crate::sys::{self, Words};
use crate::tree::Identity;

/// How many commands may run at once beside the program.
pub(super) const MOST: usize = 8;
/// How long the words of one may be together, and its environment.
const LONGEST: usize = 64 << 10;
/// What a setting says when it says nothing.
const NOT: &CStr = c"";

/// A command to be started.
pub(crate) struct Order {
    /// The first of these that is there is executed.
    pub(crate) paths: Vec<CString>,
    pub(crate) arguments: Vec<CString>,
    /// All of its variables, when they are others than the program's.
    pub(crate) environment: Option<Vec<CString>>,
    pub(crate) working_directory: Option<CString>,
    /// Whether its standard input is a terminal of its own.
    pub(crate) terminal: bool,
}

/// Orders a command with these streams. Its end, or why it has none, is reported on the line that is returned
/// first; what is written to the second one are signals for it, and closing that one ends it.
pub(crate) fn order(
    commands: &OwnedFd,
    streams: &[OwnedFd; 3],
    console: Option<Identity>,
    order: &Order,
) -> Result<(OwnedFd, OwnedFd), Errno> {
    let ((ours, theirs), (steering, steered)) = (line()?, line()?);
    gate::pass_streams(&ours, streams, console)?;
    let flag = |set: bool| if set { c"x" } else { NOT };
    let mut settings = vec![
        flag(order.terminal),
        order.working_directory.as_deref().unwrap_or(NOT),
        flag(order.environment.is_some()),
    ];
    settings.extend(order.environment.iter().flatten().map(CString::as_c_str));
    let words = |words: &[CString]| words.iter().flat_map(|word| word.as_bytes_with_nul()).copied().collect();
    let settings: Vec<u8> = settings.iter().flat_map(|word| word.to_bytes_with_nul()).copied().collect();
    for text in [words(&order.paths), words(&order.arguments), settings] {
        if text.len() > LONGEST {
            return Err(Errno::TOOBIG);
        }
        // Nobody reads yet: what has no room now will have none.
        match send(&ours, &text, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Err(Errno::AGAIN) => return Err(Errno::TOOBIG),
            sent => sent?,
        };
    }
    gate::pass_order(commands, theirs.as_fd(), steered.as_fd())?;
    Ok((ours, steering))
}

/// The commands that run.
#[derive(Default)]
pub(super) struct Orders([Option<Running>; MOST]);

struct Running {
    pid: i32,
    line: OwnedFd,
    steering: OwnedFd,
}

impl Orders {
    /// Starts the command that is ordered on this line.
    pub(super) fn start(&mut self, launch: &Launch<'_>, line: OwnedFd, steering: OwnedFd) {
        let Some(free) = self.0.iter_mut().find(|running| running.is_none()) else {
            Message::Failed(Step::Clone, Errno::AGAIN).send(&line);
            return;
        };
        match sys::clone_copying_memory(carry_out, &(launch, &line)) {
            Ok(pid) => *free = Some(Running { pid, line, steering }),
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

    /// Where one of them is steered, if it runs.
    pub(super) fn steering(&self, index: usize) -> Option<&OwnedFd> {
        self.0.get(index)?.as_ref().map(|running| &running.steering)
    }

    /// Passes a signal on; ends one that nobody waits for any more.
    pub(super) fn steer(&mut self, index: usize) {
        let Some(Some(Running { pid, steering, .. })) = self.0.get(index) else { return };
        let mut signal = [0];
        match recv(steering, &mut signal, RecvFlags::DONTWAIT) {
            Ok((count, _)) if count > 0 => _ = sys::kill(*pid, i32::from(signal[0])),
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.give_up(index),
        }
    }

    /// Ends one, with the processes of its group. Those of other groups of its session end with the place.
    fn give_up(&mut self, index: usize) {
        if let Some(running) = self.0.get_mut(index).and_then(Option::take) {
            let _ = sys::kill(-running.pid, libc::SIGKILL);
            // It may not lead a session yet.
            let _ = sys::kill(running.pid, libc::SIGKILL);
        }
    }
}

/// What the child reads.
struct Ordered {
    paths: Words,
    arguments: Words,
    settings: Words,
}

/// What the child does. It has a copy of the memory of pid 1: it allocates nothing, takes no lock and does
/// not panic.
fn carry_out(&(launch, line): &(&Launch<'_>, &OwnedFd)) -> ! {
    let (step, errno) = match prepare(launch, line) {
        Ok(mut ordered) => (Step::Execute, execute(launch, &mut ordered)),
        Err(failed) => failed,
    };
    Message::Failed(step, errno).send(line);
    sys::exit(127)
}

fn prepare(launch: &Launch<'_>, line: &OwnedFd) -> Result<Ordered, (Step, Errno)> {
    let at = |step: Step| move |errno: Errno| (step, errno);
    second::become_ready(launch)?;
    // What pid 1 has open is none of its business: not even before it becomes something else.
    let console = launch.console.load(Relaxed);
    let kept = [0, 1, 2, line.as_raw_fd(), console];
    for (first, last) in beside(|| kept.iter().filter_map(|&number| u32::try_from(number).ok())) {
        sys::close_range(first, last, false).map_err(at(Step::Descriptors))?;
    }
    if !gate::take_streams(line, console).map_err(at(Step::Streams))? {
        return Err((Step::Streams, Errno::CONNABORTED));
    }
    let words = || words(line).map_err(at(Step::Order));
    let ordered = Ordered { paths: words()?, arguments: words()?, settings: words()? };
    if ordered.setting(TERMINAL).is_some() {
        ioctl_tiocsctty(stdin()).map_err(at(Step::Terminal))?;
    }
    if let Some(folder) = ordered.setting(WORKING_DIRECTORY) {
        chdir(folder).and_then(|()| sys::is_within_root()).map_err(at(Step::WorkingDirectory))?;
    }
    Ok(ordered)
}

const TERMINAL: usize = 0;
const WORKING_DIRECTORY: usize = 1;
const ENVIRONMENT: usize = 2;

impl Ordered {
    /// A setting that says something.
    fn setting(&self, index: usize) -> Option<&CStr> {
        self.settings.iter().nth(index).filter(|text| !text.is_empty())
    }
}

fn words(line: &OwnedFd) -> Result<Words, Errno> {
    let mut words = Words::room(LONGEST)?;
    let (count, _) = retry_on_intr(|| recv(line, words.bytes(), RecvFlags::empty()))?;
    words.split(count)?;
    Ok(words)
}

/// Becomes the first of the paths that is there; returns when there is none, or it cannot be executed.
fn execute(launch: &Launch<'_>, ordered: &mut Ordered) -> Errno {
    let Ordered { paths, arguments, settings } = ordered;
    if let Err(errno) = launch.recipe.confinement.close() {
        return errno;
    }
    let own = settings.iter().nth(ENVIRONMENT).is_some_and(|text| !text.is_empty());
    let mut last = Errno::NOENT;
    for path in paths.iter() {
        let path: &CStr = path;
        let errno = match own {
            true => sys::execve_words(path, arguments, settings.after(ENVIRONMENT)),
            false => sys::execve_words(path, arguments, launch.recipe.arguments.environment.pointers()),
        };
        match errno {
            Errno::NOENT => {}
            errno => last = errno,
        }
    }
    last
}
