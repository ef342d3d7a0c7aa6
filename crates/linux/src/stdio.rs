//! The program's standard streams.
//!
//! What is inherited or a file is given to the program as it is. What is kept, or counted because
//! printing is limited, goes through a pipe to the hal, which keeps and counts.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ringfence_abi::Handle;
use ringfence_manifest::{Spec, StreamIn, StreamOut};
use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, memfd_create, seek};
use rustix::io::{Errno, write};

use crate::launch::{above_streams, pair};

/// The program's ends, and the ends of the pipes that lead to the hal.
pub(crate) struct Streams {
    pub(crate) inside: [OwnedFd; 3],
    pub(crate) outside: Vec<(OwnedFd, Handle)>,
}

impl Streams {
    pub(crate) fn open(spec: &Spec) -> io::Result<Self> {
        let mut outside = Vec::new();
        let counted = spec.limits.output.is_some();
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
        let stdout = out(&spec.stdio.stdout, Handle::STDOUT, &io::stdout())?;
        let stderr = out(&spec.stdio.stderr, Handle::STDERR, &io::stderr())?;
        let stdin = match &spec.stdio.stdin {
            StreamIn::Inherit => io::stdin().as_fd().try_clone_to_owned()?,
            StreamIn::Null => OpenOptions::new().read(true).open("/dev/null")?.into(),
            StreamIn::File(path) => OpenOptions::new().read(true).open(path)?.into(),
            StreamIn::Bytes(bytes) => holding(bytes)?,
        };
        Ok(Streams { inside: [above_streams(stdin)?, above_streams(stdout)?, above_streams(stderr)?], outside })
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
