//! Metadata.

use std::os::fd::{AsFd, AsRawFd};

use ringfence_abi::{ErrorCode, FileKind, Stat, Timestamp};
use rustix::fs::{FileType, Mode, Timespec, Timestamps, UTIME_OMIT, chmod, fchmod, fstat};
use rustix::io::Errno;

use crate::error::code;

/// The bits of a mode that say who may do what.
const BITS: u32 = 0o777;

/// What sort of thing a file type is.
pub(crate) fn kind(of: FileType) -> FileKind {
    match of {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::CharacterDevice => FileKind::CharacterDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Fifo => FileKind::Pipe,
        FileType::Socket => FileKind::Socket,
        FileType::Unknown => FileKind::Other,
    }
}

/// Metadata as the capsule sees it.
pub(crate) fn stat(of: &rustix::fs::Stat) -> Stat {
    let time = |seconds: i64, nanoseconds: u64| Timestamp::from(seconds) * 1_000_000_000 + Timestamp::from(nanoseconds);
    Stat {
        kind: kind(FileType::from_raw_mode(of.st_mode)),
        mode: of.st_mode & BITS,
        size: u64::try_from(of.st_size).unwrap_or(0),
        blocks: u64::try_from(of.st_blocks).unwrap_or(0),
        links: of.st_nlink,
        identity: (of.st_dev, of.st_ino),
        accessed: time(of.st_atime, of.st_atime_nsec),
        modified: time(of.st_mtime, of.st_mtime_nsec),
        changed: time(of.st_ctime, of.st_ctime_nsec),
    }
}

/// Metadata of a folder that only leads to a mount point.
pub(super) fn of_graft(graft: Option<usize>) -> Stat {
    Stat {
        kind: FileKind::Directory,
        mode: 0o755,
        size: 0,
        blocks: 0,
        links: 2,
        // Device 0 is no file system's: these are the identities of grafts.
        identity: (0, graft.map_or(0, |graft| graft as u64 + 1)),
        accessed: 0,
        modified: 0,
        changed: 0,
    }
}

/// Sets the mode of a file or folder that is open, also when it was only opened to look at (`O_PATH`): that one has a
/// link in `/proc` (`proc_pid_fd(5)`). What a folder passes on to what is made in it stays (`inode(7)`, set-group-ID).
pub(crate) fn set_mode(of: impl AsFd, mode: u32) -> Result<(), ErrorCode> {
    if mode & !BITS != 0 {
        return Err(ErrorCode::Invalid);
    }
    let stat = fstat(&of).map_err(code)?;
    let kept = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => stat.st_mode & 0o7000,
        FileType::RegularFile => 0,
        FileType::Symlink => return Err(ErrorCode::NotSupported),
        _ => return Err(ErrorCode::NotPermitted),
    };
    let mode = Mode::from_raw_mode(mode | kept);
    match fchmod(&of, mode) {
        Err(Errno::BADF) => chmod(format!("/proc/self/fd/{}", of.as_fd().as_raw_fd()), mode),
        other => other,
    }
    .map_err(code)
}

/// Times to set; what is `None` stays as it is.
pub(crate) fn times(accessed: Option<Timestamp>, modified: Option<Timestamp>) -> Result<Timestamps, ErrorCode> {
    let time = |moment: Option<Timestamp>| match moment {
        None => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }),
        Some(moment) => Ok(Timespec {
            tv_sec: i64::try_from(moment.div_euclid(1_000_000_000)).map_err(|_| ErrorCode::Overflow)?,
            tv_nsec: moment.rem_euclid(1_000_000_000) as i64,
        }),
    };
    Ok(Timestamps { last_access: time(accessed)?, last_modification: time(modified)? })
}
