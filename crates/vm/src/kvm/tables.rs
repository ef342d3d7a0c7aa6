//! Page tables.
//!
//! They are guest memory that no program sees and only the host writes. Two properties keep KVM's
//! shadows of them true without its help: an entry that leads to another table never changes once it
//! is made, and an entry that leads to a page is only changed together with what makes KVM forget the
//! page ([`Machine::give_frames`], [`Machine::forget_translations`]). That is why tables are never
//! freed: those of a process that is gone are emptied and serve the next one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::layout::{KERNEL, STUB_FRAME};
use super::{Machine, PAGE, StubKind, TABLE_AREA, USER_STUB};

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
/// Accessed and dirty, set beforehand: nobody has to set them later.
const USED: u64 = 0b110_0000;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

/// Where a page leads, and what a program may do there beside reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    pub(crate) frame: u64,
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

/// The tables of one address space.
pub(crate) struct Tables {
    root: u64,
    /// Every other table by its level (1 leads to pages) and the part of the page's number it is for.
    below: HashMap<(u8, u64), u64>,
}

/// Where tables come from.
#[derive(Default)]
pub(super) struct TablePool {
    /// Of address spaces that are gone; no entry leads to a page.
    empty: Vec<Tables>,
    made: u64,
    /// How many count at least: those that one program needed are not to be seen by the next one.
    counted: u64,
}

impl TablePool {
    fn table(&mut self) -> Option<u64> {
        let at = TABLE_AREA.start + self.made * PAGE;
        (at < TABLE_AREA.end).then(|| {
            self.made += 1;
            at
        })
    }

    /// How many there are, or count as if they were.
    pub(super) fn made(&self) -> u64 {
        self.made.max(self.counted)
    }

    /// Counts so many more from now on, whether they are made or not.
    pub(super) fn reserve(&mut self, more: u64) {
        self.counted = self.made + more;
    }

    /// Whether more were made than were counted.
    pub(super) fn is_beyond(&self) -> bool {
        self.made > self.counted
    }
}

/// A new table, empty: where tables are, or where there are no more, among a program's pages. Who has so many is not
/// followed by another program in the same machine (`Machine::rewind`).
fn new_table(machine: &Machine) -> Option<u64> {
    let made = machine.table_pool().table();
    made.or_else(|| machine.take_frames(1).ok().map(|run| run.start * PAGE))
}

impl Tables {
    /// Empty tables; `None` when there is no room for them.
    pub(crate) fn new(machine: &Machine) -> Option<Tables> {
        machine.note_new_tables();
        let empty = machine.table_pool().empty.pop();
        if empty.is_some() {
            return empty;
        }
        let root = new_table(machine)?;
        let mut tables = Tables { root, below: HashMap::new() };
        let kernel = KERNEL & 0xffff_ffff_ffff;
        let entry = tables.entry(machine, kernel / PAGE, 2, 0)?;
        machine.write_u64(entry, PRESENT | WRITE | LARGE | USED);
        if machine.kind() == StubKind::User {
            let entry = tables.entry(machine, USER_STUB / PAGE, 1, USER)?;
            machine.write_u64(entry, STUB_FRAME | PRESENT | USER | USED);
        }
        Some(tables)
    }

    /// How many bytes the tables are at most that lead to so many bytes in a row.
    pub(crate) fn most(length: u64) -> u64 {
        let at = |level: u32| length / PAGE.saturating_mul(512_u64.pow(level)) + 2;
        (1..=3).map(at).sum::<u64>() * PAGE
    }

    /// `cr3`.
    pub(crate) fn root(&self) -> u64 {
        self.root
    }

    /// Where the entry for a page is in the table of a level, which is made if there is none.
    fn entry(&mut self, machine: &Machine, page: u64, level: u8, user: u64) -> Option<u64> {
        let mut table = self.root;
        for above in (level..4).rev() {
            let part = page >> (9 * u64::from(above));
            table = match self.below.entry((above, part)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(vacant) => {
                    let new = new_table(machine)?;
                    machine.write_u64(table + part % 512 * 8, new | PRESENT | WRITE | USED | user);
                    *vacant.insert(new)
                }
            };
        }
        Some(table + (page >> (9 * u64::from(level - 1))) % 512 * 8)
    }

    /// Lets a page lead somewhere; `None` when there is no room for a table.
    pub(crate) fn set(&mut self, machine: &Machine, page: u64, to: Translation) -> Option<()> {
        machine.note_lead(page, Some(to.frame));
        let entry = self.entry(machine, page, 1, USER)?;
        let write = if to.write { WRITE } else { 0 };
        let execute = if to.execute { 0 } else { NO_EXECUTE };
        machine.write_u64(entry, (to.frame * PAGE) | PRESENT | USER | USED | write | execute);
        Some(())
    }

    /// Lets a page lead nowhere.
    pub(crate) fn clear(&mut self, machine: &Machine, page: u64) {
        if let Some(&table) = self.below.get(&(1, page >> 9)) {
            machine.note_lead(page, None);
            machine.write_u64(table + page % 512 * 8, 0);
        }
    }

    /// Gives the tables of an address space that is gone; every page of it has been cleared.
    pub(crate) fn give_back(self, machine: &Machine) {
        machine.table_pool().empty.push(self);
    }
}
