//! The program's standard streams.
//!
//! What is inherited is given to the program as it is, if it can do nothing with it but read and write:
//! pipes, connected sockets, terminals, devices that hold nothing, and for input a file. All else it prints, and
//! what a terminal of its own shows, goes through a pipe to the hal, which writes, keeps and counts: whoever holds
//! a file can do more with it than append. Folders lead out of the tree and are refused.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_abi::Handle;
use ringfence_manifest::{Spec, Stdio, StreamIn, StreamOut, WindowSize};
use rustix::fs::{FileType, MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, fstat, major, memfd_create, seek};
use rustix::io::{Errno, write};
use rustix::net::getpeername;

use crate::launch::{above_streams, pair};
use crate::pump::Sink;
use crate::terminal::{self, Terminal};

/// The program's ends, and the ends of the pipes that lead to the hal.
pub(crate) struct Streams {
    pub(crate) inside: [OwnedFd; 3],
    pub(crate) outside: Vec<(OwnedFd, Handle)>,
    /// What is typed into the program's terminal, if it has one.
    typed: Option<OwnedFd>,
}

impl Streams {
    /// These descriptors, and nothing else.
    pub(crate) fn of(inside: [OwnedFd; 3]) -> Self {
        Streams { inside, outside: Vec::new(), typed: None }
    }

    pub(crate) fn open(spec: &Spec) -> io::Result<Self> {
        match spec.session.terminal {
            None => Self::plain(&spec.stdio, spec.limits.output.is_some()),
            Some(_) => Self::of_terminal(spec),
        }
    }

    /// Standard input is typed, and what the terminal shows is standard output. Until there is a terminal, nothing
    /// is in their places.
    fn of_terminal(spec: &Spec) -> io::Result<Self> {
        let error_apart = terminal::has_error_apart(spec);
        let stderr = if error_apart { spec.stdio.stderr.clone() } else { StreamOut::Null };
        let others = Stdio { stdin: StreamIn::Null, stdout: StreamOut::Null, stderr };
        let mut streams = Self::plain(&others, spec.limits.output.is_some())?;
        streams.outside.retain(|(_, handle)| error_apart && *handle == Handle::STDERR);
        streams.typed = Some(above_streams(input(&spec.stdio.stdin)?)?);
        Ok(streams)
    }

    /// Connects what is typed and what is shown.
    pub(crate) fn connect(&mut self, mut terminal: Terminal) -> io::Result<Terminal> {
        self.outside.push((terminal.shown()?, Handle::STDOUT));
        terminal.input = self.typed.take();
        Ok(terminal)
    }

    /// `counted`: whether everything that is printed has to be counted.
    fn plain(stdio: &Stdio, counted: bool) -> io::Result<Self> {
        let mut outside = Vec::new();
        let mut out = |to: &StreamOut, handle: Handle, own: &dyn AsFd| -> io::Result<OwnedFd> {
            match to {
                StreamOut::Null if !counted => Ok(OpenOptions::new().write(true).open("/dev/null")?.into()),
                StreamOut::Inherit
                    if !counted
                        && Inherited::of(own.as_fd())
                            .map_err(|error| of_stream("standard output or error", &error))?
                            == Inherited::Harmless =>
                {
                    Ok(own.as_fd().try_clone_to_owned()?)
                }
                _ => {
                    let (reader, writer) = pair()?;
                    outside.push((reader, handle));
                    Ok(writer)
                }
            }
        };
        let stdout = out(&stdio.stdout, Handle::STDOUT, &io::stdout())?;
        let stderr = out(&stdio.stderr, Handle::STDERR, &io::stderr())?;
        let inside = [above_streams(input(&stdio.stdin)?)?, above_streams(stdout)?, above_streams(stderr)?];
        Ok(Streams { inside, outside, typed: None })
    }
}

fn input(from: &StreamIn) -> io::Result<OwnedFd> {
    Ok(match from {
        StreamIn::Inherit => {
            Inherited::of(io::stdin().as_fd()).map_err(|error| of_stream("standard input", &error))?;
            io::stdin().as_fd().try_clone_to_owned()?
        }
        StreamIn::Null => OpenOptions::new().read(true).open("/dev/null")?.into(),
        StreamIn::File(path) => OpenOptions::new().read(true).open(path)?.into(),
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
    pub(crate) fn of_instance(spec: &Spec) -> io::Result<Self> {
        let stdio = Stdio { stdin: StreamIn::Null, ..spec.stdio.clone() };
        let Streams { inside, outside, .. } = Streams::plain(&stdio, spec.limits.output.is_some())?;
        let printed = outside.into_iter().map(|(from, to)| (from, Sink::Hal(to))).collect();
        Ok(CommandStreams { inside, printed, fed: None, terminal: None })
    }

    /// These. Pipes are handed over, everything else is read and written on behalf of the command: others in
    /// the place may look into it, and through a descriptor at more than what passes through it. What is printed
    /// is counted where it has to be.
    pub(crate) fn own([input, output, error]: [OwnedFd; 3], counted: bool) -> io::Result<Self> {
        let mut printed = Vec::new();
        let mut out = |to: OwnedFd| -> io::Result<OwnedFd> {
            if !counted && is_pipe(&to)? {
                return above_streams(to).map_err(Into::into);
            }
            let (reader, writer) = pair()?;
            printed.push((reader, Sink::Descriptor(above_streams(to)?)));
            Ok(writer)
        };
        let (output, error) = (out(output)?, out(error)?);
        let (input, fed) = match is_pipe(&input)? {
            true => (above_streams(input)?, None),
            false => {
                let (reader, writer) = pair()?;
                // Who feeds it must be able to stop.
                rustix::io::ioctl_fionbio(&writer, true)?;
                (reader, Some((above_streams(input)?, writer)))
            }
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

/// Whether it is a pipe, or a device that holds nothing; folders and devices are refused.
fn is_pipe(descriptor: &OwnedFd) -> io::Result<bool> {
    let found = Inherited::of(descriptor.as_fd())?;
    let kind = FileType::from_raw_mode(fstat(descriptor)?.st_mode);
    let plain = kind == FileType::Fifo || kind == FileType::CharacterDevice && !descriptor.is_terminal();
    Ok(found == Inherited::Harmless && plain)
}

/// What a descriptor of ours is that a program is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inherited {
    /// It can be read and written, and that is all.
    Harmless,
    /// A regular file.
    File,
}

impl Inherited {
    fn of(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
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
            FileType::Fifo => Ok(Inherited::Harmless),
            FileType::CharacterDevice if major(found.st_rdev) == MEMORY || descriptor.is_terminal() => {
                Ok(Inherited::Harmless)
            }
            FileType::Socket if getpeername(descriptor).is_ok() => Ok(Inherited::Harmless),
            FileType::Socket => refuse("a socket that is not connected"),
            FileType::Directory => refuse("a folder"),
            _ => refuse("a device"),
        }
    }
}

fn of_stream(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

/// Whether a regular file is handed over as standard input.
pub(crate) fn passes_a_file(spec: &Spec) -> bool {
    match &spec.stdio.stdin {
        // With a terminal of its own it is read here, and typed there.
        _ if spec.session.terminal.is_some() => false,
        StreamIn::Inherit => Inherited::of(io::stdin().as_fd()).is_ok_and(|found| found == Inherited::File),
        StreamIn::File(_) => true,
        StreamIn::Null | StreamIn::Bytes(_) => false,
    }
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
