//! How a terminal behaves: `struct termios` of the kernel.

/// The flags and places of `termios(3)` that mean something here.
pub(super) mod flag {
    pub(in super::super) const ISTRIP: u32 = 0o40;
    pub(in super::super) const INLCR: u32 = 0o100;
    pub(in super::super) const IGNCR: u32 = 0o200;
    pub(in super::super) const ICRNL: u32 = 0o400;
    pub(in super::super) const IXON: u32 = 0o2000;
    pub(in super::super) const IXANY: u32 = 0o4000;
    pub(in super::super) const IMAXBEL: u32 = 0o20000;
    pub(in super::super) const IUTF8: u32 = 0o40000;
    pub(in super::super) const OPOST: u32 = 0o1;
    pub(in super::super) const ONLCR: u32 = 0o4;
    pub(in super::super) const OCRNL: u32 = 0o10;
    pub(in super::super) const ONOCR: u32 = 0o20;
    pub(in super::super) const ONLRET: u32 = 0o40;
    pub(in super::super) const TABDLY: u32 = 0o14000;
    pub(in super::super) const XTABS: u32 = 0o14000;
    pub(in super::super) const ISIG: u32 = 0o1;
    pub(in super::super) const ICANON: u32 = 0o2;
    pub(in super::super) const ECHO: u32 = 0o10;
    pub(in super::super) const ECHOE: u32 = 0o20;
    pub(in super::super) const ECHOK: u32 = 0o40;
    pub(in super::super) const ECHONL: u32 = 0o100;
    pub(in super::super) const NOFLSH: u32 = 0o200;
    pub(in super::super) const TOSTOP: u32 = 0o400;
    pub(in super::super) const ECHOCTL: u32 = 0o1000;
    pub(in super::super) const ECHOKE: u32 = 0o4000;
    pub(in super::super) const IEXTEN: u32 = 0o100000;
    pub(in super::super) const VINTR: usize = 0;
    pub(in super::super) const VQUIT: usize = 1;
    pub(in super::super) const VERASE: usize = 2;
    pub(in super::super) const VKILL: usize = 3;
    pub(in super::super) const VEOF: usize = 4;
    pub(in super::super) const VTIME: usize = 5;
    pub(in super::super) const VMIN: usize = 6;
    pub(in super::super) const VSTART: usize = 8;
    pub(in super::super) const VSTOP: usize = 9;
    pub(in super::super) const VSUSP: usize = 10;
    pub(in super::super) const VEOL: usize = 11;
    pub(in super::super) const VREPRINT: usize = 12;
    pub(in super::super) const VWERASE: usize = 14;
    pub(in super::super) const VLNEXT: usize = 15;
    pub(in super::super) const VEOL2: usize = 16;
}

/// How long `struct termios` is, and `struct termios2` with its speeds.
pub(super) const SHORT: usize = 36;
pub(super) const LONG: usize = 44;

/// How a terminal behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) input: u32,
    pub(super) output: u32,
    pub(super) control: u32,
    pub(super) local: u32,
    pub(super) line: u8,
    pub(super) characters: [u8; 19],
    speeds: [u32; 2],
}

impl Default for Settings {
    /// As Linux begins.
    fn default() -> Self {
        let characters = [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0];
        Settings {
            input: flag::ICRNL | flag::IXON,
            output: flag::OPOST | flag::ONLCR,
            control: 0xbf,
            local: 0x8a3b,
            line: 0,
            characters,
            speeds: [38400; 2],
        }
    }
}

impl Settings {
    /// Whether lines are read: `ICANON`.
    pub(super) fn has_lines(&self) -> bool {
        self.local & flag::ICANON != 0
    }

    pub(super) fn bytes(&self) -> [u8; LONG] {
        let mut bytes = [0; LONG];
        for (at, word) in [(0, self.input), (4, self.output), (8, self.control), (12, self.local)] {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes[16] = self.line;
        bytes[17..36].copy_from_slice(&self.characters);
        bytes[36..40].copy_from_slice(&self.speeds[0].to_le_bytes());
        bytes[40..].copy_from_slice(&self.speeds[1].to_le_bytes());
        bytes
    }

    /// What a program wrote down; without speeds they stay.
    pub(super) fn read(&self, bytes: &[u8]) -> Settings {
        let word =
            |at: usize| bytes.get(at..at + 4).map(|part| u32::from_le_bytes([part[0], part[1], part[2], part[3]]));
        let mut characters = self.characters;
        if let Some(found) = bytes.get(17..36) {
            characters.copy_from_slice(found);
        }
        Settings {
            input: word(0).unwrap_or(self.input),
            output: word(4).unwrap_or(self.output),
            control: word(8).unwrap_or(self.control),
            local: word(12).unwrap_or(self.local),
            line: bytes.get(16).copied().unwrap_or(self.line),
            characters,
            speeds: [word(36).unwrap_or(self.speeds[0]), word(40).unwrap_or(self.speeds[1])],
        }
    }
}
