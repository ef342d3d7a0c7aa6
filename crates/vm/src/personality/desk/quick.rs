//! Which calls are answered at a desk: those that need nothing of the thread but what others see of it too, and are
//! over soon.

use crate::memory::concerns_sites;
use crate::personality::open::{Kind, Open};
use crate::personality::pipe::ATOMIC;
use crate::personality::thread::Thread;
use crate::personality::{Arguments, int};

/// Whether calls of that number can be quick.
pub(super) fn may_be(number: u64) -> bool {
    reads(number) || writes(number) || maps(number) || asks_a_descriptor(number) || is_always(number)
}

/// Whether this one is.
pub(super) fn is_quick(thread: &Thread, number: u64, arguments: Arguments) -> bool {
    let open = || thread.process.descriptors().file(int(arguments[0]));
    match number {
        _ if reads(number) => open().is_ok_and(|open| has_content(&open)),
        _ if writes(number) => open().is_ok_and(|open| has_room(&open, number, arguments)),
        // What these pages hold is changed by the thread itself.
        _ if is_anywhere(number, arguments) => true,
        _ if maps(number) => !concerns_sites(&(arguments[0]..arguments[0].saturating_add(arguments[1]))),
        _ if asks_a_descriptor(number) => open().is_ok_and(|open| !is_terminal(&open)),
        _ => is_always(number),
    }
}

/// `read`, `pread64`, `readv`, `preadv`
fn reads(number: u64) -> bool {
    matches!(number, 0 | 17 | 19 | 295)
}

/// `write`, `pwrite64`, `writev`, `pwritev`
fn writes(number: u64) -> bool {
    matches!(number, 1 | 18 | 20 | 296)
}

/// `mmap`, `mprotect`, `munmap`, `madvise`
fn maps(number: u64) -> bool {
    matches!(number, 9..=11 | 28)
}

/// `mmap` wherever there is room, which is not where anything is.
fn is_anywhere(number: u64, arguments: Arguments) -> bool {
    number == 9 && arguments[0] == 0 && arguments[3] & libc::MAP_FIXED as u64 == 0
}

/// `lseek`, `ioctl`, `fcntl`, `ftruncate`, `getdents`, `getdents64`
fn asks_a_descriptor(number: u64) -> bool {
    matches!(number, 8 | 16 | 72 | 77 | 78 | 217)
}

fn is_always(number: u64) -> bool {
    match number {
        // open, close, stat, fstat, lstat, brk, rt_sigaction, rt_sigprocmask, access, pipe
        2..=6 | 12..=14 | 21 | 22 => true,
        // dup, dup2, getpid, uname
        32 | 33 | 39 | 63 => true,
        // truncate; getcwd, chdir, fchdir, rename, mkdir, rmdir, creat, link, unlink, symlink, readlink, chmod, fchmod
        76 | 79..=91 => true,
        // umask, gettimeofday, getrlimit, getrusage, sysinfo, times
        95..=100 => true,
        // getuid, getgid, geteuid, getegid, getppid, getpgrp
        102 | 104 | 107 | 108 | 110 | 111 => true,
        // getgroups, getresuid, getresgid, getpgid, getsid
        115 | 118 | 120 | 121 | 124 => true,
        // utime, statfs, fstatfs, gettid, time, clock_gettime, clock_getres, utimes
        132 | 137 | 138 | 186 | 201 | 228 | 229 | 235 => true,
        // openat, mkdirat, newfstatat, unlinkat, renameat, linkat, symlinkat, readlinkat, fchmodat, faccessat
        257 | 258 | 262..=269 => true,
        // utimensat, dup3, pipe2, prlimit64, renameat2, getrandom, statx, openat2, faccessat2
        280 | 292 | 293 | 302 | 316 | 318 | 332 | 437 | 439 => true,
        _ => false,
    }
}

/// Whether a read is over soon.
fn has_content(open: &Open) -> bool {
    match &open.kind {
        Kind::Reader(pipe) => pipe.length() > 0,
        Kind::File(_) | Kind::System(_) | Kind::Text(_) | Kind::Memory(_) | Kind::Device(_) => true,
        _ => false,
    }
}

/// Whether a write is.
fn has_room(open: &Open, number: u64, arguments: Arguments) -> bool {
    match &open.kind {
        Kind::Writer(pipe) => number == 1 && arguments[2] <= pipe.left().min(ATOMIC) as u64,
        Kind::File(_) | Kind::Memory(_) | Kind::Device(_) => true,
        _ => false,
    }
}

fn is_terminal(open: &Open) -> bool {
    matches!(open.kind, Kind::Terminal(_) | Kind::Master(_))
}
