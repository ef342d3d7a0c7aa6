//! What a monitor says and is told, as bytes: written by hand, for a bad one follows no rules.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) fn receive_parcel(parcels: &UnixStream, flags: RecvFlags) -> Vec<OwnedFd> {
    let mut word = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(parcels, &mut [IoSliceMut::new(&mut word)], &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC)
        .expect("a parcel");
    ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect()
}

pub(crate) fn send(line: &mut UnixStream, bytes: &[u8]) {
    let frame = [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    if line.write_all(&frame).is_err() {
        std::process::exit(0);
    }
}

pub(crate) fn receive(line: &mut UnixStream) -> Vec<u8> {
    let mut head = [0; 4];
    if line.read_exact(&mut head).is_err() {
        std::process::exit(0);
    }
    let mut bytes = vec![0; u32::from_le_bytes(head) as usize];
    line.read_exact(&mut bytes).expect("a frame");
    bytes
}

pub(crate) fn call(line: &mut UnixStream, bytes: &[u8]) -> Vec<u8> {
    let number = NUMBER.fetch_add(1, Relaxed);
    send(line, &[&[1_u8][..], &varint(u64::from(number)), bytes].concat());
    receive(line)
}

/// The number of the error as text, `ok` or `later`.
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
pub(crate) fn ended(line: &mut UnixStream, what: &str) -> ! {
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
