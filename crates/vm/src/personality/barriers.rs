//! Barriers for the threads of others: `membarrier(2)`.
//!
//! A thread that runs in the guest is kicked out of it, which is a barrier and more; one that does not will pass one
//! on its way there. Whoever asked waits until each has been seen on either side.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::process::{Member, Process, lock};
use super::thread::Thread;
use super::{Answer, Arguments, int};

/// `MEMBARRIER_CMD_*`, without their prefix.
const QUERY: i32 = 0;
const GLOBAL: i32 = 1;
const GLOBAL_EXPEDITED: i32 = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: i32 = 1 << 2;
const PRIVATE_EXPEDITED: i32 = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
const PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 5;
const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 6;
const PRIVATE_EXPEDITED_RSEQ: i32 = 1 << 7;
const REGISTER_PRIVATE_EXPEDITED_RSEQ: i32 = 1 << 8;
const GET_REGISTRATIONS: i32 = 1 << 9;
/// All of them.
const ALL: i32 = (1 << 10) - 1;
/// `MEMBARRIER_CMD_FLAG_CPU`
const ONE_PROCESSOR: i32 = 1;
/// A kick that found a thread in the stubs is repeated after this time.
const AGAIN: Duration = Duration::from_millis(1);

/// What a process can register, by what it is needed for.
fn registration(command: i32) -> i32 {
    match command {
        PRIVATE_EXPEDITED => REGISTER_PRIVATE_EXPEDITED,
        PRIVATE_EXPEDITED_SYNC_CORE => REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
        _ => REGISTER_PRIVATE_EXPEDITED_RSEQ,
    }
}

/// The threads of a process, and which processors they have.
fn members(process: &Process) -> Vec<Arc<Member>> {
    lock(&process.threads).values().cloned().collect()
}

impl Thread {
    /// Waits until each of these threads has passed a barrier.
    fn pass_barrier(&self, of: Vec<Arc<Member>>) {
        let mut others: Vec<_> = of.into_iter().filter(|member| !Arc::ptr_eq(member, &self.member)).collect();
        for member in &others {
            member.fence.store(true, SeqCst);
        }
        let mut kick_at = Instant::now();
        loop {
            // Whoever is outside passes one on its way in, where it finds the wish.
            others.retain(|member| member.fence.load(SeqCst) && member.inside.load(SeqCst));
            if others.is_empty() || self.has_to_end() {
                return;
            }
            if Instant::now() >= kick_at {
                for member in &others {
                    self.world.control.interrupt(member.number.load(SeqCst));
                }
                kick_at = Instant::now() + AGAIN;
            }
            std::thread::yield_now();
        }
    }

    /// It is about to run in the guest: others see that before it does. From within a stub it has to get
    /// on first, or it would never leave: the stub ends where it comes out by itself, and passes the barrier.
    pub(super) fn go_inside(&self, is_in_stub: bool) {
        self.member.inside.store(true, SeqCst);
        if self.member.fence.load(SeqCst) && !is_in_stub {
            // Out again at once, to where it is known what it was doing.
            self.world.control.interrupt(self.member.number.load(SeqCst));
        }
    }

    /// It has left the guest. Whether a barrier was asked for; a sequence it is in is to be aborted then.
    pub(super) fn come_outside(&self) {
        self.member.inside.store(false, SeqCst);
    }

    /// A barrier that was asked for has been passed, at an instruction of the program's that is known.
    pub(super) fn fence(&mut self) -> bool {
        self.member.fence.swap(false, SeqCst) && self.abort_sequence()
    }
}

/// `membarrier(2)`
pub(super) fn membarrier(thread: &mut Thread, [command, flags, processor, ..]: Arguments) -> Answer {
    let (command, flags) = (int(command), flags as u32 as i32);
    match command {
        PRIVATE_EXPEDITED_RSEQ if flags & !ONE_PROCESSOR == 0 => {}
        _ if flags != 0 => return Err(Errno::INVAL),
        _ => {}
    }
    let process = thread.process.clone();
    match command {
        QUERY => return Ok(ALL as u64),
        GET_REGISTRATIONS => return Ok(process.barriers.load(SeqCst) as u64),
        REGISTER_GLOBAL_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
        | REGISTER_PRIVATE_EXPEDITED_RSEQ => {
            process.barriers.fetch_or(command, SeqCst);
            return Ok(0);
        }
        GLOBAL | GLOBAL_EXPEDITED => {
            let all: Vec<_> = thread.world.processes().values().cloned().collect();
            let meant = |process: &&Arc<Process>| {
                command == GLOBAL || process.barriers.load(SeqCst) & REGISTER_GLOBAL_EXPEDITED != 0
            };
            thread.pass_barrier(all.iter().filter(meant).flat_map(|process| members(process)).collect());
        }
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE | PRIVATE_EXPEDITED_RSEQ => {
            if process.barriers.load(SeqCst) & registration(command) == 0 {
                return Err(Errno::PERM);
            }
            let mut threads = members(&process);
            if flags & ONE_PROCESSOR != 0 {
                threads.retain(|member| u64::from(member.processor.load(SeqCst)) == processor & 0xffff_ffff);
            }
            thread.pass_barrier(threads);
        }
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}
