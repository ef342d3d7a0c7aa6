//! A captured state in a file.
//!
//! ```text
//! magic (16)  version (4)  hash (32)  length of the state (8)  the state, postcard  pages
//! ```
//!
//! Numbers are little endian. The hash is BLAKE3 of all that follows it: it tells damage, not who wrote the
//! file. Everything in it is checked again when it is made use of.

use std::io::{self, Read, Write};

use super::state::State;
use super::store::Store;
use crate::kvm::PAGE;

const MAGIC: &[u8; 16] = b"ringfence snap\r\n";
/// Changed whenever anything in the file means something else.
pub(super) const VERSION: u32 = 3;
const HEAD: usize = 60;
/// The longest state, and the most pages.
const LONGEST: u64 = 256 << 20;
const MOST_PAGES: u64 = 16 << 30;

/// Why a file is no snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Something else.
    #[error("the file is not a snapshot")]
    Foreign,
    /// Of another version of ringfence.
    #[error("the file is of format {0}, and this ringfence reads {VERSION}: capture it again")]
    Version(u32),
    /// More than there may be.
    #[error("it holds more memory than the limit of {0}")]
    TooLarge(ringfence_manifest::Bytes),
    /// Not what was written.
    #[error("the file is damaged: {0}")]
    Damaged(&'static str),
}

/// Writes a captured state.
pub(super) fn write(state: &State, store: &Store, into: &mut dyn Write) -> io::Result<()> {
    let state = postcard::to_allocvec(state).map_err(io::Error::other)?;
    let length = (state.len() as u64).to_le_bytes();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length).update(&state).update(store.bytes());
    into.write_all(MAGIC)?;
    into.write_all(&VERSION.to_le_bytes())?;
    into.write_all(hasher.finalize().as_bytes())?;
    into.write_all(&length)?;
    into.write_all(&state)?;
    into.write_all(store.bytes())?;
    into.flush()
}

/// What stands at the beginning of a file.
pub(super) struct Head {
    hash: [u8; 32],
    /// Bytes of the state.
    pub(super) state: u64,
    bytes: [u8; HEAD],
}

impl Head {
    pub(super) const LENGTH: u64 = HEAD as u64;

    pub(super) fn read(from: &mut dyn Read) -> Result<Head, FileError> {
        let mut bytes = [0; HEAD];
        match from.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(FileError::Foreign),
            Err(error) => return Err(error.into()),
        }
        let (magic, rest) = bytes.split_at(16);
        let (version, rest) = rest.split_at(4);
        let (hash, state) = rest.split_at(32);
        if magic != MAGIC {
            return Err(FileError::Foreign);
        }
        let version = version.try_into().map_or(0, u32::from_le_bytes);
        if version != VERSION {
            return Err(FileError::Version(version));
        }
        let state = state.try_into().map_or(u64::MAX, u64::from_le_bytes);
        if state > LONGEST {
            return Err(LENGTH);
        }
        Ok(Head { hash: hash.try_into().unwrap_or_default(), state, bytes })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes of pages there are in a file of this length.
    pub(super) fn pages(&self, length: u64) -> Result<u64, FileError> {
        let pages = length.checked_sub(Head::LENGTH).and_then(|rest| rest.checked_sub(self.state));
        pages.filter(|&pages| pages <= MOST_PAGES && pages.is_multiple_of(PAGE)).ok_or(LENGTH)
    }

    /// What the hash is of.
    pub(super) fn hasher(&self) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.state.to_le_bytes());
        hasher
    }

    pub(super) fn check(&self, hasher: &blake3::Hasher) -> Result<(), FileError> {
        // In constant time, as `blake3::Hash` compares.
        let is_same = hasher.finalize() == self.hash;
        if is_same { Ok(()) } else { Err(FileError::Damaged("its content is not what its hash says")) }
    }
}

const LENGTH: FileError = FileError::Damaged("its length is not what it says");

/// Reads one from a file of this length.
pub(super) fn read(from: &mut dyn Read, length: u64) -> Result<(State, Store), FileError> {
    let head = Head::read(from)?;
    let pages = head.pages(length)?;
    let mut part = |length: u64| -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::with_capacity(length as usize);
        from.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(FileError::Damaged("it is cut off")) }
    };
    let (state, bytes) = (part(head.state)?, part(pages)?);
    let mut hasher = head.hasher();
    hasher.update(&state).update(&bytes);
    head.check(&hasher)?;
    Ok((decode(&state)?, Store::from(bytes)))
}

pub(super) fn decode(state: &[u8]) -> Result<State, FileError> {
    let unreadable = |_| FileError::Damaged("its state cannot be read");
    match postcard::take_from_bytes(state).map_err(unreadable)? {
        (state, []) => Ok(state),
        _ => Err(FileError::Damaged("its state is longer than it should be")),
    }
}
