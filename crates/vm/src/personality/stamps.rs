//! When files were used and changed, as programs say it: `utimensat(2)`, `utimes(2)`, `utime(2)`.

use ringfence_abi::{Call, Reply, Timestamp};
use ringfence_isolation::FileUse;
use ringfence_manifest::Permission;
use rustix::io::Errno;

use super::folders::HERE;
use super::memory_files::Way;
use super::open::{Kind, Open};
use super::thread::Thread;
use super::{Answer, Arguments, int, owners};
use crate::scratch::Node;

/// `utimensat(2)`
pub(super) fn utimensat(thread: &mut Thread, [folder, path, at, flags, ..]: Arguments) -> Answer {
    let space = thread.process.space()?;
    let now = match thread.world.call(Call::Now { clock: ringfence_abi::Clock::Wall })? {
        Reply::Time(time) => Some(time),
        _ => return Err(Errno::IO),
    };
    if int(flags) & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::INVAL);
    }
    let (mut wrong, mut is_now) = (false, true);
    let mut time = |at: u64| match (space.read_u64(at)?, space.read_u64(at.wrapping_add(8))?) {
        (_, nanoseconds) if nanoseconds == libc::UTIME_NOW as u64 => Ok(now),
        (_, nanoseconds) if nanoseconds == libc::UTIME_OMIT as u64 => {
            is_now = false;
            Ok(None)
        }
        (_, nanoseconds) if nanoseconds >= 1_000_000_000 => {
            wrong = true;
            Ok(None)
        }
        (seconds, nanoseconds) => {
            is_now = false;
            Ok(Some(Timestamp::from(seconds as i64) * 1_000_000_000 + Timestamp::from(nanoseconds)))
        }
    };
    let (accessed, modified) = if at == 0 { (now, now) } else { (time(at)?, time(at.wrapping_add(16))?) };
    if path == 0 {
        if flags != 0 {
            return Err(Errno::INVAL);
        }
        thread.process.descriptors().file(int(folder))?;
    }
    if wrong {
        return Err(Errno::INVAL);
    }
    set_times(thread, [folder, path, flags], [accessed, modified], is_now)
}

/// What `utimensat(2)` and the older ones come to.
fn set_times(
    thread: &Thread,
    [folder, path, flags]: [u64; 3],
    [accessed, modified]: [Option<Timestamp>; 2],
    is_now: bool,
) -> Answer {
    let touch = |node: &Node, accessed: Option<Timestamp>, modified: Option<Timestamp>| {
        let mut state = node.state();
        state.times[0] = accessed.unwrap_or(state.times[0]);
        state.times[1] = modified.unwrap_or(state.times[1]);
    };
    let mask = match (accessed, modified) {
        (Some(_), None) => libc::IN_ACCESS,
        (None, Some(_)) => libc::IN_MODIFY,
        (None, None) => 0,
        _ => libc::IN_ATTRIB,
    };
    let of_open = |open: &Open| {
        thread.may_stamp(&thread.status_of(open)?, is_now)?;
        if let Kind::Memory(node) | Kind::MemoryFolder(node) = &open.kind {
            thread.world.judge(&open.path, FileUse::With(Permission::FsWrite))?;
            touch(node, accessed, modified);
        } else {
            let handle = open.handle().ok_or(Errno::ROFS)?;
            thread.world.call(Call::SetTimes { handle, accessed, modified })?;
        }
        open.happened(mask);
        Ok(0)
    };
    if path == 0 || owners::is_empty(thread, path, flags)? {
        return of_open(&*thread.process.descriptors().get(int(folder))?);
    }
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW as u64 == 0;
    let path = thread.path(int(folder), path)?;
    if let Some(open) = owners::opened(thread, &path, follow)? {
        return of_open(&open);
    }
    thread.may_stamp(&thread.status_at(&path, follow)?, is_now)?;
    match thread.changeable_path(path.clone(), follow)? {
        Way::Path(path) => {
            let call = Call::SetTimesAt { directory: thread.root()?, path: &path.written, follow, accessed, modified };
            thread.world.call(call)?;
        }
        Way::Memory(spot) => {
            let node = spot.found()?;
            thread.may(&spot, Permission::FsWrite)?;
            touch(node, accessed, modified);
        }
    }
    thread.happened_at(&path, follow, mask);
    Ok(0)
}

/// `utimes(2)`
pub(super) fn utimes(thread: &mut Thread, [path, at, ..]: Arguments) -> Answer {
    futimesat(thread, [HERE, path, at, 0, 0, 0])
}

/// `futimesat(2)`
pub(super) fn futimesat(thread: &mut Thread, [folder, path, at, ..]: Arguments) -> Answer {
    if at == 0 {
        return utimensat(thread, [folder, path, 0, 0, 0, 0]);
    }
    let space = thread.process.space()?;
    let time = |at: u64| match (space.read_u64(at)?, space.read_u64(at.wrapping_add(8))?) {
        (_, micros) if micros >= 1_000_000 => Err(Errno::INVAL),
        (seconds, micros) => Ok(Some(Timestamp::from(seconds as i64) * 1_000_000_000 + Timestamp::from(micros) * 1000)),
    };
    set_times(thread, [folder, path, 0], [time(at)?, time(at.wrapping_add(16))?], false)
}

/// `utime(2)`
pub(super) fn utime(thread: &mut Thread, [path, at, ..]: Arguments) -> Answer {
    if at == 0 {
        return utimensat(thread, [HERE, path, 0, 0, 0, 0]);
    }
    let space = thread.process.space()?;
    let time = |at: u64| Ok(Some(Timestamp::from(space.read_u64(at)? as i64) * 1_000_000_000));
    set_times(thread, [HERE, path, 0], [time(at)?, time(at.wrapping_add(8))?], false)
}
