//! The user's terminal while a program runs.
//!
//! A program that has it among its streams may leave it without echo, lines or keys: it is put back as it was. When
//! the program has a terminal of its own, what is typed goes to the program's terminal as it is, Ctrl-C included, and what the program shows
//! comes as it is: the user's own terminal must not make anything of either, so it is raw (`cfmakeraw(3)`) meanwhile.
//! A process has one terminal, and every way out of the process has to put it back: what is to be put
//! back is therefore kept here, once, for all of them.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, Once, PoisonError};

use ringfence::WindowSize;
use rustix::process::getpgrp;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};

/// What the terminal was before.
static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

struct Before {
    settings: Termios,
    is_raw: bool,
}

/// For where nobody says.
const ORDINARY: WindowSize = WindowSize { rows: 24, columns: 80 };

/// The terminal is put back when this is dropped, or [`restore`] is called.
pub(crate) struct PutBack(());

impl Drop for PutBack {
    fn drop(&mut self) {
        restore();
    }
}

/// The size of the user's terminal.
pub(crate) fn size() -> WindowSize {
    let known = |stream: BorrowedFd<'_>| {
        let found = tcgetwinsize(stream).ok()?;
        (found.ws_row > 0 && found.ws_col > 0).then_some(WindowSize { rows: found.ws_row, columns: found.ws_col })
    };
    [stdin(), stdout(), stderr()].into_iter().find_map(known).unwrap_or(ORDINARY)
}

/// Remembers what the terminal is that the program has among its streams, if it has one.
pub(crate) fn remembered() -> PutBack {
    if let Some(settings) = among_streams().and_then(|terminal| tcgetattr(terminal).ok()) {
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Before { settings, is_raw: false });
    }
    PutBack(())
}

/// The terminal among the standard streams.
fn among_streams() -> Option<BorrowedFd<'static>> {
    [stdin(), stdout(), stderr()].into_iter().find(|stream| isatty(stream))
}

/// Makes the terminal that standard input is raw, if it is one.
pub(crate) fn raw() -> io::Result<PutBack> {
    static PANICS: Once = Once::new();
    if isatty(stdin()) {
        PANICS.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                report(panic);
            }));
        });
        let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tcgetattr(stdin())?;
        let mut raw = found.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        *before = Some(Before { settings: found, is_raw: true });
    }
    Ok(PutBack(()))
}

/// Whether it is raw: a line then needs a carriage return to end at the left.
pub(crate) fn is_raw() -> bool {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|before| before.is_raw)
}

/// Puts it back as it was.
pub(crate) fn restore() {
    let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let Some(terminal) = among_streams() else { return };
    // In the background it belongs to somebody else, and touching it would stop this process (`SIGTTOU`).
    if before.is_raw || tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()) {
        // The terminal may be gone: then nobody is left who could mind.
        let _ = tcsetattr(terminal, OptionalActions::Now, &before.settings);
    }
}
