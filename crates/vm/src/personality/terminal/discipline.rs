//! The line discipline: what becomes of what is typed and of what is shown, `termios(3)`.

use std::collections::VecDeque;

use super::settings::{Settings, flag};

/// How much may be typed ahead, and how long a line may be: `MAX_INPUT`.
const MOST: usize = 4096;

/// What is typed and not read, and where the cursor is.
#[derive(Default)]
pub(super) struct Discipline {
    /// The line that is being typed.
    line: Vec<u8>,
    /// What can be read.
    ready: VecDeque<u8>,
    /// How long the finished lines at its beginning are; 0 is an end of file.
    ends: VecDeque<usize>,
    /// The next character stands for itself.
    is_quoted: bool,
    /// Output is held: `VSTOP`.
    pub(super) is_held: bool,
    column: usize,
    /// Where the line being typed began.
    margin: usize,
}

impl Discipline {
    /// How much a program can read at once.
    pub(super) fn length(&self, settings: &Settings) -> usize {
        if settings.has_lines() { self.ends.iter().sum() } else { self.ready.len() }
    }

    /// Whether a program that reads need not wait.
    pub(super) fn is_readable(&self, settings: &Settings) -> bool {
        if settings.has_lines() { !self.ends.is_empty() } else { !self.ready.is_empty() }
    }

    /// Whether more can be typed.
    pub(super) fn has_room(&self, settings: &Settings) -> bool {
        settings.has_lines() && self.ends.is_empty() || self.ready.len().max(self.ends.len()) < MOST
    }

    /// Takes what can be read: at most the first line, if there are lines.
    pub(super) fn take(&mut self, settings: &Settings, into: &mut [u8]) -> usize {
        let available = if settings.has_lines() { self.ends.front().copied().unwrap_or(0) } else { self.ready.len() };
        let count = available.min(into.len());
        for (place, byte) in into.iter_mut().zip(self.ready.drain(..count)) {
            *place = byte;
        }
        let mut taken = count;
        while let Some(end) = self.ends.front_mut() {
            if *end > taken {
                *end -= taken;
                break;
            }
            taken -= *end;
            self.ends.pop_front();
            if taken == 0 {
                break;
            }
        }
        count
    }

    /// Nothing of what was typed is read any more: `tcflush(3)`.
    pub(super) fn flush(&mut self) {
        self.line.clear();
        self.ready.clear();
        self.ends.clear();
        self.is_quoted = false;
    }

    /// Lines begin or end to be what is read: what is there stays.
    pub(super) fn switch(&mut self, to_lines: bool) {
        if to_lines {
            let loose = self.ready.len() - self.ends.iter().sum::<usize>();
            if loose > 0 {
                self.ends.push_back(loose);
            }
        } else {
            self.ready.extend(self.line.drain(..));
            self.ends.clear();
        }
    }

    /// A character is typed; what is echoed goes to `shown`. The signal it stands for.
    pub(super) fn type_in(&mut self, byte: u8, settings: &Settings, shown: &mut VecDeque<u8>) -> Option<i32> {
        let has = |flag: u32| settings.local & flag != 0;
        let mut byte = if settings.input & flag::ISTRIP != 0 { byte & 0x7f } else { byte };
        if std::mem::take(&mut self.is_quoted) {
            self.put(byte, settings, shown);
            return None;
        }
        let is = |index: usize| settings.characters[index] != 0 && byte == settings.characters[index];
        if settings.input & flag::IXON != 0 {
            if is(flag::VSTART) {
                self.is_held = false;
                return None;
            }
            if is(flag::VSTOP) {
                self.is_held = true;
                return None;
            }
            if self.is_held && settings.input & flag::IXANY != 0 {
                self.is_held = false;
            }
        }
        if has(flag::ISIG) {
            let signals = [(flag::VINTR, libc::SIGINT), (flag::VQUIT, libc::SIGQUIT), (flag::VSUSP, libc::SIGTSTP)];
            if let Some((_, signal)) = signals.into_iter().find(|&(index, _)| is(index)) {
                self.is_held = false;
                if !has(flag::NOFLSH) {
                    self.flush();
                    shown.clear();
                }
                self.echo(byte, settings, shown);
                return Some(signal);
            }
        }
        byte = match byte {
            b'\r' if settings.input & flag::IGNCR != 0 => return None,
            b'\r' if settings.input & flag::ICRNL != 0 => b'\n',
            b'\n' if settings.input & flag::INLCR != 0 => b'\r',
            byte => byte,
        };
        if !settings.has_lines() {
            if self.ready.len() < MOST {
                self.ready.push_back(byte);
            }
            self.echo(byte, settings, shown);
            return None;
        }
        let is = |index: usize| settings.characters[index] != 0 && byte == settings.characters[index];
        let extended = has(flag::IEXTEN);
        if is(flag::VERASE) {
            self.erase(settings, shown);
        } else if extended && is(flag::VWERASE) {
            while self.line.last().is_some_and(|byte| !is_word(*byte)) {
                self.erase(settings, shown);
            }
            while self.line.last().is_some_and(|byte| is_word(*byte)) {
                self.erase(settings, shown);
            }
        } else if is(flag::VKILL) {
            if has(flag::ECHOKE) && has(flag::ECHOE) {
                while !self.line.is_empty() {
                    self.erase(settings, shown);
                }
            } else {
                self.line.clear();
                self.echo(byte, settings, shown);
                if has(flag::ECHOK) && has(flag::ECHO) {
                    self.show(b"\n", settings, shown);
                }
            }
        } else if extended && is(flag::VLNEXT) {
            self.is_quoted = true;
            if has(flag::ECHO) && has(flag::ECHOCTL) {
                self.show(b"^\x08", settings, shown);
            }
        } else if extended && has(flag::ECHO) && is(flag::VREPRINT) {
            self.echo(byte, settings, shown);
            self.show(b"\n", settings, shown);
            self.margin = 0;
            for byte in self.line.clone() {
                self.echo(byte, settings, shown);
            }
        } else if is(flag::VEOF) {
            self.finish();
        } else if byte == b'\n' || is(flag::VEOL) || (extended && is(flag::VEOL2)) {
            self.line.push(byte);
            self.finish();
            if has(flag::ECHO) || (byte == b'\n' && has(flag::ECHONL)) {
                self.echo_plain(byte, settings, shown);
            }
        } else {
            self.put(byte, settings, shown);
        }
        None
    }

    /// A character that stands for itself.
    fn put(&mut self, byte: u8, settings: &Settings, shown: &mut VecDeque<u8>) {
        if !settings.has_lines() {
            if self.ready.len() < MOST {
                self.ready.push_back(byte);
            }
        } else if self.line.len() + self.ready.len() < MOST - 1 {
            if self.line.is_empty() {
                self.margin = self.column;
            }
            self.line.push(byte);
        } else {
            if settings.input & flag::IMAXBEL != 0 {
                self.show(b"\x07", settings, shown);
            }
            return;
        }
        self.echo(byte, settings, shown);
    }

    fn finish(&mut self) {
        self.ends.push_back(self.line.len());
        self.ready.extend(self.line.drain(..));
    }

    fn echo(&mut self, byte: u8, settings: &Settings, shown: &mut VecDeque<u8>) {
        if settings.local & flag::ECHO != 0 {
            self.echo_plain(byte, settings, shown);
        }
    }

    fn echo_plain(&mut self, byte: u8, settings: &Settings, shown: &mut VecDeque<u8>) {
        if is_control(byte) && settings.local & flag::ECHOCTL != 0 {
            self.show(&[b'^', byte ^ 0x40], settings, shown);
        } else {
            self.show(&[byte], settings, shown);
        }
    }

    /// Takes the last character back, from the line and from the screen.
    fn erase(&mut self, settings: &Settings, shown: &mut VecDeque<u8>) {
        let Some(mut byte) = self.line.pop() else { return };
        // Of a character of several bytes all go.
        while settings.input & flag::IUTF8 != 0 && byte & 0xc0 == 0x80 {
            let Some(before) = self.line.pop() else { break };
            byte = before;
        }
        if settings.local & flag::ECHO == 0 {
            return;
        }
        if settings.local & flag::ECHOE == 0 {
            let erases = settings.characters[flag::VERASE];
            return self.echo(erases, settings, shown);
        }
        let wide = settings.local & flag::ECHOCTL != 0;
        let advance = |column: usize, byte: u8| match byte {
            b'\t' => (column / 8 + 1) * 8,
            byte if is_control(byte) => column + if wide { 2 } else { 0 },
            byte if settings.input & flag::IUTF8 != 0 && byte & 0xc0 == 0x80 => column,
            _ => column + 1,
        };
        let before = self.line.iter().fold(self.margin, |column, &byte| advance(column, byte));
        for _ in before..advance(before, byte) {
            let steps: &[u8] = if byte == b'\t' { b"\x08" } else { b"\x08 \x08" };
            self.show(steps, settings, shown);
        }
    }

    /// Shows what a program writes, or an echo.
    pub(super) fn show(&mut self, bytes: &[u8], settings: &Settings, shown: &mut VecDeque<u8>) {
        let has = |flag: u32| settings.output & flag != 0;
        for &byte in bytes {
            if !has(flag::OPOST) {
                shown.push_back(byte);
                continue;
            }
            match byte {
                b'\n' if has(flag::ONLCR) => {
                    self.column = 0;
                    shown.extend(b"\r\n");
                }
                b'\n' if has(flag::ONLRET) => {
                    self.column = 0;
                    shown.push_back(byte);
                }
                b'\r' if has(flag::ONOCR) && self.column == 0 => {}
                b'\r' if has(flag::OCRNL) => {
                    self.column = if has(flag::ONLRET) { 0 } else { self.column };
                    shown.push_back(b'\n');
                }
                b'\r' => {
                    self.column = 0;
                    shown.push_back(byte);
                }
                b'\t' => {
                    let next = (self.column / 8 + 1) * 8;
                    if settings.output & flag::TABDLY == flag::XTABS {
                        shown.extend(std::iter::repeat_n(b' ', next - self.column));
                    } else {
                        shown.push_back(byte);
                    }
                    self.column = next;
                }
                8 => {
                    self.column = self.column.saturating_sub(1);
                    shown.push_back(byte);
                }
                byte => {
                    let continues = settings.input & flag::IUTF8 != 0 && byte & 0xc0 == 0x80;
                    self.column += usize::from(!is_control(byte) && !continues);
                    shown.push_back(byte);
                }
            }
        }
    }
}

fn is_control(byte: u8) -> bool {
    (byte < 32 && byte != b'\n' && byte != b'\t') || byte == 127
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tried(Discipline, Settings, VecDeque<u8>);

    impl Tried {
        fn new() -> Self {
            Tried(Discipline::default(), Settings::default(), VecDeque::new())
        }

        fn types(&mut self, text: &str) -> Vec<i32> {
            let Tried(discipline, settings, shown) = self;
            text.bytes().filter_map(|byte| discipline.type_in(byte, settings, shown)).collect()
        }

        fn reads(&mut self) -> String {
            let mut into = [0; 64];
            let count = self.0.take(&self.1, &mut into);
            String::from_utf8_lossy(&into[..count]).into_owned()
        }

        fn shows(&mut self) -> String {
            String::from_utf8_lossy(&self.2.drain(..).collect::<Vec<_>>()).into_owned()
        }
    }

    #[test]
    fn a_line_is_read_when_it_is_finished() {
        let mut tried = Tried::new();
        tried.types("one\rtwo");
        assert_eq!((tried.reads().as_str(), tried.shows().as_str()), ("one\n", "one\r\ntwo"));
        assert!(!tried.0.is_readable(&tried.1));
        tried.types("\x04\x04");
        assert_eq!([tried.reads(), tried.reads()], ["two", ""]);
    }

    #[test]
    fn characters_words_and_lines_are_erased() {
        let mut tried = Tried::new();
        tried.types("ab\x7fc one two\x17\n");
        assert_eq!(tried.reads(), "ac one \n");
        tried.types("gone\x15\x7f\x7fkept\n");
        assert_eq!(tried.reads(), "kept\n");
    }

    #[test]
    fn an_interrupt_empties_what_was_typed() {
        let mut tried = Tried::new();
        assert_eq!(tried.types("ab\nc\x03"), [libc::SIGINT]);
        assert_eq!((tried.reads().as_str(), tried.shows().as_str()), ("", "^C"));
        assert_eq!(tried.types("\x16\x03\n"), [0; 0]);
        assert_eq!(tried.reads(), "\x03\n");
    }

    #[test]
    fn what_is_typed_is_bounded_in_every_mode() {
        for lines in [true, false] {
            let mut tried = Tried::new();
            if !lines {
                tried.1.local = 0;
            }
            for _ in 0..3 * MOST {
                tried.types("x");
                tried.shows();
            }
            assert!(tried.0.line.len() + tried.0.ready.len() <= MOST);
        }
    }
}
