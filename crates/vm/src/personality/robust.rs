//! Locks that a thread held when it ended: `set_robust_list(2)`, `get_robust_list(2)`.

use rustix::io::Errno;

use super::process::lock;
use super::thread::Thread;
use super::{Answer, Arguments};

/// `struct robust_list_head`
const HEAD: u64 = 24;
/// How many locks are looked at: the list is the program's.
const MOST: usize = 2048;
/// In the word of a lock: `FUTEX_OWNER_DIED`, `FUTEX_WAITERS`, and who holds it.
pub(super) const OWNER_DIED: u32 = 0x4000_0000;
pub(super) const WAITERS: u32 = 0x8000_0000;
pub(super) const OWNER: u32 = 0x3fff_ffff;

/// `set_robust_list(2)`
pub(super) fn set(thread: &mut Thread, [head, length, ..]: Arguments) -> Answer {
    if length != HEAD {
        return Err(Errno::INVAL);
    }
    thread.robust = head;
    Ok(0)
}

/// `get_robust_list(2)`, of the thread itself.
pub(super) fn get(thread: &mut Thread, [who, head, length, ..]: Arguments) -> Answer {
    if who as u32 != 0 && who as u32 != thread.member.id {
        let processes = thread.world.processes();
        let is_there = processes.values().any(|process| lock(&process.threads).contains_key(&(who as u32)));
        return Err(if is_there { Errno::PERM } else { Errno::SRCH });
    }
    let space = thread.process.space()?;
    space.write_u64(head, thread.robust)?;
    space.write_u64(length, HEAD).map(|()| 0)
}

impl Thread {
    /// Tells those who wait for locks of this thread that it is gone.
    pub(super) fn give_up_locks(&mut self) {
        let head = std::mem::take(&mut self.robust);
        if head != 0 {
            // A list that cannot be read to its end is left there, as in Linux.
            let _ = self.walk_locks(head);
        }
    }

    fn walk_locks(&self, head: u64) -> Result<(), Errno> {
        let space = self.process.space()?;
        let word = |at: u64| space.read_u64(at);
        let (mut entry, offset, pending) = (word(head)?, word(head.wrapping_add(8))?, word(head.wrapping_add(16))?);
        for _ in 0..MOST {
            if entry == head || entry == 0 {
                break;
            }
            let next = word(entry & !1);
            if entry != pending {
                self.give_up_lock((entry & !1).wrapping_add(offset), false);
            }
            entry = next?;
        }
        if pending != 0 {
            self.give_up_lock((pending & !1).wrapping_add(offset), pending & 1 == 0);
        }
        Ok(())
    }

    /// One that it was about to give up itself may be free already, with nobody woken: it `was_freed` then.
    fn give_up_lock(&self, at: u64, was_freed: bool) {
        let Ok(space) = self.process.space() else { return };
        let mine = self.member.id;
        let died = |word: u32| (word & OWNER == mine).then_some(word & WAITERS | OWNER_DIED);
        if let Ok((place, before)) = space.change(at, died)
            && (before & OWNER == mine && before & WAITERS != 0 || was_freed && before == 0)
        {
            self.world.futexes.wake(place, 1, u32::MAX);
        }
    }
}
