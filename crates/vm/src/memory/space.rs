//! An address space, and changing what is in it: `mmap(2)`, `munmap(2)`, `mprotect(2)`, `msync(2)`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::area::{Area, Areas, Marks, page, runs};
use super::sites;
use super::{Backing, Protection};
use crate::kvm::{Imprinted, Kept, Machine, PAGE, Tables, USER_END, USER_STUB};

/// The lowest address a program can map: `vm.mmap_min_addr`.
pub(super) const LOWEST: u64 = 0x1_0000;
/// How many pages are copied at once for a child.
const COPIED: usize = 64;
/// Where mappings go that may be anywhere, from the top downwards.
pub(crate) const MAPPINGS_END: u64 = USER_END - (64 << 20);
/// How many areas there can be: `vm.max_map_count`.
pub(super) const MOST_AREAS: usize = 65530;
/// About what the host keeps for an area, and for a page that is there.
pub(super) const AREA: usize = 96;
const ENTRY: usize = 40;

/// Who decides how much memory may be held.
pub(crate) trait Ledger: Send + Sync {
    /// Whether an instance may hold so many bytes. `false` ends it.
    fn may_hold(&self, bytes: u64) -> bool;
}

/// Where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Anywhere, here if possible.
    Hint(u64),
    /// Here, instead of what is there.
    Fixed(u64),
    /// Here if nothing is there.
    Free(u64),
    /// Below 2 GiB, here if possible: `MAP_32BIT` of `mmap(2)`.
    Low(u64),
}

/// Where that is.
const LOW: Range<u64> = 0x4000_0000..0x8000_0000;

/// One address space. The threads of a process share it, and a child of `vfork(2)` does for a while.
pub(crate) struct Space {
    pub(super) machine: Arc<Machine>,
    pub(super) ledger: Arc<dyn Ledger>,
    inner: Mutex<Inner>,
    /// Places of its code may have been rewritten.
    pub(super) sites: sites::Known,
}

pub(super) struct Inner {
    /// Taken when the space is dropped.
    pub(super) tables: Option<Tables>,
    pub(super) areas: Areas,
    /// The pages that are there, by number.
    pub(super) pages: BTreeMap<u64, Page>,
    /// Where content is read to on its way to a page.
    pub(super) buffer: Vec<u8>,
    root: u64,
    pub(super) break_start: u64,
    pub(super) break_end: u64,
    /// What is said of everything that is mapped from now on: `mlockall(2)`.
    pub(super) future: Marks,
    /// The most pages that were there at once.
    pub(super) peak: usize,
    /// How many have to be there before it is worth looking for those that nobody touched.
    pub(super) searched: usize,
    kept: Kept,
}

impl Inner {
    /// What the host keeps for areas and pages counts as memory.
    pub(super) fn count(&mut self) {
        let lists = self.areas.count() * AREA + self.pages.len() * ENTRY;
        self.kept.set(lists + self.buffer.capacity());
        self.peak = self.peak.max(self.pages.len());
    }

    fn of(tables: Tables, root: u64, areas: Areas, pages: BTreeMap<u64, Page>, kept: Kept) -> Inner {
        let (break_start, break_end, future, peak, searched) = (0, 0, Marks::empty(), 0, 0);
        let (tables, buffer) = (Some(tables), Vec::new());
        Inner { tables, areas, pages, buffer, root, break_start, break_end, future, peak, searched, kept }
    }

    pub(super) fn root(&self) -> u64 {
        self.root
    }
}

/// A page that is there.
#[derive(Clone, Copy)]
pub(super) struct Page {
    pub(super) frame: u64,
    /// Whether it belongs to this space alone.
    pub(super) own: bool,
}

impl Space {
    /// An empty one.
    pub(crate) fn new(machine: Arc<Machine>, ledger: Arc<dyn Ledger>) -> Result<Space, Errno> {
        let tables = Tables::new(&machine).ok_or(Errno::NOMEM)?;
        let root = tables.root();
        let (areas, pages) = (Areas::default(), BTreeMap::new());
        let kept = Kept::new(machine.clone());
        let inner = Inner::of(tables, root, areas, pages, kept);
        Ok(Space { machine, ledger, inner: Mutex::new(inner), sites: sites::Known::new() })
    }

    /// One in a machine that is used again: with the pages it had, and no areas yet.
    pub(crate) fn again(
        machine: Arc<Machine>,
        ledger: Arc<dyn Ledger>,
        (tables, pages): (Tables, BTreeMap<u64, Imprinted>),
    ) -> Space {
        let page = |(number, Imprinted { frame, own, .. })| (number, Page { frame, own });
        let pages = pages.into_iter().map(page).collect();
        let (root, kept) = (tables.root(), Kept::new(machine.clone()));
        let mut inner = Inner::of(tables, root, Areas::default(), pages, kept);
        inner.count();
        Space { machine, ledger, inner: Mutex::new(inner), sites: sites::Known::new() }
    }

    /// `cr3`.
    pub(crate) fn root(&self) -> u64 {
        self.inner().root
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `mmap(2)`: where it went.
    pub(crate) fn map(
        &self,
        at: Placement,
        length: u64,
        protection: Protection,
        backing: Backing,
    ) -> Result<u64, Errno> {
        self.map_marked(at, length, protection, backing, Marks::empty())
    }

    /// The same, of which more is said.
    pub(crate) fn map_marked(
        &self,
        at: Placement,
        length: u64,
        protection: Protection,
        backing: Backing,
        marks: Marks,
    ) -> Result<u64, Errno> {
        if length == 0 {
            return Err(Errno::INVAL);
        }
        let length = length.checked_next_multiple_of(PAGE).filter(|&length| length < USER_END).ok_or(Errno::NOMEM)?;
        if let Placement::Fixed(start) = at {
            self.make_way(&(start..start.saturating_add(length)));
        }
        let mut inner = self.inner();
        if inner.areas.count() >= MOST_AREAS || !self.ledger.may_hold(self.machine.used() + AREA as u64) {
            return Err(Errno::NOMEM);
        }
        let start = match at {
            Placement::Fixed(start) | Placement::Free(start) => {
                let range = whole_pages(start, length)?;
                if start < LOWEST {
                    return Err(Errno::PERM);
                }
                match at {
                    Placement::Free(_) if !inner.areas.are_free(&range) => return Err(Errno::EXIST),
                    Placement::Free(_) => {}
                    _ => self.remove(&mut inner, range)?,
                }
                start
            }
            Placement::Hint(hint) | Placement::Low(hint) => {
                let is_low = matches!(at, Placement::Low(_));
                let (within, end) = if is_low { (LOW, LOW.end) } else { (LOWEST..MAPPINGS_END, USER_STUB) };
                let hint = hint & !(PAGE - 1);
                let wanted = whole_pages(hint, length).ok();
                match wanted.filter(|range| hint >= LOWEST && range.end <= end && inner.areas.are_free(range)) {
                    Some(range) => range.start,
                    None => inner.areas.gap(length, within).ok_or(Errno::NOMEM)?,
                }
            }
        };
        inner.areas.insert(start..start + length, protection, backing, marks);
        inner.count();
        self.note_mapped(&(start..start + length));
        Ok(start)
    }

    /// Something else is about to be in a range.
    pub(super) fn make_way(&self, range: &Range<u64>) {
        if sites::concerns_sites(range) {
            self.give_sites_up();
        }
    }

    /// `munmap(2)`.
    pub(crate) fn unmap(&self, start: u64, length: u64) -> Result<(), Errno> {
        let range = whole_pages(start, length)?;
        if range.is_empty() {
            return Err(Errno::INVAL);
        }
        self.make_way(&range);
        self.remove(&mut self.inner(), range)
    }

    /// Takes everything in a range out; `ENOMEM` when that would make too many areas.
    pub(super) fn remove(&self, inner: &mut Inner, range: Range<u64>) -> Result<(), Errno> {
        if inner.areas.count() >= MOST_AREAS && inner.areas.would_split(&range) {
            return Err(Errno::NOMEM);
        }
        // Shared pages are given back with the last area: not before nothing leads to them.
        let removed = inner.areas.remove(range.clone());
        self.drop_pages(inner, range);
        drop(removed);
        Ok(())
    }

    /// Lets go of the pages in a range: their addresses lead nowhere, their content is gone.
    pub(super) fn drop_pages(&self, inner: &mut Inner, range: Range<u64>) {
        let pages = page(range.start)..page(range.end.next_multiple_of(PAGE));
        let dropped: Vec<(u64, Page)> = inner.pages.range(pages).map(|(&number, &page)| (number, page)).collect();
        for (number, _) in &dropped {
            inner.pages.remove(number);
            if let Some(tables) = &mut inner.tables {
                tables.clear(&self.machine, *number);
            }
        }
        let (own, shared): (Vec<_>, Vec<_>) = dropped.iter().map(|(_, page)| *page).partition(|page| page.own);
        let frames = |pages: Vec<Page>| runs(pages.into_iter().map(|page| page.frame).collect());
        for run in frames(shared) {
            self.machine.forget_translations(run);
        }
        self.machine.give_frames(frames(own));
        inner.count();
    }

    /// `mprotect(2)`.
    pub(crate) fn protect(&self, start: u64, length: u64, protection: Protection) -> Result<(), Errno> {
        let range = whole_pages(start, length)?;
        self.make_way(&range);
        if protection != Protection::READ | Protection::EXECUTE {
            self.restore_sites(&range);
        }
        let mut inner = self.inner();
        if !inner.areas.cover(range.clone()) {
            // What lies before the gap is changed all the same.
            let reach = |end: u64, (start, area): (u64, &Area)| if start <= end { end.max(area.end) } else { end };
            let end = inner.areas.iter().fold(range.start, reach).min(range.end);
            drop(inner);
            if end > range.start {
                self.protect(range.start, end - range.start, protection)?;
            }
            return Err(Errno::NOMEM);
        }
        if inner.areas.count() + 2 >= MOST_AREAS {
            return Err(Errno::NOMEM);
        }
        if !inner.areas.admit(range.clone(), protection) {
            return Err(Errno::ACCESS);
        }
        inner.areas.protect(range.clone(), protection);
        let pages = page(range.start)..page(range.end);
        let there: Vec<(u64, Page)> = inner.pages.range(pages).map(|(&number, &page)| (number, page)).collect();
        let mut led = Ok(());
        for &(number, Page { frame, own }) in &there {
            if self.lead(&mut inner, number, frame, protection).is_none() {
                // It is led to when it is touched.
                led = Err(Errno::NOMEM);
            }
            // What is shared is found again where it is when it can be touched again.
            if protection.is_empty() && !own {
                inner.pages.remove(&number);
            }
        }
        inner.count();
        drop(inner);
        for run in runs(there.into_iter().map(|(_, page)| page.frame).collect()) {
            self.machine.forget_translations(run);
        }
        led
    }

    /// Where an area begins that grows and that some addresses are in: what `PROT_GROWSDOWN` of `mprotect(2)` means.
    pub(crate) fn grown_from(&self, start: u64, length: u64) -> Result<u64, Errno> {
        let range = whole_pages(start, length)?;
        let inner = self.inner();
        match inner.areas.next(range.start) {
            Some((from, _)) if from >= range.end => Err(Errno::NOMEM),
            Some((from, area)) if area.marks.contains(Marks::GROWS_DOWN) => Ok(from),
            Some(_) => Err(Errno::INVAL),
            None => Err(Errno::NOMEM),
        }
    }

    /// Whether there is an area at every address of a range.
    pub(crate) fn covers(&self, start: u64, length: u64) -> bool {
        whole_pages(start, length).is_ok_and(|range| self.inner().areas.cover(range))
    }

    /// `msync(2)`: what was written to shared files in a range reaches them.
    pub(crate) fn synchronize(&self, start: u64, length: u64) -> Result<(), Errno> {
        let range = whole_pages(start, length)?;
        let inner = self.inner();
        if !inner.areas.cover(range.clone()) {
            return Err(Errno::NOMEM);
        }
        let first = inner.areas.find(range.start).map_or(range.start, |(start, _)| start);
        let areas = inner.areas.iter().skip_while(|&(start, _)| start < first).take_while(|&(at, _)| at < range.end);
        let mut segments: Vec<_> = areas
            .filter_map(|(_, area)| match &area.backing {
                Backing::Shared(segment, ..) => Some(segment.clone()),
                _ => None,
            })
            .collect();
        drop(inner);
        // One that is mapped in several places, once.
        segments.sort_unstable_by_key(Arc::as_ptr);
        segments.dedup_by_key(|segment| Arc::as_ptr(segment));
        segments.iter().try_for_each(|segment| segment.write_back())
    }

    /// A copy for a child, with its own pages where they are private. Where they are shared it finds the
    /// same when it touches them.
    pub(crate) fn duplicate(&self) -> Result<Space, Errno> {
        let copy = Space::new(self.machine.clone(), self.ledger.clone())?;
        let inner = self.inner();
        let mut there = copy.inner();
        let lists = inner.areas.count() * AREA + inner.pages.len() * (ENTRY + size_of::<(u64, u64, Protection)>());
        if !self.ledger.may_hold(self.machine.used() + lists as u64) {
            return Err(Errno::NOMEM);
        }
        there.areas = inner.areas.forked();
        (there.break_start, there.break_end) = (inner.break_start, inner.break_end);
        let own = inner.pages.iter().filter(|(_, page)| page.own);
        let copied: Vec<(u64, u64, Protection)> = own
            .filter_map(|(&number, page)| {
                let (_, area) = there.areas.find(number * PAGE)?;
                (!area.marks.contains(Marks::WIPED)).then_some((number, page.frame, area.protection))
            })
            .collect();
        let mut rest = &copied[..];
        while !rest.is_empty() {
            let most = rest.len().min(COPIED);
            if !self.ledger.may_hold(self.machine.used() + most as u64 * PAGE) {
                return Err(Errno::NOMEM);
            }
            let run = self.machine.take_frames(most as u64).map_err(|_| Errno::NOMEM)?;
            let (now, later) = rest.split_at((run.end - run.start) as usize);
            rest = later;
            let mut to = run.start;
            for frames in now.chunk_by(|(_, frame, _), (_, next, _)| frame + 1 == *next) {
                let (from, count) = (frames[0].1, frames.len() as u64);
                self.machine.copy(from..from + count, to);
                to += count;
            }
            // All of them first: what is in it is given back with the space.
            there.pages.extend(now.iter().zip(run).map(|(&(number, ..), frame)| (number, Page { frame, own: true })));
            for &(number, _, protection) in now {
                let frame = there.pages[&number].frame;
                copy.lead(&mut there, number, frame, protection).ok_or(Errno::NOMEM)?;
            }
        }
        there.count();
        drop(there);
        drop(inner);
        self.pass_sites_on(&copy);
        Ok(copy)
    }
}

/// A range of whole pages that a program may have.
pub(super) fn whole_pages(start: u64, length: u64) -> Result<Range<u64>, Errno> {
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::INVAL);
    }
    let length = length.checked_next_multiple_of(PAGE).ok_or(Errno::NOMEM)?;
    let end = start.checked_add(length).filter(|&end| end <= USER_STUB).ok_or(Errno::NOMEM)?;
    Ok(start..end)
}

impl Drop for Space {
    fn drop(&mut self) {
        let mut inner = self.inner();
        if self.machine.is_retired() {
            if let Some(tables) = inner.tables.take() {
                self.machine.keep_tables(tables);
            }
            return;
        }
        self.drop_pages(&mut inner, 0..USER_END);
        if let Some(tables) = inner.tables.take() {
            tables.give_back(&self.machine);
        }
    }
}
