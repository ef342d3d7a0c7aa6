//! The user's terminal, where a program has it among its streams: a file of the place's own tree, on a mount of its own.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::Path;

use ringfence_manifest::{Spec, Stdio, StreamIn, StreamOut};
use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fstat, major, open, openat, readlink};
use rustix::io::ioctl_fionbio;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::isatty;

use crate::launch::above_streams;
use crate::tree::{Identity, Source};

/// Where a program finds its terminal: one of its own (`--tty`), or the user's when that is one of its streams. The mount
/// it is on keeps its mode and owner, which whoever has a descriptor of the host's own file could change for everybody.
pub(crate) const PATH: &CStr = c"/dev/console";

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
pub(crate) fn open_in_place() -> i32 {
    // Nobody waits for a line to be there.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = openat(CWD, PATH, flags, Mode::empty()).and_then(above_streams);
    let opened = opened.and_then(|opened| ioctl_fionbio(&opened, false).map(|()| opened));
    opened.map_or(-1, IntoRawFd::into_raw_fd)
}
