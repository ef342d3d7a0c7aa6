//! Restartable sequences: `rseq(2)`, the kernel's `Documentation/userspace-api/rseq.rst` and `linux/rseq.h`.
//!
//! The number of a thread's processor is the thread's number among those of its process: it has it from when it asks to
//! its last instruction, and no other thread has it meanwhile. So no two sequences ever run at once on what they
//! take for the same processor, whatever the host does with the threads. Who has a number that no processor has which
//! it may run on is told none, as one who never registered: it makes no sequences, and asks `getcpu(2)`. A sequence is aborted when the thread is
//! kicked out of the guest within it, when a handler of a signal is to run, and when `membarrier(2)` asks for that.

use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::process::{Member, NO_PLACE, lock};
use super::thread::Thread;
use super::{Answer, Arguments, int, scheduling};
use crate::kvm::USER_END;
use crate::words::u64_at;

/// The size of `struct rseq` when it was new, and its alignment.
const ORIGINAL: u64 = 32;
/// `RSEQ_FLAG_UNREGISTER`
const UNREGISTER: i32 = 1;
/// In `struct rseq`: `cpu_id_start`, `cpu_id`, `rseq_cs`, `node_id`, `mm_cid`.
const START_AT: u64 = 0;
const NUMBER_AT: u64 = 4;
const SEQUENCE_AT: u64 = 8;
const NODE_AT: u64 = 20;
/// `RSEQ_CPU_ID_UNINITIALIZED`
const NO_NUMBER: u32 = u32::MAX;

/// What a thread has registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    /// Its `struct rseq`.
    pub(super) at: u64,
    pub(super) length: u32,
    /// What stands before the instructions that sequences are aborted to.
    pub(super) signature: u32,
}

impl Registration {
    /// One that was captured; `None` when it cannot be so.
    pub(super) fn of((at, length, signature): (u64, u32, u32)) -> Option<Registration> {
        let fits = u64::from(length) >= ORIGINAL && at.checked_add(length.into()).is_some_and(|end| end <= USER_END);
        fits.then_some(Registration { at, length, signature })
    }
}

/// `struct rseq_cs`, copied.
struct Sequence {
    start: u64,
    length: u64,
    abort: u64,
}

impl Thread {
    /// The least number that no other thread of the process has, which it keeps.
    fn place(&self) -> u32 {
        let threads = lock(&self.process.threads);
        let place = |member: &Member| member.place.load(SeqCst);
        if place(&self.member) == NO_PLACE {
            let is_free = |number: &u32| threads.values().all(|member| place(member) != *number);
            self.member.place.store((0..NO_PLACE).find(is_free).unwrap_or(NO_PLACE), SeqCst);
        }
        place(&self.member)
    }

    /// Tells the program which processor its thread has; `EFAULT` when it cannot be told.
    pub(super) fn tell_processor(&self) -> Result<(), Errno> {
        let Some(registered) = self.rseq else { return Ok(()) };
        let space = self.process.space()?;
        let own = self.place();
        let is_there = scheduling::allowed(&self.member).checked_shr(own).is_some_and(|rest| rest & 1 != 0);
        let (start, number) = if is_there { (own, own) } else { (0, NO_NUMBER) };
        space.write_u32(registered.at + START_AT, start)?;
        space.write_u32(registered.at + NUMBER_AT, number)?;
        // The node, and the number among the threads of its memory.
        let more = [0, start].map(u32::to_le_bytes).concat();
        let room = u64::from(registered.length).saturating_sub(NODE_AT).min(more.len() as u64) as usize;
        space.write(registered.at + NODE_AT, &more[..room])
    }

    /// If the thread is in a sequence, lets it go on where that one is aborted to. Whether it was; a program
    /// whose sequences are not as they have to be ends.
    pub(super) fn abort_sequence(&mut self) -> bool {
        let Some(registered) = self.rseq else { return false };
        match self.find_abort(registered) {
            Ok(None) => false,
            Ok(Some(abort)) => {
                self.context.rip = abort;
                true
            }
            Err(_) => {
                self.end_process(libc::SIGSEGV);
                false
            }
        }
    }

    /// Where the sequence the thread is in is aborted to, if it is in one. Everything in it is the program's.
    fn find_abort(&self, registered: Registration) -> Result<Option<u64>, Errno> {
        let space = self.process.space()?;
        let at = space.read_u64(registered.at + SEQUENCE_AT)?;
        if at == 0 {
            return Ok(None);
        }
        let mut bytes = [0; 32];
        space.read(at, &mut bytes)?;
        let word = |at: usize| u64_at(&bytes, at);
        let version = word(0) as u32;
        let Sequence { start, length, abort } = Sequence { start: word(8), length: word(16), abort: word(24) };
        let end = start.checked_add(length).ok_or(Errno::INVAL)?;
        let is_within = |rip: u64| rip.wrapping_sub(start) < length;
        if start >= USER_END || end >= USER_END || abort >= USER_END || version > 0 || is_within(abort) {
            return Err(Errno::INVAL);
        }
        if space.read_u32(abort.wrapping_sub(4))? != registered.signature {
            return Err(Errno::INVAL);
        }
        space.write_u64(registered.at + SEQUENCE_AT, 0)?;
        Ok(is_within(self.context.rip).then_some(abort))
    }
}

/// `rseq(2)`
pub(super) fn rseq(thread: &mut Thread, [at, length, flags, signature, ..]: Arguments) -> Answer {
    let wanted = Registration { at, length: length as u32, signature: signature as u32 };
    if int(flags) & UNREGISTER != 0 {
        let registered = thread.rseq.ok_or(Errno::INVAL)?;
        if int(flags) != UNREGISTER || (registered.at, registered.length) != (wanted.at, wanted.length) {
            return Err(Errno::INVAL);
        }
        if registered.signature != wanted.signature {
            return Err(Errno::PERM);
        }
        let space = thread.process.space()?;
        space.write_u32(at + START_AT, 0)?;
        space.write_u32(at + NUMBER_AT, NO_NUMBER)?;
        thread.rseq = None;
        return Ok(0);
    }
    if int(flags) != 0 {
        return Err(Errno::INVAL);
    }
    if let Some(registered) = thread.rseq {
        return Err(match () {
            () if (registered.at, registered.length) != (wanted.at, wanted.length) => Errno::INVAL,
            () if registered.signature != wanted.signature => Errno::PERM,
            () => Errno::BUSY,
        });
    }
    let length = u64::from(wanted.length);
    if length < ORIGINAL || !at.is_multiple_of(ORIGINAL) {
        return Err(Errno::INVAL);
    }
    if at.checked_add(length).is_none_or(|end| end > USER_END) {
        return Err(Errno::FAULT);
    }
    thread.rseq = Some(wanted);
    if thread.tell_processor().is_err() {
        // As on the way back to the program in Linux.
        thread.rseq = None;
        thread.end_process(libc::SIGSEGV);
    }
    Ok(0)
}
