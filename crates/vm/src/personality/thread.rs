//! A thread of a program: it runs in the guest until it needs something, and is served here.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use ringfence_isolation::{Exit, LostReason};
use rustix::io::Errno;

use super::desk::{Desk, Habits, Recalled};
use super::process::{Member, Process};
use super::rseq::Registration;
use super::signals::{self, Cause};
use super::waiting::Deadlines;
use super::world::World;
use super::{Answer, table};
use crate::kvm::{Event, Processor, Registers};
use crate::memory::{Protection, Touch, Within};

/// A thread of a program.
pub(crate) struct Thread {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
    pub(super) member: Arc<Member>,
    /// None of who makes calls in its place while it is in the guest.
    pub(super) processor: Option<Processor>,
    /// The registers of the program while it is being served.
    pub(super) context: Registers,
    pub(super) next: Next,
    /// Cleared and woken when it ends: `set_tid_address(2)`.
    pub(super) clear_at_end: u64,
    /// The list of its locks: `set_robust_list(2)`.
    pub(super) robust: u64,
    pub(super) alternate: signals::Alternate,
    /// Its restartable sequences: `rseq(2)`.
    pub(super) rseq: Option<Registration>,
    /// The mask to go back to after `sigsuspend(2)`.
    pub(super) restore_mask: Option<u64>,
    /// The last exception it had.
    pub(super) trap: Trap,
    /// How long the call it makes waits.
    pub(super) deadlines: Deadlines,
    /// It made the call that marks a point, and has not gone on since.
    pub(super) is_at_marker: bool,
    /// A call was made in its place that would have had to wait.
    pub(super) would_wait: Cell<bool>,
    pub(super) habits: Habits,
    /// Where its calls are answered while it is in the guest.
    pub(super) desk: Option<Arc<Desk>>,
}

/// An answer as it is in a register.
pub(super) fn raw(answer: Answer) -> u64 {
    match answer {
        Ok(value) => value,
        Err(errno) => i64::from(-errno.raw_os_error()) as u64,
    }
}

/// An exception, as a handler is told of it: `thread.cr2`, `error_code` and `trap_nr` of Linux.
#[derive(Clone, Copy, Default)]
pub(super) struct Trap {
    pub(super) vector: u64,
    pub(super) error: u64,
    pub(super) address: u64,
}

/// How a thread goes on after a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// With the answer in `rax`.
    Return,
    /// With the registers as they are now.
    AsIs,
    /// In another space: `execve(2)`.
    Enter,
    /// Not at all.
    End,
}

impl Thread {
    /// One with nothing of its own yet, and no processor.
    pub(super) fn of(world: Arc<World>, process: Arc<Process>, member: Arc<Member>) -> Thread {
        Thread {
            world,
            process,
            member,
            processor: None,
            context: Registers::default(),
            next: Next::Return,
            clear_at_end: 0,
            robust: 0,
            alternate: Default::default(),
            rseq: None,
            restore_mask: None,
            trap: Trap::default(),
            deadlines: Deadlines::default(),
            is_at_marker: false,
            would_wait: Cell::new(false),
            habits: Habits::default(),
            desk: None,
        }
    }

    /// Runs it to its end.
    pub(super) fn run(&mut self) {
        if self.is_signalled() {
            // Sent before anybody could interrupt it.
            self.deliver(None);
            self.go_on();
        }
        let mut is_in_stub = false;
        while !self.has_to_end() {
            self.rest();
            if self.has_to_end() {
                return;
            }
            if self.world.rest.is_wanted() && !is_in_stub {
                self.come_to_rest();
                // It may have been ended or stopped there.
                continue;
            }
            self.rewrite_found();
            let Some(event) = self.run_inside(is_in_stub) else { return };
            let counts = self.world.control.counts();
            match event {
                Event::Syscall => {
                    is_in_stub = false;
                    self.fence();
                    self.notice_call();
                    self.system_call();
                }
                Event::Site => {
                    let answered = self.leave_site(!is_in_stub);
                    is_in_stub = false;
                    self.fence();
                    match answered {
                        Some((number, answer)) => {
                            self.next = Next::Return;
                            self.return_with(number, answer);
                        }
                        None => self.system_call(),
                    }
                }
                Event::Exception { vector, error, address } => {
                    is_in_stub = false;
                    let count = if vector == 14 { &counts.page_faults } else { &counts.exceptions };
                    count.fetch_add(1, Relaxed);
                    self.fence();
                    self.exception(vector, error, address);
                }
                Event::Interrupted => {
                    counts.kicks.fetch_add(1, Relaxed);
                    match self.recall() {
                        None => {}
                        Some(Recalled::Behind) => self.go_on(),
                        Some(Recalled::Call) => {
                            is_in_stub = false;
                            self.fence();
                            self.system_call();
                            continue;
                        }
                        Some(Recalled::Leaving) => {
                            is_in_stub = true;
                            continue;
                        }
                    }
                    // In the stubs nothing can be changed; they are left soon.
                    is_in_stub = !self.is_in_program();
                    if self.has_to_end() || !self.is_at_program() {
                        continue;
                    }
                    // Whoever is kicked may have lost its processor of the host: a sequence begins again.
                    let is_aborted = !is_in_stub && (self.fence() | self.abort_sequence());
                    if !self.is_signalled() {
                        if is_aborted {
                            self.go_on();
                        }
                        continue;
                    }
                    if self.context.rip < crate::kvm::USER_STUB {
                        self.deliver(None);
                    }
                    self.go_on();
                }
                Event::Broken(_) => return,
            }
        }
    }

    /// Whether it is at an instruction of the program's, and not in a stub.
    fn is_in_program(&self) -> bool {
        self.is_at_program() && self.context.rip < crate::kvm::USER_STUB
    }

    /// Where it is in the code of rewritten places, if it is there.
    pub(super) fn in_site_code(&self) -> Option<Within> {
        self.process.space().ok()?.in_site_code(self.context.rip)
    }

    fn is_at_program(&self) -> bool {
        self.processor.as_ref().is_some_and(Processor::is_at_program)
    }

    /// Its processor; `EIO` for who makes calls in its place, of which none needs one.
    pub(super) fn processor(&mut self) -> Result<&mut Processor, Errno> {
        self.processor.as_mut().ok_or(Errno::IO)
    }

    /// Whether it may not wait, as it makes a call in the place of one that is in the guest; who made it hears of that.
    pub(super) fn must_not_wait(&self) -> bool {
        let is_stand_in = self.processor.is_none();
        if is_stand_in {
            self.would_wait.set(true);
        }
        is_stand_in
    }

    /// Runs the program until it leaves the guest, and finds out where it is then. `None` when everything is over.
    fn run_inside(&mut self, is_in_stub: bool) -> Option<Event> {
        self.go_inside(is_in_stub);
        // What is posted from within a stub is served here, so that it comes out.
        let desk = self.desk.clone().filter(|_| !is_in_stub);
        desk.iter().for_each(|desk| desk.set_inside(true));
        let machine = self.world.machine.clone();
        let event = self.processor.as_mut()?.run(&machine);
        desk.iter().for_each(|desk| desk.set_inside(false));
        self.come_outside();
        if let Event::Broken(reason) = event {
            self.world.control.stop(Exit::Lost(LostReason::Backend(reason)));
            return None;
        }
        self.context = self.processor.as_ref()?.user_context(&machine);
        Some(event)
    }

    /// Whether it or everything ends.
    pub(super) fn has_to_end(&self) -> bool {
        let alone = self.process.alone.load(SeqCst);
        self.next == Next::End
            || self.process.status.load(SeqCst) >= 0
            || (alone != 0 && alone != self.member.id)
            || self.world.control.is_stopping()
    }

    /// Whether a wait has to end.
    pub(super) fn is_interrupted(&self) -> bool {
        self.has_to_end() || self.is_signalled()
    }

    fn system_call(&mut self) {
        let registers = self.context;
        let number = registers.rax;
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
        self.next = Next::Return;
        self.deadlines.begin();
        let answer = table::serve(self, number, arguments);
        self.deadlines.over();
        self.return_with(number, answer);
    }

    /// Goes on after a call.
    fn return_with(&mut self, number: u64, answer: Answer) {
        match self.next {
            Next::Return => {
                self.context.rax = raw(answer);
                self.deliver(Some((number, answer)));
            }
            Next::AsIs => self.deliver(None),
            Next::Enter => return,
            Next::End => return,
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        if self.has_to_end() {
            return;
        }
        let mut context = self.context;
        if let Ok(space) = self.process.space() {
            context.rip = space.landing(context.rip, context.rax);
        }
        let machine = self.world.machine.clone();
        if !self.processor.as_mut().is_some_and(|processor| processor.resume(&machine, &context)) {
            self.end_process(libc::SIGSEGV);
        }
    }

    fn exception(&mut self, vector: u8, error: u64, address: u64) {
        // The middle of a place that was rewritten, jumped to.
        if matches!(vector, 6 | 13)
            && let Ok(space) = self.process.space()
        {
            if vector == 6 && space.is_call(self.context.rip) {
                self.context.rip += 2;
                return self.system_call();
            }
            if vector == 13 && space.compared_behind(self.context.rip).is_some() {
                return self.go_on();
            }
        }
        let cause = match vector {
            14 => {
                let wanted = match error {
                    _ if error & 0x10 != 0 => Protection::EXECUTE,
                    _ if error & 2 != 0 => Protection::WRITE,
                    _ => Protection::READ,
                };
                let touched = match self.process.space() {
                    Ok(space) => space.touch(address, wanted),
                    Err(_) => return,
                };
                match touched {
                    Touch::There => {
                        // A handler would use the desk in the middle of that.
                        if self.in_site_code().is_some() {
                            self.close_desk();
                        } else if self.is_signalled() {
                            self.deliver(None);
                        }
                        return self.go_on();
                    }
                    Touch::Nothing => Cause::fault(libc::SIGSEGV, 1, address),
                    Touch::Forbidden => Cause::fault(libc::SIGSEGV, 2, address),
                    Touch::BeyondFile => Cause::fault(libc::SIGBUS, 2, address),
                    Touch::NoMemory => return self.end_process(libc::SIGKILL),
                }
            }
            0 => Cause::fault(libc::SIGFPE, 1, self.context.rip),
            16 | 19 => Cause::fault(libc::SIGFPE, 7, self.context.rip),
            6 => Cause::fault(libc::SIGILL, 2, self.context.rip),
            1 => Cause::fault(libc::SIGTRAP, 1, self.context.rip),
            3 => Cause::fault(libc::SIGTRAP, 128, 0),
            17 => Cause::fault(libc::SIGBUS, 1, 0),
            _ => Cause::fault(libc::SIGSEGV, 128, 0),
        };
        let address = if vector == 14 { address } else { self.trap.address };
        self.trap = Trap { vector: vector.into(), error, address };
        self.force(cause);
        self.go_on();
    }
}
