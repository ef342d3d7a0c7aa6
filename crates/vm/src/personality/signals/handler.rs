//! Handlers: how a thread comes into one and back from it, and on which stack it runs.

use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::{Action, DEFAULT, IGNORE, is_ignored_by_default, never_blocked};
use crate::kvm::Registers;
use crate::personality::causes::{Cause, bit};
use crate::personality::process::lock;
use crate::personality::thread::{Next, Thread};
use crate::personality::{Answer, Arguments, stopping};
use crate::words::u64_at;

/// The other stack for handlers: `sigaltstack(2)`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Alternate {
    pub(in crate::personality) at: u64,
    pub(in crate::personality) size: u64,
    /// `SS_AUTODISARM`: gone while a handler runs on it.
    pub(in crate::personality) disarms: bool,
}

const AUTODISARM: u32 = 1 << 31;

impl Alternate {
    fn is_on(&self, rsp: u64) -> bool {
        !self.disarms && rsp.wrapping_sub(self.at) < self.size
    }

    fn flags(&self, rsp: u64) -> u64 {
        let disarms = if self.disarms { u64::from(AUTODISARM) } else { 0 };
        match self.size {
            0 => libc::SS_DISABLE as u64,
            _ if self.is_on(rsp) => libc::SS_ONSTACK as u64,
            _ => disarms,
        }
    }
}

/// Calls that a handler ends whatever `SA_RESTART` says, beside those that wait no longer than till a moment: `signal(7)`.
fn ends_by_handler(number: u64) -> bool {
    const CALLS: [libc::c_long; 16] = [
        libc::SYS_poll,
        libc::SYS_ppoll,
        libc::SYS_select,
        libc::SYS_pselect6,
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_pause,
        libc::SYS_rt_sigsuspend,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_semop,
        libc::SYS_semtimedop,
        libc::SYS_msgsnd,
        libc::SYS_msgrcv,
    ];
    CALLS.iter().any(|&call| call.unsigned_abs() == number)
}

/// The frame of a handler: a return address, `ucontext_t`, `siginfo_t`.
const FRAME: usize = 440;
/// `uc_flags`.
const FLAGS_AT: usize = 8;
const STACK_AT: usize = 24;
const REGISTERS_AT: usize = 48;
/// In `mcontext_t`, where the vector registers are: `fpregs`.
const VECTORS_AT: usize = REGISTERS_AT + 23 * 8;
const MASK_AT: usize = 304;
const INFO_AT: usize = 312;

fn words(context: &Registers) -> [u64; 18] {
    let c = context;
    [
        c.r8, c.r9, c.r10, c.r11, c.r12, c.r13, c.r14, c.r15, c.rdi, c.rsi, c.rbp, c.rbx, c.rdx, c.rax, c.rcx, c.rsp,
        c.rip, c.rflags,
    ]
}

fn registers(words: [u64; 18]) -> Registers {
    let [r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags] = words;
    Registers { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags }
}

impl Thread {
    /// A fault: the handler runs now, or the process ends.
    pub(in crate::personality) fn force(&mut self, cause: Cause) {
        let actions = self.process.actions();
        let action = lock(&actions).0[cause.signal as usize];
        let is_blocked = self.member.blocked.load(SeqCst) & bit(cause.signal) != 0;
        if action.handler <= IGNORE || is_blocked || !self.enter_handler(action, cause) {
            self.end_process(cause.signal);
        }
    }

    /// Lets handlers run for what waits. After a system call that was interrupted and has none to run
    /// (or one that says so) the call is made again.
    pub(in crate::personality) fn deliver(&mut self, after: Option<(u64, Answer)>) {
        let mut again = match after {
            Some((number, Err(Errno::INTR))) => Some(number),
            _ => None,
        };
        // Who is stopped takes no signals; those that come meanwhile interrupt this call when it goes on.
        self.rest();
        while !self.process.halt.is_stopped() {
            let take = || self.take_signal(!self.member.blocked.load(SeqCst));
            let (Some(cause), continued) = self.process.halt.meanwhile(take) else { break };
            let signal = cause.signal;
            let actions = self.process.actions();
            let action = lock(&actions).0[signal as usize];
            match action.handler {
                DEFAULT if is_ignored_by_default(signal) => continue,
                DEFAULT if stopping::stops(signal) => {
                    stopping::stop(&self.world, &self.process, signal, Some(continued));
                    self.rest();
                    continue;
                }
                DEFAULT => return self.end_process(signal),
                IGNORE => continue,
                _ => {}
            }
            if let Some(number) = again.take() {
                let is_lock = number == libc::SYS_futex.unsigned_abs()
                    && crate::personality::futex::takes_a_lock(self.context.rsi);
                let restarts = action.flags & libc::SA_RESTART as u64 != 0;
                if is_lock || restarts && !ends_by_handler(number) && !self.deadlines.had_one() {
                    self.make_again(number);
                }
            }
            // What is called next is another call: a wait that was broken off is waited for anew.
            self.deadlines.forget();
            if !self.enter_handler(action, cause) {
                return self.end_process(libc::SIGSEGV);
            }
        }
        if let Some(mask) = self.restore_mask.take() {
            // No handler took it over.
            self.member.blocked.store(mask, SeqCst);
        }
        if let Some(number) = again {
            // Another thread took the signal, or everything rested: what was left of the wait is waited for.
            self.deadlines.go_on();
            self.make_again(number);
        }
    }

    fn make_again(&mut self, number: u64) {
        self.context.rax = number;
        self.context.rip = self.context.rip.wrapping_sub(2);
    }

    /// Lets the thread go on in a handler. `false` when there is no room for its frame.
    fn enter_handler(&mut self, action: Action, cause: Cause) -> bool {
        let Ok(space) = self.process.space() else { return false };
        self.abort_sequence();
        let other = self.alternate;
        let top = match action.flags & libc::SA_ONSTACK as u64 != 0 && other.size > 0 && !other.is_on(self.context.rsp)
        {
            true => other.at.wrapping_add(other.size),
            false => self.context.rsp.wrapping_sub(128),
        };
        let Ok(vectors_at) = self.save_vectors(top) else { return false };
        let at = (vectors_at.wrapping_sub(FRAME as u64) & !15).wrapping_sub(8);
        let mut frame = [0; FRAME];
        let mut put = |at: usize, word: u64| frame[at..at + 8].copy_from_slice(&word.to_le_bytes());
        put(0, action.restorer);
        // `UC_FP_XSTATE`, `UC_SIGCONTEXT_SS`, `UC_STRICT_RESTORE_SS`
        put(FLAGS_AT, 0b111);
        put(STACK_AT, other.at);
        put(STACK_AT + 8, other.flags(self.context.rsp));
        put(STACK_AT + 16, other.size);
        for (index, word) in words(&self.context).into_iter().enumerate() {
            put(REGISTERS_AT + index * 8, word);
        }
        put(REGISTERS_AT + 18 * 8, 0x002b_0000_0000_0033);
        put(REGISTERS_AT + 19 * 8, self.trap.error);
        put(REGISTERS_AT + 20 * 8, self.trap.vector);
        put(REGISTERS_AT + 22 * 8, self.trap.address);
        put(VECTORS_AT, vectors_at);
        let blocked = self.restore_mask.take().unwrap_or_else(|| self.member.blocked.load(SeqCst));
        put(REGISTERS_AT + 21 * 8, blocked);
        put(MASK_AT, blocked);
        frame[INFO_AT..].copy_from_slice(&cause.bytes());
        if space.write(at, &frame).is_err() {
            return false;
        }
        if other.disarms {
            self.alternate = Alternate::default();
        }
        let mut mask = self.member.blocked.load(SeqCst) | action.mask;
        if action.flags & libc::SA_NODEFER as u64 == 0 {
            mask |= bit(cause.signal);
        }
        self.member.blocked.store(mask & !never_blocked(), SeqCst);
        if action.flags & libc::SA_RESETHAND as u64 != 0 {
            lock(&self.process.actions()).0[cause.signal as usize].handler = DEFAULT;
        }
        self.context = Registers {
            rip: action.handler,
            rsp: at,
            rdi: cause.signal as u64,
            rsi: at + INFO_AT as u64,
            rdx: at + 8,
            rax: 0,
            rflags: 0x202,
            ..self.context
        };
        true
    }
}

/// `sigreturn(2)`: everything in the frame comes from the program.
pub(in crate::personality) fn sigreturn(thread: &mut Thread, _: Arguments) -> Answer {
    let at = thread.context.rsp.wrapping_sub(8);
    let mut frame = [0; FRAME];
    if thread.process.space()?.read(at, &mut frame).is_err() {
        thread.end_process(libc::SIGSEGV);
        return Ok(0);
    }
    let word = |at: usize| u64_at(&frame, at);
    let mut saved = [0; 18];
    for (index, place) in saved.iter_mut().enumerate() {
        *place = word(REGISTERS_AT + index * 8);
    }
    let size = word(STACK_AT + 16);
    let flags = word(STACK_AT + 8) as u32;
    let disabled = flags as i32 & libc::SS_DISABLE != 0 || size < 2048;
    let stack = Alternate { at: word(STACK_AT), size, disarms: flags & AUTODISARM != 0 };
    thread.alternate = if disabled { Alternate::default() } else { stack };
    if thread.restore_vectors(word(VECTORS_AT)).is_err() {
        thread.end_process(libc::SIGSEGV);
        return Ok(0);
    }
    thread.context = registers(saved);
    thread.member.blocked.store(word(MASK_AT) & !never_blocked(), SeqCst);
    thread.next = Next::AsIs;
    Ok(0)
}

/// `sigaltstack(2)`
pub(in crate::personality) fn sigaltstack(thread: &mut Thread, [new, old, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let (before, rsp) = (thread.alternate, thread.context.rsp);
    if new != 0 {
        let (at, flags, size) =
            (space.read_u64(new)?, space.read_u32(new.wrapping_add(8))?, space.read_u64(new.wrapping_add(16))?);
        if before.is_on(rsp) {
            return Err(Errno::PERM);
        }
        let disarms = flags & AUTODISARM != 0;
        thread.alternate = match (flags & !AUTODISARM) as i32 {
            libc::SS_DISABLE => Alternate::default(),
            0 | libc::SS_ONSTACK if size < 2048 => return Err(Errno::NOMEM),
            0 | libc::SS_ONSTACK => Alternate { at, size, disarms },
            _ => return Err(Errno::INVAL),
        };
    }
    if old != 0 {
        space.write(old, &[before.at, before.flags(rsp), before.size].map(u64::to_le_bytes).concat())?;
    }
    Ok(0)
}
