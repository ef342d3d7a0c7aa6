//! Making pages when they are touched.

use super::area::{Area, further, page};
use super::space::{Inner, Page};
use super::{Backing, Protection, Space};
use crate::kvm::{PAGE, Translation, USER_END};

/// How many pages are made at once around one that is touched: leaving the guest costs more than they do.
const AROUND: u64 = 32;

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

    /// Makes the pages of a range.
    pub(crate) fn populate(&self, start: u64, length: u64) {
        let mut inner = self.inner();
        let mut at = start;
        while at < start.saturating_add(length) {
            self.make(&mut inner, at, Protection::empty());
            at += PAGE;
        }
    }

    pub(super) fn make(&self, inner: &mut Inner, address: u64, wanted: Protection) -> Touch {
        if address >= USER_END {
            return Touch::Nothing;
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
        let first = (number / AROUND * AROUND).max(page(start));
        let end = (number / AROUND * AROUND + AROUND).min(page(area.end));
        let before = inner.pages.range(first..number).next_back().map_or(first, |(&there, _)| there + 1);
        let behind = inner.pages.range(number..end).next().map_or(end, |(&there, _)| there);
        match &area.backing {
            Backing::Shared(segment, offset, _) => {
                if !self.ledger.may_hold(self.machine.used() + PAGE) {
                    return Touch::NoMemory;
                }
                let index = page(further(*offset, number * PAGE - start));
                let frame = match segment.frame(index) {
                    Ok(frame) => frame,
                    Err(touch) => return touch,
                };
                inner.pages.insert(number, Page { frame, own: false });
                inner.count();
                self.lead(inner, number, frame, area.protection).map_or(Touch::NoMemory, |()| Touch::There)
            }
            _ => self.fill(inner, start, &area, before..behind, number),
        }
    }

    /// Makes private pages, `wanted` among them.
    fn fill(&self, inner: &mut Inner, start: u64, area: &Area, window: std::ops::Range<u64>, wanted: u64) -> Touch {
        let mut content = Vec::new();
        let mut window = window;
        if let Backing::File(file, offset) = &area.backing {
            content.resize(((window.end - window.start) * PAGE) as usize, 0);
            let Ok(read) = file.read_at(further(*offset, window.start * PAGE - start), &mut content) else {
                return Touch::BeyondFile;
            };
            window.end = window.start + (read as u64).div_ceil(PAGE);
            if !window.contains(&wanted) {
                return Touch::BeyondFile;
            }
        }
        // When memory is short, only what is needed.
        let room = |pages: u64| self.ledger.may_hold(self.machine.used() + pages * PAGE);
        let content_start = window.start;
        if self.machine.is_short(window.end - window.start) {
            window = wanted..wanted + 1;
        }
        if !room(window.end - window.start) {
            return Touch::NoMemory;
        }
        let mut number = window.start;
        while number < window.end {
            let Ok(run) = self.machine.take_frames(window.end - number) else {
                return if inner.pages.contains_key(&wanted) { Touch::There } else { Touch::NoMemory };
            };
            if !content.is_empty() {
                let from = ((number - content_start) * PAGE) as usize;
                let to = (from + ((run.end - run.start) * PAGE) as usize).min(content.len());
                self.machine.write(run.start * PAGE, &content[from..to]);
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

    /// Writes where a page leads into the page tables.
    pub(super) fn lead(&self, inner: &mut Inner, number: u64, frame: u64, protection: Protection) -> Option<()> {
        let tables = inner.tables.as_mut()?;
        if protection.is_empty() {
            tables.clear(&self.machine, number);
            return Some(());
        }
        let (write, execute) = (protection.contains(Protection::WRITE), protection.contains(Protection::EXECUTE));
        tables.set(&self.machine, number, Translation { frame, write, execute })
    }
}
