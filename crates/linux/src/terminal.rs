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
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;

use ringfence_manifest::{Spec, StreamOut, WindowSize};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, fstat, open, openat};
use rustix::io::{Errno, read, write};
use rustix::process::ioctl_tiocsctty;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::launch::{above_streams, pair};
use crate::sys;
use crate::tree::{Identity, Source};

/// Where a program finds its terminal.
pub(crate) const PATH: &CStr = c"/dev/pts/0";

/// Enough for a loop around `poll`.
const STACK: usize = 64 * 1024;
/// How much is typed at once.
const CHUNK: usize = 4096;
/// The end of what is typed, as long as the program has not changed its terminal (`termios(3)`, VEOF).
const END: u8 = 4;

/// The supervisor's part of a terminal.
pub(crate) struct Terminal {
    master: OwnedFd,
    /// The program's end, kept open.
    _peer: OwnedFd,
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
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let master = above_streams(open(c"/dev/ptmx", flags, Mode::empty())?)?;
        sys::terminal_unlock(master.as_fd())?;
        let path = format!("/dev/pts/{}", sys::terminal_number(master.as_fd())?);
        let peer = above_streams(sys::terminal_peer(master.as_fd())?)?;
        // The path is a word of the host's; what is mounted is the file that is open here, or nothing.
        let source = Source { identity: Identity::of(&fstat(&peer)?), ..Source::look(Path::new(&path))? };
        let (typing_ends, over) = pair()?;
        let terminal = Terminal { master, _peer: peer, input: None, _over: over, typing_ends: Some(typing_ends) };
        terminal.resize(size);
        Ok((terminal, Peer { source, error_apart: has_error_apart(spec) }))
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
        builder.spawn(move || type_in(&input, &over, &master)).map(drop)
    }
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

/// Types what comes until it ends; until `over` closes at the longest.
fn type_in(input: &OwnedFd, over: &OwnedFd, master: &OwnedFd) {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut line_is_open = false;
    loop {
        let mut ready = [PollFd::new(input, PollFlags::IN), PollFd::new(over, PollFlags::empty())];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        let [_, ended] = ready.map(|ready| !ready.revents().is_empty());
        if ended {
            return;
        }
        chunk.clear();
        match read(input, spare_capacity(&mut chunk)) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(count) if count > 0 => {
                line_is_open = !chunk.ends_with(b"\n");
                if type_all(&chunk, over, master).is_none() {
                    return;
                }
            }
            // The first one ends a line that is not finished.
            _ => {
                let end = if line_is_open { &[END, END][..] } else { &[END] };
                type_all(end, over, master);
                return;
            }
        }
    }
}

/// Types all of it, as fast as the program takes it; `None` when there is no use in going on.
fn type_all(mut rest: &[u8], over: &OwnedFd, master: &OwnedFd) -> Option<()> {
    while !rest.is_empty() {
        match write(master, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut ready = [PollFd::new(master, PollFlags::OUT), PollFd::new(over, PollFlags::empty())];
                let _ = poll(&mut ready, None);
                if !ready[1].revents().is_empty() {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
    Some(())
}
