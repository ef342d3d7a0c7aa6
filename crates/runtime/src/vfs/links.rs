//! Links stay in their mount, whoever reads them: a program of the host, too, that follows them without
//! this crate's care (docs/decisions/0010).
//!
//! A target that a capsule may write goes up first and down after, and not above the top of the mount:
//! `../../a/b`, never `a/../b`, whose meaning changes with what `a` is. So where a link leads depends on
//! nothing but how deep it lies, and only a move to a lesser depth can make it leave.
//!
//! What it does not protect: links the host put there, which lead where the host says, and other
//! programs that change a folder while it is looked through.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_abi::ErrorCode;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};

use crate::error::code;
use crate::meter::Meter;

/// How many entries of a folder that moves up are looked at; one with more is not moved.
const MOST_ENTRIES: usize = 10_000;
/// How deep it is looked into, and how deep a link may lie.
const MOST_DEPTH: usize = 128;

const LOOK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How many folders up a link leads before it leads down. `None` when its text does not tell: it is
/// absolute, or goes up after it went down.
fn steps_up(target: &[u8]) -> Option<usize> {
    let mut names = target.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let up = names.by_ref().take_while(|&name| name == b"..").count();
    // The name that ended the counting was not `..`.
    (!target.starts_with(b"/") && !names.any(|name| name == b"..")).then_some(up)
}

/// Whether a link in `folder` with this target stays below `top`.
pub(super) fn stays(target: &[u8], folder: &OwnedFd, top: &OwnedFd) -> Result<bool, ErrorCode> {
    match steps_up(target) {
        None => Ok(false),
        Some(0) => Ok(true),
        Some(up) => Ok(up <= MOST_DEPTH && depth(folder, top, up)?.is_some_and(|depth| depth >= up)),
    }
}

/// How many folders up from `folder` is `top`, or `most` when it is further. `None` when it is not
/// there. The disk is asked, for whoever follows the link will ask it.
fn depth(folder: &OwnedFd, top: &OwnedFd, most: usize) -> Result<Option<usize>, ErrorCode> {
    let top = identity(top.as_fd())?;
    let mut own;
    let mut here = folder.as_fd();
    for steps in 0..most {
        let before = identity(here)?;
        if before == top {
            return Ok(Some(steps));
        }
        own = openat(here, c"..", LOOK, Mode::empty()).map_err(code)?;
        here = own.as_fd();
        if identity(here)? == before {
            return Ok(None);
        }
    }
    Ok(Some(most))
}

fn identity(folder: BorrowedFd<'_>) -> Result<(u64, u64), ErrorCode> {
    fstat(folder).map(|stat| (stat.st_dev, stat.st_ino)).map_err(code)
}

/// Whether two descriptors are of one folder.
pub(super) fn is_same(one: &OwnedFd, other: &OwnedFd) -> Result<bool, ErrorCode> {
    Ok(identity(one.as_fd())? == identity(other.as_fd())?)
}

/// Whether the folder `name` may move from `from` to `to`, both below `top`: either it goes no further
/// up than it was, or no link in it would leave.
pub(super) fn may_move(
    name: &[u8],
    from: &OwnedFd,
    to: &OwnedFd,
    top: &OwnedFd,
    meter: &Meter,
) -> Result<bool, ErrorCode> {
    let before = depth(from, top, MOST_DEPTH)?;
    match depth(to, top, MOST_DEPTH)? {
        None => Ok(false),
        Some(after) if before.is_some_and(|before| after >= before && before < MOST_DEPTH) => Ok(true),
        Some(after) => {
            let folder = openat(from, name, READ, Mode::empty()).map_err(code)?;
            Search { left: MOST_ENTRIES, meter }.all_stay(&folder, after + 1)
        }
    }
}

struct Search<'a> {
    left: usize,
    meter: &'a Meter,
}

impl Search<'_> {
    /// Whether every link in `folder` stays when that lies so deep. `false` also when it is too large to
    /// tell.
    fn all_stay(&mut self, folder: &OwnedFd, depth: usize) -> Result<bool, ErrorCode> {
        self.meter.go_on()?;
        if depth >= MOST_DEPTH {
            return Ok(false);
        }
        for entry in Dir::read_from(folder).map_err(code)? {
            let entry = entry.map_err(code)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if self.left == 0 {
                return Ok(false);
            }
            self.left -= 1;
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(code)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            let stays = match kind {
                FileType::Symlink => {
                    let target = readlinkat(folder, name, Vec::new()).map_err(code)?;
                    // An absolute one is the host's, and leads to the same place from everywhere.
                    target.as_bytes().starts_with(b"/") || steps_up(target.as_bytes()).is_some_and(|up| up <= depth)
                }
                FileType::Directory => {
                    let inner = openat(folder, name, READ, Mode::empty()).map_err(code)?;
                    self.all_stay(&inner, depth + 1)?
                }
                _ => true,
            };
            if !stays {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_target_that_goes_up_first_is_understood() {
        for (target, up) in [("a", 0), ("./a/b/", 0), ("..", 1), ("../../a", 2), (".././../a//b", 2), ("a/..b", 0)] {
            assert_eq!(steps_up(target.as_bytes()), Some(up), "{target}");
        }
        for target in ["/a", "/", "a/..", "../a/..", "./a/../b", "a/b/../c"] {
            assert_eq!(steps_up(target.as_bytes()), None, "{target}");
        }
    }
}
