//! What a program changed of its machine, taken down while it runs.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Imprint, Machine, Tables};

/// How many changes are taken down. Who makes more gets a machine that nobody has after it.
const MOST: usize = 1 << 16;

/// The journal of a machine, if it has one.
#[derive(Default)]
pub(super) struct Recorder {
    is_on: AtomicBool,
    journal: Mutex<Journal>,
}

/// What was changed since there is an imprint.
#[derive(Default)]
pub(super) struct Journal {
    /// What it is to be made again.
    pub(super) imprint: Option<Imprint>,
    /// The tables of the one address space there is, before an instance has them and when it has ended.
    pub(super) tables: Option<Tables>,
    /// Pages of it, by number, that led or lead elsewhere, or otherwise.
    pub(super) changed: HashSet<u64>,
    /// Pages of guest memory to which they led.
    pub(super) led: HashSet<u64>,
    /// Pages of guest memory that anybody had; also before there is an imprint.
    pub(super) taken: Marks,
    /// Something happened that is not covered: the machine is not used again.
    pub(super) is_lost: bool,
}

/// Numbers, a bit for each.
#[derive(Default)]
pub(super) struct Marks {
    words: Vec<u64>,
}

impl Marks {
    fn add(&mut self, run: &Range<u64>) {
        let needed = run.end.div_ceil(64) as usize;
        if self.words.len() < needed {
            self.words.resize(needed, 0);
        }
        for number in run.clone() {
            self.words[(number / 64) as usize] |= 1 << (number % 64);
        }
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        let words = self.words.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(|(index, &word)| {
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| index as u64 * 64 + bit)
        })
    }
}

impl Journal {
    fn lose(&mut self) {
        *self = Journal { is_lost: true, ..Journal::default() };
    }
}

impl Recorder {
    /// The journal, when there is one.
    pub(super) fn journal(&self) -> Option<MutexGuard<'_, Journal>> {
        self.is_on.load(SeqCst).then(|| self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn begin(&self, journal: Journal) {
        *self.journal.lock().unwrap_or_else(PoisonError::into_inner) = journal;
        self.is_on.store(true, SeqCst);
    }

    /// Ends it; what was taken down.
    pub(super) fn end(&self) -> Option<Journal> {
        let journal = std::mem::take(&mut *self.journal()?);
        self.is_on.store(false, SeqCst);
        Some(journal)
    }
}

impl Machine {
    /// Takes down from here on what has to be put back before it is used again. Nobody had anything of it.
    pub(crate) fn record(&self) {
        self.recorder.begin(Journal::default());
    }

    /// Whether it may be used again.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorder.journal().is_some_and(|journal| !journal.is_lost)
    }

    /// Whether what it is to be made again is known; also when it will not be used again.
    pub(crate) fn is_imprinted(&self) -> bool {
        self.recorder.journal().is_none_or(|journal| journal.is_lost || journal.imprint.is_some())
    }

    /// Gives up using it again.
    pub(crate) fn lose(&self) {
        if let Some(mut journal) = self.recorder.journal() {
            journal.lose();
        }
    }

    /// A page of a program is about to lead to this page of guest memory, or nowhere.
    pub(super) fn note_lead(&self, page: u64, to: Option<u64>) {
        let Some(mut journal) = self.recorder.journal() else { return };
        if journal.imprint.is_none() {
            return;
        }
        journal.changed.insert(page);
        journal.led.extend(to);
        if journal.changed.len() + journal.led.len() > MOST {
            journal.lose();
        }
    }

    /// The host writes to a page that a program may not write to.
    pub(crate) fn note_written(&self, page: u64, frame: u64) {
        self.note_lead(page, Some(frame));
    }

    pub(super) fn note_taken(&self, run: &Range<u64>) {
        if let Some(mut journal) = self.recorder.journal()
            && !journal.is_lost
        {
            journal.taken.add(run);
        }
    }

    /// A second address space is made: what is taken down is about one.
    pub(super) fn note_new_tables(&self) {
        if let Some(mut journal) = self.recorder.journal()
            && journal.imprint.is_some()
        {
            journal.lose();
        }
    }

    /// Tables of an instance that has ended, and with it everybody who used them.
    pub(crate) fn keep_tables(&self, tables: Tables) {
        let Some(mut journal) = self.recorder.journal() else { return };
        match (&journal.imprint, &journal.tables) {
            (Some(imprint), None) if imprint.root == tables.root() => journal.tables = Some(tables),
            _ => journal.lose(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_in_order_and_once() {
        let mut marks = Marks::default();
        marks.add(&(200..203));
        marks.add(&(62..66));
        marks.add(&(64..65));
        assert_eq!(marks.iter().collect::<Vec<_>>(), [62, 63, 64, 65, 200, 201, 202]);
    }
}
