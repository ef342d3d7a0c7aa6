//! Signals: `signal(7)`, `sigaction(2)`, `sigprocmask(2)`, `kill(2)`, `sigreturn(2)`, `sigaltstack(2)`.

use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

pub(super) use super::causes::Cause;
use super::causes::bit;
use super::process::{Member, Process, lock};
use super::stopping;
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
    /// `SS_AUTODISARM`: gone while a handler runs on it.
    pub(super) disarms: bool,
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

/// Signals that nothing stops.
pub(super) fn never_blocked() -> u64 {
    bit(libc::SIGKILL) | bit(libc::SIGSTOP)
}

/// What is nothing to worry about.
fn is_ignored_by_default(signal: i32) -> bool {
    matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT)
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

/// Whether one waits for a process already.
pub(super) fn is_pending(process: &Process, signal: i32) -> bool {
    process.pending.load(SeqCst) & bit(signal) != 0
}

/// A signal for a process. `EAGAIN` when too many wait.
pub(super) fn send(world: &World, process: &Process, cause: Cause) -> Result<(), Errno> {
    // As to a process that its parent has not asked for: it is there, and takes nothing.
    if process.is_over.load(SeqCst) || !stopping::arrives(world, process, &cause) {
        return Ok(());
    }
    let signal = cause.signal;
    if lock(&process.actions()).0[signal as usize].handler == IGNORE && !is_blocked_by_all(process, signal) {
        return Ok(());
    }
    process.queue.put(&process.pending, cause)?;
    process.signalled.ring();
    for member in lock(&process.threads).values() {
        if member.blocked.load(SeqCst) & bit(signal) == 0 {
            world.control.interrupt(member.number.load(SeqCst));
        }
    }
    Ok(())
}

/// A signal for one thread of a process.
pub(super) fn send_to(world: &World, process: &Process, member: &Member, cause: Cause) -> Result<(), Errno> {
    if !stopping::arrives(world, process, &cause) {
        return Ok(());
    }
    member.queue.put(&member.pending, cause)?;
    process.signalled.ring();
    world.control.interrupt(member.number.load(SeqCst));
    Ok(())
}

fn is_blocked_by_all(process: &Process, signal: i32) -> bool {
    lock(&process.threads).values().all(|member| member.blocked.load(SeqCst) & bit(signal) != 0)
}

/// The signals a process ignores, and those it catches.
pub(super) fn sets(process: &Process) -> (u64, u64) {
    let actions = process.actions();
    let actions = lock(&actions);
    let of = |is: fn(u64) -> bool| {
        (1..=64).filter(|&signal| is(actions.0[signal as usize].handler)).fold(0, |set, signal| set | bit(signal))
    };
    (of(|handler| handler == IGNORE), of(|handler| handler > IGNORE))
}

/// Whether a process does not want to hear of children that stop: `SA_NOCLDSTOP`.
pub(super) fn ignores_stops(process: &Process) -> bool {
    lock(&process.actions()).0[libc::SIGCHLD as usize].flags & libc::SA_NOCLDSTOP as u64 != 0
}

/// Whether a signal is ignored or blocked by a thread: `credentials(7)`, reading from behind.
pub(super) fn is_ignored(thread: &Thread, signal: i32) -> bool {
    let is_blocked = thread.member.blocked.load(SeqCst) & bit(signal) != 0;
    is_blocked || lock(&thread.process.actions()).0[signal as usize].handler == IGNORE
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
    /// The signals that wait for this thread or its process.
    pub(super) fn pending(&self) -> u64 {
        self.member.pending.load(SeqCst) | self.process.pending.load(SeqCst)
    }

    /// Takes one of these signals that waits, without its handler.
    pub(super) fn take_signal(&self, mask: u64) -> Option<Cause> {
        let (member, process) = (&self.member, &self.process);
        member.queue.take(&member.pending, mask).or_else(|| process.queue.take(&process.pending, mask))
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
        // One that waits already is enough.
        let _ = self.member.queue.put(&self.member.pending, *cause);
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
        // Who is stopped takes no signals; those that come meanwhile interrupt this call when it goes on.
        self.rest();
        while !self.process.halt.is_stopped()
            && let Some(cause) = self.take_signal(!self.member.blocked.load(SeqCst))
        {
            let signal = cause.signal;
            let actions = self.process.actions();
            let action = lock(&actions).0[signal as usize];
            match action.handler {
                DEFAULT if is_ignored_by_default(signal) => continue,
                DEFAULT if stopping::stops(signal) => {
                    stopping::stop(&self.world, &self.process, signal);
                    self.rest();
                    continue;
                }
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
            // What is called next is another call: a wait that was given up is waited for anew.
            self.given_up.set(None);
            if !self.enter_handler(action, cause) {
                return self.end_process(libc::SIGSEGV);
            }
        }
        if let Some(mask) = self.restore_mask.take() {
            // No handler took it over.
            self.member.blocked.store(mask, SeqCst);
        }
        if let Some(number) = again {
            // Another thread took the signal: what was left of the wait is waited for.
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
        put(REGISTERS_AT + 22 * 8, cause.address());
        put(VECTORS_AT, vectors_at);
        let blocked = self.restore_mask.take().unwrap_or_else(|| self.member.blocked.load(SeqCst));
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

impl Thread {
    /// Whether it may signal a process; those of its session it may always let go on. `EPERM`.
    fn may_signal(&self, other: &Process, signal: u64) -> Result<(), Errno> {
        if other.id == self.process.id {
            return Ok(());
        }
        let goes_on = signal == libc::SIGCONT as u64;
        if goes_on && other.session.load(SeqCst) == self.process.session.load(SeqCst) {
            return Ok(());
        }
        // One after the other: two may ask about each other.
        let mine = lock(&self.process.credentials).clone();
        let theirs = lock(&other.credentials).clone();
        if mine.may_signal(&theirs) { Ok(()) } else { Err(Errno::PERM) }
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
        if wanted.handler == IGNORE || (wanted.handler == DEFAULT && is_ignored_by_default(signal)) {
            // What waits is not seen any more.
            thread.process.queue.clear(&thread.process.pending, bit(signal));
            thread.member.queue.clear(&thread.member.pending, bit(signal));
        }
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
pub(super) fn sigpending(thread: &mut Thread, [at, size, ..]: Arguments) -> Answer {
    if size > 8 {
        return Err(Errno::INVAL);
    }
    let pending = thread.pending() & thread.member.blocked.load(SeqCst);
    thread.process.space()?.write(at, &pending.to_le_bytes()[..size as usize]).map(|()| 0)
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
pub(super) fn sigaltstack(thread: &mut Thread, [new, old, ..]: Arguments) -> Answer {
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

/// `kill(2)`
pub(super) fn kill(thread: &mut Thread, [to, signal, ..]: Arguments) -> Answer {
    let signal = u64::from(signal as u32);
    let check = || if signal == 0 { Ok(()) } else { checked(signal).map(drop) };
    let world = thread.world.clone();
    let group = match int(to) {
        i32::MIN => return Err(Errno::SRCH),
        0 => Some(thread.process.group.load(SeqCst)),
        -1 => None,
        to if to < 0 => Some(to.unsigned_abs()),
        to => {
            let number = to.unsigned_abs();
            // The number of any of its threads will do.
            let of_thread = || {
                let processes: Vec<_> = world.processes().values().cloned().collect();
                processes.into_iter().find(|process| lock(&process.threads).contains_key(&number))
            };
            let process = world.process(number).or_else(of_thread).ok_or(Errno::SRCH)?;
            check()?;
            thread.may_signal(&process, signal)?;
            if signal != 0 {
                send(&world, &process, Cause::sent(signal as i32, libc::SI_USER, thread.process.id))?;
            }
            return Ok(0);
        }
    };
    let processes: Vec<_> = world.processes().values().cloned().collect();
    let meant = |process: &&std::sync::Arc<Process>| match group {
        Some(group) => process.group.load(SeqCst) == group,
        None => process.id != thread.process.id,
    };
    let (mut any, mut forbidden) = (false, false);
    for process in processes.iter().filter(meant) {
        check()?;
        if thread.may_signal(process, signal).is_err() {
            forbidden = true;
            continue;
        }
        any = true;
        if signal != 0 {
            send(&world, process, Cause::sent(signal as i32, libc::SI_USER, thread.process.id))?;
        }
    }
    match any {
        true => Ok(0),
        false => Err(if forbidden { Errno::PERM } else { Errno::SRCH }),
    }
}

/// `tgkill(2)`
pub(super) fn tgkill(thread: &mut Thread, [process, to, signal, ..]: Arguments) -> Answer {
    if int(process) <= 0 || int(to) <= 0 {
        return Err(Errno::INVAL);
    }
    let process = thread.world.process(process as u32).ok_or(Errno::SRCH)?;
    let cause = Cause::sent(signal as u32 as i32, SI_TKILL, thread.process.id);
    thread.may_signal(&process, signal)?;
    send_to_thread(&thread.world, &process, to, cause)
}

/// `tkill(2)`
pub(super) fn tkill(thread: &mut Thread, [to, signal, ..]: Arguments) -> Answer {
    if int(to) <= 0 {
        return Err(Errno::INVAL);
    }
    let processes: Vec<_> = thread.world.processes().values().cloned().collect();
    let found = processes.iter().find(|process| lock(&process.threads).contains_key(&(to as u32)));
    let cause = Cause::sent(signal as u32 as i32, SI_TKILL, thread.process.id);
    let found = found.ok_or(Errno::SRCH)?;
    thread.may_signal(found, signal)?;
    send_to_thread(&thread.world, found, to, cause)
}

/// The kernel's, which `libc` does not name.
const SI_TKILL: i32 = -6;

fn send_to_thread(world: &World, process: &Process, to: u64, cause: Cause) -> Answer {
    if !(0..=64).contains(&cause.signal) {
        return Err(Errno::INVAL);
    }
    let member = lock(&process.threads).get(&(to as u32)).cloned().ok_or(Errno::SRCH)?;
    if cause.signal != 0 {
        send_to(world, process, &member, cause)?;
    }
    Ok(0)
}

/// What a program says of a signal it sends itself: only the kernel may say that it was the kernel.
fn told(thread: &Thread, signal: u64, at: u64, own: bool) -> Result<Cause, Errno> {
    let mut bytes = [0; 128];
    thread.process.space()?.read(at, &mut bytes)?;
    let signal = if signal == 0 { 0 } else { checked(signal)? };
    let cause = Cause::read(signal, &bytes);
    if (cause.code >= 0 || cause.code == SI_TKILL) && !own { Err(Errno::PERM) } else { Ok(cause) }
}

/// `rt_sigqueueinfo(2)`
pub(super) fn sigqueue(thread: &mut Thread, [to, signal, at, ..]: Arguments) -> Answer {
    let cause = told(thread, signal, at, to as u32 == thread.process.id)?;
    let process = thread.world.process(to as u32).ok_or(Errno::SRCH)?;
    thread.may_signal(&process, signal)?;
    if cause.signal != 0 {
        send(&thread.world, &process, cause)?;
    }
    Ok(0)
}

/// `rt_tgsigqueueinfo(2)`
pub(super) fn tgsigqueue(thread: &mut Thread, [process, to, signal, at, ..]: Arguments) -> Answer {
    if int(process) <= 0 || int(to) <= 0 {
        return Err(Errno::INVAL);
    }
    let cause = told(thread, signal, at, process as u32 == thread.process.id)?;
    let process = thread.world.process(process as u32).ok_or(Errno::SRCH)?;
    send_to_thread(&thread.world, &process, to, cause)
}

/// Sends what a descriptor of a process was asked to: `pidfd_send_signal(2)`.
pub(super) fn send_by(thread: &Thread, process: &Process, signal: u64, at: u64) -> Answer {
    if signal != 0 {
        checked(signal)?;
    }
    let cause = match at {
        0 => Cause::sent(signal as i32, libc::SI_USER, thread.process.id),
        at => told(thread, signal, at, process.id == thread.process.id)?,
    };
    thread.may_signal(process, signal)?;
    if signal != 0 {
        send(&thread.world, process, cause)?;
    }
    Ok(0)
}
