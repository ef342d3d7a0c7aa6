//! Answering system calls while the program stays in the guest: it leaves a call at a desk in its memory, and a
//! thread of the host that has nothing else to do answers it there.
//!
//! ```text
//!                                                                 ┌───────────────program────────────────┐
//!                                                                 ▼                                      │
//! closed ──the thread came out for calls that could be answered──▶ open ──program──▶ posted ──clerk──▶ answered
//!    ▲                          and the clerk is there              │                   ├──▶ refused ──▶ (exit)
//!    └──────────────── nobody posts for a while ────────────────────┘                   └──▶ leave ────▶ (exit)
//! ```
//!
//! Nothing depends on it. What is at the desk comes from the program: it is copied, and is a call like any other. Who
//! finds the desk closed, or waits in vain, leaves the guest and is served there. Calls are answered for a thread
//! only while it is in the guest; what it is, and the wait for an answer under way, are under one lock.

mod clerk;
mod habits;
mod quick;

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, TryLockError};

pub(super) use clerk::Clerk;
pub(super) use habits::Habits;

use super::process::{Member, lock};
use super::thread::{Thread, raw};
use super::{Answer, Arguments, table};
use crate::kvm::{Machine, Registers, Shortcuts};
use crate::memory::{ANSWER_AT, CALL_AT, CLOSED, LEAVE, REFUSED, Space, Within};
use crate::sys::{ANSWERED, DESK, OPEN, POSTED};
use crate::words::u64_at;

/// What a thread was doing that was interrupted in the code of a rewritten place.
pub(super) enum Recalled {
    /// It is behind its call, with the answer.
    Behind,
    /// It is making a call.
    Call,
    /// It is about to leave the guest.
    Leaving,
}

/// The desk of a process with one thread.
pub(super) struct Desk {
    machine: Arc<Machine>,
    /// Where its state is in guest memory, to look at.
    place: u64,
    /// What is seen of the thread.
    member: Arc<Member>,
    state: Mutex<State>,
}

struct State {
    /// Whether the thread is in the guest.
    is_inside: bool,
    /// Whether the desk is to be opened as soon as there is somebody who answers.
    is_wanted: bool,
    /// Makes calls in its place.
    stand_in: Thread,
}

impl Desk {
    /// Whether a call is there.
    fn is_posted(&self) -> bool {
        self.machine.atomic(self.place).is_some_and(|word| word.load(SeqCst) == POSTED)
    }

    /// Whether the thread sleeps in a call that it makes itself.
    fn is_asleep(&self) -> bool {
        self.member.is_asleep.load(SeqCst)
    }

    /// The thread is in the guest from here on, or is not any more; waits for an answer that is on its way.
    pub(super) fn set_inside(&self, is_inside: bool) {
        lock(&self.state).is_inside = is_inside;
    }

    /// Answers what is there. Whether anything was.
    fn attend(&self) -> bool {
        if !self.is_posted() {
            return false;
        }
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if !state.is_inside {
            return false;
        }
        let Ok(space) = state.stand_in.process.space() else { return false };
        // The frame may be somebody else's by now.
        if !space.has_sites() || space.load(DESK).map_or(true, |(place, word)| place != self.place || word != POSTED) {
            return false;
        }
        let next = state.answer(&space);
        let _ = space.change(DESK, |word| (word == POSTED).then_some(next));
        true
    }

    /// Somebody answers, from now on.
    fn open(&self) {
        let mut state = lock(&self.state);
        let Ok(space) = state.stand_in.process.space() else { return };
        if std::mem::take(&mut state.is_wanted)
            && space.has_sites()
            && space.load(DESK).is_ok_and(|(place, _)| place == self.place)
        {
            let _ = space.change(DESK, |word| (word == CLOSED).then_some(OPEN));
        }
    }

    /// Nobody answers any more.
    fn close(&self) {
        let mut state = lock(&self.state);
        state.is_wanted = false;
        if let Ok(space) = state.stand_in.process.space() {
            close(&space);
        }
    }
}

/// Closes the desk of a space, if it has one; not while there is a call or an answer.
fn close(space: &Space) {
    if space.has_sites() {
        let _ = space.change(DESK, |word| (word == OPEN).then_some(CLOSED));
    }
}

impl State {
    /// Answers a call; what the state of the desk is then.
    fn answer(&mut self, space: &Space) -> u32 {
        let mut call = [0; 56];
        if space.read(CALL_AT, &mut call).is_err() {
            return REFUSED;
        }
        let word = |index: usize| u64_at(&call, index * 8);
        let (number, arguments): (u64, Arguments) = (word(0), std::array::from_fn(|index| word(index + 1)));
        let thread = &mut self.stand_in;
        if thread.world.control.is_paused() || thread.has_to_end() || !quick::is_quick(thread, number, arguments) {
            return REFUSED;
        }
        thread.would_wait.set(false);
        thread.deadlines.begin();
        let answer = table::serve(thread, number, arguments);
        thread.deadlines.over();
        if thread.would_wait.get() && answer.is_err() {
            // It is made, and counted, once more.
            thread.world.control.counts().uncount(number);
            return REFUSED;
        }
        thread.world.control.counts().answered.fetch_add(1, SeqCst);
        // The call was read there a moment ago; whoever takes that away does without the answer.
        let _ = space.write(ANSWER_AT, &raw(answer).to_le_bytes());
        if thread.is_signalled() || thread.has_to_end() { LEAVE } else { ANSWERED }
    }
}

impl Thread {
    /// One that makes calls in its place while it is in the guest.
    fn stand_in(&self) -> Thread {
        Thread::of(self.world.clone(), self.process.clone(), self.member.clone())
    }

    /// Whether nobody else runs in its space.
    fn is_sole(&self, space: &Arc<Space>) -> bool {
        // This reference and the process's own.
        lock(&self.process.threads).len() == 1 && Arc::strong_count(space) == 2
    }

    /// It makes a system call by the instruction for that: where more are to be expected the place is rewritten.
    pub(super) fn notice_call(&mut self) {
        let at = self.context.rip.wrapping_sub(2);
        let before = self.world.control.counts().plain.fetch_add(1, Relaxed);
        if !self.world.machine.takes(Shortcuts::SITES) || !self.habits.is_lasting(at, before) {
            return;
        }
        let Ok(space) = self.process.space() else { return };
        if self.is_sole(&space) {
            // It is no place for that, or there is no room.
            let _ = space.rewrite(at, self.context.rax);
        } else {
            // Somebody may just be looking at it.
            self.habits.forget(at);
        }
    }

    /// Rewrites what was found in code that is there since it was outside.
    pub(super) fn rewrite_found(&self) {
        let Ok(space) = self.process.space() else { return };
        if space.has_found() {
            space.rewrite_found(self.is_sole(&space));
        }
    }

    /// It left the guest at a rewritten place. Whether its call was answered before. `was_attended`: somebody could
    /// have answered.
    pub(super) fn leave_site(&mut self, was_attended: bool) -> Option<(u64, Answer)> {
        let Ok(space) = self.process.space() else { return None };
        self.context = at_site(&space, &self.context);
        if !space.has_sites() {
            self.give_desk_up();
            return None;
        }
        let before = space.change(DESK, |word| (word != OPEN).then_some(CLOSED)).map_or(CLOSED, |(_, word)| word);
        let number = self.context.rax;
        match before {
            // It is to come out with its answer, or gave up and was answered on its way out.
            LEAVE | ANSWERED => {
                let answer = space.read_u64(ANSWER_AT).ok()?;
                self.open_desk(&space);
                return Some((number, Ok(answer)));
            }
            // It waited in vain: there was no processor for who answers.
            POSTED if was_attended && self.desk.is_some() => self.habits.was_in_vain(),
            REFUSED => self.open_desk(&space),
            CLOSED
                if quick::may_be(number)
                    && self.habits.is_worth_it(self.world.clerk.paid_off())
                    && self.has_clerk(&space) =>
            {
                self.take_desk(&space);
            }
            _ => {}
        }
        None
    }

    /// It was interrupted. If that was in the code of a rewritten place, what it was doing there.
    pub(super) fn recall(&mut self) -> Option<Recalled> {
        let space = self.process.space().ok()?;
        match self.in_site_code()? {
            Within::Behind(rip) => {
                self.context.rip = rip;
                return Some(Recalled::Behind);
            }
            Within::Before => {
                // As soon as it would post a call.
                self.close_desk();
                return Some(Recalled::Leaving);
            }
            Within::Answered => {
                self.context = at_site(&space, &self.context);
                return Some(Recalled::Behind);
            }
            Within::Posted => {}
        }
        Some(self.recall_call(&space).unwrap_or(Recalled::Leaving))
    }

    /// The same behind where a call is posted; `None` while it is about to come out by itself.
    fn recall_call(&mut self, space: &Space) -> Option<Recalled> {
        let (_, before) = space.change(DESK, |word| matches!(word, POSTED | ANSWERED).then_some(CLOSED)).ok()?;
        let recalled = match before {
            ANSWERED => {
                self.context.rax = space.read_u64(ANSWER_AT).ok()?;
                Recalled::Behind
            }
            POSTED => {
                self.context.rax = space.read_u64(CALL_AT).ok()?;
                Recalled::Call
            }
            _ => return None,
        };
        self.context = at_site(space, &self.context);
        Some(recalled)
    }

    /// It has to come out as soon as it would post a call.
    pub(super) fn close_desk(&self) {
        match (&self.desk, self.process.space()) {
            (Some(desk), _) => desk.close(),
            (None, Ok(space)) => close(&space),
            (None, Err(_)) => {}
        }
    }

    /// Whether there may be somebody who answers.
    fn has_clerk(&self, space: &Arc<Space>) -> bool {
        self.world.machine.takes(Shortcuts::DESK) && self.world.clerk.is_spare() && self.is_sole(space)
    }

    fn take_desk(&mut self, space: &Arc<Space>) {
        let Ok((place, _)) = space.load(DESK) else { return };
        if self.desk.as_ref().is_none_or(|desk| desk.place != place) {
            self.give_desk_up();
            let state = Mutex::new(State { is_inside: false, is_wanted: false, stand_in: self.stand_in() });
            let member = self.member.clone();
            let desk = Arc::new(Desk { machine: self.world.machine.clone(), place, member, state });
            if !self.world.clerk.take_on(&self.world, desk.clone()) {
                return;
            }
            self.desk = Some(desk);
        }
        self.open_desk(space);
    }

    /// Opens its desk, or has it opened: it takes as long as several calls until somebody is there who was not.
    fn open_desk(&self, space: &Space) {
        let Some(desk) = &self.desk else { return };
        {
            let mut state = lock(&desk.state);
            state.is_wanted = !self.world.clerk.is_awake();
            if !state.is_wanted {
                let _ = space.change(DESK, |_| Some(OPEN));
            }
        }
        self.world.clerk.wake();
    }

    /// Nobody makes calls in its place any more: it begins another program, shares its memory, or ends.
    pub(super) fn give_desk_up(&mut self) {
        if let Some(desk) = self.desk.take() {
            desk.close();
            self.world.clerk.let_go(&desk);
        }
    }
}

/// Where a thread is for its program, and with what, that the code of a rewritten place has got: right behind the
/// instruction `syscall`.
fn at_site(space: &Space, context: &Registers) -> Registers {
    // As `lahf` has them: sign, zero, auxiliary carry, parity, carry.
    const LOW: u64 = 0xd5;
    const OVERFLOW: u64 = 1 << 11;
    let kept = (context.r11 >> 8 & LOW) | if context.r11 & 1 != 0 { OVERFLOW } else { 0 };
    let rflags = context.rflags & !(LOW | OVERFLOW) | kept;
    let rip = space.returned_to(context.rcx);
    Registers { rip, rflags, rcx: rip, r11: rflags, ..*context }
}
