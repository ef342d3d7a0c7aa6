//! The program's standard streams.
//!
//! What is inherited is given to the program as it is, if it can do nothing with it but read and write:
//! connected stream sockets, the user's terminal and `/dev/null` as the place has them, and for input a file. All else it prints, and
//! what a terminal of its own shows, goes through a pipe to the hal, which writes, keeps and counts: whoever holds
//! a file can do more with it than append. A pipe is not handed over in either direction, but passed on through
//! one of the program's own: whoever has one end of a pipe opens the other by its name in `/proc/self/fd`
//! (`proc_pid_fd(5)`), writes what others will read there, and reads what is for others. Folders lead out of the tree and
//! are refused.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_abi::Handle;
use ringfence_isolation::open_of_folder;
use ringfence_manifest::{Spec, Stdio, StreamIn, StreamOut, WindowSize};
use rustix::fs::{FileType, MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, fstat, major, memfd_create, seek};
use rustix::io::{Errno, write};
use rustix::net::{AddressFamily, SocketType, getpeername, sockopt};

use crate::launch::{above_streams, is_nothing, pair};
use crate::pump::Sink;
use crate::terminal::{self, Terminal};
use crate::tree::Identity;

/// The program's ends, and the ends of the pipes that lead to the hal.
pub(crate) struct Streams {
    pub(crate) inside: [OwnedFd; 3],
    pub(crate) passed: Passed,
    /// What is typed into the program's terminal, if it has one.
    typed: Option<OwnedFd>,
}

/// What passes between the program's pipes and the world.
#[derive(Default)]
pub(crate) struct Passed {
    /// What it prints, and where in the hal that goes.
    pub(crate) printed: Vec<(OwnedFd, Handle)>,
    /// What it is to read, and the pipe it reads from.
    pub(crate) fed: Option<(OwnedFd, OwnedFd)>,
}

impl Streams {
    /// These descriptors, and nothing else.
    pub(crate) fn of(inside: [OwnedFd; 3]) -> Self {
        Streams { inside, passed: Passed::default(), typed: None }
    }

    /// Those of an instance in whose place `console` is the user's terminal.
    pub(crate) fn open(spec: &Spec, console: Option<Identity>) -> io::Result<Self> {
        match spec.session.terminal {
            None => Self::plain(&spec.stdio, spec.limits.output.is_some(), console),
            Some(_) => Self::of_terminal(spec),
        }
    }

    /// Standard input is typed, and what the terminal shows is standard output. Until there is a terminal, nothing
    /// is in their places.
    fn of_terminal(spec: &Spec) -> io::Result<Self> {
        let error_apart = terminal::has_error_apart(spec);
        let stderr = if error_apart { spec.stdio.stderr.clone() } else { StreamOut::Null };
        let others = Stdio { stdin: StreamIn::Null, stdout: StreamOut::Null, stderr };
        let mut streams = Self::plain(&others, spec.limits.output.is_some(), None)?;
        streams.passed.printed.retain(|(_, handle)| error_apart && *handle == Handle::STDERR);
        if spec.stdio.stdin == StreamIn::Inherit {
            Inherited::of(io::stdin().as_fd(), None).map_err(|error| of_stream("standard input", &error))?;
        }
        streams.typed = Some(above_streams(source(&spec.stdio.stdin)?)?);
        Ok(streams)
    }

    /// Connects what is typed and what is shown.
    pub(crate) fn connect(&mut self, mut terminal: Terminal) -> io::Result<Terminal> {
        self.passed.printed.push((terminal.shown()?, Handle::STDOUT));
        terminal.input = self.typed.take();
        Ok(terminal)
    }

    /// `counted`: whether everything that is printed has to be counted; `console`: the user's terminal, as the place has
    /// it.
    fn plain(stdio: &Stdio, counted: bool, console: Option<Identity>) -> io::Result<Self> {
        let mut printed = Vec::new();
        let mut out = |to: &StreamOut, handle: Handle, own: BorrowedFd<'_>| -> io::Result<OwnedFd> {
            match to {
                StreamOut::Null if !counted => Ok(OpenOptions::new().write(true).open("/dev/null")?.into()),
                StreamOut::Inherit
                    if !counted
                        && Inherited::of(own, console)
                            .map_err(|error| of_stream("standard output or error", &error))?
                            == Inherited::Harmless =>
                {
                    Ok(own.try_clone_to_owned()?)
                }
                _ => {
                    let (reader, writer) = pair()?;
                    printed.push((reader, handle));
                    Ok(writer)
                }
            }
        };
        let stdout = out(&stdio.stdout, Handle::STDOUT, io::stdout().as_fd())?;
        let stderr = match (&stdio.stdout, &stdio.stderr) {
            // What is printed here and there in turns arrives in that order.
            (StreamOut::Inherit, StreamOut::Inherit) if are_same(io::stdout().as_fd(), io::stderr().as_fd()) => {
                stdout.try_clone()?
            }
            (_, stderr) => out(stderr, Handle::STDERR, io::stderr().as_fd())?,
        };
        let (stdin, fed) = input(&stdio.stdin, console)?;
        let inside = [above_streams(stdin)?, above_streams(stdout)?, above_streams(stderr)?];
        Ok(Streams { inside, passed: Passed { printed, fed }, typed: None })
    }
}

/// Whether two streams are one pipe or file.
fn are_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let identity = |descriptor| fstat(descriptor).map(|found| (found.st_dev, found.st_ino, found.st_mode)).ok();
    let found = identity(one);
    let kinds = [FileType::Fifo, FileType::RegularFile];
    found.is_some_and(|(.., mode)| kinds.contains(&FileType::from_raw_mode(mode))) && found == identity(other)
}

/// What the program reads from, and what has to be passed on to it.
fn input(from: &StreamIn, console: Option<Identity>) -> io::Result<(OwnedFd, Option<(OwnedFd, OwnedFd)>)> {
    let own = source(from)?;
    if !matches!(from, StreamIn::Inherit | StreamIn::File(_)) {
        return Ok((own, None));
    }
    let found = Inherited::of(own.as_fd(), console).map_err(|error| of_stream("standard input", &error))?;
    if found == Inherited::Pipe { feeding(own) } else { Ok((own, None)) }
}

/// A pipe that is fed from this descriptor.
fn feeding(from: OwnedFd) -> io::Result<(OwnedFd, Option<(OwnedFd, OwnedFd)>)> {
    let (reader, writer) = pair()?;
    // Who feeds it must be able to stop.
    rustix::io::ioctl_fionbio(&writer, true)?;
    Ok((reader, Some((above_streams(from)?, writer))))
}

/// What is read, as it is.
fn source(from: &StreamIn) -> io::Result<OwnedFd> {
    Ok(match from {
        StreamIn::Inherit => io::stdin().as_fd().try_clone_to_owned()?,
        StreamIn::Null => OpenOptions::new().read(true).open("/dev/null")?.into(),
        StreamIn::File(path) => OpenOptions::new().read(true).open(path)?.into(),
        StreamIn::OfFolder(path) => open_of_folder(path, false)?.into(),
        StreamIn::Bytes(bytes) => holding(bytes)?,
    })
}

/// The streams of a further command.
pub(crate) struct CommandStreams {
    pub(crate) inside: [OwnedFd; 3],
    /// What it prints, and where that goes.
    pub(crate) printed: Vec<(OwnedFd, Sink)>,
    /// What it is to read, and the pipe it reads from.
    pub(crate) fed: Option<(OwnedFd, OwnedFd)>,
    pub(crate) terminal: Option<Terminal>,
}

impl CommandStreams {
    /// Those of the instance, but for standard input: that, and the terminal, are the program's.
    pub(crate) fn of_instance(spec: &Spec, console: Option<Identity>) -> io::Result<Self> {
        let stdio = Stdio { stdin: StreamIn::Null, ..spec.stdio.clone() };
        let Streams { inside, passed, .. } = Streams::plain(&stdio, spec.limits.output.is_some(), console)?;
        let printed = passed.printed.into_iter().map(|(from, to)| (from, Sink::Hal(to))).collect();
        Ok(CommandStreams { inside, printed, fed: None, terminal: None })
    }

    /// These. Everything but a device that holds nothing is read and written on behalf of the command: others in
    /// the place may look into it, and through a descriptor at more than what passes through it. What is printed
    /// is counted where it has to be.
    pub(crate) fn own([input, output, error]: [OwnedFd; 3], counted: bool) -> io::Result<Self> {
        let mut printed = Vec::new();
        let mut out = |to: OwnedFd| -> io::Result<OwnedFd> {
            if !counted && is_empty(&to)? {
                return above_streams(to).map_err(Into::into);
            }
            let (reader, writer) = pair()?;
            printed.push((reader, Sink::Descriptor(above_streams(to)?)));
            Ok(writer)
        };
        let (output, error) = (out(output)?, out(error)?);
        let (input, fed) = match is_empty(&input)? {
            true => (above_streams(input)?, None),
            false => feeding(input)?,
        };
        Ok(CommandStreams { inside: [input, output, error], printed, fed, terminal: None })
    }

    /// A terminal of this size, into which the first is typed and which shows on the second.
    pub(crate) fn of_terminal(size: WindowSize, [input, output, _]: [OwnedFd; 3]) -> io::Result<Self> {
        let (terminal, inside) = Terminal::of_command(size, input)?;
        let printed = vec![(terminal.shown()?, Sink::Descriptor(above_streams(output)?))];
        Ok(CommandStreams { inside, printed, fed: None, terminal: Some(terminal) })
    }
}

/// Whether it is the device that is nothing; folders and other devices are refused.
fn is_empty(descriptor: &OwnedFd) -> io::Result<bool> {
    Inherited::of(descriptor.as_fd(), None).map(|_| is_nothing(descriptor))
}

/// What a descriptor of ours is that a program is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inherited {
    /// It can be read and written, and that is all.
    Harmless,
    /// A pipe, of which whoever has one end can open the other, or a terminal that is not that of the place: it has a
    /// mode.
    Pipe,
    /// Something with a mode and an owner that can be changed: a regular file, a device.
    File,
}

impl Inherited {
    fn of(descriptor: BorrowedFd<'_>, console: Option<Identity>) -> io::Result<Self> {
        /// `/dev/null`, `zero`, `full`, `random` and `urandom` (`mem(4)`).
        const MEMORY: u32 = 1;
        let refuse = |what: &str| Err(io::Error::other(format!("it is {what}, which is not given to a capsule")));
        let found = match fstat(descriptor) {
            // A stream that is closed is closed inside, too.
            Err(Errno::BADF) => return Ok(Inherited::Harmless),
            found => found?,
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Ok(Inherited::File),
            FileType::Fifo => Ok(Inherited::Pipe),
            // The place has its own.
            FileType::CharacterDevice if is_nothing(&descriptor) => Ok(Inherited::Harmless),
            FileType::CharacterDevice if major(found.st_rdev) == MEMORY => Ok(Inherited::File),
            FileType::CharacterDevice if console == Some(Identity::of(&found)) => Ok(Inherited::Harmless),
            FileType::CharacterDevice if descriptor.is_terminal() => Ok(Inherited::Pipe),
            FileType::Socket if is_connected_stream(descriptor) => Ok(Inherited::Harmless),
            FileType::Socket => refuse("a socket that is not a connected stream"),
            FileType::Directory => refuse("a folder"),
            _ => refuse("a device"),
        }
    }
}

/// Whether a socket leads to its peer and nowhere else. With others, a datagram can be sent to any address, and the
/// kernel is asked about the host's network.
fn is_connected_stream(socket: BorrowedFd<'_>) -> bool {
    let families = [AddressFamily::UNIX, AddressFamily::INET, AddressFamily::INET6];
    sockopt::socket_type(socket).is_ok_and(|kind| kind == SocketType::STREAM)
        && sockopt::socket_domain(socket).is_ok_and(|family| families.contains(&family))
        && getpeername(socket).is_ok()
}

fn of_stream(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

/// Whether a file is handed over as standard input.
pub(crate) fn passes_a_file(spec: &Spec) -> bool {
    match &spec.stdio.stdin {
        // With a terminal of its own it is read here, and typed there.
        _ if spec.session.terminal.is_some() => false,
        StreamIn::Inherit => Inherited::of(io::stdin().as_fd(), None).is_ok_and(|found| found == Inherited::File),
        StreamIn::File(_) | StreamIn::OfFolder(_) => true,
        StreamIn::Null | StreamIn::Bytes(_) => false,
    }
}

/// Whether a socket is handed over: a Unix socket of the host's can be given a name there.
pub(crate) fn passes_a_socket(spec: &Spec) -> bool {
    let is_socket = |stream: BorrowedFd<'_>| {
        fstat(stream).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Socket)
    };
    let Stdio { stdin, stdout, stderr } = &spec.stdio;
    let inherits = |out: &StreamOut, own: BorrowedFd<'_>| *out == StreamOut::Inherit && is_socket(own);
    (*stdin == StreamIn::Inherit && is_socket(io::stdin().as_fd()))
        || inherits(stdout, io::stdout().as_fd())
        || inherits(stderr, io::stderr().as_fd())
}

/// A file in memory that holds these bytes and can never hold others.
fn holding(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let file = memfd_create(c"stdin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = &rest[write(&file, rest)?..];
    }
    seek(&file, SeekFrom::Start(0))?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}
