//! Signals: `signal(7)`, `sigaction(2)`, `sigprocmask(2)`, `kill(2)`, `sigreturn(2)`, `sigaltstack(2)`.

use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::process::{Process, lock};
use super::thread::{Next, Thread};
use super::world::World;
use super::{Answer, Arguments, int};
use crate::kvm::Registers;

/// What a process does at each signal, by number.
#[derive(Clone)]
pub(super) struct Actions([Action; 65]);

/// `struct sigaction` of the kernel.
#[derive(Clone, Copy, Default)]
struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

impl Default for Actions {
    fn default() -> Self {
        Actions([Action::default(); 65])
    }
}

impl Actions {
    /// What is left of it after `execve(2)`: what is ignored stays ignored.
    pub(super) fn after_exec(&self) -> Actions {
        let mut actions = self.clone();
        for action in &mut actions.0 {
            *action = Action { handler: if action.handler == IGNORE { IGNORE } else { DEFAULT }, ..Action::default() };
        }
        actions
    }

    /// As words: handler, flags, restorer, mask.
    pub(super) fn words(&self) -> Vec<[u64; 4]> {
        self.0.iter().map(|action| [action.handler, action.flags, action.restorer, action.mask]).collect()
    }

    /// The reverse of [`words`](Self::words); `None` for another number of them.
    pub(super) fn of(words: &[[u64; 4]]) -> Option<Actions> {
        let action = |&[handler, flags, restorer, mask]: &[u64; 4]| Action { handler, flags, restorer, mask };
        let actions: Vec<Action> = words.iter().map(action).collect();
        actions.try_into().ok().map(Actions)
    }

    /// Whether children that end leave nothing behind.
    pub(super) fn ignores_children(&self) -> bool {
        let action = &self.0[libc::SIGCHLD as usize];
        action.handler == IGNORE || action.flags & libc::SA_NOCLDWAIT as u64 != 0
    }
}

const DEFAULT: u64 = 0;
const IGNORE: u64 = 1;

/// The other stack for handlers: `sigaltstack(2)`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Alternate {
    pub(super) at: u64,
    pub(super) size: u64,
}

/// Why there is a signal: `siginfo_t`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    signal: i32,
    code: i32,
    address: u64,
}

impl Cause {
    /// The thread's own fault, at an address.
    pub(super) fn fault(signal: i32, code: i32, address: u64) -> Self {
        Cause { signal, code, address }
    }

    /// Raised for the thread by a call it made.
    pub(super) fn own(signal: i32) -> Self {
        Cause { signal, code: 0, address: 0 }
    }
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Signals that nothing stops.
pub(super) fn never_blocked() -> u64 {
    bit(libc::SIGKILL) | bit(libc::SIGSTOP)
}

/// What is nothing to worry about.
fn is_ignored_by_default(signal: i32) -> bool {
    matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT)
        || matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// Calls that a handler ends whatever `SA_RESTART` says: `signal(7)`.
fn ends_by_handler(number: u64) -> bool {
    const CALLS: [libc::c_long; 12] = [
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
    ];
    CALLS.iter().any(|&call| call.unsigned_abs() == number)
}

/// A signal for a process.
pub(super) fn send(world: &World, process: &Process, signal: i32) {
    if signal == libc::SIGKILL {
        return super::ending::end(world, process, signal);
    }
    process.pending.fetch_or(bit(signal), SeqCst);
    process.signalled.ring();
    for member in lock(&process.threads).values() {
        if member.blocked.load(SeqCst) & bit(signal) == 0 {
            world.control.interrupt(member.number.load(SeqCst));
        }
    }
}

/// The frame of a handler: a return address, `ucontext_t`, `siginfo_t`.
const FRAME: usize = 440;
const STACK_AT: usize = 24;
const REGISTERS_AT: usize = 48;
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
    /// The signals that wait for this thread or its process.
    pub(super) fn pending(&self) -> u64 {
        self.member.pending.load(SeqCst) | self.process.pending.load(SeqCst)
    }

    /// Takes one of these signals that waits, without its handler.
    pub(super) fn take_signal(&self, mask: u64) -> Option<i32> {
        loop {
            let found = self.pending() & mask;
            let signal = (1..=64).find(|&signal| found & bit(signal) != 0)?;
            let cleared = !bit(signal);
            let before =
                self.member.pending.fetch_and(cleared, SeqCst) | self.process.pending.fetch_and(cleared, SeqCst);
            if before & bit(signal) != 0 {
                return Some(signal);
            }
        }
    }

    fn deliverable(&self) -> u64 {
        self.pending() & !self.member.blocked.load(SeqCst)
    }

    /// Whether a signal waits that does something.
    pub(super) fn is_signalled(&self) -> bool {
        let waiting = self.deliverable();
        if waiting == 0 {
            return false;
        }
        let actions = self.process.actions();
        let actions = lock(&actions);
        (1..=64).filter(|&signal| waiting & bit(signal) != 0).any(|signal| {
            let handler = actions.0[signal as usize].handler;
            handler > IGNORE || (handler == DEFAULT && !is_ignored_by_default(signal))
        })
    }

    /// Raises a signal for this thread.
    pub(super) fn raise(&self, cause: &Cause) {
        self.member.pending.fetch_or(bit(cause.signal), SeqCst);
    }

    /// A fault: the handler runs now, or the process ends.
    pub(super) fn force(&mut self, cause: Cause) {
        let actions = self.process.actions();
        let action = lock(&actions).0[cause.signal as usize];
        let is_blocked = self.member.blocked.load(SeqCst) & bit(cause.signal) != 0;
        if action.handler <= IGNORE || is_blocked || !self.enter_handler(action, cause) {
            self.end_process(cause.signal);
        }
    }

    /// Lets handlers run for what waits. After a system call that was interrupted and has none to run
    /// (or one that says so) the call is made again.
    pub(super) fn deliver(&mut self, after: Option<(u64, Answer)>) {
        let mut again = match after {
            Some((number, Err(Errno::INTR))) => Some(number),
            _ => None,
        };
        while let Some(signal) = (1..=64).find(|&signal| self.deliverable() & bit(signal) != 0) {
            self.member.pending.fetch_and(!bit(signal), SeqCst);
            self.process.pending.fetch_and(!bit(signal), SeqCst);
            let actions = self.process.actions();
            let action = lock(&actions).0[signal as usize];
            match action.handler {
                DEFAULT if is_ignored_by_default(signal) => continue,
                DEFAULT => return self.end_process(signal),
                IGNORE => continue,
                _ => {}
            }
            if let Some(number) = again.take()
                && action.flags & libc::SA_RESTART as u64 != 0
                && !ends_by_handler(number)
            {
                self.make_again(number);
            }
            if !self.enter_handler(action, Cause::own(signal)) {
                return self.end_process(libc::SIGSEGV);
            }
        }
        if let Some(mask) = self.restore_mask.take() {
            // No handler took it over.
            self.member.blocked.store(mask, SeqCst);
            if self.given_up.get().is_none() {
                again = None;
            }
        }
        if let Some(number) = again {
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
        let rsp = self.context.rsp;
        let other = self.alternate;
        let on_other = rsp.wrapping_sub(other.at) < other.size;
        let top = match action.flags & libc::SA_ONSTACK as u64 != 0 && other.size > 0 && !on_other {
            true => other.at.wrapping_add(other.size),
            false => rsp.wrapping_sub(128),
        };
        let at = (top.wrapping_sub(FRAME as u64) & !15).wrapping_sub(8);
        let mut frame = [0; FRAME];
        let mut put = |at: usize, word: u64| frame[at..at + 8].copy_from_slice(&word.to_le_bytes());
        put(0, action.restorer);
        put(STACK_AT, other.at);
        put(STACK_AT + 8, if other.size == 0 { libc::SS_DISABLE as u64 } else { 0 });
        put(STACK_AT + 16, other.size);
        for (index, word) in words(&self.context).into_iter().enumerate() {
            put(REGISTERS_AT + index * 8, word);
        }
        put(REGISTERS_AT + 18 * 8, 0x002b_0000_0000_0033);
        put(REGISTERS_AT + 22 * 8, cause.address);
        let blocked = self.restore_mask.take().unwrap_or_else(|| self.member.blocked.load(SeqCst));
        put(MASK_AT, blocked);
        put(INFO_AT, cause.signal as u64);
        put(INFO_AT + 8, u64::from(cause.code as u32));
        put(INFO_AT + 16, cause.address);
        if space.write(at, &frame).is_err() {
            return false;
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

    /// Blocks other signals for one call: `sigsuspend(2)`, `ppoll(2)`.
    pub(super) fn mask_while_waiting(&mut self, mask: u64, size: u64) -> Result<(), Errno> {
        if mask == 0 {
            return Ok(());
        }
        if size != 8 {
            return Err(Errno::INVAL);
        }
        let mask = self.process.space()?.read_u64(mask)? & !never_blocked();
        let before = self.member.blocked.swap(mask, SeqCst);
        self.restore_mask.get_or_insert(before);
        Ok(())
    }
}

fn checked(signal: u64) -> Result<i32, Errno> {
    if (1..=64).contains(&signal) { Ok(signal as i32) } else { Err(Errno::INVAL) }
}

/// `sigaction(2)`
pub(super) fn sigaction(thread: &mut Thread, [signal, new, old, size, ..]: Arguments) -> Answer {
    let signal = checked(signal)?;
    if size != 8 || (new != 0 && bit(signal) & never_blocked() != 0) {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let wanted = match new {
        0 => None,
        at => {
            let mut words = [0; 4];
            for (index, word) in words.iter_mut().enumerate() {
                *word = space.read_u64(at + index as u64 * 8)?;
            }
            let [handler, flags, restorer, mask] = words;
            Some(Action { handler, flags, restorer, mask: mask & !never_blocked() })
        }
    };
    let actions = thread.process.actions();
    let before = lock(&actions).0[signal as usize];
    if old != 0 {
        let words = [before.handler, before.flags, before.restorer, before.mask];
        space.write(old, &words.map(u64::to_le_bytes).concat())?;
    }
    if let Some(wanted) = wanted {
        lock(&actions).0[signal as usize] = wanted;
    }
    Ok(0)
}

/// `sigprocmask(2)`
pub(super) fn sigprocmask(thread: &mut Thread, [how, new, old, size, ..]: Arguments) -> Answer {
    if size != 8 {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let before = thread.member.blocked.load(SeqCst);
    if new != 0 {
        let set = space.read_u64(new)?;
        let mask = match int(how) {
            libc::SIG_BLOCK => before | set,
            libc::SIG_UNBLOCK => before & !set,
            libc::SIG_SETMASK => set,
            _ => return Err(Errno::INVAL),
        };
        thread.member.blocked.store(mask & !never_blocked(), SeqCst);
    }
    if old != 0 {
        space.write_u64(old, before)?;
    }
    Ok(0)
}

/// `sigpending(2)`
pub(super) fn sigpending(thread: &mut Thread, [at, ..]: Arguments) -> Answer {
    let pending = thread.member.pending.load(SeqCst) | thread.process.pending.load(SeqCst);
    let blocked = thread.member.blocked.load(SeqCst);
    thread.process.space()?.write_u64(at, pending & blocked).map(|()| 0)
}

/// `sigsuspend(2)`
pub(super) fn sigsuspend(thread: &mut Thread, [mask, size, ..]: Arguments) -> Answer {
    thread.mask_while_waiting(mask, size)?;
    thread.wait(&[], None, || None::<u64>)
}

/// `pause(2)`
pub(super) fn pause(thread: &mut Thread, _: Arguments) -> Answer {
    thread.wait(&[], None, || None::<u64>)
}

/// `sigreturn(2)`: everything in the frame comes from the program.
pub(super) fn sigreturn(thread: &mut Thread, _: Arguments) -> Answer {
    let at = thread.context.rsp.wrapping_sub(8);
    let mut frame = [0; FRAME];
    if thread.process.space()?.read(at, &mut frame).is_err() {
        thread.end_process(libc::SIGSEGV);
        return Ok(0);
    }
    let word = |at: usize| frame[at..at + 8].iter().rev().fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
    let mut saved = [0; 18];
    for (index, place) in saved.iter_mut().enumerate() {
        *place = word(REGISTERS_AT + index * 8);
    }
    thread.context = registers(saved);
    thread.member.blocked.store(word(MASK_AT) & !never_blocked(), SeqCst);
    thread.next = Next::AsIs;
    Ok(0)
}

/// `sigaltstack(2)`
pub(super) fn sigaltstack(thread: &mut Thread, [new, old, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let before = thread.alternate;
    if new != 0 {
        let (at, flags, size) = (space.read_u64(new)?, space.read_u32(new + 8)?, space.read_u64(new + 16)?);
        thread.alternate = match flags as i32 {
            libc::SS_DISABLE => Alternate::default(),
            _ if size < 2048 => return Err(Errno::NOMEM),
            _ => Alternate { at, size },
        };
    }
    if old != 0 {
        let flags = if before.size == 0 { libc::SS_DISABLE as u64 } else { 0 };
        space.write(old, &[before.at, flags, before.size].map(u64::to_le_bytes).concat())?;
    }
    Ok(0)
}

/// `kill(2)`
pub(super) fn kill(thread: &mut Thread, [to, signal, ..]: Arguments) -> Answer {
    if signal != 0 {
        checked(signal)?;
    }
    let world = thread.world.clone();
    let group = match int(to) {
        0 => Some(thread.process.group.load(SeqCst)),
        -1 => None,
        to if to < 0 => Some(to.unsigned_abs()),
        to => {
            let process = world.process(to.unsigned_abs()).ok_or(Errno::SRCH)?;
            if signal != 0 {
                send(&world, &process, signal as i32);
            }
            return Ok(0);
        }
    };
    let processes: Vec<_> = world.processes().values().cloned().collect();
    let meant = |process: &&std::sync::Arc<Process>| match group {
        Some(group) => process.group.load(SeqCst) == group,
        None => process.id != thread.process.id,
    };
    let mut any = false;
    for process in processes.iter().filter(meant) {
        any = true;
        if signal != 0 {
            send(&world, process, signal as i32);
        }
    }
    if any { Ok(0) } else { Err(Errno::SRCH) }
}

/// `tgkill(2)`
pub(super) fn tgkill(thread: &mut Thread, [process, to, signal, ..]: Arguments) -> Answer {
    let process = thread.world.process(process as u32).ok_or(Errno::SRCH)?;
    send_to_thread(&thread.world, &process, to, signal)
}

/// `tkill(2)`
pub(super) fn tkill(thread: &mut Thread, [to, signal, ..]: Arguments) -> Answer {
    let processes: Vec<_> = thread.world.processes().values().cloned().collect();
    let found = processes.iter().find(|process| lock(&process.threads).contains_key(&(to as u32)));
    send_to_thread(&thread.world, found.ok_or(Errno::SRCH)?, to, signal)
}

fn send_to_thread(world: &World, process: &Process, to: u64, signal: u64) -> Answer {
    let member = lock(&process.threads).get(&(to as u32)).cloned().ok_or(Errno::SRCH)?;
    if signal == 0 {
        return Ok(0);
    }
    let signal = checked(signal)?;
    if signal == libc::SIGKILL {
        super::ending::end(world, process, signal);
        return Ok(0);
    }
    member.pending.fetch_or(bit(signal), SeqCst);
    process.signalled.ring();
    world.control.interrupt(member.number.load(SeqCst));
    Ok(0)
}
