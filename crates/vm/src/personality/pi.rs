//! Locks that are handed on to who waits for them: `FUTEX_LOCK_PI` and those with it, of `futex(2)`. Whoever owns one
//! gets no other priority by that: the host decides who runs.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustix::io::Errno;

use super::Answer;
use super::process::{Member, lock};
use super::robust::{OWNER, OWNER_DIED, WAITERS};
use super::thread::Thread;

/// The locks that somebody waits for, by the place of their words in guest memory.
#[derive(Default)]
pub(super) struct Handed(Mutex<HashMap<u64, Held>>);

struct Held {
    owner: u32,
    heirs: VecDeque<Arc<Heir>>,
    /// Its owner is yet to write its name down.
    is_inherited: bool,
}

/// A thread that waits for a lock.
struct Heir {
    id: u32,
    thread: thread::Thread,
    state: AtomicU8,
}

/// It waits; it owns the lock; it does because the owner before has ended, and is to write that down.
const WAITS: u8 = 0;
const OWNS: u8 = 1;
const INHERITED: u8 = 2;

/// How often a word is looked at that changes while it is.
const TRIES: u32 = 16;

impl Held {
    /// Gives the lock to the first who waits; the word that says so.
    fn hand_on(&mut self, state: u8) -> Option<u32> {
        let heir = self.heirs.pop_front()?;
        self.owner = heir.id;
        heir.state.store(state, SeqCst);
        heir.thread.unpark();
        Some(heir.id | if self.heirs.is_empty() { 0 } else { WAITERS })
    }
}

impl Handed {
    /// Hands on what an ended thread owned. Its heirs write their names down by themselves, for the memory may be gone;
    /// until then the locks are known here.
    pub(super) fn owner_ended(&self, owner: u32) {
        let mut locks = lock(&self.0);
        locks.values_mut().filter(|held| held.owner == owner).for_each(|held| {
            held.is_inherited = held.hand_on(INHERITED).is_some();
        });
        locks.retain(|_, held| held.is_inherited || !held.heirs.is_empty());
    }
}

impl Thread {
    /// Whether there is a thread of this number that is yet to leave what it owns.
    fn is_owner(&self, id: u32) -> bool {
        let stays = |member: &Arc<Member>| !member.leaves.load(SeqCst);
        self.world.processes().values().any(|process| lock(&process.threads).get(&id).is_some_and(stays))
    }

    /// Hands on what it owns, before it ends. The list of those that are robust was walked: who asks for one from now
    /// on sees that nobody owns it.
    pub(super) fn leave_locks(&self) {
        self.member.leaves.store(true, SeqCst);
        self.world.handed.owner_ended(self.member.id);
    }

    /// `FUTEX_LOCK_PI`; without waiting, `FUTEX_TRYLOCK_PI`.
    pub(super) fn take_lock(&self, at: u64, until: Option<Instant>, waits: bool) -> Answer {
        let space = self.process.space()?;
        let mine = self.member.id;
        let (place, heir) = {
            // Nobody gives it up meanwhile.
            let mut locks = lock(&self.world.handed.0);
            let place = space.load(at)?.0;
            let mut tries = 0;
            let held = loop {
                let is_wanted = locks.contains_key(&place);
                let taken = |word: u32| match word & OWNER {
                    owner if owner == mine => None,
                    0 if !is_wanted => Some(word & OWNER_DIED | mine),
                    _ => waits.then_some(word | WAITERS),
                };
                let owner = match space.change(at, taken)?.1 & OWNER {
                    0 if !is_wanted => return Ok(0),
                    owner if owner == mine => return Err(Errno::DEADLK),
                    _ if !waits => return Err(Errno::AGAIN),
                    owner => owner,
                };
                if is_wanted || self.is_owner(owner) {
                    break locks.entry(place).or_insert_with(|| Held {
                        owner,
                        heirs: VecDeque::new(),
                        is_inherited: false,
                    });
                }
                if space.load(at)?.1 & OWNER == owner {
                    return Err(Errno::SRCH);
                }
                // The owner has just left it, or somebody plays with it.
                tries += 1;
                if tries > TRIES {
                    return Err(Errno::AGAIN);
                }
            };
            let heir = Arc::new(Heir { id: mine, thread: thread::current(), state: AtomicU8::new(WAITS) });
            held.heirs.push_back(heir.clone());
            (place, heir)
        };
        let waited = self.wait(&[], until, || (heir.state.load(SeqCst) != WAITS).then_some(()));
        let mut locks = lock(&self.world.handed.0);
        if waited.is_err()
            && heir.state.load(SeqCst) == WAITS
            && let Entry::Occupied(mut held) = locks.entry(place)
        {
            held.get_mut().heirs.retain(|other| !Arc::ptr_eq(other, &heir));
            if held.get().heirs.is_empty() && !held.get().is_inherited {
                held.remove();
            }
        }
        match (heir.state.load(SeqCst), waited) {
            (WAITS, waited) => waited.map(|()| 0),
            // What was given in the last moment counts.
            (OWNS, _) => Ok(0),
            _ => {
                let held = locks.get_mut(&place).filter(|held| held.owner == mine);
                let more = held.is_some_and(|held| {
                    held.is_inherited = false;
                    !held.heirs.is_empty()
                });
                if !more {
                    locks.remove(&place);
                }
                space.change(at, |_| Some(mine | OWNER_DIED | if more { WAITERS } else { 0 })).map(|_| 0)
            }
        }
    }

    /// `FUTEX_UNLOCK_PI`
    pub(super) fn give_lock(&self, at: u64) -> Answer {
        let space = self.process.space()?;
        let mut locks = lock(&self.world.handed.0);
        let (place, word) = space.load(at)?;
        if word & OWNER != self.member.id {
            return Err(Errno::PERM);
        }
        let next = locks.get_mut(&place).and_then(|held| held.hand_on(OWNS)).unwrap_or(0);
        if next & WAITERS == 0 {
            locks.remove(&place);
        }
        space.change(at, |_| Some(next)).map(|_| 0)
    }
}
