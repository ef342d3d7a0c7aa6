//! What an instance added to the disk.
//!
//! A file is charged for what it grew beyond the size it had when the instance first opened it, a
//! name for [`NAME`] bytes. What was charged is given back when the file shrinks or ends, and a file
//! without a name ends at its last close: creating, writing and unlinking in a loop while keeping
//! the handles is charged like keeping the names.
//!
//! What it does not see: blocks behind the holes of a sparse file that was there before, and what
//! others write.

use std::collections::HashMap;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_abi::ErrorCode;
use rustix::fs::Stat;

use crate::meter::Meter;

/// What one name is charged, whatever it names: a block of the file system.
pub(crate) const NAME: u64 = 4096;

/// The files an instance has open or has grown.
pub(crate) struct Ledger {
    meter: Arc<Meter>,
    accounts: Mutex<HashMap<Identity, Arc<Account>>>,
    names: Mutex<u64>,
}

/// Which file: `st_dev` and `st_ino`.
type Identity = (u64, u64);

/// One file.
struct Account {
    /// The size charged for, which every write below it leaves alone.
    size: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The size it may have without a charge.
    free: u64,
    charged: u64,
    opens: u64,
    nameless: bool,
}

/// A file that is open: keeps its account.
pub(crate) struct Opened {
    ledger: Arc<Ledger>,
    identity: Identity,
    account: Arc<Account>,
}

/// A charge for growth that has not happened yet. Dropped, it is taken back.
pub(crate) struct Growth<'a> {
    opened: &'a Opened,
    from: u64,
    to: u64,
}

pub(crate) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

impl Ledger {
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        Self { meter, accounts: Mutex::default(), names: Mutex::new(0) }
    }

    /// A file was opened; `created` when this instance made it.
    pub(crate) fn open(self: &Arc<Self>, stat: &Stat, created: bool) -> Opened {
        let identity = identity(stat);
        let account = {
            let mut accounts = self.accounts();
            if created {
                // A file of this number that somebody else removed.
                if let Some(stale) = accounts.remove(&identity) {
                    self.meter.shrink_disk(stale.state().charged);
                }
            }
            let account = accounts.entry(identity).or_insert_with(|| {
                let free = if created { 0 } else { size(stat) };
                Arc::new(Account {
                    size: AtomicU64::new(size(stat)),
                    state: Mutex::new(State { free, ..State::default() }),
                })
            });
            account.state().opens += 1;
            Arc::clone(account)
        };
        Opened { ledger: Arc::clone(self), identity, account }
    }

    /// A name is about to be made.
    pub(crate) fn add_name(&self) -> Result<(), ErrorCode> {
        self.meter.grow_disk(NAME)?;
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Ok(())
    }

    /// A name is gone, or was not made after all.
    pub(crate) fn remove_name(&self) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(less) = names.checked_sub(1) {
            *names = less;
            self.meter.shrink_disk(NAME);
        }
    }

    /// A name of this file is gone; `stat` is from before.
    pub(crate) fn unlinked(&self, stat: &Stat) {
        self.remove_name();
        if stat.st_nlink > 1 {
            return;
        }
        let mut accounts = self.accounts();
        let Some(account) = accounts.get(&identity(stat)) else { return };
        let ended = {
            let mut state = account.state();
            state.nameless = true;
            (state.opens == 0).then_some(state.charged)
        };
        if let Some(charged) = ended {
            accounts.remove(&identity(stat));
            self.meter.shrink_disk(charged);
        }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<Identity, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// Whether a write that ends at `end` grows the file beyond what was charged.
    #[inline]
    pub(crate) fn grows(&self, end: u64) -> bool {
        end > self.account.size.load(SeqCst)
    }

    /// Charges the growth to `end`, before it happens; `actual` is the size the file has.
    pub(crate) fn grow(&self, end: u64, actual: u64) -> Result<Growth<'_>, ErrorCode> {
        let mut state = self.account.state();
        let from = self.account.size.load(Relaxed).max(actual);
        self.grow_from(&mut state, from, end)
    }

    /// The same for `bytes` at the end, wherever that is.
    pub(crate) fn append(&self, bytes: u64, actual: u64) -> Result<Growth<'_>, ErrorCode> {
        let mut state = self.account.state();
        let from = self.account.size.load(Relaxed).max(actual);
        self.grow_from(&mut state, from, from.saturating_add(bytes))
    }

    fn grow_from(&self, state: &mut State, from: u64, end: u64) -> Result<Growth<'_>, ErrorCode> {
        let to = end.max(from);
        if end > from {
            self.ledger.meter.file_size(end)?;
        }
        self.charge(state, to)?;
        Ok(Growth { opened: self, from, to })
    }

    /// Charges for a file of `size` bytes.
    fn charge(&self, state: &mut State, size: u64) -> Result<(), ErrorCode> {
        let due = size.saturating_sub(state.free);
        self.ledger.meter.grow_disk(due.saturating_sub(state.charged))?;
        state.charged = state.charged.max(due);
        self.account.size.store(size, SeqCst);
        Ok(())
    }

    /// Shrinks the file to `size` by `cut`, and gives back what was charged beyond.
    pub(crate) fn shrink(&self, size: u64, cut: impl FnOnce() -> Result<(), ErrorCode>) -> Result<(), ErrorCode> {
        let mut state = self.account.state();
        // Before the cut: a write that comes after it and was found not to grow the file looks at the
        // size again (`wrote`).
        let before = self.account.size.swap(size, SeqCst);
        cut().inspect_err(|_| self.account.size.store(before, SeqCst))?;
        self.credit(&mut state, size);
        Ok(())
    }

    fn credit(&self, state: &mut State, size: u64) {
        self.account.size.store(size, SeqCst);
        let due = size.saturating_sub(state.free);
        self.ledger.meter.shrink_disk(state.charged.saturating_sub(due));
        state.charged = state.charged.min(due);
    }

    /// A write that ended at `end` and was not charged because the file was large enough: it may
    /// have been cut meanwhile. `actual` tells the size the file has.
    #[inline]
    pub(crate) fn wrote(&self, end: u64, actual: impl FnOnce() -> u64) -> Result<(), ErrorCode> {
        if !self.grows(end) {
            return Ok(());
        }
        let mut state = self.account.state();
        let actual = actual();
        if self.grows(actual) { self.charge(&mut state, actual) } else { Ok(()) }
    }
}

impl Growth<'_> {
    /// The size it grows from.
    pub(crate) fn start(&self) -> u64 {
        self.from
    }

    /// The file reached `end`: less than was charged for after a short write, or all of it although
    /// the file was cut meanwhile.
    pub(crate) fn settle(self, end: u64) -> Result<(), ErrorCode> {
        let opened = self.opened;
        let (from, to) = (self.from, self.to);
        std::mem::forget(self);
        let mut state = opened.account.state();
        let size = opened.account.size.load(Relaxed);
        if end < to && size == to {
            // No other write has grown it further.
            opened.credit(&mut state, end.max(from));
        } else if size < end {
            opened.charge(&mut state, end)?;
        }
        Ok(())
    }
}

impl Drop for Growth<'_> {
    fn drop(&mut self) {
        let mut state = self.opened.account.state();
        if self.opened.account.size.load(Relaxed) == self.to {
            self.opened.credit(&mut state, self.from);
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut accounts = self.ledger.accounts();
        let ended = {
            let mut state = self.account.state();
            state.opens -= 1;
            // A file that still has a name and a charge is kept, so that the charge is given back
            // when the name goes; one that is as it was found is forgotten.
            let as_found = state.charged == 0 && self.account.size.load(Relaxed) >= state.free;
            (state.opens == 0 && (state.nameless || as_found)).then_some(state.charged)
        };
        if let Some(charged) = ended {
            if accounts.get(&self.identity).is_some_and(|account| Arc::ptr_eq(account, &self.account)) {
                accounts.remove(&self.identity);
            }
            self.ledger.meter.shrink_disk(charged);
        }
    }
}
