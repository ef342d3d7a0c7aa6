//! A terminal of the program's own: `pty(7)`.
//!
//! Both ends are the supervisor's; what the capsule sees of the host's `/dev/pts` is the one file that
//! is its terminal, mounted as [`PATH`]. The terminal of whoever runs ringfence is never among its
//! descriptors: what is typed there goes through [`Terminal::begin`], what is shown through the hal.
//!
//! The supervisor keeps the program's end open too, so that a program that closes its terminal and
//! opens it again finds it as it was.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::Path;
use std::thread;

use ringfence_manifest::{Spec, Stdio, StreamIn, StreamOut, WindowSize};
use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fstat, major, open, openat, readlink};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::ioctl_tiocsctty;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use rustix::termios::{Winsize, isatty, tcsetwinsize};

use crate::launch::{above_streams, pair};
use crate::pump::feed;
use crate::sys;
use crate::tree::{Identity, Source};

/// Where a program finds its terminal.
pub(crate) const PATH: &CStr = c"/dev/pts/0";

/// Where a program finds the user's terminal, when that is one of its streams. The mount it is on keeps its mode and
/// owner, which whoever has a descriptor of the host's own file could change for everybody.
pub(crate) const CONSOLE: &CStr = c"/dev/console";

/// Enough for a loop around `poll`.
const STACK: usize = 64 * 1024;
/// The end of what is typed, as long as the program has not changed its terminal (`termios(3)`, VEOF).
const END: u8 = 4;

/// The supervisor's part of a terminal.
pub(crate) struct Terminal {
    master: OwnedFd,
    /// The program's end, kept open.
    peer: OwnedFd,
    /// What is typed, until somebody begins to type it.
    pub(crate) input: Option<OwnedFd>,
    /// Closed when nothing is to be typed any more.
    _over: OwnedFd,
    typing_ends: Option<OwnedFd>,
}

/// The program's part.
pub(crate) struct Peer {
    /// Its file on the host.
    pub(crate) source: Source,
    /// Whether standard error leads elsewhere.
    pub(crate) error_apart: bool,
}

impl Terminal {
    /// A new terminal, and the program's part of it.
    pub(crate) fn open(size: WindowSize, spec: &Spec) -> io::Result<(Terminal, Peer)> {
        let terminal = Self::pair(size)?;
        let path = format!("/dev/pts/{}", sys::terminal_number(terminal.master.as_fd())?);
        // The path is a word of the host's; what is mounted is the file that is open here, or nothing.
        let source = Source { identity: Identity::of(&fstat(&terminal.peer)?), ..Source::look(Path::new(&path))? };
        Ok((terminal, Peer { source, error_apart: has_error_apart(spec) }))
    }

    /// Both ends of a new terminal.
    fn pair(size: WindowSize) -> io::Result<Terminal> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let master = above_streams(open(c"/dev/ptmx", flags, Mode::empty())?)?;
        sys::terminal_unlock(master.as_fd())?;
        let peer = above_streams(sys::terminal_peer(master.as_fd())?)?;
        let (typing_ends, over) = pair()?;
        let terminal = Terminal { master, peer, input: None, _over: over, typing_ends: Some(typing_ends) };
        terminal.resize(size);
        Ok(terminal)
    }

    /// A new terminal for a further command, into which `input` is typed, and the command's streams. No file of the
    /// place is this terminal: whoever has no descriptor of it cannot open it.
    pub(crate) fn of_command(size: WindowSize, input: OwnedFd) -> io::Result<(Terminal, [OwnedFd; 3])> {
        let terminal = Terminal { input: Some(above_streams(input)?), ..Self::pair(size)? };
        let end = || terminal.peer.try_clone();
        let streams = [end()?, end()?, end()?];
        Ok((terminal, streams))
    }

    /// What it shows, to be read.
    pub(crate) fn shown(&self) -> io::Result<OwnedFd> {
        self.master.try_clone()
    }

    /// Sets its size; the kernel tells the program.
    pub(crate) fn resize(&self, size: WindowSize) {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        // A terminal of another size is still one.
        let _ = tcsetwinsize(&self.master, size);
    }

    /// Begins to type, on a thread of its own that ends with the terminal or with the input.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        let (Some(input), Some(over)) = (self.input.take(), self.typing_ends.take()) else { return Ok(()) };
        let master = self.master.try_clone()?;
        let builder = thread::Builder::new().name("ringfence-typing".into()).stack_size(STACK);
        builder.spawn(move || feed(&input, &over, &master, Some(END))).map(drop)
    }
}

/// The user's terminal, as a place has it.
pub(crate) struct Console {
    pub(crate) source: Source,
    /// As long as it is open here, its name is nobody else's.
    _held: OwnedFd,
}

/// Devices that lead to whatever terminal the one who opens them has: `TTYAUX_MAJOR`, `tty(4)`.
const OTHERS: u32 = 5;

/// The user's terminal, when it is a stream that is inherited and handed over: the first that can be read and written,
/// and opened again where its name says. A program is given no other. Where what is printed is counted, it goes through
/// pipes, and no terminal leads past them.
pub(crate) fn of_user(spec: &Spec) -> Option<Console> {
    let Stdio { stdin: input, stdout: output, stderr: error } = &spec.stdio;
    if spec.limits.output.is_some() {
        return None;
    }
    let inherits = [
        (*input == StreamIn::Inherit, stdin()),
        (*output == StreamOut::Inherit, stdout()),
        (*error == StreamOut::Inherit, stderr()),
    ];
    inherits.into_iter().filter(|(inherits, stream)| *inherits && isatty(stream)).find_map(|(_, stream)| named(stream))
}

/// The file of a terminal.
fn named(terminal: BorrowedFd<'_>) -> Option<Console> {
    let found = fstat(terminal).ok()?;
    if !fcntl_getfl(terminal).ok()?.contains(OFlags::RDWR) || major(found.st_rdev) == OTHERS {
        return None;
    }
    let link = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    let name = readlink(link, Vec::new()).ok()?.into_string().ok()?;
    let source = Source::look_resolved(Path::new(&name)).ok()?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let held = above_streams(open(name.as_str(), flags, Mode::empty()).ok()?).ok()?;
    let is_same = |identity: Identity| source.identity == identity;
    (is_same(Identity::of(&found)) && is_same(Identity::of(&fstat(&held).ok()?)))
        .then_some(Console { source, _held: held })
}

/// Opens the user's terminal in a new tree; a number that is none where it is not there any more. Runs after a clone: it
/// allocates nothing.
pub(crate) fn open_console() -> i32 {
    // Nobody waits for a line to be there.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = openat(CWD, CONSOLE, flags, Mode::empty()).and_then(above_streams);
    let opened = opened.and_then(|opened| ioctl_fionbio(&opened, false).map(|()| opened));
    opened.map_or(-1, IntoRawFd::into_raw_fd)
}

/// Whether standard error leads elsewhere than to the terminal.
pub(crate) fn has_error_apart(spec: &Spec) -> bool {
    spec.stdio.stderr != StreamOut::Inherit
}

/// Makes the terminal of the place the one that controls this session, and the standard streams lead
/// there. Runs after a clone: it allocates nothing.
pub(crate) fn take(peer: &Peer) -> Result<(), Errno> {
    let terminal = openat(CWD, PATH, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    ioctl_tiocsctty(&terminal)?;
    dup2_stdin(&terminal)?;
    dup2_stdout(&terminal)?;
    if peer.error_apart { Ok(()) } else { dup2_stderr(&terminal) }
}
