//! The signals that are passed on to the capsule.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read};
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

const INTERRUPT: i32 = 2;
const QUIT: i32 = 3;
const HANGUP: i32 = 1;
const TERMINATE: i32 = 15;

/// The signals that end a program when nobody catches them, caught.
pub(crate) struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// Catches them from now on, those excepted that this process was told to ignore: by `nohup(1)`,
    /// or by a shell that started it in the background.
    pub(crate) fn catch() -> io::Result<Self> {
        let ignored = ignored();
        let wanted = [INTERRUPT, TERMINATE, HANGUP, QUIT];
        wanted
            .into_iter()
            .filter(|number| ignored & (1 << (number - 1)) == 0)
            .map(|number| Ok((number, signal(SignalKind::from_raw(number))?)))
            .collect::<io::Result<_>>()
            .map(Signals)
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> i32 {
        poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The standard signals of Linux in the order of their numbers (`signal(7)`, on x86 and ARM), from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The name of a signal.
pub(crate) fn name(signal: i32) -> String {
    let index = usize::try_from(signal).ok().and_then(|number| number.checked_sub(1));
    match index.and_then(|index| NAMES.get(index)) {
        Some(name) => format!("SIG{name}"),
        None => format!("signal {signal}"),
    }
}

/// The signal of a name, with or without SIG, or of a number.
pub(crate) fn parse(text: &str) -> Result<i32, String> {
    if let Ok(number) = text.parse() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err("signals have numbers from 1 to 64".into()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let found = NAMES.iter().zip(1..).find(|(known, _)| **known == name);
    found.map(|(_, number)| number).ok_or_else(|| format!("no signal has this name; there are {}", NAMES.join(", ")))
}

/// The signals that this process ignores, as a mask: `SigIgn` of `/proc/self/status`, `proc(5)`.
fn ignored() -> u64 {
    // Sized so that one read takes it all: the kernel makes the text anew for each.
    let mut status = String::with_capacity(8192);
    let read = File::open("/proc/self/status").and_then(|file| file.take(8191).read_to_string(&mut status));
    read.ok().and_then(|_| parse_ignored(&status)).unwrap_or(0)
}

fn parse_ignored(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!([1, 9, 15, 31, 40].map(name), ["SIGHUP", "SIGKILL", "SIGTERM", "SIGSYS", "signal 40"]);
        assert_eq!(["TERM", "sigterm", "15"].map(parse), [Ok(15), Ok(15), Ok(15)]);
        assert!(["0", "65", "NONE", "", "-1"].into_iter().all(|text| parse(text).is_err()));
    }

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(parse_ignored("Name:\tx\nSigIgn:\t0000000000001001\n"), Some(0x1001));
        assert_eq!(parse_ignored("Name:\tx\n"), None);
    }
}
