//! The few calls the standard library does not offer everywhere. glibc, musl and wasi-libc all
//! have them under the same names, and the standard library links the C library already.

use std::{
    ffi::{CString, c_char, c_int, c_long},
    fs::File,
    os::fd::{FromRawFd, RawFd},
};

#[cfg(target_os = "wasi")]
use std::io;

use crate::outcome::Failure;

mod c {
    use super::{Timespec, c_char, c_int};

    unsafe extern "C" {
        pub fn symlink(target: *const c_char, path: *const c_char) -> c_int;
        #[cfg(not(target_os = "wasi"))]
        pub fn openat(directory: c_int, path: *const c_char, flags: c_int, ...) -> c_int;
        pub fn fcntl(descriptor: c_int, command: c_int, ...) -> c_int;
        pub fn getentropy(buffer: *mut u8, length: usize) -> c_int;
        pub fn utimensat(directory: c_int, path: *const c_char, times: *const Timespec, flags: c_int) -> c_int;
    }
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

const F_GETFL: c_int = 3;

#[cfg(target_os = "wasi")]
const AT_FDCWD: c_int = -2;
#[cfg(not(target_os = "wasi"))]
const AT_FDCWD: c_int = -100;

fn text(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::named("EINVAL"))
}

fn check(result: c_int) -> Result<c_int, Failure> {
    if result < 0 { Err(Failure::last()) } else { Ok(result) }
}

pub fn symlink(target: &str, path: &str) -> Result<(), Failure> {
    let (target, path) = (text(target)?, text(path)?);
    // SAFETY: both strings end in NUL and live across the call.
    check(unsafe { c::symlink(target.as_ptr(), path.as_ptr()) }).map(drop)
}

/// Sets the access and modification times by path, without opening the file.
pub fn set_times(path: &str, seconds: i64) -> Result<(), Failure> {
    let path = text(path)?;
    let times = [0, 1].map(|_| Timespec { seconds, nanoseconds: 0 });
    // SAFETY: the path ends in NUL; `times` holds the two entries the call reads.
    check(unsafe { c::utimensat(AT_FDCWD, path.as_ptr(), times.as_ptr(), 0) }).map(drop)
}

/// Opens `path` for reading against an open descriptor. The path reaches the other side of the wall
/// as it is: a hostile program is not bound to what a C library would make of it.
#[cfg(not(target_os = "wasi"))]
pub fn open_at(directory: RawFd, path: &str) -> Result<File, Failure> {
    const O_RDONLY: c_int = 0;
    let path = text(path)?;
    // SAFETY: the path ends in NUL; the flags create nothing, so no mode is read.
    let descriptor = check(unsafe { c::openat(directory, path.as_ptr(), O_RDONLY) })?;
    // SAFETY: the descriptor was just made and has no other owner.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

#[cfg(target_os = "wasi")]
pub fn open_at(directory: RawFd, path: &str) -> Result<File, Failure> {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn path_open(
            directory: RawFd,
            lookup: u32,
            path: *const u8,
            length: usize,
            open: u32,
            rights: u64,
            inherited: u64,
            flags: u32,
            descriptor: *mut RawFd,
        ) -> i32;
    }
    const FOLLOW_SYMLINKS: u32 = 1;
    const READ_SEEK_AND_STAT: u64 = 1 << 1 | 1 << 2 | 1 << 21;
    let mut descriptor = -1;
    // SAFETY: pointer and length are those of a live string; `descriptor` is written by the call.
    let result = unsafe {
        path_open(directory, FOLLOW_SYMLINKS, path.as_ptr(), path.len(), 0, READ_SEEK_AND_STAT, 0, 0, &mut descriptor)
    };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result).into());
    }
    // SAFETY: the descriptor was just made and has no other owner.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

pub fn is_open(descriptor: RawFd) -> bool {
    // SAFETY: F_GETFL takes no third argument and only looks.
    unsafe { c::fcntl(descriptor, F_GETFL) >= 0 }
}

pub fn fill_random(bytes: &mut [u8]) -> Result<(), Failure> {
    for part in bytes.chunks_mut(256) {
        // SAFETY: pointer and length are those of a live slice; 256 is the most one call takes.
        check(unsafe { c::getentropy(part.as_mut_ptr(), part.len()) })?;
    }
    Ok(())
}

/// The directories the host opened beforehand, as `FD=NAME`.
#[cfg(target_os = "wasi")]
pub fn preopens() -> Result<Vec<String>, Failure> {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn fd_prestat_get(descriptor: i32, found: *mut [u32; 2]) -> i32;
        fn fd_prestat_dir_name(descriptor: i32, name: *mut u8, length: usize) -> i32;
    }
    let mut names = Vec::new();
    for descriptor in 3.. {
        let mut found = [0; 2];
        // SAFETY: `found` has the size and alignment of the record the call writes.
        if unsafe { fd_prestat_get(descriptor, &mut found) } != 0 {
            break;
        }
        let mut name = vec![0; found[1] as usize];
        // SAFETY: pointer and length are those of a live buffer.
        if unsafe { fd_prestat_dir_name(descriptor, name.as_mut_ptr(), name.len()) } == 0 {
            names.push(format!("{descriptor}={}", String::from_utf8_lossy(&name)));
        }
    }
    Ok(names)
}

#[cfg(not(target_os = "wasi"))]
pub fn preopens() -> Result<Vec<String>, Failure> {
    Err(Failure::named("ENOSYS"))
}
