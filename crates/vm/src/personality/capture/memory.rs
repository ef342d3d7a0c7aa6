//! What programs have in memory, as it is captured: of what a file can give again only where it is.

use std::sync::Arc;

use super::file::{file_is, open_is};
use super::{CaptureError, Capturing, address, shown, unread};
use crate::kvm::PAGE;
use crate::memory::{Backing, Content, Reach, Region, Segment, Source, Space};
use crate::personality::open::{Charged, Kind, Mapped};
use crate::snapshot::is_zero;
use crate::snapshot::state::{self, Index};
use crate::tree::HostFile;
use crate::vdso;

impl Capturing<'_> {
    pub(super) fn segment(&mut self, segment: &Arc<Segment>) -> Result<Index, CaptureError> {
        let place = match self.place(address(segment), |me| &mut me.segments) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        let (size, frames) = segment.parts();
        self.segments.push(state::Segment { source: state::Source::Anonymous, size, pages: Vec::new() });
        let world = self.world;
        let time = world.vdso.as_ref().filter(|vdso| Arc::ptr_eq(vdso.pages(), segment));
        if let Some((generation, code)) = time.map(|vdso| (vdso.current(), vdso::fingerprint())).or_else(|| {
            let silent = world.silent_time.get().filter(|(pages, _)| Arc::ptr_eq(pages, segment));
            silent.map(|&(_, generation)| (generation, vdso::fingerprint()))
        }) {
            self.time = Some((generation, code));
            self.segments[place as usize] =
                state::Segment { source: state::Source::Time, size: None, pages: Vec::new() };
            return Ok(place);
        }
        let source = match segment.source() {
            Source::Zeroes => state::Source::Anonymous,
            Source::Counted(_) => state::Source::Memory,
            Source::File(_) => {
                segment.write_back().map_err(unread(b"a shared mapping"))?;
                let (reader, writer) = self.world.shared.behind(segment).ok_or(CaptureError::Ending)?;
                let writer = writer.map(|writer| self.open(&writer)).transpose()?;
                state::Source::File { reader: self.open(&reader)?, writer }
            }
        };
        let mut pages = Vec::new();
        if !matches!(source, state::Source::File { .. }) {
            let mut content = vec![0; PAGE as usize];
            for (index, frame) in frames {
                self.world.machine.read(frame * PAGE, &mut content);
                if !is_zero(&content) {
                    pages.push((index, self.store.put(&content)));
                }
            }
        }
        let there = &mut self.segments[place as usize];
        (there.source, there.pages) = (source, pages);
        Ok(place)
    }

    pub(super) fn space(&mut self, space: &Arc<Space>) -> Result<Index, CaptureError> {
        let place = match self.place(address(space), |me| &mut me.spaces) {
            Ok(known) => return Ok(known),
            Err(place) => place,
        };
        let parts = space.parts();
        let (heap, future) = (parts.heap, parts.future.bits());
        self.spaces.push(state::Space { areas: Vec::new(), heap, future, present: Vec::new(), pages: Vec::new() });
        let mut areas = Vec::with_capacity(parts.regions.len());
        let mut pages = Vec::new();
        let mut left = parts.pages.iter().peekable();
        let (mut ours, mut theirs) = (vec![0; PAGE as usize], vec![0; PAGE as usize]);
        for region in &parts.regions {
            areas.push(self.area(region)?);
            while let Some(&&(number, frame)) = left.peek() {
                if number * PAGE >= region.range.end {
                    break;
                }
                left.next();
                space.read_frame(frame, &mut ours);
                theirs.fill(0);
                if let Backing::File(content, offset) = &region.backing {
                    let at = offset + (number * PAGE - region.range.start);
                    bare(content).read_at(at, &mut theirs).map_err(unread(content.path()))?;
                }
                if ours != theirs {
                    pages.push((number, self.store.put(&ours)));
                }
            }
        }
        let mut present: Vec<(u64, u64)> = Vec::new();
        for &(number, _) in &parts.pages {
            match present.last_mut() {
                Some((first, count)) if *first + *count == number => *count += 1,
                _ => present.push((number, 1)),
            }
        }
        self.spaces[place as usize] = state::Space { areas, heap, future, present, pages };
        Ok(place)
    }

    fn area(&mut self, Region { range, protection, backing, marks }: &Region) -> Result<state::Area, CaptureError> {
        let backing = match backing {
            Backing::Anonymous => state::Backing::Anonymous,
            Backing::File(content, offset) => state::Backing::File(self.content(content)?, *offset),
            Backing::Shared(segment, offset, reach) => {
                state::Backing::Shared(self.segment(segment)?, *offset, *reach == Reach::All)
            }
        };
        let (protection, marks) = (protection.bits(), marks.bits());
        Ok(state::Area { start: range.start, end: range.end, protection, marks, backing })
    }

    fn content(&mut self, content: &Arc<dyn Content>) -> Result<Index, CaptureError> {
        if let Some(Mapped(open)) = content.as_any().downcast_ref() {
            let index = self.open(open)?;
            let key = (open.path.clone(), u64::MAX, u64::from(index));
            return self.known_content(key, || {
                let is = matches!(open.kind, Kind::File(_)).then(|| open_is(open, None)).transpose();
                Ok(state::Content::Open(index, is.map_err(unread(&open.path))?))
            });
        }
        let file = system_file(content).ok_or_else(|| {
            CaptureError::Holds(format!("{} is mapped in a way that is not known here", shown(content.path())))
        })?;
        let stat = rustix::fs::fstat(file.descriptor()).map_err(unread(file.path()))?;
        self.known_content((file.path().to_vec(), stat.st_dev, stat.st_ino), || {
            Ok(state::Content::System(file.path().to_vec(), file_is(file, None).map_err(unread(file.path()))?))
        })
    }

    fn known_content(
        &mut self,
        key: (Vec<u8>, u64, u64),
        make: impl FnOnce() -> Result<state::Content, CaptureError>,
    ) -> Result<Index, CaptureError> {
        if let Some(&known) = self.known_contents.get(&key) {
            return Ok(known);
        }
        let place = self.contents.len() as Index;
        self.contents.push(make()?);
        self.known_contents.insert(key, place);
        Ok(place)
    }
}

/// A file of the system's behind memory.
fn system_file(content: &Arc<dyn Content>) -> Option<&HostFile> {
    let any = content.as_any();
    any.downcast_ref::<HostFile>().or_else(|| any.downcast_ref::<Charged>().map(|Charged(_, file)| &**file))
}

/// The same content, read at nobody's charge.
fn bare(content: &Arc<dyn Content>) -> &dyn Content {
    match system_file(content) {
        Some(file) => file,
        None => &**content,
    }
}
