//! What the holder of a handle may do with it.

use serde::{Deserialize, Serialize};

bitflags::bitflags! {
    /// What the holder of a handle may do with it. Rights only shrink: every way to make a handle
    /// from another one takes the intersection.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(from = "u32", into = "u32")]
    pub struct Rights: u32 {
        /// Read the content of a file, receive from a stream or socket.
        const READ = 1 << 0;
        /// Change the content of a file, send to a stream or socket.
        const WRITE = 1 << 1;
        /// Read the metadata of a file.
        const STAT = 1 << 2;
        /// Change the size of a file.
        const RESIZE = 1 << 3;
        /// Change the times of a file.
        const TOUCH = 1 << 4;
        /// Enumerate a folder.
        const LIST = 1 << 5;
        /// Name things below a folder: open, stat, create, remove, rename, link.
        const WALK = 1 << 6;
        /// Change what a folder holds (beside `WALK`).
        const CHANGE = 1 << 7;
        /// Connect a socket.
        const CONNECT = 1 << 8;
        /// Bind a socket, listen and accept.
        const LISTEN = 1 << 9;
        /// Make another handle of the same resource.
        const DUPLICATE = 1 << 10;
        /// Pass the resource to another instance.
        const TRANSFER = 1 << 11;
    }
}

impl From<Rights> for u32 {
    fn from(rights: Rights) -> u32 {
        rights.bits()
    }
}

/// Bits that are no right are dropped.
impl From<u32> for Rights {
    fn from(bits: u32) -> Rights {
        Rights::from_bits_truncate(bits)
    }
}
