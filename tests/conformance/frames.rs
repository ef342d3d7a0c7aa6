//! What a runner and a monitor say and are told, as bytes: written by hand, for a bad one follows no rules.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A way to the supervisor.
pub(crate) trait Line {
    /// Whether anybody took this frame.
    fn pass(&mut self, frame: &[u8]) -> bool;

    /// What is in the frame that comes next; `None` when none does.
    fn take(&mut self) -> Option<Vec<u8>>;
}

impl Line for UnixStream {
    fn pass(&mut self, frame: &[u8]) -> bool {
        self.write_all(frame).is_ok()
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 4];
        self.read_exact(&mut head).ok()?;
        let mut bytes = vec![0; u32::from_le_bytes(head) as usize];
        self.read_exact(&mut bytes).expect("a frame");
        Some(bytes)
    }
}

/// Without a supervisor there is nothing left to do.
pub(crate) fn send(line: &mut impl Line, bytes: &[u8]) {
    let frame = [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    if !line.pass(&frame) {
        std::process::exit(0);
    }
}

pub(crate) fn receive(line: &mut impl Line) -> Vec<u8> {
    line.take().unwrap_or_else(|| std::process::exit(0))
}

/// What is answered to a call.
pub(crate) fn call(line: &mut impl Line, bytes: &[u8]) -> Vec<u8> {
    let number = NUMBER.fetch_add(1, Relaxed);
    send(line, &[&[1_u8][..], &varint(u64::from(number)), bytes].concat());
    receive(line)
}

/// An answer as text: the number of its error, `ok` or `later`.
pub(crate) fn outcome(answer: &[u8]) -> String {
    match answer {
        // Now(Answered { result: Err(zigzag of the number), .. })
        [1, 1, error, ..] => format!("[{}]", error / 2),
        [1, 0, ..] => "ok".into(),
        [2] => "later".into(),
        other => format!("{other:?}"),
    }
}

/// Ended { end: Trapped(text), fuel: 0 }
pub(crate) fn ended(line: &mut impl Line, what: &str) -> ! {
    send(line, &[&[5_u8, 5][..], &text(what), &[0]].concat());
    std::process::exit(0)
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [varint(text.len() as u64), text.as_bytes().to_vec()].concat()
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
