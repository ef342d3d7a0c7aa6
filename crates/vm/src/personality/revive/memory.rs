//! What programs have in memory, made of captured pages and of the files behind them.

use std::sync::Arc;

use rustix::io::Errno;

use super::ReviveError::{self, Invalid};
use super::{Reviving, at, shown};
use crate::kvm::{PAGE, USER_END};
use crate::memory::{Backing, Content, LOCKS, Marks, Placement, Protection, Reach, Segment, Space};
use crate::personality::capture::{file_is, open_is};
use crate::personality::open::{Charged, Kind, Mapped};
use crate::snapshot::state::{self, FileIs, Index};
use crate::vdso;

/// The lowest address of anything: `vm.mmap_min_addr`.
const LOWEST: u64 = 0x1_0000;
/// How many pages are copied at once: what is read from a file is held twice for that long.
const MOST_AT_ONCE: usize = 512;

impl Reviving<'_> {
    pub(super) fn segment(&self, captured: &state::Segment) -> Result<Option<Arc<Segment>>, ReviveError> {
        let segment = match (captured.source, captured.size) {
            (state::Source::Anonymous, None) => Segment::new(self.world.machine.clone()),
            (state::Source::Memory, Some(size)) if size <= i64::MAX as u64 => self.world.scratch.pages(size),
            // Those come when the files are open.
            (state::Source::Time, None) if captured.pages.is_empty() && self.state.time.is_some() => {
                let silent = self.world.silent_time.get().map(|(pages, _)| pages);
                let pages = self.world.vdso.as_ref().map(vdso::Vdso::pages).or(silent);
                return pages.cloned().map(Some).ok_or(Invalid("pages of time"));
            }
            (state::Source::File { .. }, _) if captured.pages.is_empty() => return Ok(None),
            _ => return Err(Invalid("shared pages")),
        };
        for &(index, place) in &captured.pages {
            let beyond = captured.size.is_some_and(|size| index >= size.div_ceil(PAGE));
            if index >= i64::MAX as u64 / PAGE || beyond {
                return Err(Invalid("shared pages"));
            }
            segment.revive(index, &self.page(place)?).map_err(|errno| match errno {
                Errno::NOSPC => ReviveError::Disk,
                _ => ReviveError::NoMemory,
            })?;
            self.world.may_keep(0).map_err(|_| ReviveError::NoMemory)?;
        }
        Ok(Some(segment))
    }

    pub(super) fn segments_of_files(&mut self) -> Result<(), ReviveError> {
        for (index, captured) in self.state.segments.iter().enumerate() {
            let state::Source::File { reader, writer } = captured.source else { continue };
            for open in [Some(reader), writer].into_iter().flatten() {
                let open = at(&self.opens, open, "shared files")?;
                if !matches!(open.kind, Kind::File(_)) {
                    return Err(Invalid("shared files"));
                }
                let failed = |errno| ReviveError::Open { path: shown(&open.path), errno };
                self.segments[index] = Some(self.world.shared.map(self.world, open).map_err(failed)?);
            }
        }
        Ok(())
    }

    pub(super) fn content(&self, captured: &state::Content) -> Result<Arc<dyn Content>, ReviveError> {
        match captured {
            state::Content::System(path, was) => {
                let failed = |errno| ReviveError::Open { path: shown(path), errno };
                let file = self.of_system(path).map_err(failed)?;
                same(path, was, file_is(&file, Some(was)).map_err(failed)?)?;
                Ok(Arc::new(Charged(self.world.clone(), Arc::new(file))))
            }
            state::Content::Open(open, was) => {
                let open = at(&self.opens, *open, "mapped files")?;
                let failed = |errno| ReviveError::Open { path: shown(&open.path), errno };
                match (&open.kind, was) {
                    (Kind::File(_), Some(was)) => {
                        same(&open.path, was, open_is(open, Some(was)).map_err(failed)?)?;
                    }
                    (Kind::Text(_) | Kind::Memory(_), None) => {}
                    _ => return Err(Invalid("mapped files")),
                }
                Ok(Arc::new(Mapped(open.clone())))
            }
        }
    }

    pub(super) fn space(&self, captured: &state::Space) -> Result<Space, ReviveError> {
        let world = self.world;
        let again = world.machine.take_space(world.vdso.is_some());
        let is_there = again.is_some();
        let space = match again {
            Some(again) => Space::again(world.machine.clone(), world.ledger(), again),
            None => Space::new(world.machine.clone(), world.ledger()).map_err(|_| ReviveError::NoMemory)?,
        };
        let wrong = Invalid("areas of memory");
        for area in &captured.areas {
            let length = area.end.checked_sub(area.start).filter(|length| length.is_multiple_of(PAGE));
            let length = length.ok_or(wrong.clone())?;
            let protection = Protection::from_bits(area.protection).ok_or(wrong.clone())?;
            let is_offset = |offset: u64| {
                offset.is_multiple_of(PAGE) && offset.checked_add(length).is_some_and(|end| end <= i64::MAX as u64)
            };
            let backing = match area.backing {
                state::Backing::Anonymous => Backing::Anonymous,
                state::Backing::File(content, offset) if is_offset(offset) => {
                    Backing::File(at(&self.contents, content, "mapped files")?.clone(), offset)
                }
                state::Backing::Shared(segment, offset, all) if is_offset(offset) => {
                    let is_time = at(&self.state.segments, segment, "shared pages")?.source == state::Source::Time;
                    let segment = at(&self.segments, segment, "shared pages")?.clone();
                    let reach = if all { Reach::All } else { Reach::ReadOnly };
                    if (!all && protection.contains(Protection::WRITE)) || (all && is_time) {
                        return Err(wrong);
                    }
                    Backing::Shared(segment.ok_or(Invalid("shared pages"))?, offset, reach)
                }
                _ => return Err(wrong),
            };
            let marks = Marks::from_bits(area.marks).ok_or(wrong.clone())?;
            let is_private = matches!(backing, Backing::Anonymous);
            let private = Marks::GROWS_DOWN | Marks::WIPED;
            if !is_private && marks.intersects(private) {
                return Err(wrong);
            }
            let made = space.map_marked(Placement::Free(area.start), length, protection, backing, marks);
            if made != Ok(area.start) {
                return Err(wrong);
            }
        }
        let future = Marks::from_bits(captured.future).filter(|future| LOCKS.contains(*future));
        space.lock_everything(None, future.ok_or(wrong.clone())?);
        let (start, end) = captured.heap;
        if !(LOWEST..USER_END / 2).contains(&start) || !(start..USER_END / 2).contains(&end) {
            return Err(Invalid("heaps"));
        }
        space.set_heap(captured.heap);
        if is_there {
            world.may_keep(0).map_err(|_| ReviveError::NoMemory)?;
            return Ok(space);
        }
        for &(first, count) in &captured.present {
            let range = first.checked_mul(PAGE).zip(count.checked_mul(PAGE));
            let (start, length) = range.ok_or(Invalid("pages"))?;
            if !space.covers(start, length) {
                return Err(Invalid("pages"));
            }
            space.populate(start, length);
            world.may_keep(0).map_err(|_| ReviveError::NoMemory)?;
        }
        self.fill(&space, &captured.pages)?;
        let is_time = |area: &&state::Area| match area.backing {
            state::Backing::Shared(segment, ..) => {
                self.state.segments.get(segment as usize).is_some_and(|made| made.source == state::Source::Time)
            }
            _ => false,
        };
        for area in captured.areas.iter().filter(is_time) {
            space.populate(area.start, area.end - area.start);
        }
        space.settle();
        Ok(space)
    }

    /// Copies pages into memory, those in a row at once.
    fn fill(&self, space: &Space, pages: &[(u64, Index)]) -> Result<(), ReviveError> {
        let follows = |one: &(u64, Index), other: &(u64, Index)| {
            one.0.checked_add(1) == Some(other.0) && one.1.checked_add(1) == Some(other.1)
        };
        for run in pages.chunk_by(follows).flat_map(|run| run.chunks(MOST_AT_ONCE)) {
            let (number, place) = run[0];
            let content = self.store.read(place, run.len()).ok_or(Invalid("pages"))?;
            let start = number.checked_mul(PAGE).ok_or(Invalid("pages"))?;
            if !space.covers(start, content.len() as u64) {
                return Err(Invalid("pages"));
            }
            space.install(start, &content).map_err(|_| ReviveError::NoMemory)?;
        }
        Ok(())
    }
}

fn same(path: &[u8], was: &FileIs, is: FileIs) -> Result<(), ReviveError> {
    if was.hash == is.hash && was.size == is.size { Ok(()) } else { Err(ReviveError::Changed(shown(path))) }
}
