//! An open folder, and its entries.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ringfence_abi::{Entry, ErrorCode, FileKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, openat, seek, statat};

use super::Vfs;
use super::place::Place;
use super::stat::kind;
use crate::error::code;

/// An open folder of a capsule's tree.
pub(crate) struct Folder {
    /// The tree it belongs to.
    pub(super) vfs: Arc<Vfs>,
    pub(super) place: Place,
    /// Where it is in the tree; the instance itself may move it.
    path: RwLock<Arc<[u8]>>,
    stream: Mutex<Stream>,
}

/// How far the entries were read. Entries are read in batches; a folder of any size takes no more
/// memory than one.
#[derive(Default)]
struct Stream {
    /// A description of its own: it has a position.
    descriptor: Option<OwnedFd>,
    /// Entries that were read and not given yet.
    batch: VecDeque<Entry>,
    /// The cookie of the last entry that was given.
    after: u64,
    ended: bool,
}

/// Set in the cookies of grafts, which come first. The kernel's own are below it: they have to
/// fit an `off_t`.
const GRAFT: u64 = 1 << 63;
/// Bytes of entries read at once.
const BATCH: usize = 4 << 10;
/// Entries given at once, at most.
const MOST: usize = 1024;

impl Folder {
    pub(super) fn new(vfs: Arc<Vfs>, place: Place, path: &[u8]) -> Self {
        Self { vfs, place, path: RwLock::new(path.into()), stream: Mutex::default() }
    }

    /// Where it is in the tree.
    pub(super) fn path(&self) -> Arc<[u8]> {
        Arc::clone(&self.path.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// It was moved.
    pub(super) fn set_path(&self, path: &[u8]) {
        *self.path.write().unwrap_or_else(PoisonError::into_inner) = path.into();
    }

    /// Up to `most` entries behind the cookie `after`. None at the end.
    pub(crate) fn list(&self, after: u64, most: usize) -> Result<Vec<Entry>, ErrorCode> {
        if most == 0 {
            return Err(ErrorCode::Invalid);
        }
        let most = most.min(MOST);
        let path = self.path();
        let mut entries = Vec::new();
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if after == 0 || after & GRAFT != 0 {
            self.list_grafts(after & !GRAFT, most, &path, &mut entries);
            if entries.len() == most {
                return Ok(entries);
            }
            stream.go_to(self, 0)?;
        } else {
            stream.go_to(self, after)?;
        }
        while entries.len() < most {
            let Some(entry) = stream.next(self)? else { break };
            if self.place_has_graft(&entry.name) || !self.vfs.authority.knows(&join(&path, &entry.name)) {
                continue;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn place_has_graft(&self, name: &[u8]) -> bool {
        self.vfs.tree.child(self.place.graft, name).is_some()
    }

    fn list_grafts(&self, after: u64, most: usize, path: &[u8], entries: &mut Vec<Entry>) {
        let Some(graft) = self.place.graft else { return };
        let skipped = usize::try_from(after).unwrap_or(usize::MAX);
        for (at, (name, &child)) in self.vfs.tree.grafts[graft].children.iter().enumerate().skip(skipped) {
            if entries.len() == most {
                break;
            }
            if self.vfs.authority.knows(&join(path, name)) {
                let is_file = self.vfs.tree.is_file(child);
                let kind = if is_file { FileKind::File } else { FileKind::Directory };
                entries.push(Entry { name: name.clone(), kind, inode: None, cookie: GRAFT | (at as u64 + 1) });
            }
        }
    }
}

impl Stream {
    fn go_to(&mut self, folder: &Folder, after: u64) -> Result<(), ErrorCode> {
        if self.descriptor.is_some() && self.after == after && after != 0 {
            return Ok(());
        }
        self.batch.clear();
        self.ended = false;
        self.after = after;
        if let Some(place) = &folder.place.descriptor {
            if self.descriptor.is_none() {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                self.descriptor = Some(openat(place, c".", flags, Mode::empty()).map_err(code)?);
            }
            if let Some(descriptor) = &self.descriptor {
                seek(descriptor, SeekFrom::Start(after)).map_err(code)?;
            }
        }
        Ok(())
    }

    fn next(&mut self, folder: &Folder) -> Result<Option<Entry>, ErrorCode> {
        while self.batch.is_empty() && !self.ended {
            folder.vfs.meter.go_on()?;
            self.fill()?;
        }
        Ok(self.batch.pop_front().inspect(|entry| self.after = entry.cookie))
    }

    fn fill(&mut self) -> Result<(), ErrorCode> {
        let Some(descriptor) = &self.descriptor else {
            self.ended = true;
            return Ok(());
        };
        let mut buffer = [MaybeUninit::uninit(); BATCH];
        let mut batch = RawDir::new(descriptor, &mut buffer);
        let mut read_any = false;
        loop {
            if read_any && batch.is_buffer_empty() {
                return Ok(());
            }
            let Some(entry) = batch.next() else {
                self.ended = true;
                return Ok(());
            };
            read_any = true;
            let entry = entry.map_err(code)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => statat(descriptor, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileKind::Other, |stat| kind(FileType::from_raw_mode(stat.st_mode))),
                known => kind(known),
            };
            let (inode, cookie) = (Some(entry.ino()), entry.next_entry_cookie());
            self.batch.push_back(Entry { name: name.to_bytes().to_vec(), kind, inode, cookie });
        }
    }
}

/// A path and a name below it.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let path = if path == b"/" { &b""[..] } else { path };
    [path, b"/", name].concat()
}

/// The open folders of an instance, to tell them when they are moved.
#[derive(Default)]
pub(super) struct OpenFolders(Mutex<Vec<std::sync::Weak<Folder>>>);

impl OpenFolders {
    fn all(&self) -> MutexGuard<'_, Vec<std::sync::Weak<Folder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, folder: &Arc<Folder>) {
        let mut all = self.all();
        // Closed ones are dropped when the list would grow, so it is never longer than twice the
        // folders that are open.
        if all.len() == all.capacity() {
            all.retain(|folder| folder.strong_count() > 0);
        }
        all.push(Arc::downgrade(folder));
    }

    /// What was at `old` is at `new`.
    pub(super) fn moved(&self, old: &[u8], new: &[u8]) {
        for folder in self.all().iter().filter_map(std::sync::Weak::upgrade) {
            let path = folder.path();
            let below = path.strip_prefix(old).filter(|below| below.is_empty() || below.starts_with(b"/"));
            if let Some(below) = below {
                folder.set_path(&[new, below].concat());
            }
        }
    }
}
