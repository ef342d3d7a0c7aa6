//! A captured state in a file in memory, for a process that is to go on from it.
//!
//! Who runs a capsule reads the file of a snapshot once, finds damage by its hash, and looks at what it says it is of;
//! everything else in it is for the monitor to decode, behind its walls.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use ringfence_manifest::Bytes;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::file::{self, FileError, Head};
use super::state::{Origin, State};
use super::store::Store;
use crate::kvm::PAGE;

/// How much is copied at once.
const PIECE: usize = 1 << 20;
/// As much of a state as holds what it is of: arguments and variables (`execve(2)`), and room to spare.
const MOST_OF_ORIGIN: u64 = 16 << 20;

/// A captured state in a file in memory that nobody can change any more.
pub struct Sealed {
    file: File,
    length: u64,
    origin: Origin,
}

impl Sealed {
    /// Copies what is read to its end, as long as it is a snapshot whose pages are within this limit. Of its
    /// content nothing is decoded but what it is of.
    pub(crate) fn read(from: &mut dyn Read, limit: Option<Bytes>) -> Result<Self, FileError> {
        let head = Head::read(from)?;
        let file = File::from(
            memfd_create(c"snapshot", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(io::Error::from)?,
        );
        (&file).write_all(head.bytes())?;
        let mut length = Head::LENGTH;
        let mut hasher = head.hasher();
        let mut piece = vec![0; PIECE];
        loop {
            let count = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            length += count as u64;
            let pages = length.saturating_sub(Head::LENGTH + head.state);
            if let Some(limit) = limit.filter(|limit| pages > limit.0.next_multiple_of(PAGE)) {
                return Err(FileError::TooLarge(limit));
            }
            // What has no end is not copied to its end.
            head.pages(Head::LENGTH + head.state + pages.next_multiple_of(PAGE))?;
            hasher.update(&piece[..count]);
            (&file).write_all(&piece[..count])?;
        }
        head.pages(length)?;
        head.check(&hasher)?;
        let mut start = vec![0; head.state.min(MOST_OF_ORIGIN) as usize];
        file.read_exact_at(&mut start, Head::LENGTH)?;
        let origin = file::decode_start(&start, limit)?.0;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&file, seals).map_err(io::Error::from)?;
        Ok(Sealed { file, length, origin })
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The file for another process.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn file(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Writes it, as [`Prepared::save`](ringfence_isolation::Prepared::save) does.
    ///
    /// # Errors
    /// What `into` says.
    pub fn save(&self, into: &mut dyn Write) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < self.length {
            let most = (self.length - at).min(PIECE as u64) as usize;
            let count = self.file.read_at(&mut piece[..most], at)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            into.write_all(&piece[..count])?;
            at += count as u64;
        }
        into.flush()
    }
}

/// What is in such a file. Its pages stay there until they are asked for.
pub(super) fn open(file: File, limit: Option<Bytes>) -> Result<(State, Store), FileError> {
    let mut start = vec![0; Head::LENGTH as usize];
    file.read_exact_at(&mut start, 0)?;
    let head = Head::read(&mut &start[..])?;
    let pages = head.pages(file.metadata()?.len())?;
    let mut state = vec![0; head.state as usize];
    file.read_exact_at(&mut state, Head::LENGTH)?;
    Ok((file::decode(&state, limit)?, Store::within(file, Head::LENGTH + head.state, pages)))
}
