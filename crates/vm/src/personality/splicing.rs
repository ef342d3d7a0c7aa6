//! Between pipes and what else is open: `splice(2)`, `tee(2)`, `vmsplice(2)`. Content is copied.

use rustix::io::Errno;

use super::open::{Kind, Open};
use super::pipe::Pipe;
use super::reading::{MOST, held, offset, parts};
use super::socket::message::{gather, scatter};
use super::thread::Thread;
use super::{Answer, Arguments, int};

const NONBLOCK: u64 = libc::SPLICE_F_NONBLOCK as u64;
const KNOWN: u64 = (libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MORE | libc::SPLICE_F_GIFT) as u64;

/// Reads what there is, at most so much.
fn read(thread: &Thread, open: &Open, at: Option<u64>, length: u64, at_once: bool) -> Result<Vec<u8>, Errno> {
    let mut content = vec![0; length.min(MOST) as usize];
    let count = match (&open.kind, at) {
        (Kind::Reader(pipe), _) => pipe.read(thread, &mut content, at_once || open.is_nonblocking())?,
        (_, Some(at)) => open.read_at(at, &mut content)?,
        (_, None) => open.read(thread, &mut content)?,
    };
    content.truncate(count);
    Ok(content)
}

fn is_pipe(open: &Open) -> bool {
    matches!(open.kind, Kind::Reader(_) | Kind::Writer(_))
}

/// Whether content passes between it and a pipe.
fn is_spliced(open: &Open) -> bool {
    let has_content = matches!(open.kind, Kind::File(_) | Kind::System(_) | Kind::Memory(_) | Kind::Text(_));
    let flows = matches!(open.kind, Kind::Stream(_) | Kind::Socket(_) | Kind::Device(_) | Kind::Terminal(_));
    is_pipe(open) || has_content || flows || matches!(open.kind, Kind::Both(_) | Kind::Master(_))
}

/// `splice(2)`
pub(super) fn splice(thread: &mut Thread, [from, from_at, to, to_at, length, flags]: Arguments) -> Answer {
    if length == 0 {
        return Ok(0);
    }
    if flags & !KNOWN != 0 {
        return Err(Errno::INVAL);
    }
    let descriptors = thread.process.descriptors();
    let (from, to) = (descriptors.file(int(from))?, descriptors.file(int(to))?);
    from.check_access(false)?;
    to.check_access(true)?;
    if !(is_pipe(&from) || is_pipe(&to)) {
        return Err(Errno::INVAL);
    }
    if !(is_spliced(&from) && is_spliced(&to)) {
        return Err(Errno::INVAL);
    }
    if (is_pipe(&from) && from_at != 0) || (is_pipe(&to) && to_at != 0) {
        return Err(Errno::SPIPE);
    }
    if matches!(from.kind, Kind::Writer(_)) || matches!(to.kind, Kind::Reader(_)) {
        return Err(Errno::BADF);
    }
    if let (Kind::Reader(one), Kind::Writer(other)) = (&from.kind, &to.kind)
        && std::sync::Arc::ptr_eq(one, other)
    {
        return Err(Errno::INVAL);
    }
    if to.flags() & libc::O_APPEND as u32 != 0 {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let place = |at: u64| if at == 0 { Ok(None) } else { offset(space.read_u64(at)?).map(Some) };
    let (start, target) = (place(from_at)?, place(to_at)?);
    let at_once = flags & NONBLOCK != 0;
    // What is read from a pipe is gone: no more than there is room for.
    let length = match &to.kind {
        Kind::Writer(pipe) => length.min(room(thread, pipe, at_once)? as u64),
        _ => thread.may_write(&to, target, length)?,
    };
    let content = read(thread, &from, start, length, at_once)?;
    if content.is_empty() {
        return Ok(0);
    }
    let _held = held(thread, &to, content.len())?;
    let written = match target {
        Some(at) => to.write_at(at, &content),
        None => to.write(thread, &content),
    };
    if let Kind::Reader(pipe) | Kind::Both(pipe) = &from.kind {
        pipe.give_back(&content[*written.as_ref().unwrap_or(&0)..]);
    }
    let written = written? as u64;
    for (at, before) in [(from_at, start), (to_at, target)] {
        if let Some(before) = before {
            space.write_u64(at, before + written)?;
        }
    }
    Ok(written)
}

/// `tee(2)`
pub(super) fn tee(thread: &mut Thread, [from, to, length, flags, ..]: Arguments) -> Answer {
    if flags & !KNOWN != 0 {
        return Err(Errno::INVAL);
    }
    if length == 0 {
        return Ok(0);
    }
    let descriptors = thread.process.descriptors();
    let (from, to) = (descriptors.file(int(from))?, descriptors.file(int(to))?);
    from.check_access(false)?;
    to.check_access(true)?;
    let (Kind::Reader(source), Kind::Writer(target)) = (&from.kind, &to.kind) else { return Err(Errno::INVAL) };
    if std::sync::Arc::ptr_eq(source, target) {
        return Err(Errno::INVAL);
    }
    let at_once = flags & NONBLOCK != 0;
    // Both ends wait for something to be there before there has to be room for it.
    match source.peek(1) {
        Some(content) if content.is_empty() => return Ok(0),
        Some(_) => {}
        None if at_once || from.is_nonblocking() => return Err(Errno::AGAIN),
        None => drop(thread.wait(&[&source.bell], None, || source.peek(1))?),
    }
    let room = room(thread, target, at_once || to.is_nonblocking())?;
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(MOST as usize).min(room);
    let Some(content) = source.peek(length).filter(|content| !content.is_empty()) else { return Ok(0) };
    let _held = held(thread, &to, content.len())?;
    target.write(thread, &content, at_once || to.is_nonblocking()).map(|count| count as u64)
}

/// How much a pipe has room for, at least a byte; waits until it has any. Who writes to one without readers is told so.
fn room(thread: &Thread, pipe: &Pipe, at_once: bool) -> Result<usize, Errno> {
    let left = || Some(pipe.left()).filter(|&left| left > 0 || !pipe.has_readers());
    let room = match left() {
        Some(room) => room,
        None if at_once => return Err(Errno::AGAIN),
        None => thread.wait(&[&pipe.bell], None, left)?,
    };
    Ok(room.max(1))
}

/// `vmsplice(2)`
pub(super) fn vmsplice(thread: &mut Thread, [number, at, count, flags, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    if flags & !KNOWN != 0 {
        return Err(Errno::INVAL);
    }
    let parts = parts(thread, at, count)?;
    let space = thread.process.space()?;
    match &open.kind {
        Kind::Writer(pipe) => {
            let content = gather(&space, &parts, MOST as usize)?;
            let _held = held(thread, &open, content.len())?;
            pipe.write(thread, &content, flags & NONBLOCK != 0 || open.is_nonblocking()).map(|count| count as u64)
        }
        Kind::Reader(_) => {
            let room = parts.iter().map(|part| part.1).fold(0, u64::saturating_add);
            let content = read(thread, &open, None, room, flags & NONBLOCK != 0)?;
            scatter(&space, &parts, &content)?;
            Ok(content.len() as u64)
        }
        _ => Err(Errno::BADF),
    }
}
