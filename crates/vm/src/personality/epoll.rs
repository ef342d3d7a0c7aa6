//! Sets of descriptors to wait for: `epoll(7)`, `epoll_ctl(2)`, `epoll_wait(2)`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::lock;
use super::readiness::{DEPTH, ERR, HUP, IN, OUT, RDHUP, Watch};
use super::thread::Thread;
use super::waiting::Bell;
use super::world::World;
use super::{Answer, Arguments, int, polling};
use crate::kvm::Kept;

/// How many descriptors a set holds.
const MOST: usize = 4096;
/// The most that may be asked for at once: `EP_MAX_EVENTS`.
const MOST_EVENTS: i32 = i32::MAX / 12;
/// What may stand beside `EPOLLEXCLUSIVE`.
const EXCLUSIVE: i32 = libc::EPOLLIN
    | libc::EPOLLOUT
    | libc::EPOLLERR
    | libc::EPOLLHUP
    | libc::EPOLLWAKEUP
    | libc::EPOLLET
    | libc::EPOLLEXCLUSIVE;
/// What is told without being asked for.
const ALWAYS: i16 = HUP | ERR;

/// About what the host keeps for each.
const EACH: usize = 160;

/// A set of descriptors.
pub(super) struct Set {
    members: Mutex<VecDeque<Arc<Member>>>,
    kept: Mutex<Kept>,
    /// Rung when the set is changed.
    bell: Bell,
    looks: AtomicU64,
}

/// One descriptor that is waited for.
struct Member {
    number: i32,
    /// It is gone from the set when it is closed.
    open: Weak<Open>,
    wish: Mutex<Wish>,
}

#[derive(Clone, Copy)]
struct Wish {
    events: u32,
    data: u64,
    /// How often it had changed in each direction when that was told last: `EPOLLET`.
    told: [Option<u64>; 2],
    /// `EPOLLONESHOT` has been told.
    is_spent: bool,
    /// Another number each time that something was told that is told once, or the wish was changed.
    turn: u64,
}

impl Wish {
    fn has(&self, flag: i32) -> bool {
        self.events & flag as u32 != 0
    }

    /// What of it is to be told now.
    fn look(&self, watch: &mut Watch<'_>, open: &Open) -> (i16, [Option<u64>; 2]) {
        if self.is_spent {
            return (0, self.told);
        }
        let wanted = self.events as i16 & (IN | OUT | RDHUP);
        if !self.has(libc::EPOLLET) {
            return (watch.readiness(open, wanted), self.told);
        }
        loop {
            // Before looking: what changes afterwards is told again.
            let changes = open.changes();
            let found = watch.readiness(open, wanted);
            let mut told = [None; 2];
            let mut is_news = false;
            for (direction, mask) in [IN | RDHUP | ALWAYS, OUT].into_iter().enumerate() {
                if found & mask != 0 {
                    is_news |= self.told[direction] != Some(changes[direction]);
                    told[direction] = Some(changes[direction]);
                }
            }
            if is_news || found == 0 {
                return (found, told);
            }
            // What the hal calls ready it tells nobody of any more: who takes it does.
            for (told, bell) in told.iter().zip(&open.attempted) {
                if told.is_some() {
                    watch.enlist(bell);
                }
            }
            if open.changes() == changes {
                return (0, told);
            }
        }
    }
}

impl Set {
    pub(super) fn new(world: &World) -> Set {
        let kept = Mutex::new(Kept::new(world.machine.clone()));
        Set { members: Mutex::default(), kept, bell: Bell::default(), looks: AtomicU64::new(0) }
    }

    /// A number that was not there before: what a set would tell is news at each look.
    pub(super) fn next_look(&self) -> u64 {
        self.looks.fetch_add(1, SeqCst)
    }

    fn members(&self) -> Vec<Arc<Member>> {
        let mut members = lock(&self.members);
        members.retain(|member| member.open.strong_count() > 0);
        members.iter().cloned().collect()
    }

    /// What is waited for: the descriptor's number, what it stood for, the events, the data, and whether it
    /// has been told for the one time.
    pub(super) fn captured(&self) -> Vec<(i32, Arc<Open>, u32, u64, bool)> {
        let wishes = self.members().into_iter().filter_map(|member| {
            let wish = *lock(&member.wish);
            Some((member.number, member.open.upgrade()?, wish.events, wish.data, wish.is_spent))
        });
        wishes.collect()
    }

    /// Adds what was waited for. What holds now is news, also where only changes are told.
    pub(super) fn revive(
        &self,
        world: &World,
        (number, open): (i32, &Arc<Open>),
        wish: (u32, u64),
        is_spent: bool,
    ) -> Result<(), Errno> {
        self.change(world, &|| world.control.is_stopping(), libc::EPOLL_CTL_ADD, (number, open), wish)?;
        if let Some(member) = lock(&self.members).back() {
            lock(&member.wish).is_spent = is_spent;
        }
        Ok(())
    }

    /// Whether something of it would be told.
    pub(super) fn has_ready(&self, watch: &mut Watch<'_>) -> bool {
        watch.enlist(&self.bell);
        self.members().iter().any(|member| {
            let Some(open) = member.open.upgrade() else { return false };
            let wish = *lock(&member.wish);
            !watch.thread.has_to_end() && wish.look(watch, &open).0 != 0
        })
    }

    /// What is to be told, at most `most` of it.
    fn take(&self, watch: &mut Watch<'_>, most: usize) -> Vec<(u32, u64)> {
        watch.enlist(&self.bell);
        let mut found = Vec::new();
        let members = self.members();
        for member in &members {
            if watch.thread.has_to_end() {
                break;
            }
            let Some(open) = member.open.upgrade() else { continue };
            loop {
                let wish = *lock(&member.wish);
                let (events, told) = wish.look(watch, &open);
                if events != 0 && found.len() == most {
                    break;
                }
                let mut now = lock(&member.wish);
                if now.turn != wish.turn {
                    // Another thread was told, or it is another wish: what comes next is waited for by a new look alone.
                    continue;
                }
                now.told = told;
                if events != 0 {
                    now.is_spent = now.has(libc::EPOLLONESHOT);
                    now.turn += u64::from(now.has(libc::EPOLLONESHOT) || now.has(libc::EPOLLET));
                    found.push((u32::from(events as u16), now.data));
                }
                break;
            }
        }
        if found.len() == most && members.len() > most {
            // Those behind come first the next time.
            let mut members = lock(&self.members);
            let by = most.min(members.len());
            members.rotate_left(by);
        }
        found
    }

    /// The sets in it, each once.
    fn inner(&self) -> HashMap<usize, Arc<Open>> {
        let opens = self.members().into_iter().filter_map(|member| member.open.upgrade());
        opens.filter(|open| matches!(open.kind, Kind::Set(_))).map(|open| (open.address(), open)).collect()
    }

    /// Whether waiting for this would be waiting for `other`, or lead deeper than sets may lie.
    fn leads_to(&self, has_to_end: &dyn Fn() -> bool, other: &Set) -> bool {
        if std::ptr::eq(self, other) {
            return true;
        }
        let mut level = self.inner();
        for _ in 1..DEPTH - 1 {
            let mut below = HashMap::new();
            for open in level.values() {
                let Kind::Set(inner) = &open.kind else { continue };
                if std::ptr::eq(inner, other) || has_to_end() {
                    return true;
                }
                below.extend(inner.inner());
            }
            level = below;
        }
        !level.is_empty()
    }

    fn change(
        &self,
        world: &World,
        has_to_end: &dyn Fn() -> bool,
        operation: i32,
        (number, open): (i32, &Arc<Open>),
        (events, data): (u32, u64),
    ) -> Result<(), Errno> {
        let is_exclusive = events & libc::EPOLLEXCLUSIVE as u32 != 0;
        let is_beside = events & !(EXCLUSIVE as u32) != 0 || matches!(open.kind, Kind::Set(_));
        if is_exclusive && (operation == libc::EPOLL_CTL_MOD || operation == libc::EPOLL_CTL_ADD && is_beside) {
            return Err(Errno::INVAL);
        }
        if let Kind::Set(inner) = &open.kind
            && operation == libc::EPOLL_CTL_ADD
            && inner.leads_to(has_to_end, self)
        {
            return Err(if std::ptr::eq(inner, self) { Errno::INVAL } else { Errno::LOOP });
        }
        let mut members = lock(&self.members);
        members.retain(|member| member.open.strong_count() > 0);
        let at = members
            .iter()
            .position(|member| member.number == number && std::ptr::eq(member.open.as_ptr(), Arc::as_ptr(open)));
        let mut wish = Wish { events, data, told: [None; 2], is_spent: false, turn: 0 };
        match (operation, at) {
            (libc::EPOLL_CTL_ADD, Some(_)) => return Err(Errno::EXIST),
            (libc::EPOLL_CTL_ADD, None) if members.len() >= MOST => return Err(Errno::NOSPC),
            (libc::EPOLL_CTL_ADD, None) => {
                world.may_keep(EACH)?;
                let (open, wish) = (Arc::downgrade(open), Mutex::new(wish));
                members.push_back(Arc::new(Member { number, open, wish }));
            }
            (libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL, None) => return Err(Errno::NOENT),
            (libc::EPOLL_CTL_MOD, Some(at)) => {
                let mut before = lock(&members[at].wish);
                if before.has(libc::EPOLLEXCLUSIVE) {
                    return Err(Errno::INVAL);
                }
                wish.turn = before.turn + 1;
                *before = wish;
            }
            (libc::EPOLL_CTL_DEL, Some(at)) => drop(members.remove(at)),
            _ => return Err(Errno::INVAL),
        }
        lock(&self.kept).set(members.len() * EACH);
        drop(members);
        self.bell.ring();
        Ok(())
    }
}

/// `epoll_create(2)`
pub(super) fn create(thread: &mut Thread, [size, ..]: Arguments) -> Answer {
    if int(size) <= 0 { Err(Errno::INVAL) } else { create1(thread, [0; 6]) }
}

/// `epoll_create1(2)`
pub(super) fn create1(thread: &mut Thread, [flags, ..]: Arguments) -> Answer {
    if int(flags) & !libc::EPOLL_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    let open =
        Open::new(&thread.world, Kind::Set(Set::new(&thread.world)), b"anon_inode:[eventpoll]", libc::O_RDWR as u32);
    thread.process.descriptors().add(open, 0, flags != 0)
}

/// `epoll_ctl(2)`
pub(super) fn control(thread: &mut Thread, [set, operation, number, event, ..]: Arguments) -> Answer {
    let descriptors = thread.process.descriptors();
    let wish = match int(operation) {
        libc::EPOLL_CTL_DEL => (0, 0),
        _ => {
            let space = thread.process.space()?;
            (space.read_u32(event)?, space.read_u64(event.wrapping_add(4))?)
        }
    };
    let (set, open) = (descriptors.file(int(set))?, descriptors.file(int(number))?);
    if !open.is_waited_for() {
        return Err(Errno::PERM);
    }
    let Kind::Set(set) = &set.kind else { return Err(Errno::INVAL) };
    let ends = || thread.has_to_end();
    set.change(&thread.world, &ends, int(operation), (int(number), &open), wish).map(|()| 0)
}

fn wait(thread: &Thread, set: u64, at: u64, most: u64, until: Option<Instant>) -> Answer {
    if !(1..=MOST_EVENTS).contains(&int(most)) {
        return Err(Errno::INVAL);
    }
    let most = (int(most) as usize).min(MOST);
    let open = thread.process.descriptors().get(int(set))?;
    let Kind::Set(set) = &open.kind else { return Err(Errno::INVAL) };
    let found = thread.watch(until, |watch| Some(set.take(watch, most)).filter(|found| !found.is_empty()));
    let found = match found {
        Err(Errno::TIMEDOUT) => return Ok(0),
        other => other?,
    };
    let mut bytes = Vec::with_capacity(found.len() * 12);
    for (events, data) in &found {
        bytes.extend_from_slice(&events.to_le_bytes());
        bytes.extend_from_slice(&data.to_le_bytes());
    }
    thread.process.space()?.write(at, &bytes)?;
    Ok(found.len() as u64)
}

/// `epoll_wait(2)`
pub(super) fn epoll_wait(thread: &mut Thread, [set, at, most, left, ..]: Arguments) -> Answer {
    wait(thread, set, at, most, polling::milliseconds(left))
}

/// `epoll_pwait(2)`
pub(super) fn epoll_pwait(thread: &mut Thread, [set, at, most, left, mask, size]: Arguments) -> Answer {
    thread.mask_while_waiting(mask, size)?;
    wait(thread, set, at, most, polling::milliseconds(left))
}

/// `epoll_pwait2(2)`
pub(super) fn epoll_pwait2(thread: &mut Thread, [set, at, most, left, mask, size]: Arguments) -> Answer {
    let until = thread.until(left)?;
    thread.mask_while_waiting(mask, size)?;
    wait(thread, set, at, most, until)
}
