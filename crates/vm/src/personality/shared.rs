//! Files that are mapped and shared: `mmap(2)`, `MAP_SHARED`; `msync(2)`.
//!
//! While anyone has a file mapped, its pages are what all programs of the instance see of it, mapped or
//! read. What was written to pages reaches the file by `msync`, `fsync`, and when the last of the
//! mappings is gone, through the handle with which it was mapped: its rights, and the limits. An
//! instance that is killed loses what was written since.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use ringfence_abi::{Call, Position, Reply};
use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::lock;
use super::world::World;
use crate::memory::{Origin, Segment, Source};

/// The device and the number of a file.
pub(super) type Identity = (u64, u64);

/// The files that are mapped.
#[derive(Default)]
pub(super) struct Shared(Mutex<HashMap<Identity, Pages>>);

/// The pages of a file.
struct Pages {
    segment: Arc<Segment>,
    behind: Arc<Behind>,
}

/// The file behind pages.
struct Behind {
    reader: Arc<Open>,
    writer: Mutex<Option<Arc<Open>>>,
}

impl Origin for Behind {
    fn is_writable(&self) -> bool {
        lock(&self.writer).is_some()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < into.len() {
            let into = &mut into[done..];
            match self.reader.read_hal(offset + done as u64, into)? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> Result<(), Errno> {
        let Some(writer) = lock(&self.writer).clone() else { return Err(Errno::BADF) };
        let Kind::File(file) = writer.kind else { return Err(Errno::BADF) };
        let mut done = 0;
        while done < from.len() {
            let at = Position::Offset(offset + done as u64);
            match writer.world().call(Call::Write { file, at, from: &from[done..] })? {
                Reply::Count(count) if count > 0 => done += count,
                _ => return Err(Errno::IO),
            }
        }
        Ok(())
    }
}

impl Shared {
    /// The pages of an open file, to be mapped.
    pub(super) fn map(&self, world: &Arc<World>, open: &Arc<Open>) -> Result<Arc<Segment>, Errno> {
        let identity = open.identity()?;
        let is_writer = open.flags() & libc::O_ACCMODE as u32 == libc::O_RDWR as u32;
        let mut files = lock(&self.0);
        let pages = match files.entry(identity) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                let size = Some(open.size()?);
                let behind = Arc::new(Behind { reader: open.clone(), writer: Mutex::new(None) });
                let segment = Segment::of(world.machine.clone(), Source::File(behind.clone()), size);
                place.insert(Pages { segment, behind })
            }
        };
        if is_writer {
            lock(&pages.behind.writer).get_or_insert(open.clone());
        }
        Ok(pages.segment.clone())
    }

    /// The pages of an open file, if anyone has it mapped.
    pub(super) fn of(&self, open: &Open) -> Option<Arc<Segment>> {
        let files = lock(&self.0);
        if files.is_empty() {
            return None;
        }
        drop(files);
        let identity = open.identity().ok()?;
        lock(&self.0).get(&identity).map(|pages| pages.segment.clone())
    }

    /// Through what a segment is read and written, when it is the pages of a file.
    pub(super) fn behind(&self, segment: &Arc<Segment>) -> Option<(Arc<Open>, Option<Arc<Open>>)> {
        let files = lock(&self.0);
        let pages = files.values().find(|pages| Arc::ptr_eq(&pages.segment, segment))?;
        Some((pages.behind.reader.clone(), lock(&pages.behind.writer).clone()))
    }

    /// Lets go of files that nobody has mapped any more. They get what was written first.
    pub(super) fn settle(&self) {
        let mut files = lock(&self.0);
        files.retain(|_, Pages { segment, .. }| {
            let is_mapped = Arc::strong_count(segment) > 1;
            if !is_mapped {
                // A failure is the hal's verdict, which ends the instance, or the file is gone.
                let _ = segment.write_back();
            }
            is_mapped
        });
    }

    /// Lets go of all.
    pub(super) fn clear(&self) {
        drop(std::mem::take(&mut *lock(&self.0)));
    }
}
