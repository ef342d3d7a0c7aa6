//! Terminals of an instance's own: `pty(7)`, `pts(4)`, `tty_ioctl(4)`, and the sessions they control.
//!
//! ```text
//! who types ──master──▶ discipline ──▶ slave (a program reads)
//!           ◀─────────── shown ◀───── discipline ◀── (a program writes)
//! ```
//!
//! The host has no part in it: the terminal that a user gives to an instance is one of these, whose
//! master is the user ([`outside`]).

mod calls;
mod discipline;
mod outside;
mod settings;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::Notify;

use self::discipline::Discipline;
use self::settings::{Settings, flag};
use super::open::{Kind, Open};
use super::process::{Process, lock};
use super::readiness::{ERR, HUP, IN, OUT, Watch};
use super::signals::{self, Cause};
use super::thread::Thread;
use super::waiting::Bell;
use super::world::World;
use crate::kvm::Kept;

pub(super) use self::calls::ioctl;
pub(super) use self::outside::{finish, serve};

/// How many there can be.
const MOST: usize = 64;
/// About what one takes on the host.
const ROOM: usize = 64 << 10;
/// How much is shown and not taken away.
const SHOWN: usize = 16 << 10;

/// A terminal.
pub(super) struct Terminal {
    pub(super) number: u32,
    state: Mutex<State>,
    /// Rung at every change.
    pub(super) bell: Bell,
    /// The same for who waits outside.
    outside: Notify,
    /// One at a time shows it outside.
    showing: tokio::sync::Mutex<()>,
}

struct State {
    settings: Settings,
    discipline: Discipline,
    shown: VecDeque<u8>,
    /// Lines, columns, and their pixels.
    size: [u16; 4],
    masters: usize,
    slaves: usize,
    /// Somebody had it open, and nobody has.
    is_left: bool,
    is_locked: bool,
    /// The session it controls, and the group in front; 0 for none.
    session: u32,
    group: u32,
    /// What it takes on the host.
    kept: Option<Kept>,
}

/// All of an instance.
#[derive(Default)]
pub(super) struct Terminals(Mutex<BTreeMap<u32, Weak<Terminal>>>);

impl Terminals {
    /// A new one.
    pub(super) fn create(&self) -> Result<Arc<Terminal>, Errno> {
        let mut terminals = lock(&self.0);
        terminals.retain(|_, terminal| terminal.strong_count() > 0);
        if terminals.len() >= MOST {
            return Err(Errno::NOSPC);
        }
        let number = (0..).find(|number| !terminals.contains_key(number)).ok_or(Errno::NOSPC)?;
        let state = State {
            settings: Settings::default(),
            discipline: Discipline::default(),
            shown: VecDeque::new(),
            size: [0; 4],
            masters: 0,
            slaves: 0,
            is_left: false,
            is_locked: true,
            session: 0,
            group: 0,
            kept: None,
        };
        let terminal = Arc::new(Terminal {
            number,
            state: Mutex::new(state),
            bell: Bell::default(),
            outside: Notify::new(),
            showing: tokio::sync::Mutex::default(),
        });
        terminals.insert(number, Arc::downgrade(&terminal));
        Ok(terminal)
    }

    fn all(&self) -> Vec<Arc<Terminal>> {
        lock(&self.0).values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn of(&self, number: u32) -> Option<Arc<Terminal>> {
        lock(&self.0).get(&number).and_then(Weak::upgrade).filter(|terminal| lock(&terminal.state).masters > 0)
    }

    /// The one that controls a session.
    pub(super) fn of_session(&self, session: u32) -> Option<Arc<Terminal>> {
        self.all().into_iter().find(|terminal| session != 0 && lock(&terminal.state).session == session)
    }

    /// The names in `/dev/pts`.
    pub(super) fn names(&self) -> Vec<Vec<u8>> {
        let there = self.all().into_iter().filter(|terminal| lock(&terminal.state).masters > 0);
        there.map(|terminal| terminal.number.to_string().into_bytes()).chain([b"ptmx".to_vec()]).collect()
    }

    /// The leader of a session has ended: who is in front is told, and the terminal controls nobody.
    pub(super) fn leader_ended(&self, world: &World, session: u32) {
        if let Some(terminal) = self.of_session(session) {
            let group = {
                let mut state = lock(&terminal.state);
                state.session = 0;
                std::mem::take(&mut state.group)
            };
            terminal.tell(world, group, &[libc::SIGHUP, libc::SIGCONT]);
        }
    }
}

impl Terminal {
    /// Signals for a group of processes.
    fn tell(&self, world: &World, group: u32, kinds: &[i32]) {
        if group == 0 {
            return;
        }
        let processes: Vec<Arc<Process>> = world.processes().values().cloned().collect();
        for process in processes.iter().filter(|process| process.group.load(SeqCst) == group) {
            for &signal in kinds {
                // Who has too many already is not told of one more.
                let _ = signals::send(world, process, Cause::own(signal));
            }
        }
    }

    fn changed(&self) {
        self.bell.ring();
        self.outside.notify_waiters();
    }

    pub(super) fn open_master(&self) {
        lock(&self.state).masters += 1;
    }

    pub(super) fn open_slave(&self) {
        let mut state = lock(&self.state);
        state.slaves += 1;
        state.is_left = false;
    }

    pub(super) fn close_slave(&self) {
        {
            let mut state = lock(&self.state);
            state.slaves -= 1;
            state.is_left = state.slaves == 0;
        }
        self.changed();
    }

    /// Nobody types any more: who is in front and the leader of the session are told.
    pub(super) fn close_master(&self, world: &World) {
        let (group, session) = {
            let mut state = lock(&self.state);
            state.masters -= 1;
            if state.masters > 0 {
                return;
            }
            (std::mem::take(&mut state.group), std::mem::take(&mut state.session))
        };
        self.changed();
        let leader = world.process(session).filter(|leader| leader.group.load(SeqCst) != group);
        if let Some(leader) = leader {
            for signal in [libc::SIGHUP, libc::SIGCONT] {
                let _ = signals::send(world, &leader, Cause::own(signal));
            }
        }
        self.tell(world, group, &[libc::SIGHUP, libc::SIGCONT]);
    }

    /// It controls this session from now on, which has its only process in front.
    pub(super) fn control(&self, session: u32, group: u32) {
        let mut state = lock(&self.state);
        (state.session, state.group) = (session, group);
    }

    /// Sets its size, and tells who is in front.
    pub(super) fn resize(&self, world: &World, size: [u16; 4]) {
        let group = {
            let mut state = lock(&self.state);
            if state.size == size {
                return;
            }
            state.size = size;
            state.group
        };
        self.tell(world, group, &[libc::SIGWINCH]);
    }

    pub(super) fn unlock(&self) {
        lock(&self.state).is_locked = false;
    }

    /// Types what there is room for; how much that was.
    pub(super) fn try_type(&self, world: &World, bytes: &[u8]) -> usize {
        let mut count = 0;
        let mut told = Vec::new();
        let group = {
            let mut state = lock(&self.state);
            let State { settings, discipline, shown, .. } = &mut *state;
            for &byte in bytes {
                if !discipline.has_room(settings) || shown.len() >= 2 * SHOWN {
                    break;
                }
                told.extend(discipline.type_in(byte, settings, shown));
                count += 1;
            }
            state.group
        };
        if count > 0 {
            self.changed();
        }
        self.tell(world, group, &told);
        count
    }

    /// Nothing more is typed: the first end of file ends a line that is not finished.
    pub(super) fn type_end(&self, world: &World, line_is_open: bool) {
        let end = lock(&self.state).settings.characters[flag::VEOF];
        self.try_type(world, &[end, end][..if line_is_open { 2 } else { 1 }]);
    }

    /// Takes what is shown, for who looks from outside; `None` when there is nothing.
    pub(super) fn take_shown(&self, most: usize) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        if state.shown.is_empty() {
            return None;
        }
        let count = most.min(state.shown.len());
        let taken = state.shown.drain(..count).collect();
        drop(state);
        if count > 0 {
            self.changed();
        }
        Some(taken)
    }

    /// `write(2)` at the end of who types.
    pub(super) fn type_in(&self, thread: &Thread, bytes: &[u8], at_once: bool) -> Result<usize, Errno> {
        let attempt = || Some(self.try_type(&thread.world, bytes)).filter(|&count| count > 0 || bytes.is_empty());
        match (attempt(), at_once) {
            (Some(count), _) => Ok(count),
            (None, true) => Err(Errno::AGAIN),
            (None, false) => thread.wait(&[&self.bell], None, attempt),
        }
    }

    fn try_shown(&self, into: &mut [u8]) -> Option<Result<usize, Errno>> {
        let mut state = lock(&self.state);
        if state.shown.is_empty() && !into.is_empty() {
            return state.is_left.then_some(Err(Errno::IO));
        }
        let count = into.len().min(state.shown.len());
        for (place, byte) in into.iter_mut().zip(state.shown.drain(..count)) {
            *place = byte;
        }
        Some(Ok(count))
    }

    /// `read(2)` at the end of who types: what is shown.
    pub(super) fn read_shown(&self, thread: &Thread, into: &mut [u8], at_once: bool) -> Result<usize, Errno> {
        let count = match (self.try_shown(into), at_once) {
            (Some(count), _) => count?,
            (None, true) => return Err(Errno::AGAIN),
            (None, false) => thread.wait(&[&self.bell], None, || self.try_shown(into))??,
        };
        self.changed();
        Ok(count)
    }

    /// Whether a process may do this now. One that is not in front is stopped by `signal` instead, and
    /// when it does not want to be, it may or it fails: `EIO` for reading.
    fn check_front(&self, thread: &Thread, signal: i32) -> Result<(), Errno> {
        let process = &thread.process;
        let (session, front) = {
            let state = lock(&self.state);
            (state.session, state.group)
        };
        let group = process.group.load(SeqCst);
        if session != process.session.load(SeqCst) || front == group || session == 0 {
            return Ok(());
        }
        let reads = signal == libc::SIGTTIN;
        if signals::is_ignored(thread, signal) {
            return if reads { Err(Errno::IO) } else { Ok(()) };
        }
        if thread.world.is_orphaned(process) {
            return Err(Errno::IO);
        }
        self.tell(&thread.world, group, &[signal]);
        Err(Errno::INTR)
    }

    fn try_read(&self, into: &mut [u8], least: usize) -> Option<usize> {
        let mut state = lock(&self.state);
        let State { settings, discipline, masters, .. } = &mut *state;
        let there = discipline.is_readable(settings);
        let is_enough = there && (settings.has_lines() || discipline.length(settings) >= least.min(into.len()));
        match is_enough || into.is_empty() {
            true => Some(discipline.take(settings, into)),
            // Nobody types any more.
            false => (*masters == 0).then_some(0),
        }
    }

    /// `read(2)` of a program.
    pub(super) fn read(&self, thread: &Thread, into: &mut [u8], at_once: bool) -> Result<usize, Errno> {
        self.check_front(thread, libc::SIGTTIN)?;
        let settings = lock(&self.state).settings;
        let (least, tenths) = match settings.has_lines() {
            true => (1, 0),
            false => (settings.characters[flag::VMIN], settings.characters[flag::VTIME]),
        };
        let time = (tenths > 0).then(|| Duration::from_millis(u64::from(tenths) * 100));
        let least_now = usize::from(least.max(1));
        let count = match (self.try_read(into, least_now), at_once || (least == 0 && tenths == 0)) {
            (Some(count), _) => count,
            (None, true) if least == 0 => 0,
            (None, true) => match self.try_read(into, 1) {
                Some(count) => count,
                None => return Err(Errno::AGAIN),
            },
            (None, false) => self.wait_read(thread, into, least, time)?,
        };
        self.changed();
        Ok(count)
    }

    /// With a least number and a time, the time begins with the first byte: `termios(3)`.
    fn wait_read(&self, thread: &Thread, into: &mut [u8], least: u8, time: Option<Duration>) -> Result<usize, Errno> {
        let ended = |errno| if errno == Errno::TIMEDOUT { Ok(0) } else { Err(errno) };
        if least == 0 {
            let until = time.map(|time| Instant::now() + time);
            return thread.wait(&[&self.bell], until, || self.try_read(into, 1)).or_else(ended);
        }
        let Some(time) = time else {
            return thread.wait(&[&self.bell], None, || self.try_read(into, least.into()));
        };
        let mut there = thread.wait(&[&self.bell], None, || self.there())?;
        loop {
            let until = Instant::now() + time;
            let more = || self.there().filter(|&now| now > there || now == 0 || now >= usize::from(least));
            match thread.wait(&[&self.bell], Some(until), more) {
                Ok(now) if now > 0 && now < usize::from(least).min(into.len()) => there = now,
                Ok(_) | Err(Errno::TIMEDOUT) => return Ok(self.try_read(into, 1).unwrap_or(0)),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// How much can be read, when that is something or never more.
    fn there(&self) -> Option<usize> {
        let state = lock(&self.state);
        let length = state.discipline.length(&state.settings);
        (length > 0 || state.masters == 0).then_some(length)
    }

    fn try_write(&self, from: &[u8]) -> Option<Result<usize, Errno>> {
        let mut state = lock(&self.state);
        if state.masters == 0 {
            return Some(Err(Errno::IO));
        }
        let State { settings, discipline, shown, .. } = &mut *state;
        if discipline.is_held || shown.len() >= SHOWN {
            return None;
        }
        let count = from.len().min(SHOWN);
        discipline.show(&from[..count], settings, shown);
        Some(Ok(count))
    }

    /// `write(2)` of a program.
    pub(super) fn write(&self, thread: &Thread, from: &[u8], at_once: bool) -> Result<usize, Errno> {
        if lock(&self.state).settings.local & flag::TOSTOP != 0 {
            self.check_front(thread, libc::SIGTTOU)?;
        }
        let mut done = 0;
        loop {
            let rest = &from[done..];
            let written = match (self.try_write(rest), at_once) {
                (Some(written), _) => written,
                (None, true) => Err(Errno::AGAIN),
                (None, false) => thread.wait(&[&self.bell], None, || self.try_write(rest)).flatten(),
            };
            match written {
                Ok(count) => done += count,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => return Ok(done),
            }
            self.changed();
            if done == from.len() {
                return Ok(done);
            }
        }
    }

    pub(super) fn readiness(&self, watch: &Watch<'_>, is_master: bool) -> i16 {
        watch.enlist(&self.bell);
        let state = lock(&self.state);
        if is_master {
            let hung_up = if state.is_left { HUP } else { 0 };
            let readable = if state.shown.is_empty() { 0 } else { IN };
            let writable = if state.discipline.has_room(&state.settings) { OUT } else { 0 };
            return readable | writable | hung_up;
        }
        if state.masters == 0 {
            return IN | OUT | HUP | ERR;
        }
        let readable = if state.discipline.is_readable(&state.settings) { IN } else { 0 };
        let writable = if state.discipline.is_held || state.shown.len() >= SHOWN { 0 } else { OUT };
        readable | writable
    }
}

/// Opens `/dev/ptmx`, `/dev/tty` or what is in `/dev/pts`; `None` for any other path.
pub(super) fn open(thread: &Thread, path: &[u8], flags: u32) -> Option<Result<Arc<Open>, Errno>> {
    let world = &thread.world;
    let is_path_only = flags & libc::O_PATH as u32 != 0;
    match path {
        _ if is_path_only => None,
        b"/dev/ptmx" | b"/dev/pts/ptmx" => {
            Some(create(world).map(|terminal| Open::new(world, Kind::Master(terminal), b"/dev/ptmx", flags)))
        }
        b"/dev/tty" | b"/dev/console" => {
            let mine = world.terminals.of_session(thread.process.session.load(SeqCst));
            Some(mine.ok_or(Errno::NXIO).map(|terminal| open_slave(thread, terminal, flags)))
        }
        path => {
            let number = std::str::from_utf8(path.strip_prefix(b"/dev/pts/")?).ok()?.parse().ok()?;
            let terminal = world.terminals.of(number)?;
            if lock(&terminal.state).is_locked {
                return Some(Err(Errno::IO));
            }
            Some(Ok(open_slave(thread, terminal, flags)))
        }
    }
}

/// One that counts as the program's memory.
pub(super) fn create(world: &Arc<World>) -> Result<Arc<Terminal>, Errno> {
    world.may_keep(ROOM)?;
    let terminal = world.terminals.create()?;
    let mut kept = Kept::new(world.machine.clone());
    kept.set(ROOM);
    lock(&terminal.state).kept = Some(kept);
    Ok(terminal)
}

fn open_slave(thread: &Thread, terminal: Arc<Terminal>, flags: u32) -> Arc<Open> {
    let process = &thread.process;
    let session = process.session.load(SeqCst);
    let is_leader = session == process.id && flags & libc::O_NOCTTY as u32 == 0;
    if is_leader && thread.world.terminals.of_session(session).is_none() {
        let mut state = lock(&terminal.state);
        if state.session == 0 {
            (state.session, state.group) = (session, process.group.load(SeqCst));
        }
    }
    let path = format!("/dev/pts/{}", terminal.number);
    Open::new(&thread.world, Kind::Terminal(terminal), path.as_bytes(), flags)
}
