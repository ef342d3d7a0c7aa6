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

/// Reads one from a file of this length.
pub(super) fn read(from: &mut dyn Read, length: u64) -> Result<(State, Store), FileError> {
    let mut head = [0; HEAD];
    match from.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(FileError::Foreign),
        Err(error) => return Err(error.into()),
    }
    let (magic, rest) = head.split_at(16);
    let (version, rest) = rest.split_at(4);
    let (hash, state_length) = rest.split_at(32);
    if magic != MAGIC {
        return Err(FileError::Foreign);
    }
    let version = version.try_into().map_or(0, u32::from_le_bytes);
    if version != VERSION {
        return Err(FileError::Version(version));
    }
    let expected = state_length.try_into().map_or(u64::MAX, u64::from_le_bytes);
    let pages = length.checked_sub(HEAD as u64).and_then(|rest| rest.checked_sub(expected));
    let pages = pages.filter(|&pages| expected <= LONGEST && pages <= MOST_PAGES && pages.is_multiple_of(PAGE));
    let pages = pages.ok_or(FileError::Damaged("its length is not what it says"))?;
    let mut part = |length: u64| -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::with_capacity(length as usize);
        from.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(FileError::Damaged("it is cut off")) }
    };
    let (state, bytes) = (part(expected)?, part(pages)?);
    let mut hasher = blake3::Hasher::new();
    hasher.update(state_length).update(&state).update(&bytes);
    // In constant time, as `blake3::Hash` compares.
    if hasher.finalize() != <[u8; 32]>::try_from(hash).unwrap_or_default() {
        return Err(FileError::Damaged("its content is not what its hash says"));
    }
    let (state, rest) =
        postcard::take_from_bytes(&state).map_err(|_| FileError::Damaged("its state cannot be read"))?;
    if !rest.is_empty() {
        return Err(FileError::Damaged("its state is longer than it should be"));
    }
    Ok((state, Store::from(bytes)))
}
