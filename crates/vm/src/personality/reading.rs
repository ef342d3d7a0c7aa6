//! Reading and writing: `read(2)`, `write(2)`, `pread(2)`, `readv(2)`, `lseek(2)`, …

use ringfence_abi::Call;
use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::lock;
use super::socket::message::{gather, scatter};
use super::thread::Thread;
use super::{Answer, Arguments, int};
use crate::kvm::Kept;
use crate::words::u64_at;

/// How much one call moves at most; the rest is for the next one.
pub(super) const MOST: u64 = 1 << 20;
/// How many parts `readv(2)` takes: `IOV_MAX`.
const PARTS: u64 = 1024;

/// And of what has places, where nobody expects less than all of it: `MAX_RW_COUNT`.
const WHOLE: u64 = 0x7fff_f000;
/// What is less than this is all there was, or all there was room for.
const PART: u64 = 256 << 10;

/// Moves it in parts, as long as each is moved whole.
fn in_parts(
    thread: &Thread,
    open: &Open,
    (at, length, offset): (u64, u64, Option<u64>),
    part: impl Fn(u64, u64, Option<u64>) -> Answer,
) -> Answer {
    let whole = length.min(if open.has_position() { WHOLE } else { MOST });
    let mut done = part(at, whole.min(MOST), offset)?;
    let mut last = done;
    while done < whole && last >= PART && !thread.is_interrupted() {
        match part(at.wrapping_add(done), (whole - done).min(MOST), offset.map(|offset| offset + done)) {
            Ok(count) => (done, last) = (done + count, count),
            // It is told of when it is met again.
            Err(_) => break,
        }
    }
    Ok(done)
}

fn read_into(thread: &Thread, open: &Open, at: u64, length: u64, offset: Option<u64>) -> Answer {
    in_parts(thread, open, (at, length, offset), |at, length, offset| read_part(thread, open, at, length, offset))
}

fn write_from(thread: &Thread, open: &Open, at: u64, length: u64, offset: Option<u64>) -> Answer {
    in_parts(thread, open, (at, length, offset), |at, length, offset| write_part(thread, open, at, length, offset))
}

fn read_part(thread: &Thread, open: &Open, at: u64, length: u64, offset: Option<u64>) -> Answer {
    open.check_access(false)?;
    let space = thread.process.space()?;
    // Found out before anything is read, which could not be given back.
    let length = match space.writable(at, length.min(MOST)) {
        Err(_) if open.is_folder() => return Err(Errno::ISDIR),
        // At the end nothing is written there.
        Err(_) if open.is_at_end(offset) => return Ok(0),
        other => other?,
    };
    let mut content = vec![0; length];
    let count = match offset {
        None => open.read(thread, &mut content)?,
        Some(offset) => {
            open.renew(thread, offset);
            open.read_at(offset, &mut content)?
        }
    };
    space.write(at, &content[..count])?;
    if count > 0 {
        open.happened(libc::IN_ACCESS);
    }
    Ok(count as u64)
}

/// What is not many bytes.
const FEW: usize = 64 << 10;

/// Counts the bytes that a call has copied for as long as it may wait with them, when they are many.
pub(super) fn held(thread: &Thread, open: &Open, bytes: usize) -> Result<Option<Kept>, Errno> {
    if bytes <= FEW || open.has_position() {
        return Ok(None);
    }
    let kept = Kept::of(&thread.world.machine, bytes);
    thread.world.may_keep(0).map(|()| Some(kept))
}

fn write_part(thread: &Thread, open: &Open, at: u64, length: u64, offset: Option<u64>) -> Answer {
    open.check_access(true)?;
    let space = thread.process.space()?;
    let length = thread.may_write(open, offset, length.min(MOST))?;
    let length = space.readable(at, length)?;
    let _held = held(thread, open, length)?;
    let mut content = vec![0; length];
    space.read(at, &mut content)?;
    let count = match offset {
        None => open.write(thread, &content)?,
        // Linux appends all the same: `pwrite(2)`, "Bugs".
        Some(_) if open.appends() => {
            let before = *lock(&open.position);
            let count = open.write(thread, &content);
            *lock(&open.position) = before;
            count?
        }
        Some(offset) => open.write_at(offset, &content)?,
    };
    if count > 0 {
        open.happened(libc::IN_MODIFY);
    }
    Ok(count as u64)
}

/// An offset, which is not negative.
pub(super) fn offset(argument: u64) -> Result<u64, Errno> {
    if argument as i64 >= 0 { Ok(argument) } else { Err(Errno::INVAL) }
}

/// `read(2)`
pub(super) fn read(thread: &mut Thread, [number, at, length, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    read_into(thread, &open, at, length, None)
}

/// `write(2)`
pub(super) fn write(thread: &mut Thread, [number, at, length, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    write_from(thread, &open, at, length, None)
}

/// What a descriptor stands for, if it has places to read and write at.
fn seekable(thread: &Thread, number: u64) -> Result<std::sync::Arc<Open>, Errno> {
    let open = thread.process.descriptors().file(int(number))?;
    if open.has_position() { Ok(open) } else { Err(Errno::SPIPE) }
}

/// `pread(2)`
pub(super) fn pread(thread: &mut Thread, [number, at, length, from, ..]: Arguments) -> Answer {
    let asked = thread.process.descriptors().file(int(number));
    if asked.is_ok_and(|asked| super::asking::is_asked(thread, &asked)) {
        return super::asking::ask(thread, at, length);
    }
    // Before the descriptor.
    let place = offset(from)?;
    let open = seekable(thread, number)?;
    read_into(thread, &open, at, length, Some(place))
}

/// `pwrite(2)`
pub(super) fn pwrite(thread: &mut Thread, [number, at, length, to, ..]: Arguments) -> Answer {
    let place = offset(to)?;
    let open = seekable(thread, number)?;
    write_from(thread, &open, at, length, Some(place))
}

/// The parts of `readv(2)`, copied.
pub(super) fn parts(thread: &Thread, at: u64, count: u64) -> Result<Vec<(u64, u64)>, Errno> {
    if count > PARTS {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; count as usize * 16];
    thread.process.space()?.read(at, &mut bytes)?;
    let parts: Vec<(u64, u64)> = bytes.chunks_exact(16).map(|part| (u64_at(part, 0), u64_at(part, 8))).collect();
    let total = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.1));
    if total.is_none_or(|total| total > i64::MAX as u64) { Err(Errno::INVAL) } else { Ok(parts) }
}

fn each_part(
    thread: &mut Thread,
    [_, at, count, ..]: Arguments,
    mut position: Option<u64>,
    step: impl Fn(&Thread, u64, u64, Option<u64>) -> Answer,
) -> Answer {
    let mut done = 0;
    for (at, length) in parts(thread, at, count)? {
        if length == 0 {
            continue;
        }
        match step(thread, at, length, position) {
            Ok(count) => {
                done += count;
                position = position.map(|position| position + count);
                if count < length {
                    break;
                }
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// `readv(2)`
pub(super) fn readv(thread: &mut Thread, arguments: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(arguments[0]))?;
    open.check_access(false)?;
    if !open.has_position() {
        let parts = parts(thread, arguments[1], arguments[2])?;
        let space = thread.process.space()?;
        let mut room = 0;
        for &(at, length) in &parts {
            room += space.writable(at, length.min(MOST))?;
        }
        let mut content = vec![0; room.min(MOST as usize)];
        let count = open.read(thread, &mut content)?;
        scatter(&space, &parts, &content[..count])?;
        return Ok(count as u64);
    }
    each_part(thread, arguments, None, |thread, at, length, to| read_into(thread, &open, at, length, to))
}

/// `writev(2)`
pub(super) fn writev(thread: &mut Thread, arguments: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(arguments[0]))?;
    open.check_access(true)?;
    if !open.has_position() {
        // At once: it may be one datagram.
        let parts = parts(thread, arguments[1], arguments[2])?;
        let content = gather(&*thread.process.space()?, &parts, MOST as usize)?;
        let _held = held(thread, &open, content.len())?;
        return open.write(thread, &content).map(|count| count as u64);
    }
    each_part(thread, arguments, None, |thread, at, length, to| write_from(thread, &open, at, length, to))
}

/// `preadv2(2)`: flags that only say how fast are ignored, the others are not there.
pub(super) fn preadv2(thread: &mut Thread, arguments: Arguments) -> Answer {
    check_file(thread, arguments, false)?;
    check_flags(arguments[5])?;
    if arguments[3] as i64 == -1 { readv(thread, arguments) } else { preadv(thread, arguments) }
}

/// `pwritev2(2)`
pub(super) fn pwritev2(thread: &mut Thread, arguments: Arguments) -> Answer {
    let [number, _, _, offset, _, flags] = arguments;
    check_file(thread, arguments, true)?;
    check_flags(flags & !(libc::RWF_APPEND as u64))?;
    if flags & libc::RWF_APPEND as u64 != 0 {
        // As if it had been opened so; the position moves only when it is the one that is used.
        let open = thread.process.descriptors().file(int(number))?;
        let before = (open.flags(), *lock(&open.position));
        open.set_flags(before.0 | libc::O_APPEND as u32);
        let answer = writev(thread, arguments);
        open.set_flags(before.0);
        if offset as i64 != -1 {
            *lock(&open.position) = before.1;
        }
        return answer;
    }
    if arguments[3] as i64 == -1 { writev(thread, arguments) } else { pwritev(thread, arguments) }
}

/// What is wrong before the flags are looked at.
fn check_file(thread: &Thread, arguments: Arguments, write: bool) -> Result<(), Errno> {
    let [number, at, count, place, ..] = arguments;
    if place as i64 != -1 {
        offset(place)?;
        seekable(thread, number)?;
    }
    thread.process.descriptors().file(int(number))?.check_access(write)?;
    parts(thread, at, count).map(drop)
}

fn check_flags(flags: u64) -> Result<(), Errno> {
    let known = libc::RWF_HIPRI | libc::RWF_DSYNC | libc::RWF_SYNC | libc::RWF_NOWAIT;
    if flags & !(known as u64) == 0 { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

/// `preadv(2)`
pub(super) fn preadv(thread: &mut Thread, arguments: Arguments) -> Answer {
    let from = Some(offset(arguments[3])?);
    let open = seekable(thread, arguments[0])?;
    open.check_access(false)?;
    each_part(thread, arguments, from, |thread, at, length, to| read_into(thread, &open, at, length, to))
}

/// `pwritev(2)`
pub(super) fn pwritev(thread: &mut Thread, arguments: Arguments) -> Answer {
    let to = Some(offset(arguments[3])?);
    let open = seekable(thread, arguments[0])?;
    open.check_access(true)?;
    each_part(thread, arguments, to, |thread, at, length, to| write_from(thread, &open, at, length, to))
}

/// `lseek(2)`
pub(super) fn lseek(thread: &mut Thread, [number, by, whence, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    if !(libc::SEEK_SET..=libc::SEEK_HOLE).contains(&int(whence)) {
        return Err(Errno::INVAL);
    }
    if !open.has_position() {
        return Err(Errno::SPIPE);
    }
    if matches!(open.kind, Kind::Device(_)) {
        return Ok(0);
    }
    let by = by as i64;
    let mut position = lock(&open.position);
    let from = match int(whence) {
        libc::SEEK_SET => 0,
        libc::SEEK_CUR => *position,
        libc::SEEK_END => open.size()?,
        // Of files that are not in memory, everything is content.
        libc::SEEK_DATA | libc::SEEK_HOLE => {
            let (size, at) = (open.size()?, offset(by as u64).map_err(|_| Errno::NXIO)?);
            if at >= size {
                return Err(Errno::NXIO);
            }
            if let Kind::Memory(node) = &open.kind {
                *position = node.content()?.seek(at, int(whence) == libc::SEEK_DATA).ok_or(Errno::NXIO)?;
                return Ok(*position);
            }
            *position = if int(whence) == libc::SEEK_DATA { at } else { size };
            return Ok(*position);
        }
        _ => return Err(Errno::INVAL),
    };
    let to = from.checked_add_signed(by).filter(|&to| to <= i64::MAX as u64).ok_or(Errno::INVAL)?;
    *position = to;
    Ok(to)
}

/// `ftruncate(2)`
pub(super) fn ftruncate(thread: &mut Thread, [number, size, ..]: Arguments) -> Answer {
    let size = offset(size)?;
    let open = thread.process.descriptors().file(int(number))?;
    if size > open.size()? {
        thread.may_be_long(size)?;
    }
    open.set_size(size)?;
    open.happened(libc::IN_MODIFY);
    Ok(0)
}

/// `fsync(2)`, `fdatasync(2)`
pub(super) fn fsync(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    match open.kind {
        Kind::Memory(_) | Kind::MemoryFolder(_) => Ok(0),
        Kind::File(handle) | Kind::Folder(handle, _) => {
            if let Some(pages) = thread.world.shared.of(&open) {
                pages.write_back()?;
            }
            thread.world.call(Call::Sync { handle, metadata: true }).map(|_| 0)
        }
        _ => Err(Errno::INVAL),
    }
}

/// `fadvise64(2)`: advice that is not taken.
pub(super) fn fadvise(thread: &mut Thread, [number, _, length, advice, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    match advice {
        _ if !open.has_position() => Err(Errno::SPIPE),
        _ if (length as i64) < 0 => Err(Errno::INVAL),
        0..=5 => Ok(0),
        _ => Err(Errno::INVAL),
    }
}

/// `readahead(2)`: nothing is read before it is asked for.
pub(super) fn readahead(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    match open.kind {
        _ if open.check_access(false).is_err() => Err(Errno::BADF),
        Kind::File(_) | Kind::Memory(_) | Kind::System(_) => Ok(0),
        _ => Err(Errno::INVAL),
    }
}

/// `sync_file_range(2)`: what is written is with the host already.
pub(super) fn sync_file_range(thread: &mut Thread, [number, start, length, flags, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    if flags & !7 != 0 || offset(start)?.checked_add(offset(length)?).is_none() {
        return Err(Errno::INVAL);
    }
    if open.has_position() { Ok(0) } else { Err(Errno::SPIPE) }
}

/// `syncfs(2)`
pub(super) fn syncfs(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    thread.process.descriptors().file(int(number)).map(|_| 0)
}

/// Whether a stream is at the mark: `sockatmark(3)`.
const SIOCATMARK: u64 = 0x8905;

/// `ioctl(2)`: what terminals are asked for, and `FIONREAD`, `FIOCLEX`, `FIONBIO`, `FIOASYNC`, `SIOCATMARK`.
pub(super) fn ioctl(thread: &mut Thread, [number, request, at, ..]: Arguments) -> Answer {
    let descriptors = thread.process.descriptors();
    let open = descriptors.file(int(number))?;
    match request {
        libc::FIONREAD => match &open.kind {
            Kind::Terminal(_) | Kind::Master(_) => super::terminal::ioctl(thread, &open, request, at),
            Kind::Reader(pipe) => thread.process.space()?.write_u32(at, pipe.length() as u32).map(|()| 0),
            Kind::Socket(socket) => thread.process.space()?.write_u32(at, socket.length() as u32).map(|()| 0),
            Kind::Watches(watches) => thread.process.space()?.write_u32(at, watches.length() as u32).map(|()| 0),
            _ => Err(Errno::NOTTY),
        },
        libc::FIOCLEX => super::files::fcntl(thread, [number, libc::F_SETFD as u64, 1, 0, 0, 0]),
        libc::FIONBIO | libc::FIOASYNC => {
            let on = thread.process.space()?.read_u32(at)? != 0;
            if request == libc::FIOASYNC && !open.becomes_ready() {
                return Err(Errno::NOTTY);
            }
            let flag = if request == libc::FIONBIO { libc::O_NONBLOCK } else { libc::O_ASYNC } as u32;
            open.set_flags(if on { open.flags() | flag } else { open.flags() & !flag });
            Ok(0)
        }
        SIOCATMARK => match &open.kind {
            Kind::Socket(socket) if socket.has_marks() => thread.process.space()?.write_u32(at, 0).map(|()| 0),
            _ => Err(Errno::NOTTY),
        },
        _ if matches!(open.kind, Kind::Socket(_))
            && let Some(told) = super::socket::netlink::ioctl(&*thread.process.space()?, request, at) =>
        {
            told
        }
        _ => super::terminal::ioctl(thread, &open, request, at),
    }
}
