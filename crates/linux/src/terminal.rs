//! A terminal of the program's own: `pty(7)`.
//!
//! Both ends are the supervisor's; what the capsule sees of the host's `/dev/pts` is the one file that
//! is its terminal, mounted as [`console::PATH`]: in its own `/dev/pts` are those that its programs make. The terminal of whoever runs ringfence is never among its
//! descriptors: what is typed there goes through [`Terminal::begin`], what is shown through the hal.
//!
//! The supervisor keeps the program's end open too, so that a program that closes its terminal and
//! opens it again finds it as it was.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;

use ringfence_manifest::{Spec, StreamOut, WindowSize};
use rustix::fs::{CWD, Mode, OFlags, fstat, open, openat};
use rustix::io::Errno;
use rustix::process::ioctl_tiocsctty;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::console;
use crate::launch::{above_streams, pair};
use crate::pump::feed;
use crate::sys;
use crate::tree::{Identity, Source};

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

/// Whether standard error leads elsewhere than to the terminal.
pub(crate) fn has_error_apart(spec: &Spec) -> bool {
    spec.stdio.stderr != StreamOut::Inherit
}

/// Makes the terminal of the place the one that controls this session, and the standard streams lead
/// there. Runs after a clone: it allocates nothing.
pub(crate) fn take(peer: &Peer) -> Result<(), Errno> {
    let terminal = openat(CWD, console::PATH, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    ioctl_tiocsctty(&terminal)?;
    dup2_stdin(&terminal)?;
    dup2_stdout(&terminal)?;
    if peer.error_apart { Ok(()) } else { dup2_stderr(&terminal) }
}
