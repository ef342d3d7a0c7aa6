//! Which pages are there: `mincore(2)`, `proc_pid_maps(5)`, `proc_pid_smaps(5)`.

use std::ops::Range;

use rustix::io::Errno;

use super::area::{Area, page};
use super::space::{AREA, Inner, whole_pages};
use super::{Backing, Marks, Protection, Space};
use crate::kvm::PAGE;

impl Space {
    /// Whether each page of a range is there: made already, or of a file, whose pages the host has. `ENOMEM` when
    /// something in the range is not mapped.
    pub(crate) fn residents(&self, start: u64, length: u64) -> Result<Vec<u8>, Errno> {
        let range: Range<u64> = whole_pages(start, length)?;
        let inner = self.inner();
        let mut found = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let (_, area) = inner.areas.find(at).ok_or(Errno::NOMEM)?;
            let end = area.end.min(range.end);
            let is_file = matches!(area.backing, Backing::File(..) | Backing::Shared(..));
            found.extend((page(at)..page(end)).map(|number| u8::from(is_file || inner.pages.contains_key(&number))));
            at = end;
        }
        debug_assert_eq!(found.len() as u64, (range.end - range.start) / PAGE);
        Ok(found)
    }

    /// How many bytes are mapped, and how many of them are there.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        let inner = self.inner();
        let mapped = inner.areas.iter().map(|(start, area)| area.end - start).sum();
        (mapped, inner.pages.len() as u64 * PAGE)
    }

    /// What is where: `/proc/self/maps`. `ENOMEM` when there is no memory for the text.
    pub(crate) fn describe(&self) -> Result<Vec<u8>, Errno> {
        self.describe_areas(0, |_, _, _, _| {})
    }

    /// The same, and how much of each area is there and locked: `/proc/self/smaps`.
    pub(crate) fn describe_pages(&self) -> Result<Vec<u8>, Errno> {
        /// About how long the lines of an area are.
        const LINES: usize = 320;
        self.describe_areas(LINES, |inner, start, area, text| {
            let present = inner.pages.range(page(start)..page(area.end)).count() as u64 * PAGE / 1024;
            let is_locked = area.marks.contains(Marks::LOCKED);
            let anonymous = if matches!(area.backing, Backing::Anonymous) { present } else { 0 };
            let lines = [
                ("Size", (area.end - start) / 1024),
                ("KernelPageSize", PAGE / 1024),
                ("MMUPageSize", PAGE / 1024),
                ("Rss", present),
                ("Pss", present),
                ("Anonymous", anonymous),
                ("Swap", 0),
                ("Locked", if is_locked { present } else { 0 }),
            ];
            for (name, amount) in lines {
                text.extend_from_slice(format!("{:<15} {amount:>8} kB\n", format!("{name}:")).as_bytes());
            }
            text.extend_from_slice(b"VmFlags:");
            let flags = [
                (area.protection.contains(Protection::READ), " rd"),
                (area.protection.contains(Protection::WRITE), " wr"),
                (area.protection.contains(Protection::EXECUTE), " ex"),
                (matches!(area.backing, Backing::Shared(..)), " sh"),
                (area.marks.contains(Marks::GROWS_DOWN), " gd"),
                (is_locked, " lo"),
                (area.marks.contains(Marks::NOT_FORKED), " dc"),
                (area.marks.contains(Marks::WIPED), " wf"),
            ];
            for (_, flag) in flags.into_iter().filter(|(is_so, _)| *is_so) {
                text.extend_from_slice(flag.as_bytes());
            }
            text.push(b'\n');
        })
    }

    fn describe_areas(&self, more: usize, each: impl Fn(&Inner, u64, &Area, &mut Vec<u8>)) -> Result<Vec<u8>, Errno> {
        let inner = self.inner();
        let length = |area: &Area| match &area.backing {
            Backing::File(file, _) => AREA + more + file.path().len(),
            _ => AREA + more,
        };
        let most: usize = inner.areas.iter().map(|(_, area)| length(area)).sum();
        if !self.ledger.may_hold(self.machine.used() + most as u64) {
            return Err(Errno::NOMEM);
        }
        let mut text = Vec::with_capacity(most);
        for (start, area) in inner.areas.iter() {
            let may = |what, letter| if area.protection.contains(what) { letter } else { '-' };
            let (read, write, run) =
                (may(Protection::READ, 'r'), may(Protection::WRITE, 'w'), may(Protection::EXECUTE, 'x'));
            let (kind, offset, path) = match &area.backing {
                Backing::Anonymous => ('p', 0, &[][..]),
                Backing::File(file, offset) => ('p', *offset, file.path()),
                Backing::Shared(_, offset, _) => ('s', *offset, &[][..]),
            };
            let line = format!("{start:08x}-{:08x} {read}{write}{run}{kind} {offset:08x} 00:00 0 ", area.end);
            text.extend_from_slice(line.as_bytes());
            for &byte in path {
                // A line is an area: `proc_pid_maps(5)`.
                if byte == b'\n' { text.extend_from_slice(b"\\012") } else { text.push(byte) }
            }
            text.push(b'\n');
            each(&inner, start, area, &mut text);
        }
        Ok(text)
    }
}
