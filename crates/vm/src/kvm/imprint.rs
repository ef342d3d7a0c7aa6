//! Using a machine again for the same snapshot: what a program changed is put back as it was.
//!
//! ```text
//! new ──record──▶ being filled ──imprint──▶ a program runs ──rewind──▶ as it was
//!                                             ▲      │                     │
//!                                             └──────┼─────────────────────┘
//!                     anything that is not covered   └──▶ lost: closed, the next one gets a new machine
//! ```
//!
//! What it saves is making the machine, and KVM's shadows of the page tables, which stay as long as an entry
//! and the page it leads to do. Nothing rests on what a program may have left: a page of the imprint
//! that could be written to is compared with what it was, every byte of it; any other page of guest memory
//! that anybody had is emptied. Whether a page could be written to is known from the host's own
//! changes of the page tables, which are all taken down ([`super::journal`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::SeqCst;

use super::journal::Journal;
use super::{Machine, PAGE, Processor, Tables, Translation};

/// How many page tables more than the imprint has a program may need.
const SPARE_TABLES: u64 = 32;

/// What a machine is to be before an instance runs in it: one address space and the page of time.
pub(crate) struct Imprint {
    /// Of its page tables.
    pub(crate) root: u64,
    /// The pages that are there, by number.
    pub(crate) pages: BTreeMap<u64, Imprinted>,
    /// What the pages of the space's own are, by frame.
    pub(crate) originals: HashMap<u64, Original>,
    /// The frames of the page of time, which nobody but the host writes.
    pub(crate) time: Vec<u64>,
    /// Pages that are there and are not to be.
    pub(crate) others: Vec<u64>,
}

/// A page that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Imprinted {
    pub(crate) frame: u64,
    /// Whether it is the space's own.
    pub(crate) own: bool,
    pub(crate) to: Option<Translation>,
}

/// Where what a page is to be is found.
pub(crate) enum Original {
    Zeroes,
    /// In the snapshot, at this place.
    Stored(u32),
    Kept(Box<[u8]>),
    /// In a file, and nobody may write to the page. Should somebody have been allowed to, the page is made anew
    /// when it is touched.
    Elsewhere,
}

impl Machine {
    /// Everything is as it is to be again. Without a journal this does nothing.
    pub(crate) fn imprint(&self, imprint: Imprint) {
        let Some(mut journal) = self.recorder.journal() else { return };
        if journal.is_lost {
            return;
        }
        self.table_pool().reserve(SPARE_TABLES);
        journal.changed = imprint.others.iter().copied().collect();
        journal.imprint = Some(imprint);
    }

    /// The frames of the page of time, in a machine that is used again; empty when there is none.
    pub(crate) fn time_frames(&self) -> Vec<u64> {
        let journal = self.recorder.journal();
        journal.and_then(|journal| Some(journal.imprint.as_ref()?.time.clone())).unwrap_or_default()
    }

    /// The address space of a machine that is used again: its tables, and the pages that are there. Without the
    /// `time` its pages lead nowhere.
    pub(crate) fn take_space(&self, time: bool) -> Option<(Tables, BTreeMap<u64, Imprinted>)> {
        let (mut tables, mut pages) = {
            let mut journal = self.recorder.journal()?;
            (journal.tables.take()?, journal.imprint.as_ref()?.pages.clone())
        };
        if !time {
            for (number, page) in pages.extract_if(.., |_, page| !page.own) {
                tables.clear(self, number);
                self.forget_translations(page.frame..page.frame + 1);
            }
        }
        Some((tables, pages))
    }

    /// Puts everything back as in the imprint; `stored` finds pages of the snapshot. `false` when this cannot be
    /// done: nobody is to have the machine then. Nobody else has it now.
    pub(crate) fn rewind<'a>(&mut self, stored: impl Fn(u32) -> Option<&'a [u8]>) -> bool {
        self.recorder.end().is_some_and(|journal| self.put_back_all(journal, stored).is_some())
    }

    fn put_back_all<'a>(&mut self, journal: Journal, stored: impl Fn(u32) -> Option<&'a [u8]>) -> Option<()> {
        let Journal { imprint: Some(mut imprint), tables: Some(mut tables), mut changed, mut led, taken, is_lost } =
            journal
        else {
            return None;
        };
        if is_lost || self.kept.load(SeqCst) != 0 || self.table_pool().is_beyond() {
            return None;
        }
        let created = *self.created.get_mut().unwrap_or_else(PoisonError::into_inner);
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner));
        if idle.len() != created {
            return None;
        }
        idle.iter().try_for_each(|idle| Processor::forget(idle, self).ok())?;
        *self.idle.get_mut().unwrap_or_else(PoisonError::into_inner) = idle;
        // Pages that led elsewhere meanwhile, whoever had what they lead to then.
        led.extend(changed.iter().filter_map(|number| imprint.pages.get(number)).map(|page| page.frame));
        let Imprint { pages, originals, time, .. } = &mut imprint;
        let is_unknown = |_: &u64, page: &mut Imprinted| {
            page.own && led.contains(&page.frame) && matches!(originals.get(&page.frame), Some(Original::Elsewhere))
        };
        let unknown: Vec<(u64, Imprinted)> = pages.extract_if(.., is_unknown).collect();
        changed.extend(unknown.iter().map(|(number, _)| number));
        for number in changed {
            match pages.get(&number).and_then(|page| page.to) {
                Some(to) => tables.set(self, number, to)?,
                None => tables.clear(self, number),
            }
        }
        let used: BTreeSet<u64> = pages.values().map(|page| page.frame).chain(time.iter().copied()).collect();
        let unused: BTreeSet<u64> = taken
            .iter()
            .chain(unknown.iter().map(|(_, page)| page.frame))
            .filter(|frame| !used.contains(frame))
            .collect();
        let emptied = in_runs(unused.into_iter());
        if !emptied.into_iter().all(|run| self.empty(run)) {
            return None;
        }
        for run in in_runs(used.iter().copied().filter(|frame| led.contains(frame))) {
            self.forget_translations(run);
        }
        let mut content = vec![0; PAGE as usize];
        let is_doubtful =
            |page: &&Imprinted| page.own && (page.to.is_some_and(|to| to.write) || led.contains(&page.frame));
        for page in pages.values().filter(is_doubtful) {
            self.read(page.frame * PAGE, &mut content);
            let original = match originals.get(&page.frame)? {
                Original::Zeroes => &ZEROES[..],
                Original::Stored(place) => stored(*place)?,
                Original::Kept(kept) => kept,
                Original::Elsewhere => return None,
            };
            if content != original {
                self.write(page.frame * PAGE, original);
            }
        }
        let mut grown = self.grown();
        grown.frames = grown.frames.holding(&used);
        drop(grown);
        self.retired.store(false, SeqCst);
        self.recorder.begin(Journal { imprint: Some(imprint), tables: Some(tables), ..Journal::default() });
        Some(())
    }
}

const ZEROES: [u8; PAGE as usize] = [0; PAGE as usize];

/// Numbers in ascending order, as runs.
fn in_runs(numbers: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == number => run.end += 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs
}
