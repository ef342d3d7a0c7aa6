//! Making pages when they are touched.

use std::ops::Range;

use super::area::{Area, GUARD, LOCKS, further, page, runs};
use super::sites::is_code;
use super::space::{Inner, LOWEST, Page};
use super::{Backing, Marks, Protection, Space};
use crate::kvm::{PAGE, Shortcuts, Translation, USER_END};

/// How many pages are made at once where content has to be read for each of them: around one that is touched, and also
/// ahead of time, because what they are read into is memory of the host's that is touched too.
const AROUND: u64 = 32;
/// How many where those beside them are there: what a program uses of a file mostly lies together.
const AROUND_BESIDE: u64 = 64;
/// How many where they are empty, and cost nothing before they are touched themselves.
const AROUND_EMPTY: u64 = 64;
/// And how many where memory is short.
const AROUND_SHORT: u64 = 8;
/// How many where a program goes on from pages that are there, as it does through a large block of memory.
const AROUND_GOING_ON: u64 = 512;
/// For how many pages at once KVM makes its translations, where there is memory for them: `PTE_PREFETCH_NUM`.
const PREFETCHED: u64 = 8;

/// How long an area can become that grows: as the first stack.
const STACK: u64 = crate::loader::STACK;

/// Why pages are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// One of them was touched.
    Touched,
    /// They may be touched.
    Ahead,
}

/// What came of touching a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// It is there and may be used like that.
    There,
    /// No area: `SEGV_MAPERR`.
    Nothing,
    /// The area is not for that: `SEGV_ACCERR`.
    Forbidden,
    /// Behind the end of the file, or the file cannot be read: `BUS_ADRERR`.
    BeyondFile,
    /// No memory is left.
    NoMemory,
}

impl Space {
    /// A program touched an address for this; the page is made if it may be.
    pub(crate) fn touch(&self, address: u64, wanted: Protection) -> Touch {
        self.make(&mut self.inner(), address, wanted)
    }

    /// Makes the pages of a range ahead of time, as long as memory is not short.
    pub(crate) fn populate(&self, start: u64, length: u64) {
        if !self.machine.takes(Shortcuts::AROUND) {
            return;
        }
        let mut inner = self.inner();
        let mut at = start;
        while at < start.saturating_add(length) && !self.machine.is_short(AROUND_EMPTY) {
            if !inner.pages.contains_key(&page(at)) {
                self.make_around(&mut inner, at, Protection::empty(), When::Ahead);
            }
            at += PAGE;
        }
    }

    /// Makes exactly the pages of a range that are not there yet, each of which has to be for this. What hinders that is
    /// told: memory that is short as well.
    pub(crate) fn populate_all(&self, start: u64, length: u64, wanted: Protection) -> Result<(), Touch> {
        let mut inner = self.inner();
        let end = start.saturating_add(length);
        let range = page(start)..page(end.saturating_add(PAGE - 1));
        let mut at = start;
        while at < end {
            let Some((_, area)) = inner.areas.find(at) else { return Err(Touch::Nothing) };
            if area.protection.is_empty() {
                return Err(Touch::Forbidden);
            }
            let is_there = inner.pages.contains_key(&page(at)) && area.protection.contains(wanted);
            if !is_there {
                if self.machine.is_short(AROUND_EMPTY) {
                    return Err(Touch::NoMemory);
                }
                match self.make_in(&mut inner, at, wanted, When::Ahead, &range) {
                    Touch::There => {}
                    other => return Err(other),
                }
            }
            at = (page(at) + 1) * PAGE;
        }
        Ok(())
    }

    pub(super) fn make(&self, inner: &mut Inner, address: u64, wanted: Protection) -> Touch {
        self.make_around(inner, address, wanted, When::Touched)
    }

    /// Begins an area further down that grows, and in which an address below it would be. It stays as far from what is
    /// below as in Linux.
    fn grow(&self, inner: &mut Inner, address: u64) -> Option<()> {
        let from = page(address) * PAGE;
        let (start, area) = inner.areas.next(address)?;
        let grows = area.marks.contains(Marks::GROWS_DOWN) && from >= LOWEST && area.end - from <= STACK;
        let is_clear = inner.areas.below(address).is_none_or(|below| {
            below.protection.is_empty() || below.marks.contains(Marks::GROWS_DOWN) || from >= below.end + GUARD
        });
        if !grows || !is_clear || !matches!(area.backing, Backing::Anonymous) {
            return None;
        }
        let (end, protection, marks) = (area.end, area.protection, area.marks);
        inner.areas.remove(start..end);
        inner.areas.insert(from..end, protection, Backing::Anonymous, marks);
        self.note_mapped(&(from..start));
        Some(())
    }

    fn make_around(&self, inner: &mut Inner, address: u64, wanted: Protection, when: When) -> Touch {
        self.make_in(inner, address, wanted, when, &(0..u64::MAX))
    }

    /// Makes a page, and none but those that are in some.
    fn make_in(&self, inner: &mut Inner, address: u64, wanted: Protection, when: When, only: &Range<u64>) -> Touch {
        if address >= USER_END {
            return Touch::Nothing;
        }
        if inner.areas.find(address).is_none() && when == When::Touched {
            self.grow(inner, address);
        }
        let Some((start, area)) = inner.areas.find(address) else { return Touch::Nothing };
        let allowed = area.protection;
        let readable = !allowed.is_empty();
        if (wanted.contains(Protection::READ) && !readable) || !allowed.contains(wanted - Protection::READ) {
            return Touch::Forbidden;
        }
        if inner.pages.contains_key(&page(address)) {
            return Touch::There;
        }
        let area = area.clone();
        // The window, cut to the area and to what is not there yet.
        let number = page(address);
        let around = match &area.backing {
            // What is locked when it is touched is what is touched.
            _ if area.marks.contains(Marks::ON_FAULT) => 1,
            _ if !self.machine.takes(Shortcuts::AROUND) => 1,
            Backing::File(..) if when == When::Touched && is_beside(inner, number, start..area.end) => AROUND_BESIDE,
            Backing::File(..) => AROUND,
            Backing::Anonymous if when == When::Touched && goes_on(inner, number) => AROUND_GOING_ON,
            _ => AROUND_EMPTY,
        };
        let first = (number / around * around).max(page(start)).max(only.start);
        let end = (number / around * around + around).min(page(area.end)).min(only.end);
        let before = inner.pages.range(first..number).next_back().map_or(first, |(&there, _)| there + 1);
        let behind = inner.pages.range(number..end).next().map_or(end, |(&there, _)| there);
        match &area.backing {
            Backing::Shared(segment, offset, _) => {
                let window = self.shortened(inner, before..behind, number);
                if !self.ledger.may_hold(self.machine.used() + (window.end - window.start) * PAGE) {
                    return Touch::NoMemory;
                }
                let index = |number: u64| page(further(*offset, number * PAGE - start));
                let frames = match segment.frames_around(index(number), index(window.start)..index(window.end - 1) + 1)
                {
                    Ok(frames) => frames,
                    Err(touch) => return touch,
                };
                for number in window {
                    let Ok(place) = frames.binary_search_by_key(&index(number), |&(there, _)| there) else { continue };
                    let frame = frames[place].1;
                    inner.pages.insert(number, Page { frame, own: false });
                    if self.lead(inner, number, frame, area.protection).is_none() {
                        return Touch::NoMemory;
                    }
                }
                inner.count();
                Touch::There
            }
            _ => self.fill(inner, start, &area, before..behind, (number, when)),
        }
    }

    /// Makes private pages, `wanted` among them.
    fn fill(&self, inner: &mut Inner, start: u64, area: &Area, window: Range<u64>, wanted: (u64, When)) -> Touch {
        // Kept from one time to the next: a new one would be made of new pages itself.
        let mut buffer = std::mem::take(&mut inner.buffer);
        let touch = self.fill_from(inner, start, area, window, wanted, &mut buffer);
        inner.buffer = buffer;
        touch
    }

    fn fill_from(
        &self,
        inner: &mut Inner,
        start: u64,
        area: &Area,
        mut window: Range<u64>,
        (wanted, when): (u64, When),
        buffer: &mut Vec<u8>,
    ) -> Touch {
        let mut content: &[u8] = &[];
        if let Backing::File(file, offset) = &area.backing {
            let length = ((window.end - window.start) * PAGE) as usize;
            if buffer.len() < length {
                buffer.resize(length, 0);
            }
            let Ok(read) = file.read_at(further(*offset, window.start * PAGE - start), &mut buffer[..length]) else {
                return Touch::BeyondFile;
            };
            // The rest of the last page is empty.
            let whole = read.next_multiple_of(PAGE as usize).min(length);
            buffer[read..whole].fill(0);
            content = &buffer[..whole];
            window.end = window.start + (read as u64).div_ceil(PAGE);
            if !window.contains(&wanted) {
                return Touch::BeyondFile;
            }
        }
        let room = |pages: u64| self.ledger.may_hold(self.machine.used() + pages * PAGE);
        let content_start = window.start;
        window = self.shortened(inner, window, wanted);
        let backed = match when {
            When::Ahead => wanted..wanted,
            When::Touched if goes_on(inner, wanted) => window.clone(),
            When::Touched => within(&window, wanted, PREFETCHED),
        };
        if !room(window.end - window.start) {
            return Touch::NoMemory;
        }
        let has_sites = is_code(area) && self.machine.takes(Shortcuts::SITES);
        let mut number = window.start;
        while number < window.end {
            let Ok(run) = self.machine.take_frames(window.end - number) else {
                return if inner.pages.contains_key(&wanted) { Touch::There } else { Touch::NoMemory };
            };
            if !content.is_empty() {
                let from = ((number - content_start) * PAGE) as usize;
                let to = (from + ((run.end - run.start) * PAGE) as usize).min(content.len());
                self.machine.fill(run.clone(), &content[from..to]);
                if has_sites {
                    self.rewrite_new(inner, &content[from..to], number * PAGE, run.start);
                }
            }
            if content.is_empty() {
                let (start, end) = (backed.start.max(number), backed.end.min(number + (run.end - run.start)));
                if start < end {
                    self.machine.back(run.start + (start - number)..run.start + (end - number));
                }
            }
            for frame in run {
                inner.pages.insert(number, Page { frame, own: true });
                if self.lead(inner, number, frame, area.protection).is_none() {
                    return Touch::NoMemory;
                }
                number += 1;
            }
        }
        inner.count();
        Touch::There
    }

    /// Of a window around a page only what is needed, when memory is short.
    fn shortened(&self, inner: &mut Inner, mut window: Range<u64>, wanted: u64) -> Range<u64> {
        if self.machine.is_short(window.end - window.start) && inner.pages.len() >= inner.searched {
            self.give_untouched_back(inner);
            // Not again before there are more by an eighth: a look at all of them takes its time.
            inner.searched = inner.pages.len() + inner.pages.len() / 8 + AROUND_EMPTY as usize;
        }
        for fewer in [AROUND_EMPTY, AROUND_SHORT, 1] {
            if self.machine.is_short(window.end - window.start) {
                window = within(&window, wanted, fewer);
            }
        }
        window
    }

    /// Gives back pages that were made ahead of time and that nobody touched: they are empty, and are made again when
    /// somebody does.
    fn give_untouched_back(&self, inner: &mut Inner) {
        let Some(backed) = self.machine.backed() else { return };
        let is_free = |number: u64, page: &Page| {
            let area = inner.areas.find(number * PAGE).map(|(_, area)| area);
            let is_plain = |area: &Area| matches!(area.backing, Backing::Anonymous) && !area.marks.intersects(LOCKS);
            page.own && area.is_some_and(is_plain) && !holds(&backed, page.frame)
        };
        let found = inner.pages.iter().filter(|&(&number, page)| is_free(number, page));
        let found: Vec<(u64, u64)> = found.map(|(&number, page)| (number, page.frame)).collect();
        if let Some(tables) = &mut inner.tables {
            found.iter().for_each(|&(number, _)| tables.clear(&self.machine, number));
        }
        for run in runs(found.iter().map(|&(_, frame)| frame).collect()) {
            self.machine.forget_translations(run);
        }
        // Another thread may have touched one before nothing led there any more.
        let backed = self.machine.backed();
        let is_empty = |frame: u64| backed.as_ref().is_some_and(|backed| !holds(backed, frame));
        let mut given = Vec::new();
        for (number, frame) in found {
            if is_empty(frame) {
                inner.pages.remove(&number);
                given.push(frame);
            } else if let Some((_, area)) = inner.areas.find(number * PAGE) {
                let protection = area.protection;
                // Its table is there.
                let _ = self.lead(inner, number, frame, protection);
            }
        }
        self.machine.give_frames(runs(given));
        inner.count();
    }

    /// Writes where a page leads into the page tables.
    pub(super) fn lead(&self, inner: &mut Inner, number: u64, frame: u64, protection: Protection) -> Option<()> {
        let tables = inner.tables.as_mut()?;
        match translation(frame, protection) {
            Some(to) => tables.set(&self.machine, number, to),
            None => {
                tables.clear(&self.machine, number);
                Some(())
            }
        }
    }
}

/// Whether a frame is in one of these runs, which are in order.
fn holds(runs: &[Range<u64>], frame: u64) -> bool {
    let behind = runs.partition_point(|run| run.end <= frame);
    runs.get(behind).is_some_and(|run| run.contains(&frame))
}

/// Whether the pages before those around this one are there, and memory was never short.
fn goes_on(inner: &Inner, number: u64) -> bool {
    let first = number / AROUND_EMPTY * AROUND_EMPTY;
    first > 0 && inner.searched == 0 && inner.pages.contains_key(&(first - 1))
}

/// Whether the pages before or behind those that would be made around this one are there, in one area.
fn is_beside(inner: &Inner, number: u64, area: Range<u64>) -> bool {
    let first = number / AROUND * AROUND;
    let is_there =
        |number: u64| (page(area.start)..page(area.end)).contains(&number) && inner.pages.contains_key(&number);
    first.checked_sub(1).is_some_and(is_there) || is_there(first + AROUND)
}

/// Of a window, the part in which so many pages lie around one.
fn within(window: &Range<u64>, number: u64, count: u64) -> Range<u64> {
    let first = number / count * count;
    window.start.max(first)..window.end.min(first + count)
}

/// Where a page of this protection leads, if anywhere.
pub(super) fn translation(frame: u64, protection: Protection) -> Option<Translation> {
    let (write, execute) = (protection.contains(Protection::WRITE), protection.contains(Protection::EXECUTE));
    (!protection.is_empty()).then_some(Translation { frame, write, execute })
}
