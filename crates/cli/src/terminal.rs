//! The user's terminal while the program has one of its own.
//!
//! What is typed goes to the program's terminal as it is, Ctrl-C included, and what the program shows
//! comes as it is: the user's own terminal must not make anything of either, so it is raw (`cfmakeraw(3)`) meanwhile.
//! A process has one terminal, and every way out of the process has to put it back: what is to be put
//! back is therefore kept here, once, for all of them.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, Once, PoisonError};

use ringfence::WindowSize;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// What the terminal was before.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// For where nobody says.
const ORDINARY: WindowSize = WindowSize { rows: 24, columns: 80 };

/// The terminal is raw until this is dropped, or [`restore`] is called.
pub(crate) struct Raw(());

impl Drop for Raw {
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

/// Makes the terminal that standard input is raw, if it is one.
pub(crate) fn raw() -> io::Result<Raw> {
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
        *before = Some(found);
    }
    Ok(Raw(()))
}

/// Whether it is raw: a line then needs a carriage return to end at the left.
pub(crate) fn is_raw() -> bool {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Puts it back as it was.
pub(crate) fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // The terminal may be gone: then nobody is left who could mind.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}
