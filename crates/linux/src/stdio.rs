//! The program's standard streams.
//!
//! What is inherited or a file is given to the program as it is. What is kept, or counted because
//! printing is limited, goes through a pipe to the hal, which keeps and counts. What a terminal shows
//! goes there too.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ringfence_abi::Handle;
use ringfence_manifest::{Spec, Stdio, StreamIn, StreamOut};
use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, memfd_create, seek};
use rustix::io::{Errno, write};

use crate::launch::{above_streams, pair};
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
                StreamOut::Inherit if !counted => Ok(own.as_fd().try_clone_to_owned()?),
                StreamOut::File(path) if !counted => {
                    // Appending, so that two streams to one file do not write over each other.
                    Ok(OpenOptions::new().append(true).create(true).open(path)?.into())
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
        StreamIn::Inherit => io::stdin().as_fd().try_clone_to_owned()?,
        StreamIn::Null => OpenOptions::new().read(true).open("/dev/null")?.into(),
        StreamIn::File(path) => OpenOptions::new().read(true).open(path)?.into(),
        StreamIn::Bytes(bytes) => holding(bytes)?,
    })
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
