//! `sendmsg(2)`, `recvmsg(2)` and several at once; `cmsg(3)`: descriptors on their way.

use std::sync::Arc;

use rustix::io::Errno;

use super::super::open::Open;
use super::super::reading::{held, parts};
use super::super::thread::Thread;
use super::super::{Answer, Arguments, int, time};
use super::address;
use super::calls::{receive, send, socket_of};
use super::credentials::Who;
use super::link::Beside;
use super::{MOST, Socket};
use crate::memory::Space;

/// How many descriptors travel with one message: `SCM_MAX_FD`.
const DESCRIPTORS: usize = 253;
/// How many messages `sendmmsg(2)` takes: `UIO_MAXIOV`.
const MESSAGES: u64 = 1024;
/// The size of a `struct mmsghdr`.
const EACH: u64 = 64;
/// The size of a `struct cmsghdr`.
const HEAD: usize = 16;
/// How long the control messages of one call may be: `optmem_max` of `socket(7)`.
const CONTROL: u64 = 20480;

/// A `struct msghdr`, copied.
struct Header {
    name: u64,
    name_length: u32,
    parts: Vec<(u64, u64)>,
    control: u64,
    control_length: u64,
}

impl Header {
    fn read(thread: &Thread, space: &Space, at: u64) -> Result<Header, Errno> {
        let mut words = [0; 6];
        for (index, word) in words.iter_mut().enumerate() {
            *word = space.read_u64(at.wrapping_add(index as u64 * 8))?;
        }
        let [name, name_length, at, count, control, control_length] = words;
        if name != 0 && (name_length as i32) < 0 {
            return Err(Errno::INVAL);
        }
        if count > MESSAGES {
            return Err(Errno::MSGSIZE);
        }
        let parts = parts(thread, at, count)?;
        Ok(Header { name, name_length: name_length as u32, parts, control, control_length })
    }

    /// How many bytes its parts hold, of what one call moves.
    fn length(&self) -> usize {
        let total = self.parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.1));
        total.min(MOST as u64) as usize
    }
}

/// What lies in parts, in one.
pub(in crate::personality) fn gather(space: &Space, parts: &[(u64, u64)], most: usize) -> Result<Vec<u8>, Errno> {
    let mut content = Vec::new();
    for &(at, length) in parts {
        let length = length.min((most - content.len()) as u64) as usize;
        let start = content.len();
        content.resize(start + length, 0);
        space.read(at, &mut content[start..])?;
    }
    Ok(content)
}

/// Puts content into parts.
pub(in crate::personality) fn scatter(space: &Space, parts: &[(u64, u64)], mut content: &[u8]) -> Result<(), Errno> {
    for &(at, length) in parts {
        let (now, rest) = content.split_at(content.len().min(usize::try_from(length).unwrap_or(usize::MAX)));
        space.write(at, now)?;
        content = rest;
    }
    Ok(())
}

/// What a control message says goes with the bytes.
fn beside(thread: &Thread, space: &Space, header: &Header) -> Result<Beside, Errno> {
    let mut opens = Vec::new();
    let mut beside = Beside::of(thread);
    if header.control_length > CONTROL {
        return Err(Errno::NOBUFS);
    }
    if header.control == 0 || header.control_length < 16 {
        return Ok(beside);
    }
    let mut bytes = vec![0; header.control_length as usize];
    space.read(header.control, &mut bytes)?;
    let own = thread.process.descriptors();
    let mut rest = &bytes[..];
    while let Some((head, _)) = rest.split_first_chunk::<16>() {
        let number = |at: usize| i32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = number(0).unsigned_abs() as usize;
        let data = rest.get(16..length).ok_or(Errno::INVAL)?;
        match (number(8), number(12)) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for part in data.chunks_exact(4) {
                    opens.push(own.get(i32::from_le_bytes([part[0], part[1], part[2], part[3]]))?);
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => beside.who = Who::claimed(thread, data)?,
            (libc::SOL_SOCKET, _) => return Err(Errno::INVAL),
            // Another level's.
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    if opens.len() > DESCRIPTORS {
        return Err(Errno::INVAL);
    }
    beside.opens = opens;
    Ok(beside)
}

fn send_one(thread: &Thread, open: &Open, at: u64, flags: u64) -> Answer {
    let space = thread.process.space()?;
    let header = Header::read(thread, &space, at)?;
    let beside = match socket_of(open)? {
        Socket::Unix(_) => beside(thread, &space, &header)?,
        Socket::Internet(_) | Socket::Netlink(_) => Beside::default(),
    };
    let content = gather(&space, &header.parts, header.length())?;
    let _held = held(thread, open, content.len())?;
    let to = match header.name {
        0 => None,
        _ if header.name_length == 0 => None,
        at => Some(address::read(&space, at, header.name_length.into())?),
    };
    send(thread, open, &content, beside, to, flags)
}

/// `sendmsg(2)`
pub(in crate::personality) fn sendmsg(thread: &mut Thread, [number, at, flags, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    send_one(thread, &open, at, flags)
}

/// `sendmmsg(2)`
pub(in crate::personality) fn sendmmsg(thread: &mut Thread, [number, at, count, flags, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    let space = thread.process.space()?;
    let mut done = 0;
    while done < (count as u32 as u64).min(MESSAGES) {
        let here = at.wrapping_add(done * EACH);
        match send_one(thread, &open, here, flags) {
            Ok(sent) => space.write_u32(here.wrapping_add(56), sent as u32)?,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        done += 1;
    }
    Ok(done)
}

fn receive_one(thread: &Thread, open: &Open, at: u64, flags: u64) -> Answer {
    let space = thread.process.space()?;
    let header = Header::read(thread, &space, at)?;
    for &(at, length) in &header.parts {
        // Found out before anything is taken, which could not be given back.
        space.writable(at, length.min(MOST as u64))?;
    }
    let mut content = vec![0; header.length()];
    let got = receive(thread, open, &mut content, flags)?;
    scatter(&space, &header.parts, &content[..got.count])?;
    let mut said = if got.whole > got.count && !got.stream { libc::MSG_TRUNC } else { 0 };
    if header.name != 0 {
        let room = got.from.len().min(header.name_length as usize);
        if room > 0 {
            space.write(header.name, &got.from[..room])?;
        }
        space.write_u32(at.wrapping_add(8), got.from.len() as u32)?;
    }
    let close_on_exec = int(flags) & libc::MSG_CMSG_CLOEXEC;
    said |= close_on_exec;
    let (count, whole) = (got.count, got.whole);
    let is_whole = int(flags) & libc::MSG_TRUNC != 0 && !got.stream;
    let (control, is_cut) = give(thread, &space, &header, got.who, got.opens, close_on_exec != 0)?;
    if is_cut {
        said |= libc::MSG_CTRUNC;
    }
    space.write_u64(at.wrapping_add(40), control)?;
    space.write_u32(at.wrapping_add(48), said as u32)?;
    Ok(if is_whole { whole } else { count } as u64)
}

/// Gives a process who sent something, if it wants to know, and the descriptors that came: the length of the control
/// messages, and whether some did not fit.
fn give(
    thread: &Thread,
    space: &Space,
    header: &Header,
    who: Option<Who>,
    opens: Vec<Arc<Open>>,
    close_on_exec: bool,
) -> Result<(u64, bool), Errno> {
    let room = if header.control == 0 { 0 } else { header.control_length.min(CONTROL) };
    let (mut bytes, mut is_cut) = (Vec::new(), false);
    if let Some(who) = who {
        is_cut |= put(&mut bytes, room, libc::SCM_CREDENTIALS, &who.to_bytes());
    }
    if !opens.is_empty() {
        let most = (room as usize).saturating_sub(bytes.len() + HEAD) / 4;
        let own = thread.process.descriptors();
        let mut numbers = Vec::new();
        is_cut |= opens.len() > most;
        for open in opens.into_iter().take(most) {
            match own.add(open, 0, close_on_exec) {
                Ok(number) => numbers.extend((number as u32).to_le_bytes()),
                // There is no room for it in the table: it is lost, as on Linux.
                Err(_) => {
                    is_cut = true;
                    break;
                }
            }
        }
        if !numbers.is_empty() {
            is_cut |= put(&mut bytes, room, libc::SCM_RIGHTS, &numbers);
        }
    }
    if !bytes.is_empty() {
        space.write(header.control, &bytes)?;
    }
    Ok((bytes.len() as u64, is_cut))
}

/// Appends a control message of the sockets' own level, as far as there is room; whether it was cut.
fn put(bytes: &mut Vec<u8>, room: u64, kind: i32, data: &[u8]) -> bool {
    let left = (room as usize).saturating_sub(bytes.len());
    if left < HEAD {
        return true;
    }
    let length = (HEAD + data.len()).min(left);
    let start = bytes.len();
    bytes.extend((length as u64).to_le_bytes());
    bytes.extend(libc::SOL_SOCKET.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(&data[..length - HEAD]);
    bytes.resize(start + length.next_multiple_of(8).min(left), 0);
    length < HEAD + data.len()
}

/// `recvmsg(2)`
pub(in crate::personality) fn recvmsg(thread: &mut Thread, [number, at, flags, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    socket_of(&open)?;
    receive_one(thread, &open, at, flags)
}

/// `recvmmsg(2)`
pub(in crate::personality) fn recvmmsg(thread: &mut Thread, [number, at, count, flags, left, _]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    socket_of(&open)?;
    let until = if left == 0 { None } else { time::after(thread.duration(left)?) };
    let space = thread.process.space()?;
    let mut done = 0;
    while done < (count as u32 as u64).min(MESSAGES) {
        let here = at.wrapping_add(done * EACH);
        let is_late = until.is_some_and(|until| until <= std::time::Instant::now());
        let once = done > 0 && (int(flags) & libc::MSG_WAITFORONE != 0 || is_late);
        let flags = if once { flags | libc::MSG_DONTWAIT as u64 } else { flags };
        match receive_one(thread, &open, here, flags & !(libc::MSG_WAITFORONE as u64)) {
            Ok(count) => space.write_u32(here.wrapping_add(56), count as u32)?,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        done += 1;
    }
    Ok(done)
}
