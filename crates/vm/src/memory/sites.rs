//! Places where a program makes system calls, rewritten so that they go through code that need not leave the guest.
//!
//! ```text
//! before   mov $39, %eax; syscall                                   syscall; cmp $-4095, %rax
//! after    jmp *slot                                                jmp *slot
//! at slot  mov $39, %eax; rcx = behind the place; jmp common        rcx = next; jmp common; next: cmp …; jmp back
//! ```
//!
//! Both are seven bytes that hold a whole number of instructions, and change neither the stack nor anything but what
//! `syscall` changes. Who jumps into the middle of the first finds the third byte of the slot's address, which is no
//! instruction: [`Space::is_call`] knows what was meant. Nobody jumps into the middle of the second, where a call
//! returns to, but through the host, and [`Space::landing`] knows where that is now. So that no thread is just
//! there, places are rewritten while a space has one thread.
//!
//! Everything about them is in the program's memory and is read from there, so that `fork(2)` and snapshots have it
//! with the rest. A program can write nonsense there, and only harms itself: the host follows what it finds no
//! further than to bytes that are as it would have written them.

use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::area::page;
use super::{Backing, Placement, Protection, Space};
use crate::kvm::PAGE;
use crate::sys::{DESK, site_code};

/// Where a program sees all of it: pages of slots, the desk, code.
const TABLE: u64 = DESK - PAGE;
const CODE: u64 = DESK + PAGE;
const END: u64 = CODE + 3 * PAGE;
/// How many slots there are room for, and the code of the first one behind the common one.
const MOST: u64 = (END - FIRST) / EACH;
const FIRST: u64 = CODE + 0x100;
const EACH: u64 = 48;
/// How many bytes of a place are rewritten.
const LENGTH: usize = 7;
/// Behind the slots: what says that these pages are for that, and of which make.
const MAGIC_AT: u64 = TABLE + PAGE - 8;
const MAGIC: u64 = 0x3165_7469_7366_7221;

/// A state of the desk, beside those that its code knows: nobody answers.
pub(crate) const CLOSED: u32 = 0;
/// The call was refused: it needs the thread itself.
pub(crate) const REFUSED: u32 = 4;
/// The call was answered; the thread is to come out all the same.
pub(crate) const LEAVE: u32 = 5;
/// What stands at the desk behind its state: the number of a call with its arguments, and the answer.
pub(crate) const CALL_AT: u64 = DESK + 8;
pub(crate) const ANSWER_AT: u64 = DESK + 64;

const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// `mov $imm32, %eax`; `movabs $imm64, %rcx`; `movabs $imm64, %r11; jmp *%r11`; `jmp *address`
const SET_NUMBER: u8 = 0xb8;
const SET_RETURN: [u8; 2] = [0x48, 0xb9];
const SET_BACK: [u8; 2] = [0x49, 0xbb];
const GO_BACK: [u8; 3] = [0x41, 0xff, 0xe3];
const JUMP: [u8; 3] = [0xff, 0x24, 0x25];

/// A place, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site {
    /// Where it begins.
    at: u64,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The number is set right before the call.
    Set(u32),
    /// The answer is compared right behind it, by this instruction.
    Compared(Vec<u8>),
}

impl Site {
    /// In the bytes from five before an instruction `syscall` on, which is at `at`; `number` is what it asked for.
    fn find(bytes: &[u8], at: u64, number: u64) -> Option<Site> {
        let (before, behind) = (bytes.get(..6)?, bytes.get(8..)?);
        if bytes[6..8] != SYSCALL {
            return None;
        }
        // With a prefix it is another register's.
        let is_prefixed = before[0] & 0xf0 == 0x40;
        if before[1] == SET_NUMBER && !is_prefixed && u64::from(u32_at(&before[2..])) == number {
            return Some(Site { at: at - 5, kind: Kind::Set(number as u32) });
        }
        let compared = match behind {
            [0x3d, ..] => behind.get(..5)?,
            [0x48, 0x3d, ..] => behind.get(..6)?,
            _ => return None,
        };
        Some(Site { at, kind: Kind::Compared(compared.to_vec()) })
    }

    /// What the program had there.
    fn original(&self) -> Vec<u8> {
        let mut bytes = match &self.kind {
            Kind::Set(number) => [&[SET_NUMBER][..], &number.to_le_bytes(), &SYSCALL].concat(),
            Kind::Compared(compare) => [&SYSCALL[..], compare].concat(),
        };
        bytes.truncate(LENGTH);
        bytes
    }

    /// What is there instead.
    fn rewritten(slot: u64) -> Vec<u8> {
        [&JUMP[..], &(slot_at(slot) as u32).to_le_bytes()].concat()
    }

    /// The code of a slot.
    fn code(&self, slot: u64) -> Vec<u8> {
        let start = code_at(slot);
        let mut code = Vec::new();
        if let Kind::Set(number) = self.kind {
            code.push(SET_NUMBER);
            code.extend(number.to_le_bytes());
        }
        let next = match self.kind {
            Kind::Set(_) => self.at + LENGTH as u64,
            Kind::Compared(_) => start + COMPARE_AT as u64,
        };
        code.extend(SET_RETURN);
        code.extend(next.to_le_bytes());
        code.push(0xe9);
        let from = start + code.len() as u64 + 4;
        code.extend((CODE.wrapping_sub(from) as u32).to_le_bytes());
        if let Kind::Compared(compare) = &self.kind {
            debug_assert_eq!(code.len(), COMPARE_AT);
            code.extend(compare);
            code.extend(SET_BACK);
            code.extend((self.at + 2 + compare.len() as u64).to_le_bytes());
            code.extend(GO_BACK);
        }
        code
    }

    /// The place that code is for.
    fn of(code: &[u8]) -> Option<Site> {
        if code.first() == Some(&SET_NUMBER) {
            let (number, rest) = (u32_at(code.get(1..5)?), code.get(5..)?.strip_prefix(&SET_RETURN)?);
            let at = u64_at(rest.get(..8)?).checked_sub(LENGTH as u64)?;
            return Some(Site { at, kind: Kind::Set(number) });
        }
        let rest = code.get(COMPARE_AT..)?;
        let length = if rest.first() == Some(&0x48) { 6 } else { 5 };
        let (compare, rest) = (rest.get(..length)?, rest.get(length..)?.strip_prefix(&SET_BACK)?);
        let at = u64_at(rest.get(..8)?).checked_sub(2 + length as u64)?;
        Some(Site { at, kind: Kind::Compared(compare.to_vec()) })
    }
}

/// Where a thread is in the code of rewritten places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// About to post a call, or to leave the guest.
    Before,
    /// Behind that.
    Posted,
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

fn u32_at(bytes: &[u8]) -> u32 {
    bytes[..4].iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

fn u64_at(bytes: &[u8]) -> u64 {
    bytes[..8].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// The same of what a program names.
pub(crate) fn concerns_sites(start: u64, length: u64) -> bool {
    concerns(&(start..start.saturating_add(length)))
}

/// Whether a range has to do with these pages.
pub(super) fn concerns(range: &Range<u64>) -> bool {
    range.start < END && TABLE < range.end
}

impl Space {
    /// Rewrites the place of the instruction `syscall` at an address, from which this number was asked for. Only for
    /// a space with one thread, which is outside. Whether it did.
    pub(crate) fn rewrite(&self, at: u64, number: u64) -> bool {
        self.find_and_rewrite(at, number).is_some()
    }

    fn find_and_rewrite(&self, at: u64, number: u64) -> Option<()> {
        let from = at.checked_sub(6)?;
        let area = {
            let inner = self.inner();
            let (start, area) = inner.areas.find(from)?;
            let is_code = area.protection == Protection::READ | Protection::EXECUTE;
            (is_code && matches!(area.backing, Backing::File(..))).then_some(start..area.end)?
        };
        let mut bytes = vec![0; (area.end - from).min(14) as usize];
        self.read(from, &mut bytes).ok()?;
        let site = Site::find(&bytes, at, number)?;
        if self.has_sites.load(SeqCst) {
            self.is_ours().then_some(())?;
        } else if self.machine.is_short(2 * (END - TABLE) / PAGE) {
            // What a program may have is for what it does itself.
            return None;
        } else {
            self.make_pages().ok()?;
        }
        let slot = (0..MOST).find(|&slot| self.read_u64(slot_at(slot)) == Ok(0))?;
        self.install(code_at(slot), &site.code(slot)).ok()?;
        self.install(slot_at(slot), &code_at(slot).to_le_bytes()).ok()?;
        self.overwrite(site.at, &Site::rewritten(slot));
        Some(())
    }

    fn make_pages(&self) -> Result<(), Errno> {
        let pages = [(TABLE, DESK, Protection::READ), (DESK, CODE, Protection::READ | Protection::WRITE)];
        let code = (CODE, END, Protection::READ | Protection::EXECUTE);
        if !self.inner().areas.are_free(&(TABLE..END)) {
            return Err(Errno::EXIST);
        }
        for (start, end, protection) in pages.into_iter().chain([code]) {
            self.map(Placement::Free(start), end - start, protection, Backing::Anonymous)?;
        }
        self.install(CODE, site_code().0)?;
        self.install(MAGIC_AT, &MAGIC.to_le_bytes())
    }

    /// Whether the pages are there and were made for that.
    pub(super) fn is_ours(&self) -> bool {
        self.read_u64(MAGIC_AT) == Ok(MAGIC)
    }

    /// Writes to code, in pages that are the space's own.
    fn overwrite(&self, at: u64, bytes: &[u8]) {
        // It was read before.
        let _ = self.install(at, bytes);
        let inner = self.inner();
        for number in page(at)..=page(at + bytes.len() as u64 - 1) {
            if let Some(page) = inner.pages.get(&number) {
                self.machine.note_written(number, page.frame);
            }
        }
    }

    /// The place that jumps through the slot which these bytes name, with the slot.
    fn jumped_from(&self, bytes: &[u8]) -> Option<(Site, u64)> {
        let slot = u64::from(u32_at(bytes.strip_prefix(&JUMP)?.get(..4)?)).checked_sub(TABLE)? / 8;
        let mut code = [0; EACH as usize];
        (slot < MOST).then_some(())?;
        self.read(code_at(slot), &mut code).ok()?;
        Some((Site::of(&code)?, slot))
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
        let site = at.checked_sub(5).filter(|_| self.has_sites.load(SeqCst)).and_then(|at| self.site_at(at));
        matches!(site, Some((Site { kind: Kind::Set(_), .. }, _)))
    }

    /// Where in the code of its places an address is, if it is there.
    pub(crate) fn in_site_code(&self, at: u64) -> Option<Within> {
        if !(CODE..END).contains(&at) || !self.has_sites.load(SeqCst) || !self.is_ours() {
            return None;
        }
        let (code, posted) = site_code();
        if (CODE + posted..CODE + code.len() as u64).contains(&at) {
            return Some(Within::Posted);
        }
        let slot = at.checked_sub(FIRST).filter(|by| by % EACH >= COMPARE_AT as u64).map(|by| by / EACH);
        let next = slot.map(|slot| code_at(slot) + COMPARE_AT as u64);
        let behind = next.map(|next| (next, self.returned_to(next))).filter(|(next, rip)| next != rip);
        Some(behind.map_or(Within::Before, |(_, rip)| Within::Behind(rip)))
    }

    /// Where a thread is for its program that left the guest by the code, which was to go on at `next`: right behind
    /// the instruction `syscall`.
    pub(crate) fn returned_to(&self, next: u64) -> u64 {
        let slot = next.checked_sub(FIRST + COMPARE_AT as u64).filter(|by| by % EACH == 0).map(|by| by / EACH);
        let Some(slot) = slot.filter(|&slot| slot < MOST) else { return next };
        let mut code = [0; EACH as usize];
        match self.read(code_at(slot), &mut code).ok().and_then(|()| Site::of(&code)) {
            Some(Site { at, kind: Kind::Compared(_) }) => at + SYSCALL.len() as u64,
            _ => next,
        }
    }

    /// Where a thread has to go on that is at an address for its program, with this in `rax`.
    pub(crate) fn landing(&self, at: u64, rax: u64) -> u64 {
        if !self.has_sites.load(SeqCst) {
            return at;
        }
        // Behind a call whose answer is compared next.
        if let Some((Site { kind: Kind::Compared(_), .. }, slot)) = at.checked_sub(2).and_then(|at| self.site_at(at)) {
            return code_at(slot) + COMPARE_AT as u64;
        }
        // Before a call that is made again.
        match at.checked_sub(5).and_then(|at| self.site_at(at)) {
            Some((Site { at, kind: Kind::Set(number) }, _)) if u64::from(number) == rax => at,
            _ => at,
        }
    }

    /// Makes the places in a range what they were, as somebody may write there or look for other code.
    pub(super) fn restore_sites(&self, within: &Range<u64>) {
        if !self.has_sites.load(SeqCst) || !self.is_ours() {
            return;
        }
        for slot in 0..MOST {
            let mut code = [0; EACH as usize];
            if self.read(code_at(slot), &mut code).is_err() || code[0] == 0 {
                return;
            }
            let Some(site) = Site::of(&code) else { continue };
            let place = site.at..site.at.saturating_add(LENGTH as u64);
            let is_within = place.start < within.end && within.start < place.end;
            if is_within && self.site_at(site.at).is_some_and(|(_, now)| now == slot) {
                self.overwrite(site.at, &site.original());
            }
        }
    }

    /// The pages are about to be something else: every place is what it was, and no further one is rewritten.
    pub(super) fn give_sites_up(&self) {
        self.restore_sites(&(0..u64::MAX));
        if self.has_sites.load(SeqCst) && self.is_ours() {
            // It was read there a moment ago.
            let _ = self.install(MAGIC_AT, &[0; 8]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_from_its_code_and_its_code_from_the_place() {
        let set = [0x90, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3];
        let long = [0x90, 0x90, 0x90, 0x90, 0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x77];
        let short = [0x90, 0x90, 0x90, 0x90, 0x31, 0xc0, 0x0f, 0x05, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0x77];
        for (bytes, number, at) in [(&set[..], 39, 0x7f_1000), (&long, 0, 0x7f_1005), (&short, 0, 0x7f_1005)] {
            let found = Site::find(bytes, 0x7f_1005, number).unwrap();
            assert_eq!(found.at, at);
            assert_eq!(found.original(), bytes[(found.at + 1 - 0x7f_1000) as usize..][..LENGTH]);
            let code = found.code(3);
            assert!(code.len() <= EACH as usize);
            assert_eq!(Site::of(&code), Some(found));
        }
    }

    #[test]
    fn what_only_looks_like_a_place_is_none() {
        // mov $39, %r8d
        let other = [0x41, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3, 0, 0, 0, 0, 0];
        assert_eq!(Site::find(&other, 0x1005, 39), None);
        let another_number = [0x90, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3, 0, 0, 0, 0, 0];
        assert_eq!(Site::find(&another_number, 0x1005, 40), None);
        let cut = [0x90, 0x90, 0x90, 0x90, 0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d, 0x01];
        assert_eq!(Site::find(&cut, 0x1005, 0), None);
    }

    #[test]
    fn the_middle_of_a_rewritten_place_is_no_instruction() {
        for slot in [0, MOST - 1] {
            // `push %es`, in 64-bit mode undefined: Intel SDM volume 2, appendix A.
            assert_eq!(Site::rewritten(slot)[5], 0x06);
        }
        const { assert!(slot_at(MOST) <= MAGIC_AT) };
    }
}
