//! Places where a program makes system calls, rewritten so that they go through code that need not leave the guest.
//!
//! ```text
//! before   syscall; cmp $-4095, %rax                            mov $39, %eax; syscall; ret
//! after    jmp *slot                                            jmp *slot; ret
//! at slot  rcx = next; jmp common; next: cmp …; jmp back        mov $39, %eax; rcx = behind the place; jmp common
//! ```
//!
//! Seven bytes of one page that hold whole instructions become one, which changes neither the stack nor anything but
//! what `syscall` changes. Bytes in the middle at which an instruction began are none that a program may execute, and
//! what was meant there is known: [`Space::is_call`], [`Space::landing`]. So that no thread is just there, places
//! that are plain from their bytes are rewritten as the code is read from its file, before anything leads to it; where there is
//! no room for that yet, and others when a call was made there, while a space has one thread.
//!
//! The slots and their code are in pages that the program can read but not change, and everything about places is read from
//! there, so that `fork(2)` and snapshots have it with the rest. Before a program gets these addresses for anything
//! else, every place is what it was and the pages are no longer looked at.

mod place;

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use self::place::{JUMP, Kind, LENGTH, SYSCALL, Site};
use super::area::{Area, page};
use super::space::Inner;
use super::{Backing, Marks, Placement, Protection, Space};
use crate::kvm::PAGE;
use crate::sys::{DESK, SiteCode, site_code};
use crate::words::{u32_at, u64_at};

/// Where a program sees all of it: pages of slots, the desk, code.
const TABLE: u64 = DESK - PAGE;
const CODE: u64 = DESK + PAGE;
const END: u64 = CODE + 6 * PAGE;
/// How many slots there are room for, and the code of the first one behind the common one.
const MOST: u64 = (END - FIRST) / EACH;
const FIRST: u64 = CODE + 0x100;
const EACH: u64 = 48;
/// What may be done with each of these ranges.
const PAGES: [(Range<u64>, Protection); 3] = [
    (TABLE..DESK, Protection::READ),
    (DESK..CODE, Protection::READ.union(Protection::WRITE)),
    (CODE..END, Protection::READ.union(Protection::EXECUTE)),
];
/// How many of them are for places that were found and may never be come to.
const MOST_FOUND: u64 = MOST / 8 * 7;
/// With less memory left than this many pages none are made for this.
const SHORT: u64 = 256;

/// A state of the desk, beside those that its code knows: nobody answers.
pub(crate) const CLOSED: u32 = 0;
/// The call was refused: it needs the thread itself.
pub(crate) const REFUSED: u32 = 4;
/// The call was answered; the thread is to come out all the same.
pub(crate) const LEAVE: u32 = 5;
/// What stands at the desk behind its state: the number of a call with its arguments, and the answer.
pub(crate) const CALL_AT: u64 = DESK + 8;
pub(crate) const ANSWER_AT: u64 = DESK + 64;

/// How many bytes before an instruction `syscall`, and how many from there on, are looked at.
const BEFORE: usize = 12;
const BEHIND: usize = 8;

/// What is known of the pages at these addresses, and of places.
pub(super) struct Known {
    state: AtomicU8,
    /// Those that were found and are to be rewritten.
    found: Mutex<Vec<Site>>,
}

impl Known {
    const NOTHING: u8 = 0;
    /// Something was mapped there that may be what was captured.
    const MAPPED: u8 = 1;
    const OURS: u8 = 2;
    const NOT_OURS: u8 = 3;

    pub(super) const fn new() -> Known {
        Known { state: AtomicU8::new(Known::NOTHING), found: Mutex::new(Vec::new()) }
    }

    fn set(&self, known: u8) {
        self.state.store(known, SeqCst);
    }

    fn get(&self) -> u8 {
        self.state.load(SeqCst)
    }

    fn found(&self) -> MutexGuard<'_, Vec<Site>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a thread is in the code of rewritten places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// About to post a call, or to leave the guest.
    Before,
    /// Behind that.
    Posted,
    /// Behind the answer, which is where it belongs.
    Answered,
    /// Behind the call: for its program right behind the instruction `syscall`, which is here.
    Behind(u64),
}

/// How far into its code the comparison of [`Kind::Compared`] is.
const COMPARE_AT: usize = 15;

const fn slot_at(slot: u64) -> u64 {
    TABLE + slot * 8
}

fn code_at(slot: u64) -> u64 {
    FIRST + slot * EACH
}

fn compare_at(slot: u64) -> u64 {
    code_at(slot) + COMPARE_AT as u64
}

/// Whether an area is code that is mapped from a file, privately, to read and execute.
pub(super) fn is_code(area: &Area) -> bool {
    let is_executed = area.protection == Protection::READ | Protection::EXECUTE;
    is_executed && matches!(area.backing, Backing::File(..))
}

/// Whether all of these pages are there.
fn has_pages(inner: &Inner) -> bool {
    (page(TABLE)..page(END)).all(|number| inner.pages.contains_key(&number))
}

/// Whether a range has to do with these pages.
pub(crate) fn concerns_sites(range: &Range<u64>) -> bool {
    range.start < END && TABLE < range.end
}

impl Space {
    /// Rewrites the place of the instruction `syscall` at an address, from which this number was asked for. Only for
    /// a space with one thread, which is outside. `None` when it is no place for that, or there is no room.
    pub(crate) fn rewrite(&self, at: u64, number: u64) -> Option<()> {
        let code = self.code_around(at)?;
        let from = at.saturating_sub(BEFORE as u64).max(code.start);
        let (mut before, mut bytes) =
            (vec![0; (at - from) as usize], vec![0; (code.end - at).min(BEHIND as u64) as usize]);
        self.read(from, &mut before).ok()?;
        self.read(at, &mut bytes).ok()?;
        let site = Site::find(&before, &bytes, at, number)?;
        self.put([site], MOST)
    }

    /// Takes down the places in code that was just read from a file, and is not in anybody's way yet.
    pub(super) fn find_sites(&self, code: &[u8], at: u64) {
        let mut found = self.sites.found();
        let room = (MOST_FOUND as usize).saturating_sub(found.len());
        found.extend(Site::all(code, at).take(room));
    }

    /// Rewrites the places in code that was just read from its file into a run of pages from `frame` on, to which nothing
    /// leads yet: whoever else runs in the space cannot be there. Takes them down where that is not possible.
    pub(super) fn rewrite_new(&self, inner: &Inner, code: &[u8], at: u64, frame: u64) {
        let rewrite = |site: &Site, jump: &[u8]| self.machine.write(frame * PAGE + (site.at - at), jump);
        if self.sites.get() != Known::OURS || self.give_slots(inner, Site::all(code, at), MOST_FOUND, rewrite).is_none()
        {
            self.find_sites(code, at);
        }
    }

    /// Whether places were taken down since they were rewritten the last time.
    pub(crate) fn has_found(&self) -> bool {
        !self.sites.found().is_empty()
    }

    /// Rewrites the places that were taken down, as far as they are still there and there is room; none unless the space
    /// `is_sole`, with one thread, which is outside: somebody may just be looking at them.
    pub(crate) fn rewrite_found(&self, is_sole: bool) {
        let found = std::mem::take(&mut *self.sites.found());
        let is_there = |site: &Site| {
            let mut bytes = [0; LENGTH];
            // Nothing is made for this that was let go of since.
            let is_made = self.inner().pages.contains_key(&page(site.at));
            is_made
                && self.code_around(site.at).is_some()
                && self.read(site.at, &mut bytes).is_ok()
                && bytes[..] == site.original()
        };
        let mut sites = found.into_iter().filter(is_there).peekable();
        if is_sole && sites.peek().is_some() {
            // Without them everything goes on as before.
            let _ = self.put(sites, MOST_FOUND);
        }
    }

    /// Rewrites places, which are there, as far as there are slots below `most`.
    fn put(&self, sites: impl IntoIterator<Item = Site>, most: u64) -> Option<()> {
        if !self.has_sites() {
            self.make_pages().ok()?;
        }
        let sites: Vec<Site> = sites.into_iter().collect();
        let inner = self.inner();
        self.give_slots(&inner, sites.into_iter(), most, |site, jump| self.write_there(&inner, site.at, jump))
    }

    /// Gives places slots below `most`, as far as there are any, with the code for them, and has the jump to it written where
    /// each is. `None` when not all of the pages for that are there.
    fn give_slots(
        &self,
        inner: &Inner,
        sites: impl Iterator<Item = Site>,
        most: u64,
        rewrite: impl Fn(&Site, &[u8]),
    ) -> Option<()> {
        let table_page = inner.pages.get(&page(TABLE)).filter(|_| has_pages(inner))?;
        let mut table = [0; MOST as usize * 8];
        self.machine.read(table_page.frame * PAGE, &mut table);
        let free = (0..most).skip_while(|&slot| u64_at(&table, slot as usize * 8) != 0);
        for (slot, site) in free.zip(sites) {
            self.write_there(inner, code_at(slot), &site.code(slot));
            self.write_there(inner, slot_at(slot), &code_at(slot).to_le_bytes());
            rewrite(&site, &Site::rewritten(slot));
        }
        Some(())
    }

    /// The area that holds an address, if it is code that is mapped from a file, privately, to read and execute.
    fn code_around(&self, at: u64) -> Option<Range<u64>> {
        let inner = self.inner();
        let (start, area) = inner.areas.find(at)?;
        is_code(area).then_some(start..area.end)
    }

    fn make_pages(&self) -> Result<(), Errno> {
        // What a program may have is for what it does itself.
        if self.sites.get() != Known::NOTHING || self.machine.is_short(SHORT) {
            return Err(Errno::NOMEM);
        }
        if !self.inner().areas.are_free(&(TABLE..END)) {
            return Err(Errno::EXIST);
        }
        for (range, protection) in PAGES {
            self.map(Placement::Free(range.start), range.end - range.start, protection, Backing::Anonymous)?;
        }
        self.populate(TABLE, END - TABLE);
        let inner = self.inner();
        if !has_pages(&inner) {
            return Err(Errno::NOMEM);
        }
        self.write_there(&inner, CODE, site_code().code);
        self.write_there(&inner, DESK, &CLOSED.to_le_bytes());
        self.sites.set(Known::OURS);
        Ok(())
    }

    /// Something was mapped in a range.
    pub(super) fn note_mapped(&self, range: &Range<u64>) {
        if concerns_sites(range) && self.sites.get() == Known::NOTHING {
            self.sites.set(Known::MAPPED);
        }
    }

    /// A child has what this space has.
    pub(super) fn pass_sites_on(&self, to: &Space) {
        to.sites.set(self.sites.get());
        if self.has_sites() {
            // Nobody sits at the child's desk.
            let _ = to.install(DESK, &CLOSED.to_le_bytes());
        }
    }

    /// Whether the pages are there and were made for that. What comes from a snapshot is looked at once, and only
    /// taken for it when nothing in it is otherwise than it would have been made.
    pub(crate) fn has_sites(&self) -> bool {
        if self.sites.get() == Known::MAPPED {
            let known = if self.are_as_made() { Known::OURS } else { Known::NOT_OURS };
            self.sites.set(known);
        }
        self.sites.get() == Known::OURS
    }

    fn are_as_made(&self) -> bool {
        let is_such = |(range, protection): (Range<u64>, Protection)| {
            let inner = self.inner();
            inner.areas.find(range.start).is_some_and(|(start, area)| {
                let is_all = start == range.start && area.end == range.end;
                // Children have it as well.
                let is_inherited = !area.marks.intersects(Marks::NOT_FORKED | Marks::WIPED);
                is_all && is_inherited && area.protection == protection && matches!(area.backing, Backing::Anonymous)
            })
        };
        if !PAGES.into_iter().all(is_such) {
            return false;
        }
        let (mut table, mut code) = (vec![0; (DESK - TABLE) as usize], vec![0; (END - CODE) as usize]);
        if self.read(TABLE, &mut table).is_err() || self.read(CODE, &mut code).is_err() {
            return false;
        }
        let mut made = vec![0; code.len()];
        made[..site_code().code.len()].copy_from_slice(site_code().code);
        for slot in 0..MOST {
            let (at, pointer) = ((code_at(slot) - CODE) as usize, u64_at(&table, slot as usize * 8));
            match pointer {
                0 => {}
                _ if pointer != code_at(slot) => return false,
                _ => {
                    let Some(site) = Site::of(&code[at..at + EACH as usize]) else { return false };
                    let canonical = site.code(slot);
                    made[at..at + canonical.len()].copy_from_slice(&canonical);
                }
            }
        }
        code == made
    }

    /// Writes where the program cannot, to pages that are there, two at most; a machine that is used again knows of it.
    fn write_there(&self, inner: &Inner, at: u64, bytes: &[u8]) {
        let (first, second) = bytes.split_at(bytes.len().min((PAGE - at % PAGE) as usize));
        for (at, part) in [(at, first), (at + first.len() as u64, second)] {
            if let Some(there) = inner.pages.get(&page(at)).filter(|_| !part.is_empty()) {
                self.machine.write(there.frame * PAGE + at % PAGE, part);
                self.machine.note_written(page(at), there.frame);
            }
        }
    }

    /// The place that jumps through the slot which these bytes name, with the slot.
    fn jumped_from(&self, bytes: &[u8; LENGTH]) -> Option<(Site, u64)> {
        let slot = u64::from(u32_at(bytes.strip_prefix(&JUMP)?, 0)).checked_sub(TABLE)? / 8;
        Some((self.site_of(slot)?, slot))
    }

    /// The place of a slot.
    fn site_of(&self, slot: u64) -> Option<Site> {
        let mut code = [0; EACH as usize];
        (slot < MOST).then_some(())?;
        self.read(code_at(slot), &mut code).ok()?;
        Site::of(&code)
    }

    /// The place that was rewritten at an address, with its slot.
    fn site_at(&self, at: u64) -> Option<(Site, u64)> {
        let mut bytes = [0; LENGTH];
        self.read(at, &mut bytes).ok()?;
        self.jumped_from(&bytes).filter(|(site, _)| site.at == at)
    }

    /// Whether a program that executes at an address means to make a system call: in the middle of a place that was
    /// rewritten, where the instruction for that was.
    pub(crate) fn is_call(&self, at: u64) -> bool {
        self.set_before(at).is_some()
    }

    /// The place with its number whose instruction `syscall` was at an address.
    fn set_before(&self, at: u64) -> Option<(u64, u32)> {
        match self.has_sites().then(|| self.site_at(at.checked_sub(5)?))?? {
            (Site { at, kind: Kind::Set(number) }, _) => Some((at, number)),
            _ => None,
        }
    }

    /// Where the code goes on that belongs right behind the instruction `syscall` of a place, which was before an
    /// address.
    pub(crate) fn compared_behind(&self, at: u64) -> Option<u64> {
        match self.has_sites().then(|| self.site_at(at.checked_sub(2)?))?? {
            (Site { kind: Kind::Compared(_), .. }, slot) => Some(compare_at(slot)),
            _ => None,
        }
    }

    /// Where in the code of its places an address is, if it is there.
    pub(crate) fn in_site_code(&self, at: u64) -> Option<Within> {
        if !(CODE..END).contains(&at) || !self.has_sites() {
            return None;
        }
        let SiteCode { code, posted, answered } = site_code();
        if at == CODE + answered {
            return Some(Within::Answered);
        }
        if (CODE + posted..CODE + code.len() as u64).contains(&at) {
            return Some(Within::Posted);
        }
        let slot = at.checked_sub(FIRST).map(|by| by / EACH);
        let behind = slot.filter(|&slot| at >= compare_at(slot)).and_then(|slot| self.call_of(slot));
        Some(behind.map_or(Within::Before, Within::Behind))
    }

    /// Where a thread is for its program that left the guest by the code, which was to go on at `next`: right behind
    /// the instruction `syscall`.
    pub(crate) fn returned_to(&self, next: u64) -> u64 {
        let slot = next.checked_sub(FIRST).map(|by| by / EACH).filter(|&slot| next == compare_at(slot));
        slot.and_then(|slot| self.call_of(slot)).unwrap_or(next)
    }

    /// What is right behind the instruction `syscall` of the place of a slot, where the answer is compared next.
    fn call_of(&self, slot: u64) -> Option<u64> {
        match self.site_of(slot)? {
            Site { at, kind: Kind::Compared(_) } => Some(at + SYSCALL.len() as u64),
            _ => None,
        }
    }

    /// Where a thread has to go on that is at an address for its program, with this in `rax`.
    pub(crate) fn landing(&self, at: u64, rax: u64) -> u64 {
        // A call that is made again begins with its number.
        let again = || self.set_before(at).filter(|&(_, number)| u64::from(number) == rax).map(|(place, _)| place);
        self.compared_behind(at).or_else(again).unwrap_or(at)
    }

    /// Whether there is code in a range.
    fn has_code(&self, within: &Range<u64>) -> bool {
        let (inner, mut at) = (self.inner(), within.start);
        while let Some((start, area)) = inner.areas.next(at) {
            if start >= within.end || is_code(area) {
                return start < within.end;
            }
            at = area.end;
        }
        false
    }

    /// Makes the places in a range what they were, as somebody may write there or look for other code.
    pub(super) fn restore_sites(&self, within: &Range<u64>) {
        if !self.has_sites() || !self.has_code(within) {
            return;
        }
        for (slot, site) in (0..MOST).map_while(|slot| Some((slot, self.site_of(slot)?))) {
            let place = site.at..site.at.saturating_add(LENGTH as u64);
            let is_within = place.start < within.end && within.start < place.end;
            let is_there =
                || self.code_around(site.at).is_some() && self.site_at(site.at) == Some((site.clone(), slot));
            if is_within && is_there() {
                self.write_there(&self.inner(), site.at, &site.original());
            }
        }
    }

    /// The pages are about to be something else: every place is what it was, and no further one is rewritten.
    pub(super) fn give_sites_up(&self) {
        self.restore_sites(&(0..u64::MAX));
        self.sites.set(Known::NOT_OURS);
    }
}
