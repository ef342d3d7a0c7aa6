//! A captured state in a file.
//!
//! ```text
//! magic (16)  version (4)  hash (32)  length of the state (8)  the state, postcard  pages
//! ```
//!
//! Numbers are little endian. The hash is BLAKE3 of all that follows it: it tells damage, not who wrote the
//! file. Everything in it is checked again when it is made use of.

use std::io::{self, Read, Write};

use ringfence_manifest::Bytes;
use serde::de::DeserializeOwned;

use super::bounded;
use super::state::State;
use super::store::Store;
use crate::kvm::PAGE;

const MAGIC: &[u8; 16] = b"ringfence snap\r\n";
/// Changed whenever anything in the file means something else.
pub const VERSION: u32 = 6;
const HEAD: usize = 60;
/// The most bytes of pages.
const MOST_PAGES: u64 = 16 << 30;
/// The longest state, beside some bytes for each page, which say where it is.
const LONGEST: u64 = 16 << 20;
const EACH_PAGE: u64 = 16;
/// How much memory a state takes when it has been read, beside a part of that of the program, and at most.
const UNPACKED: u64 = 64 << 20;
const MOST_UNPACKED: u64 = 512 << 20;
/// How much is read at once.
const PIECE: u64 = 1 << 20;

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
    TooLarge(Bytes),
    /// Not what was written.
    #[error("the file is damaged: {0}")]
    Damaged(&'static str),
}

/// Writes a captured state.
pub(super) fn write(state: &State, store: &Store, into: &mut dyn Write) -> io::Result<()> {
    let state = postcard::to_allocvec(state).map_err(io::Error::other)?;
    if state.len() as u64 > longest(MOST_PAGES) {
        return Err(io::Error::other("it has too much open, and too many names, for a file"));
    }
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

/// How long the state of a program with so much memory is at most.
fn longest(memory: u64) -> u64 {
    LONGEST + memory.min(MOST_PAGES) / PAGE * EACH_PAGE
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
        if state > longest(MOST_PAGES) {
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

/// Reads one from a file of this length. What does not fit into so much memory is refused before it is read.
pub(super) fn read(from: &mut dyn Read, length: u64, limit: Option<Bytes>) -> Result<(State, Store), FileError> {
    let head = Head::read(from)?;
    let pages = head.pages(length)?;
    if let Some(limit) = limit.filter(|limit| pages > limit.0) {
        return Err(FileError::TooLarge(limit));
    }
    if head.state > longest(limit.map_or(u64::MAX, |limit| limit.0)) {
        return Err(LENGTH);
    }
    let mut hasher = head.hasher();
    let mut part = |length: u64| -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::with_capacity(length as usize);
        while (bytes.len() as u64) < length {
            let start = bytes.len();
            from.take(PIECE.min(length - start as u64)).read_to_end(&mut bytes)?;
            if bytes.len() == start {
                return Err(FileError::Damaged("it is cut off"));
            }
            hasher.update(&bytes[start..]);
        }
        Ok(bytes)
    };
    let (state, bytes) = (part(head.state)?, part(pages)?);
    head.check(&hasher)?;
    Ok((decode(&state, limit)?, Store::from(bytes)))
}

/// What is at the beginning of a state that may take a part of so much memory.
pub(super) fn decode_start<T: DeserializeOwned>(bytes: &[u8], limit: Option<Bytes>) -> Result<(T, &[u8]), FileError> {
    let room = limit.map_or(MOST_UNPACKED, |limit| (UNPACKED + limit.0 / 8).min(MOST_UNPACKED));
    bounded::within(room as usize, || postcard::take_from_bytes(bytes))
        .map_err(|_| FileError::Damaged("its state cannot be read"))
}

/// A whole state.
pub(super) fn decode(state: &[u8], limit: Option<Bytes>) -> Result<State, FileError> {
    match decode_start(state, limit)? {
        (state, []) => Ok(state),
        _ => Err(FileError::Damaged("its state is longer than it should be")),
    }
}
