//! The standard streams.
//!
//! A stream may be shared with other processes, a terminal with the user's shell for one, so its
//! description is never made non-blocking: that would change it for everyone (`fcntl(2)`, `O_NONBLOCK`).
//! Each attempt is non-blocking by itself (`RWF_NOWAIT`, `preadv2(2)`); where the kernel has no such
//! attempt, as for terminals, `poll(2)` is asked first.
//!
//! A file that is opened by its name, for the capsule alone, is opened without waiting for anybody: a
//! named pipe waits for its other end like for bytes, or fails. What is written to a regular file is
//! charged like any growth of the disk; to a stream that is shared, only to `limits.output`.
//!
//! What it does not protect: when another process takes what `poll` promised, an attempt on a
//! terminal waits for the user.

use std::fs::OpenOptions;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ringfence_abi::{ErrorCode, FileKind, Interest, Position, Stat};
use ringfence_isolation::open_of_folder;
use ringfence_manifest::{StreamIn, StreamOut};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2, read, retry_on_intr, write};
use tokio::io::unix::AsyncFd;

use crate::error::code;
use crate::files::{File, content};
use crate::ledger::Ledger;
use crate::vfs::kind;

/// What a pipe that `poll` calls writable takes without waiting: `PIPE_BUF`, `pipe(7)`.
const PIPE_BUF: usize = 4096;
/// How much one call passes at most.
const MOST: usize = 1 << 20;

/// A standard stream of a capsule.
pub(crate) struct Stream {
    end: End,
    /// Its registrations with the event loop, for reading and for writing, while somebody waits.
    watches: [Mutex<Weak<AsyncFd<OwnedFd>>>; 2],
}

enum End {
    /// Nothing to read, and nobody to read what is written.
    Null,
    /// Bytes to read, and how many were.
    Bytes(Vec<u8>, AtomicUsize),
    /// What is written is kept.
    Captured(Arc<Captured>),
    /// A regular file, which never makes anyone wait.
    File(Descriptor),
    /// A regular file of its own, and where in it the next bytes go.
    Written(File, Mutex<u64>),
    /// A pipe, terminal, socket or device.
    Waiting(Descriptor, FileKind),
}

/// What a stream reads from or writes to.
enum Descriptor {
    /// Its own.
    Own(OwnedFd),
    /// A standard stream of this process, which every instance may share: thousands of them need no
    /// descriptor each.
    OfHost(BorrowedFd<'static>),
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Own(own) => own.as_fd(),
            Descriptor::OfHost(shared) => *shared,
        }
    }
}

/// What was written to a stream.
#[derive(Default)]
pub(crate) struct Captured(Mutex<Vec<u8>>);

/// Why the standard streams were not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A file cannot be opened.
    #[error("cannot open {} as a standard stream", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A stream of the host cannot be shared.
    #[error("cannot share the host's standard stream")]
    Inherit {
        /// Why.
        source: io::Error,
    },
}

impl Captured {
    /// How many bytes are kept; what is written beyond them is counted and gone.
    const MOST: usize = 64 << 20;

    fn add(&self, from: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = Self::MOST - kept.len();
        kept.extend_from_slice(&from[..from.len().min(room)]);
    }

    /// What was written so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Stream {
    fn of(end: End) -> Self {
        Stream { end, watches: Default::default() }
    }

    /// Standard input.
    pub(crate) fn input(from: &StreamIn) -> Result<Self, StreamError> {
        Ok(Stream::of(match from {
            StreamIn::Inherit => inherit(rustix::stdio::stdin())?,
            StreamIn::Null => End::Null,
            StreamIn::File(path) => opened(path, open(OpenOptions::new().read(true), path).and_then(end))?,
            StreamIn::OfFolder(path) => opened(path, of_folder(path, false).and_then(end))?,
            StreamIn::Bytes(bytes) => End::Bytes(bytes.clone(), AtomicUsize::new(0)),
        }))
    }

    /// Standard output, or with `error` standard error. What a file of its own grows is charged to
    /// `ledger`.
    pub(crate) fn output(to: &StreamOut, error: bool, ledger: &Arc<Ledger>) -> Result<Self, StreamError> {
        Ok(Stream::of(match to {
            StreamOut::Inherit if error => inherit(rustix::stdio::stderr())?,
            StreamOut::Inherit => inherit(rustix::stdio::stdout())?,
            StreamOut::Null => End::Null,
            StreamOut::File(path) => {
                let mut options = OpenOptions::new();
                let file = open(options.write(true).create(true).truncate(true), path);
                opened(path, file.and_then(|file| written(file, ledger)))?
            }
            StreamOut::OfFolder(path) => opened(path, of_folder(path, true).and_then(|file| written(file, ledger)))?,
            StreamOut::Capture => End::Captured(Arc::default()),
        }))
    }

    /// Where what is written is kept, if it is.
    pub(crate) fn captured(&self) -> Option<Arc<Captured>> {
        match &self.end {
            End::Captured(captured) => Some(Arc::clone(captured)),
            _ => None,
        }
    }

    /// Takes what is there.
    pub(crate) fn receive(&self, into: &mut [u8]) -> Result<usize, ErrorCode> {
        let most = into.len().min(MOST);
        let into = &mut into[..most];
        match &self.end {
            End::Null | End::Captured(_) | End::Written(..) => Ok(0),
            End::Bytes(bytes, at) => {
                let claim = |at: usize| Some(bytes.len().min(at + most));
                let start = at.fetch_update(Relaxed, Relaxed, claim).unwrap_or(bytes.len());
                let taken = &bytes[start..bytes.len().min(start + most)];
                into[..taken.len()].copy_from_slice(taken);
                Ok(taken.len())
            }
            End::File(file) => read(file, into).map_err(content),
            End::Waiting(descriptor, kind) => {
                let received = match preadv2(descriptor, &mut [IoSliceMut::new(into)], u64::MAX, ReadWriteFlags::NOWAIT)
                {
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                        look(descriptor, Interest::Readable)?;
                        read(descriptor, into).map_err(code)
                    }
                    other => other.map_err(code),
                };
                if received == Ok(0) && most > 0 && *kind == FileKind::Pipe {
                    // Nobody writes: nobody any more, which `poll` knows, or nobody yet.
                    look(descriptor, Interest::Readable)?;
                }
                received
            }
        }
    }

    /// Gives what fits.
    pub(crate) fn send(&self, from: &[u8]) -> Result<usize, ErrorCode> {
        let from = &from[..from.len().min(MOST)];
        match &self.end {
            End::Null | End::Bytes(..) => Ok(from.len()),
            End::Captured(captured) => {
                captured.add(from);
                Ok(from.len())
            }
            End::File(file) => write(file, from).map_err(content),
            End::Written(file, at) => {
                let mut at = at.lock().unwrap_or_else(PoisonError::into_inner);
                let written = file.write(Position::Offset(*at), from)?;
                *at += written as u64;
                Ok(written)
            }
            End::Waiting(descriptor, _) => {
                match pwritev2(descriptor, &[IoSlice::new(from)], u64::MAX, ReadWriteFlags::NOWAIT) {
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                        look(descriptor, Interest::Writable)?;
                        write(descriptor, &from[..from.len().min(PIPE_BUF)]).map_err(code)
                    }
                    other => other.map_err(code),
                }
            }
        }
    }

    /// Whether `receive` or `send` makes progress now.
    pub(crate) fn is_ready(&self, interest: Interest) -> bool {
        match &self.end {
            End::Waiting(descriptor, _) => look(descriptor, interest) != Err(ErrorCode::WouldBlock),
            _ => true,
        }
    }

    /// Waits until `receive` or `send` makes progress. Needs a Tokio runtime with its input/output
    /// driver. The stream is registered with it for as long as somebody waits.
    pub(crate) async fn ready(&self, interest: Interest) -> Result<(), ErrorCode> {
        let End::Waiting(descriptor, _) = &self.end else { return Ok(()) };
        let events = match interest {
            Interest::Readable => tokio::io::Interest::READABLE,
            Interest::Writable => tokio::io::Interest::WRITABLE,
        };
        let watch = match self.watch(descriptor, interest, events) {
            Ok(watch) => watch,
            // What cannot be watched never makes anyone wait: `epoll_ctl(2)`, EPERM.
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => return Ok(()),
            Err(error) => return Err(code_of(&error)),
        };
        loop {
            let mut guard = watch.ready(events).await.map_err(|error| code_of(&error))?;
            if self.is_ready(interest) {
                return Ok(());
            }
            guard.clear_ready();
        }
    }

    /// The registration that everybody who waits for this shares: it takes one descriptor of the host,
    /// however many wait.
    fn watch(
        &self,
        descriptor: &Descriptor,
        interest: Interest,
        events: tokio::io::Interest,
    ) -> io::Result<Arc<AsyncFd<OwnedFd>>> {
        let mut shared = self.watches[interest as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = shared.upgrade() {
            return Ok(watch);
        }
        let watch = Arc::new(watch_for(descriptor.as_fd().try_clone_to_owned()?, events)?);
        *shared = Arc::downgrade(&watch);
        Ok(watch)
    }

    /// `isatty(3)`.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(&self.end, End::Waiting(descriptor, FileKind::CharacterDevice) if rustix::termios::isatty(descriptor))
    }

    /// What sort of stream it is, and which: programs refuse to read what they write to. Everything else about it is
    /// the host's.
    pub(crate) fn stat(&self) -> Stat {
        let of_host = |descriptor: &Descriptor| fstat(descriptor).map_or((0, 0), |found| (found.st_dev, found.st_ino));
        let (kind, identity) = match &self.end {
            End::Null => (FileKind::CharacterDevice, (0, 0)),
            End::Bytes(..) | End::Captured(_) => (FileKind::Pipe, (0, 0)),
            End::File(descriptor) => (FileKind::File, of_host(descriptor)),
            End::Written(file, _) => (FileKind::File, file.stat().map_or((0, 0), |found| found.identity)),
            End::Waiting(descriptor, kind) => (*kind, of_host(descriptor)),
        };
        Stat { identity, ..anonymous(kind) }
    }
}

/// Metadata of something without a place in the tree.
pub(crate) fn anonymous(kind: FileKind) -> Stat {
    Stat { kind, mode: 0o600, size: 0, blocks: 0, links: 1, identity: (0, 0), accessed: 0, modified: 0, changed: 0 }
}

fn inherit(shared: BorrowedFd<'static>) -> Result<End, StreamError> {
    end(Descriptor::OfHost(shared)).map_err(|source| StreamError::Inherit { source })
}

/// Opens a file without waiting for anybody, and without making a terminal ours.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<Descriptor> {
    let careful = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(careful.bits().cast_signed()).open(path).map(|file| Descriptor::Own(file.into()))
}

/// Opens a file of the capsule's folder.
fn of_folder(path: &Path, writes: bool) -> io::Result<Descriptor> {
    open_of_folder(path, writes).map(|file| Descriptor::Own(file.into()))
}

fn opened(path: &Path, end: io::Result<End>) -> Result<End, StreamError> {
    end.map_err(|source| StreamError::File { path: path.to_owned(), source })
}

/// A file to write to: when it is a regular one, what it grows is charged.
fn written(descriptor: Descriptor, ledger: &Arc<Ledger>) -> io::Result<End> {
    match end(descriptor)? {
        End::File(Descriptor::Own(file)) => {
            let account = ledger.open(&fstat(&file)?, false);
            Ok(End::Written(File::new(Arc::new(file), account), Mutex::new(0)))
        }
        other => Ok(other),
    }
}

fn end(descriptor: Descriptor) -> io::Result<End> {
    Ok(match kind(FileType::from_raw_mode(fstat(&descriptor)?.st_mode)) {
        FileKind::File => End::File(descriptor),
        kind => End::Waiting(descriptor, kind),
    })
}

/// `WouldBlock` unless an attempt makes progress now, if only by failing.
fn look(descriptor: &Descriptor, interest: Interest) -> Result<(), ErrorCode> {
    let flags = match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
    };
    let mut polled = [PollFd::new(descriptor, flags)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match retry_on_intr(|| poll(&mut polled, Some(&at_once))) {
        Ok(0) => Err(ErrorCode::WouldBlock),
        Ok(_) => Ok(()),
        Err(errno) => Err(code(errno)),
    }
}

#[allow(
    deprecated,
    reason = "its successor is the same but `unsafe`, for inner types that may give another descriptor later; an \
              `OwnedFd` does not"
)]
fn watch_for(descriptor: OwnedFd, events: tokio::io::Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, events)
}

fn code_of(error: &io::Error) -> ErrorCode {
    error.raw_os_error().map_or(ErrorCode::Io, ErrorCode::from_errno)
}
