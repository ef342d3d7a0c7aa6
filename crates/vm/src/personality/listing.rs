//! What is in folders: `getdents(2)`, `getdents64(2)`.

use std::sync::Arc;

use ringfence_abi::{Call, FileKind, Reply};
use ringfence_isolation::FileUse;
use ringfence_manifest::Permission;
use rustix::fs::{FileType, SeekFrom};
use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::lock;
use super::thread::Thread;
use super::{Answer, Arguments, int, special};
use crate::scratch::{Body, Node};

/// How many entries are taken from the hal at once.
const BATCH: usize = 128;

/// How far a folder that is made here was listed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// So many of `.` and `..`, which the hal does not list.
    Dots(u64),
    /// Of the hal's entries, up to this one.
    Hal(u64),
    /// So many of the names that lie over it.
    Extra(u64),
}

/// One entry of a folder.
struct Named {
    name: Vec<u8>,
    kind: u8,
    cookie: u64,
    /// Where listing goes on behind it.
    stage: Stage,
    /// The number of what it names, where that is known.
    inode: Option<u64>,
}

impl Thread {
    /// The next entries of a folder that is not the host's.
    fn entries(&self, open: &Open, stage: Stage) -> Result<Vec<Named>, Errno> {
        let made;
        let extra = match &open.kind {
            Kind::Folder(_, extra) => &extra[..],
            Kind::Listing(extra) => {
                made = lock(extra);
                &made.names[..]
            }
            _ => &[],
        };
        let after = match stage {
            Stage::Dots(done) if done < 2 => {
                let dots = [&b"."[..], b".."].into_iter().zip(1..).skip(done as usize);
                return Ok(dots.map(|(name, at)| Named::own(name, libc::DT_DIR, Stage::Dots(at))).collect());
            }
            Stage::Dots(_) => 0,
            Stage::Hal(after) => after,
            Stage::Extra(after) => return Ok(listed(extra, after)),
        };
        let Kind::Folder(handle, _) = &open.kind else { return Ok(listed(extra, 0)) };
        match self.world.call(Call::List { directory: *handle, after, most: BATCH }) {
            Ok(Reply::Entries(entries)) if !entries.is_empty() => Ok(entries.into_iter().map(from_hal).collect()),
            Ok(_) => Ok(listed(extra, 0)),
            Err(Errno::ACCESS) if !extra.is_empty() => Ok(listed(extra, 0)),
            Err(errno) => Err(errno),
        }
    }
}

impl Named {
    /// One that is not the hal's or the host's. Its cookie only says that it is not the first.
    fn own(name: &[u8], kind: u8, stage: Stage) -> Named {
        let cookie = match stage {
            Stage::Dots(at) => at,
            Stage::Hal(at) | Stage::Extra(at) => at + 2,
        };
        Named { name: name.to_vec(), kind, cookie, stage, inode: None }
    }
}

/// `getdents(2)`: the kind stands behind the name.
pub(super) fn getdents(thread: &mut Thread, arguments: Arguments) -> Answer {
    list(thread, arguments, false)
}

/// `getdents64(2)`
pub(super) fn getdents64(thread: &mut Thread, arguments: Arguments) -> Answer {
    list(thread, arguments, true)
}

fn list(thread: &mut Thread, [number, at, length, ..]: Arguments, kind_first: bool) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    if !open.is_folder() {
        return Err(Errno::NOTDIR);
    }
    let length = u64::from(length as u32);
    // That nothing can be written there shows only when there is something to write.
    let room = thread.process.space()?.writable(at, length.min(1 << 16)).unwrap_or(0);
    let mut position = lock(&open.position);
    let mut stage = lock(&open.stage);
    if *position == 0 {
        *stage = Stage::Dots(0);
        // What there is may be something else than when it was opened, or listed before.
        if let Kind::Listing(listing) = &open.kind
            && let Some(Kind::Listing(now)) = special::look(thread, &open.path)
        {
            let names = std::mem::take(&mut lock(&now).names);
            lock(listing).renew(&thread.world, names)?;
        }
    }
    let entries = match &open.kind {
        Kind::SystemFolder(folder) => {
            thread.world.control.charge_io(1, 0);
            from_host(folder, *position)?
        }
        Kind::MemoryFolder(node) => {
            if node.state().names == 0 {
                return Err(Errno::NOENT);
            }
            let place = open.place();
            thread.world.judge(&place, FileUse::With(Permission::FsList))?;
            from_memory(thread, node, &place, *position)?
        }
        Kind::Folder(..) | Kind::Listing(_) => thread.entries(&open, *stage)?,
        _ => return Err(Errno::NOTDIR),
    };
    let mut bytes = Vec::new();
    let mut last = *position;
    for entry in &entries {
        // The name with its end, and the kind on one side of it.
        let size = (18 + entry.name.len() + 2).next_multiple_of(8);
        if bytes.len() + size > room {
            if bytes.is_empty() {
                return Err(if (room as u64) < length.min(1 << 16) { Errno::FAULT } else { Errno::INVAL });
            }
            break;
        }
        let start = bytes.len();
        let inode = entry.inode.unwrap_or_else(|| number_of(&entry.name));
        bytes.extend_from_slice(&inode.to_le_bytes());
        bytes.extend_from_slice(&entry.cookie.to_le_bytes());
        bytes.extend_from_slice(&(size as u16).to_le_bytes());
        if kind_first {
            bytes.push(entry.kind);
        }
        bytes.extend_from_slice(&entry.name);
        bytes.resize(start + size, 0);
        if !kind_first {
            bytes[start + size - 1] = entry.kind;
        }
        last = entry.cookie;
        *stage = entry.stage;
    }
    thread.process.space()?.write(at, &bytes)?;
    *position = last;
    open.happened(libc::IN_ACCESS);
    Ok(bytes.len() as u64)
}

/// A number for a name whose own is not known without looking.
fn number_of(name: &[u8]) -> u64 {
    name.iter().fold(7, |hash: u64, &byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte))) | 1
}

fn from_hal(entry: ringfence_abi::Entry) -> Named {
    let kind = match entry.kind {
        FileKind::File => libc::DT_REG,
        FileKind::Directory => libc::DT_DIR,
        FileKind::Symlink => libc::DT_LNK,
        _ => libc::DT_UNKNOWN,
    };
    // Zero is the beginning.
    let (cookie, stage) = (entry.cookie.max(1), Stage::Hal(entry.cookie));
    Named { name: entry.name, kind, cookie, stage, inode: entry.inode }
}

fn listed(names: &[Vec<u8>], after: u64) -> Vec<Named> {
    let behind = names.iter().enumerate().skip(usize::try_from(after).unwrap_or(usize::MAX));
    let named = |(index, name): (usize, &Vec<u8>)| Named::own(name, libc::DT_UNKNOWN, Stage::Extra(index as u64 + 1));
    behind.map(named).collect()
}

/// The numbers of `.` and `..`, of names of mounts, and then of what is in memory.
const MEMORY: u64 = 1 << 16;

fn from_memory(thread: &Thread, node: &Node, path: &[u8], after: u64) -> Result<Vec<Named>, Errno> {
    let mut over: Vec<Vec<u8>> = vec![b".".to_vec(), b"..".to_vec()];
    over.extend(thread.world.scratch.names_in(path));
    over.truncate(MEMORY as usize);
    if after < over.len() as u64 {
        let entry = |(name, cookie): (Vec<u8>, u64)| Named {
            name,
            kind: libc::DT_DIR,
            cookie,
            stage: Stage::Hal(cookie),
            inode: None,
        };
        return Ok(over.into_iter().zip(1..).skip(after as usize).map(entry).collect());
    }
    let there = node.names()?.after(after.saturating_sub(MEMORY), BATCH);
    let entry = |(number, name, node): (u64, Vec<u8>, Arc<Node>)| {
        let kind = match &node.body {
            Body::File(_) => libc::DT_REG,
            Body::Folder(_) => libc::DT_DIR,
            Body::Link(_) => libc::DT_LNK,
            Body::Fifo => libc::DT_FIFO,
            Body::Socket => libc::DT_SOCK,
        };
        Named { name, kind, cookie: MEMORY + number, stage: Stage::Hal(number), inode: Some(node.number) }
    };
    Ok(there.into_iter().map(entry).collect())
}

fn from_host(folder: &rustix::fd::OwnedFd, after: u64) -> Result<Vec<Named>, Errno> {
    rustix::fs::seek(folder, SeekFrom::Start(after))?;
    let mut buffer = Vec::with_capacity(16 << 10);
    let mut entries = rustix::fs::RawDir::new(folder, buffer.spare_capacity_mut());
    let mut named = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let kind = match entry.file_type() {
            FileType::RegularFile => libc::DT_REG,
            FileType::Directory => libc::DT_DIR,
            FileType::Symlink => libc::DT_LNK,
            _ => libc::DT_UNKNOWN,
        };
        let name = entry.file_name().to_bytes().to_vec();
        let cookie = entry.next_entry_cookie();
        named.push(Named { name, kind, cookie, stage: Stage::Hal(cookie), inode: Some(entry.ino()) });
        if entries.is_buffer_empty() {
            break;
        }
    }
    Ok(named)
}
