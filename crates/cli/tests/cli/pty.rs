//! A terminal made by a test, with a command in front of it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// How long something that has to come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal, and the command whose session it controls.
pub(crate) struct Pty {
    master: File,
    slave: File,
    child: Child,
    shown: String,
}

impl Pty {
    /// Runs a command in front of a terminal of this size.
    pub(crate) fn run(command: &Command, rows: u16, columns: u16) -> Self {
        Self::of(None, command, rows, columns)
    }

    /// The same with a terminal that belongs to this user.
    pub(crate) fn of(owner: Option<u32>, command: &Command, rows: u16, columns: u16) -> Self {
        let master = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx").unwrap();
        let (locked, mut number) = (0, 0_u32);
        // SAFETY: the kernel reads one `int` and writes one `unsigned int`, which outlive the calls.
        #[allow(unsafe_code, reason = "rustix offers this with a feature that nothing else here needs")]
        let set = unsafe {
            libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked)
                | libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number)
        };
        assert_eq!(set, 0);
        let path = format!("/dev/pts/{number}");
        let slave = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path).unwrap();
        let pty = |child| Pty { master, slave: slave.try_clone().unwrap(), child, shown: String::new() };
        let end = || slave.try_clone().unwrap();
        set_size(&slave, rows, columns);
        std::os::unix::fs::fchown(&slave, owner, None).unwrap();
        // A session of its own, which this terminal controls: setsid(1) of util-linux.
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            session.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            session.env(name, value.unwrap_or_default());
        }
        pty(session.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap())
    }

    /// Types a text.
    pub(crate) fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this is shown; everything up to it, since it was last waited.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown.find(text) {
                let rest = self.shown.split_off(at + text.len());
                return std::mem::replace(&mut self.shown, rest);
            }
            assert!(Instant::now() < until, "{text:?} is not shown: {:?}", self.shown);
            self.look();
        }
    }

    /// Waits until a shell of root or of anybody asks for a command: then the terminal is its.
    #[track_caller]
    pub(crate) fn shows_prompt(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.shown.ends_with("# ") && !self.shown.ends_with("$ ") {
            assert!(Instant::now() < until, "no prompt is shown: {:?}", self.shown);
            self.look();
        }
        self.shown.clear();
    }

    fn look(&mut self) {
        let mut ready = [PollFd::new(&self.master, PollFlags::IN)];
        let soon = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if poll(&mut ready, Some(&soon)).unwrap() > 0 {
            let mut bytes = [0; 4096];
            let count = self.master.read(&mut bytes).unwrap();
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    /// Another size; what runs in front of the terminal is told.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.slave, rows, columns);
    }

    /// What the terminal is set to.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(&self.slave).unwrap()
    }

    /// Whether it takes lines and shows what is typed, as a shell's terminal does.
    pub(crate) fn is_as_before(&self) -> bool {
        use rustix::termios::{InputModes, LocalModes, OutputModes};
        let found = self.settings();
        found.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
            && found.output_modes.contains(OutputModes::OPOST)
            && found.input_modes.contains(InputModes::ICRNL)
    }

    /// Its device number.
    pub(crate) fn mode(&self) -> u32 {
        std::os::unix::fs::MetadataExt::mode(&self.slave.metadata().unwrap())
    }

    pub(crate) fn device(&self) -> u64 {
        rustix::fs::fstat(&self.slave).unwrap().st_rdev
    }

    /// Sends a signal to the command.
    pub(crate) fn signal(&self, signal: Signal) {
        // `setsid` leads no group of processes here, so it became the command and did not fork.
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the command ends; its status, and what was shown since it was last waited.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> (Option<i32>, String) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.look();
                return (status.code(), std::mem::take(&mut self.shown));
            }
            assert!(Instant::now() < until, "it does not end: {:?}", self.shown);
            self.look();
        }
    }
}

fn set_size(terminal: &File, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
