//! What a capsule gets back.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Handle, Rights, SocketOption, Timestamp, Value};

/// What sort of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device, a terminal included.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A pipe.
    Pipe,
    /// A socket.
    Socket,
    /// Something else.
    Other,
}

/// Metadata, as `stat(2)` gives it, without the owner, which belongs to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// The nine bits of its mode that say who may do what (`inode(7)`): for a capsule they are a note, its permissions
    /// decide.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// How much it takes, in blocks of 512 bytes (`st_blocks` of `stat(3type)`).
    pub blocks: u64,
    /// Names it has.
    pub links: u64,
    /// An identity that two names share when they name one thing, stable within an instance.
    pub identity: (u64, u64),
    /// Last access, nanoseconds since 1970.
    pub accessed: Timestamp,
    /// Last change of content, nanoseconds since 1970.
    pub modified: Timestamp,
    /// Last change of metadata, nanoseconds since 1970.
    pub changed: Timestamp,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, without a path.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: FileKind,
    /// Its number in its file system (`st_ino` of `stat(3type)`), where that is known.
    pub inode: Option<u64>,
    /// Pass this as `after` to go on behind this entry.
    pub cookie: u64,
}

/// The answer to a call that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reply {
    /// Done; there is nothing to say.
    Done,
    /// A new handle.
    Handle(Handle),
    /// A new handle of a file that was not there before.
    Created(Handle),
    /// How many bytes.
    Count(usize),
    /// Yes or no.
    Flag(bool),
    /// The rights of a handle.
    Rights(Rights),
    /// Metadata.
    Stat(Stat),
    /// Entries of a folder.
    Entries(Vec<Entry>),
    /// Bytes.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A connection and who made it.
    Accepted(Handle, SocketAddr),
    /// An address.
    Address(SocketAddr),
    /// Addresses of a name.
    Addresses(Vec<IpAddr>),
    /// A datagram of so many bytes, and who sent it.
    Datagram(usize, SocketAddr),
    /// A setting of a socket.
    Option(SocketOption),
    /// A moment or a duration, in nanoseconds.
    Time(Timestamp),
    /// Texts.
    Texts(Vec<String>),
    /// Names and values.
    Pairs(Vec<(String, String)>),
    /// Results of a function.
    Values(Vec<Value>),
}
