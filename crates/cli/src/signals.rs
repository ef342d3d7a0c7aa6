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

/// The name of a signal.
pub(crate) fn name(signal: i32) -> String {
    match signal {
        INTERRUPT => "SIGINT".into(),
        TERMINATE => "SIGTERM".into(),
        HANGUP => "SIGHUP".into(),
        QUIT => "SIGQUIT".into(),
        other => format!("signal {other}"),
    }
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
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(parse_ignored("Name:\tx\nSigIgn:\t0000000000001001\n"), Some(0x1001));
        assert_eq!(parse_ignored("Name:\tx\n"), None);
    }
}
