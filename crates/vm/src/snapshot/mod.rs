//! Snapshots: a captured state, the file it is kept in, and building instances from it.
//!
//! ```text
//! instance ──capture──▶ Image ──save──▶ file ──load──▶ Image ──build──▶ instance, any number of times
//! ```
//!
//! [`state`] is what a state is as plain data, `personality::capture` makes it of a running instance and
//! `personality::revive` makes an instance of it. A file is not trusted.

mod bounded;
mod file;
mod prepared;
mod sealed;
pub(crate) mod state;
mod store;
mod used;

use std::io::{self, Write};

use ringfence_manifest::Bytes;

pub(crate) use file::FileError;
pub use file::VERSION;
pub(crate) use prepared::{Frozen, check, origin};
pub use sealed::Sealed;
pub(crate) use state::State;
pub(crate) use store::{Filling, Store, is_zero};
pub(crate) use used::Used;

/// A captured state. It is never written to: instances copy what they need.
pub(crate) struct Image {
    pub(crate) state: State,
    pub(crate) store: Store,
}

impl Image {
    /// Reads one whose pages fit into so many bytes of memory.
    pub(crate) fn load(mut file: std::fs::File, memory: Option<Bytes>) -> Result<Image, FileError> {
        let length = file.metadata()?.len();
        let (state, store) = file::read(&mut file, length, memory)?;
        Ok(Image { state, store })
    }

    /// Of what another process looked at, and sealed.
    pub(crate) fn sealed(file: std::fs::File, memory: Option<Bytes>) -> Result<Image, FileError> {
        let (state, store) = sealed::open(file, memory)?;
        Ok(Image { state, store })
    }

    pub(crate) fn save(&self, into: &mut dyn Write) -> io::Result<()> {
        file::write(&self.state, &self.store, into)
    }
}
