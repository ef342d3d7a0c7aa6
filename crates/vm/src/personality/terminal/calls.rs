//! What programs ask of a terminal: `tty_ioctl(4)`, `ioctl_pty(2)`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::super::Answer;
use super::super::open::{Kind, Open};
use super::super::process::lock;
use super::super::thread::Thread;
use super::settings::{LONG, SHORT};
use super::{Terminal, open_slave};

const TCGETS2: u64 = 0x802c_542a;
const TCSETS2: u64 = 0x402c_542b;
const TCSETSW2: u64 = 0x402c_542c;
const TCSETSF2: u64 = 0x402c_542d;
const TIOCGPTN: u64 = 0x8004_5430;
const TIOCSPTLCK: u64 = 0x4004_5431;
const TIOCGPTLCK: u64 = 0x8004_5439;
const TIOCGPTPEER: u64 = 0x5441;

/// The bytes of `struct termio`, which System V had: four flags of two bytes, the line discipline, eight characters.
const OLD: usize = 18;
/// Its parts, without the last byte that says nothing: where each is there, where in `struct termios`, and how long.
const PARTS_OF_OLD: [(usize, usize, usize); 5] = [(0, 0, 2), (2, 4, 2), (4, 8, 2), (6, 12, 2), (8, 16, 9)];

/// Settings as a `struct termio`.
fn old(settings: &[u8; LONG]) -> [u8; OLD] {
    let mut old = [0; OLD];
    for (there, here, length) in PARTS_OF_OLD {
        old[there..there + length].copy_from_slice(&settings[here..here + length]);
    }
    old
}

/// What a `struct termio` says; the rest stays.
fn set_old(settings: &mut [u8; LONG], old: &[u8; OLD]) {
    for (there, here, length) in PARTS_OF_OLD {
        settings[here..here + length].copy_from_slice(&old[there..there + length]);
    }
}

/// `ioctl(2)` of a terminal, at either end; `ENOTTY` for what is none of its.
pub(in super::super) fn ioctl(thread: &mut Thread, open: &Arc<Open>, request: u64, at: u64) -> Answer {
    let (terminal, is_master) = match &open.kind {
        Kind::Terminal(terminal) => (terminal.clone(), false),
        Kind::Master(terminal) => (terminal.clone(), true),
        _ => return Err(Errno::NOTTY),
    };
    let space = thread.process.space()?;
    match request {
        libc::TCGETS => {
            let bytes = lock(&terminal.state).settings.bytes();
            space.write(at, &bytes[..SHORT]).map(|()| 0)
        }
        TCGETS2 => {
            let bytes = lock(&terminal.state).settings.bytes();
            space.write(at, &bytes).map(|()| 0)
        }
        libc::TCSETS | libc::TCSETSW | libc::TCSETSF | TCSETS2 | TCSETSW2 | TCSETSF2 => {
            let length = if request >= TCSETS2 { LONG } else { SHORT };
            let mut bytes = [0; LONG];
            space.read(at, &mut bytes[..length])?;
            if !is_master {
                terminal.check_front(thread, libc::SIGTTOU)?;
            }
            terminal.set(&bytes[..length], matches!(request, libc::TCSETSF | TCSETSF2));
            Ok(0)
        }
        libc::TCGETA => {
            let bytes = lock(&terminal.state).settings.bytes();
            space.write(at, &old(&bytes)).map(|()| 0)
        }
        libc::TCSETA | libc::TCSETAW | libc::TCSETAF => {
            let mut given = [0; OLD];
            space.read(at, &mut given)?;
            if !is_master {
                terminal.check_front(thread, libc::SIGTTOU)?;
            }
            let mut bytes = lock(&terminal.state).settings.bytes();
            set_old(&mut bytes, &given);
            terminal.set(&bytes[..SHORT], request == libc::TCSETAF);
            Ok(0)
        }
        libc::TIOCGWINSZ => {
            let size = lock(&terminal.state).size;
            space.write(at, &size.map(u16::to_le_bytes).concat()).map(|()| 0)
        }
        libc::TIOCSWINSZ => {
            let mut bytes = [0; 8];
            space.read(at, &mut bytes)?;
            let word = |index: usize| u16::from_le_bytes([bytes[index * 2], bytes[index * 2 + 1]]);
            terminal.resize(&thread.world, [word(0), word(1), word(2), word(3)]);
            Ok(0)
        }
        libc::FIONREAD => {
            let length = {
                let state = lock(&terminal.state);
                if is_master { state.shown.len() } else { state.discipline.length(&state.settings) }
            };
            space.write_u32(at, length as u32).map(|()| 0)
        }
        libc::TIOCOUTQ => {
            let length = if is_master { 0 } else { lock(&terminal.state).shown.len() };
            space.write_u32(at, length as u32).map(|()| 0)
        }
        libc::TIOCGPGRP => {
            let group = terminal.controlled(thread, is_master)?.1;
            space.write_u32(at, group).map(|()| 0)
        }
        libc::TIOCGSID => {
            let session = terminal.controlled(thread, is_master)?.0;
            space.write_u32(at, session).map(|()| 0)
        }
        libc::TIOCSPGRP => {
            let group = space.read_u32(at)?;
            terminal.set_front(thread, group)
        }
        // Also by the master, whose other end is meant.
        libc::TIOCSCTTY => terminal.take_session(thread),
        libc::TIOCNOTTY => terminal.leave_session(thread),
        libc::TCFLSH => {
            if !is_master {
                terminal.check_front(thread, libc::SIGTTOU)?;
            }
            terminal.empty(at)
        }
        libc::TCXONC => {
            match at as i32 {
                libc::TCOOFF => lock(&terminal.state).discipline.is_held = true,
                libc::TCOON => lock(&terminal.state).discipline.is_held = false,
                libc::TCIOFF | libc::TCION => {}
                _ => return Err(Errno::INVAL),
            }
            terminal.changed();
            Ok(0)
        }
        libc::TCSBRK | libc::TCSBRKP | libc::TIOCEXCL | libc::TIOCNXCL => Ok(0),
        TIOCGPTN if is_master => space.write_u32(at, terminal.number).map(|()| 0),
        TIOCSPTLCK if is_master => {
            let locked = space.read_u32(at)? != 0;
            lock(&terminal.state).is_locked = locked;
            Ok(0)
        }
        TIOCGPTLCK if is_master => {
            let locked = lock(&terminal.state).is_locked;
            space.write_u32(at, locked.into()).map(|()| 0)
        }
        TIOCGPTPEER if is_master => {
            let flags = at as u32;
            let peer = open_slave(thread, terminal, flags);
            thread.process.descriptors().add(peer, 0, flags & libc::O_CLOEXEC as u32 != 0)
        }
        _ => Err(Errno::NOTTY),
    }
}

impl Terminal {
    fn set(&self, bytes: &[u8], flush: bool) {
        {
            let mut state = lock(&self.state);
            let (before, settings) = (state.settings, state.settings.read(bytes));
            state.settings = settings;
            if flush {
                state.discipline.flush();
            }
            if before.has_lines() != settings.has_lines() {
                state.discipline.switch(settings.has_lines());
            }
        }
        self.changed();
    }

    fn empty(&self, which: u64) -> Answer {
        {
            let mut state = lock(&self.state);
            let (input, output) = match which as i32 {
                libc::TCIFLUSH => (true, false),
                libc::TCOFLUSH => (false, true),
                libc::TCIOFLUSH => (true, true),
                _ => return Err(Errno::INVAL),
            };
            if input {
                state.discipline.flush();
            }
            if output {
                state.shown.clear();
            }
        }
        self.changed();
        Ok(0)
    }

    /// The session it controls and the group in front, for whoever may know: those of that session.
    fn controlled(&self, thread: &Thread, is_master: bool) -> Result<(u32, u32), Errno> {
        let state = lock(&self.state);
        let is_mine = state.session != 0 && state.session == thread.process.session.load(SeqCst);
        if is_mine || is_master { Ok((state.session, state.group)) } else { Err(Errno::NOTTY) }
    }

    /// `tcsetpgrp(3)`
    fn set_front(&self, thread: &Thread, group: u32) -> Answer {
        let (session, _) = self.controlled(thread, false)?;
        if group as i32 <= 0 {
            return Err(Errno::INVAL);
        }
        let sessions: Vec<u32> = {
            let processes = thread.world.processes();
            let members = processes.values().filter(|process| process.group.load(SeqCst) == group);
            members.map(|process| process.session.load(SeqCst)).collect()
        };
        if sessions.is_empty() {
            return Err(Errno::SRCH);
        }
        if !sessions.contains(&session) {
            return Err(Errno::PERM);
        }
        self.check_front(thread, libc::SIGTTOU)?;
        lock(&self.state).group = group;
        Ok(0)
    }

    /// `TIOCSCTTY`
    fn take_session(&self, thread: &Thread) -> Answer {
        let process = &thread.process;
        let mine = process.session.load(SeqCst);
        let other = thread.world.terminals.of_session(mine);
        if other.as_ref().is_some_and(|terminal| std::ptr::eq(&raw const **terminal, self)) {
            return Ok(0);
        }
        let mut state = lock(&self.state);
        if mine != process.id || other.is_some() || state.session != 0 {
            return Err(Errno::PERM);
        }
        (state.session, state.group) = (mine, process.group.load(SeqCst));
        Ok(0)
    }

    /// `TIOCNOTTY`: of a leader, for its whole session.
    fn leave_session(&self, thread: &Thread) -> Answer {
        let session = self.controlled(thread, false)?.0;
        if session == thread.process.id {
            thread.world.terminals.leader_ended(&thread.world, session);
        }
        Ok(0)
    }
}
