//! Where pid 1 and then pid 2 wait for what is passed through later: the network namespace, which is made
//! while the tree is raised, and the standard streams, so that a place can be built before anybody knows
//! what will be connected to it.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::above_streams;
use crate::sys;
use crate::tree::Identity;

/// Lets pid 1 into a network namespace.
pub(crate) fn pass_network(gate: &OwnedFd, network: &OwnedFd) -> Result<(), Errno> {
    pass(gate, GO, &[network.as_fd()])
}

/// Lets pid 2 go, with these standard streams. The device that is nothing and the user's terminal are not passed on as
/// they are: whose file it is could change its mode for the whole host. The place has its own, on mounts that cannot be
/// changed.
pub(crate) fn pass_streams(gate: &OwnedFd, streams: &[OwnedFd; 3], console: Option<Identity>) -> Result<(), Errno> {
    let is_console = |stream: &OwnedFd| fstat(stream).is_ok_and(|found| Some(Identity::of(&found)) == console);
    let bit = |(stream, number): (&OwnedFd, u32)| match () {
        () if is_nothing(stream) => NOTHING << number,
        () if is_console(stream) => CONSOLE << number,
        () => 0,
    };
    let word = streams.iter().zip(0..).map(bit).fold(GO, |word, bit| word | bit);
    pass(gate, word, &streams.each_ref().map(AsFd::as_fd))
}

/// Whether it is `/dev/null` (`null(4)`), wherever its file lies.
pub(crate) fn is_nothing(stream: &impl AsFd) -> bool {
    fstat(stream).is_ok_and(|found| {
        let is_device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
        is_device && (major(found.st_rdev), minor(found.st_rdev)) == (1, 3)
    })
}

/// Passes the line of an order to pid 1, and where it is steered. A command that brings no line is the number of
/// a signal.
pub(super) fn pass_order(commands: &OwnedFd, line: BorrowedFd<'_>, steering: BorrowedFd<'_>) -> Result<(), Errno> {
    pass(commands, ORDER, &[line, steering])
}

const GO: u8 = 1;
/// Beside [`GO`]: the first stream is nothing, or the user's terminal; the bits above say it of the others.
const NOTHING: u8 = 1 << 1;
const CONSOLE: u8 = 1 << 4;
const ORDER: u8 = 0;

/// What pid 1 is told.
pub(super) enum Command {
    Signal(i32),
    /// Where a command is told of and reported, and where it is steered.
    Order(OwnedFd, OwnedFd),
    /// The supervisor is gone.
    End,
}

/// The next command. Runs after a clone: it allocates nothing.
pub(super) fn take_command(commands: &OwnedFd) -> Result<Command, Errno> {
    match take(commands)? {
        None => Ok(Command::End),
        Some((ORDER, [Some(line), Some(steering), ..])) => {
            Ok(Command::Order(above_streams(line)?, above_streams(steering)?))
        }
        Some((ORDER, _)) => Err(Errno::BADMSG),
        Some((signal, _)) => Ok(Command::Signal(i32::from(signal))),
    }
}

fn pass(gate: &OwnedFd, word: u8, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(gate, &[IoSlice::new(&[word])], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for the network namespace. Runs after a clone: it allocates nothing.
pub(super) fn take_network(gate: &OwnedFd) -> Result<OwnedFd, Errno> {
    let (_, [network, ..]) = take(gate)?.ok_or(Errno::CONNABORTED)?;
    network.ok_or(Errno::BADMSG)
}

/// Waits for the standard streams and connects them; `false` when they will not come. Runs after a
/// clone: it allocates nothing. Descriptors 0 to 2 are closed where it runs. `console`: where the user's terminal is open.
pub(super) fn take_streams(gate: &OwnedFd, console: i32) -> Result<bool, Errno> {
    let Some((word, [Some(input), Some(output), Some(error)])) = take(gate)? else { return Ok(false) };
    // The kernel gave them the lowest free numbers in their order: none lies where a later one belongs.
    connect(input, 0, |input| dup2_stdin(input))?;
    connect(output, 1, |output| dup2_stdout(output))?;
    connect(error, 2, |error| dup2_stderr(error))?;
    for first in [NOTHING, CONSOLE] {
        let has = |number: u32| word & first << number != 0;
        if !(0..3).any(has) {
            continue;
        }
        let own = match first {
            NOTHING => openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?,
            _ => sys::duplicate(console)?,
        };
        if has(0) {
            dup2_stdin(&own)?;
        }
        if has(1) {
            dup2_stdout(&own)?;
        }
        if has(2) {
            dup2_stderr(&own)?;
        }
    }
    Ok(true)
}

/// A word, and the descriptors that came with it.
type Passed = (u8, [Option<OwnedFd>; 3]);

/// The next descriptors; `None` when whoever would pass them is gone.
fn take(gate: &OwnedFd) -> Result<Option<Passed>, Errno> {
    let mut word = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        retry_on_intr(|| recvmsg(gate, &mut [IoSliceMut::new(&mut word)], &mut ancillary, RecvFlags::empty()));
    if received?.bytes == 0 {
        return Ok(None);
    }
    let descriptors = match ancillary.drain().next() {
        Some(RecvAncillaryMessage::ScmRights(mut rights)) => [rights.next(), rights.next(), rights.next()],
        _ => [None, None, None],
    };
    Ok(Some((word[0], descriptors)))
}

/// Puts a stream where it belongs; it stays open when the program is executed.
fn connect(stream: OwnedFd, number: i32, move_there: fn(&OwnedFd) -> Result<(), Errno>) -> Result<(), Errno> {
    if stream.as_raw_fd() == number {
        std::mem::forget(stream);
        return Ok(());
    }
    move_there(&stream)
}
