//! From one descriptor to another, and room in files: `sendfile(2)`, `copy_file_range(2)`, `fallocate(2)`.

use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::lock;
use super::reading::{MOST, offset};
use super::thread::Thread;
use super::{Answer, Arguments, int};
use crate::kvm::PAGE;

/// `sendfile(2)`
pub(super) fn sendfile(thread: &mut Thread, [to, from, at, length, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let given = if at == 0 { None } else { Some(space.read_u64(at)?) };
    let descriptors = thread.process.descriptors();
    let from = descriptors.file(int(from))?;
    from.check_access(false)?;
    if at != 0 && !from.has_position() {
        return Err(Errno::SPIPE);
    }
    let start = match given {
        None => *lock(&from.position),
        Some(start) => offset(start)?,
    };
    let to = descriptors.file(int(to))?;
    to.check_access(true)?;
    let length = thread.may_write(&to, None, length.min(MOST))?;
    let mut content = vec![0; length as usize];
    let count =
        from.read_at(start, &mut content).map_err(|errno| if errno == Errno::SPIPE { Errno::INVAL } else { errno })?;
    let written = if count == 0 { 0 } else { to.write(thread, &content[..count])? } as u64;
    if written > 0 {
        from.happened(libc::IN_ACCESS);
        to.happened(libc::IN_MODIFY);
    }
    if at == 0 {
        *lock(&from.position) = start + written;
    } else {
        space.write_u64(at, start + written)?;
    }
    Ok(written)
}

/// Where one side of a copy is: at an offset in memory, or at the position.
fn place(thread: &Thread, open: &Open, at: u64) -> Result<u64, Errno> {
    if at == 0 { Ok(*lock(&open.position)) } else { offset(thread.process.space()?.read_u64(at)?) }
}

fn move_on(thread: &Thread, open: &Open, at: u64, to: u64) -> Result<(), Errno> {
    if at == 0 {
        *lock(&open.position) = to;
        return Ok(());
    }
    thread.process.space()?.write_u64(at, to)
}

fn is_file(open: &Open) -> bool {
    matches!(open.kind, Kind::File(_) | Kind::Memory(_) | Kind::System(_))
}

/// `copy_file_range(2)`
pub(super) fn copy_file_range(thread: &mut Thread, [from, from_at, to, to_at, length, flags]: Arguments) -> Answer {
    let descriptors = thread.process.descriptors();
    let (from, to) = (descriptors.file(int(from))?, descriptors.file(int(to))?);
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    if from.is_folder() || to.is_folder() {
        return Err(Errno::ISDIR);
    }
    if !is_file(&from) || !is_file(&to) {
        return Err(Errno::INVAL);
    }
    from.check_access(false)?;
    to.check_access(true)?;
    if to.flags() & libc::O_APPEND as u32 != 0 {
        return Err(Errno::BADF);
    }
    let (start, target) = (place(thread, &from, from_at)?, place(thread, &to, to_at)?);
    let overlaps = start < target.saturating_add(length) && target < start.saturating_add(length);
    if overlaps && from.identity()? == to.identity()? {
        return Err(Errno::INVAL);
    }
    let length = thread.may_write(&to, Some(target), length.min(MOST))?;
    let mut content = vec![0; length as usize];
    let count = from.read_at(start, &mut content)?;
    let written = if count == 0 { 0 } else { to.write_at(target, &content[..count])? } as u64;
    if written > 0 {
        from.happened(libc::IN_ACCESS);
        to.happened(libc::IN_MODIFY);
    }
    move_on(thread, &from, from_at, start + written)?;
    move_on(thread, &to, to_at, target + written)?;
    Ok(written)
}

/// What `fallocate(2)` can be asked for.
const KNOWN_MODES: i32 = 0x7f;

/// `fallocate(2)`: room is there when it is needed, so only what changes sizes and content is done.
pub(super) fn fallocate(thread: &mut Thread, [number, mode, start, length, ..]: Arguments) -> Answer {
    let open = thread.process.descriptors().file(int(number))?;
    let (start, length) = (offset(start)?, offset(length)?);
    let end = start.checked_add(length).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::FBIG)?;
    if length == 0 {
        return Err(Errno::INVAL);
    }
    if int(mode) & !KNOWN_MODES != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    open.check_access(true)?;
    match &open.kind {
        Kind::Reader(_) | Kind::Writer(_) | Kind::Both(_) => return Err(Errno::SPIPE),
        _ if open.is_folder() => return Err(Errno::ISDIR),
        _ => {}
    }
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    match (int(mode), &open.kind) {
        (0, Kind::File(_) | Kind::Memory(_)) => {
            if open.size()? < end {
                thread.may_be_long(end)?;
                open.set_size(end)?;
            }
            open.happened(libc::IN_MODIFY);
            Ok(0)
        }
        (libc::FALLOC_FL_KEEP_SIZE, Kind::File(_) | Kind::Memory(_)) => Ok(0),
        (PUNCH, Kind::Memory(node)) => {
            let content = node.content()?;
            let end = end.min(content.size());
            let whole = start.next_multiple_of(PAGE)..end / PAGE * PAGE;
            if whole.start >= whole.end {
                open.write_at(start, &vec![0; end.saturating_sub(start) as usize])?;
                return Ok(0);
            }
            open.write_at(start, &vec![0; (whole.start - start) as usize])?;
            content.discard(whole.start / PAGE..whole.end / PAGE);
            open.write_at(whole.end, &vec![0; (end - whole.end) as usize]).map(|_| 0)
        }
        (_, Kind::File(_) | Kind::Memory(_)) => Err(Errno::OPNOTSUPP),
        _ => Err(Errno::NODEV),
    }
}
