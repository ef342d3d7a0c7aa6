//! Why a tree cannot be planned.

use std::io;
use std::path::PathBuf;

/// Why a tree cannot be planned; the manifest's fault or the host's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PlanError {
    /// Something that is to be mounted cannot be opened.
    #[error("cannot open {} to mount it on {at}", .from.display())]
    Open {
        /// What of the host.
        from: PathBuf,
        /// Where in the capsule's tree.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// Something is granted in the capsule's own folder, and there is no place for it.
    #[error("there is no place for the capsule's own files, where something is granted: set XDG_DATA_HOME")]
    NoRoot,
    /// A mount cannot be where it is asked to be.
    #[error("{at} cannot be mounted: {why}")]
    Mount {
        /// Where.
        at: String,
        /// Why not.
        why: &'static str,
    },
    /// A part of a mount is granted that is not there.
    #[error("{at} is granted and {} does not exist: make it, or grant the folder above it", .from.display())]
    Missing {
        /// Where in the capsule's tree.
        at: String,
        /// What of the host.
        from: PathBuf,
    },
    /// Changes to something cannot be kept apart.
    #[error("changes to {} cannot be kept apart: {why}", .from.display())]
    Overlay {
        /// What of the host.
        from: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// What cannot be a file or a folder without more being said.
    #[error(
        "{at} is granted and is not there yet, and whether it is to be a file or a folder is not said: \
             grant {folder} for a file, or fs.list on it for a folder"
    )]
    Unclear {
        /// Where in the capsule's tree.
        at: String,
        /// The folder in memory it would be in.
        folder: &'static str,
    },
    /// How much the host's folders can hold cannot be found out.
    #[error("cannot find out how much the folders that can be changed can hold")]
    Room(#[source] io::Error),
    /// A path that is not text for the kernel.
    #[error("{0:?} contains a NUL character")]
    Path(String),
}
