//! `seccomp_unotify(2)`: system calls that wait for an answer.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::Instruction;
use super::call::{result, system_call};

const NEW_LISTENER: u64 = 1 << 3;
/// Once it was received, only a fatal signal interrupts the call (Linux 5.19).
const WAIT_KILLABLE: u64 = 1 << 5;

const RECEIVE: u64 = 0xc050_2100; // SECCOMP_IOCTL_NOTIF_RECV
const SEND: u64 = 0xc018_2101; // SECCOMP_IOCTL_NOTIF_SEND
const ID_VALID: u64 = 0x4008_2102; // SECCOMP_IOCTL_NOTIF_ID_VALID
const ADD_DESCRIPTOR: u64 = 0x4018_2103; // SECCOMP_IOCTL_NOTIF_ADDFD
const SET_FLAGS: u64 = 0x4008_2104; // SECCOMP_IOCTL_NOTIF_SET_FLAGS
const SYNC_WAKE_UP: u64 = 1;
const ADD_AT: u32 = 1; // SECCOMP_ADDFD_FLAG_SETFD

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    /// The thread, in the pid namespace of the receiver.
    pub(crate) thread: u32,
    flags: u32,
    pub(crate) number: i32,
    architecture: u32,
    instruction: u64,
    pub(crate) arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `struct seccomp_notif_addfd`.
#[repr(C)]
struct Addition {
    id: u64,
    flags: u32,
    from: u32,
    at: u32,
    new_flags: u32,
}

/// Installs a filter for the calling thread and what it starts; where its questions arrive.
pub(crate) fn seccomp_filter_with_listener(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let description = libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    let install = |flags: u64| {
        // SAFETY: `Instruction` has the layout of `sock_filter`; the kernel reads `length` of them and writes
        // nothing.
        result(unsafe { system_call!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const description) })
    };
    let raw = match install(NEW_LISTENER | WAIT_KILLABLE) {
        Err(Errno::INVAL) => install(NEW_LISTENER),
        other => other,
    }?;
    // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Lets the kernel switch to the waiting thread at once when it is answered (Linux 6.6).
pub(crate) fn notify_synchronously(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    result(unsafe { system_call!(libc::SYS_ioctl, listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) }).map(drop)
}

/// Takes one question.
pub(crate) fn notify_receive(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    let mut notification = Notification::default();
    // SAFETY: the kernel writes one `seccomp_notif`, which was zeroed as it demands and outlives the call.
    result(unsafe { system_call!(libc::SYS_ioctl, listener.as_raw_fd(), RECEIVE, &raw mut notification) })?;
    Ok(notification)
}

/// Answers a question. Fails with `NOENT` when who asked is gone.
pub(crate) fn notify_respond(listener: BorrowedFd<'_>, id: u64, answer: Result<i64, Errno>) -> Result<(), Errno> {
    let (value, error) = match answer {
        Ok(value) => (value, 0),
        Err(errno) => (0, -errno.raw_os_error()),
    };
    let response = Response { id, value, error, flags: 0 };
    // SAFETY: the kernel reads one `seccomp_notif_resp`, which outlives the call.
    result(unsafe { system_call!(libc::SYS_ioctl, listener.as_raw_fd(), SEND, &raw const response) }).map(drop)
}

/// Lets a call go on in the kernel. Only for one whose arguments nobody looked at.
pub(crate) fn notify_continue(listener: BorrowedFd<'_>, id: u64) -> Result<(), Errno> {
    let response = Response { id, value: 0, error: 0, flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 };
    // SAFETY: the kernel reads one `seccomp_notif_resp`, which outlives the call.
    result(unsafe { system_call!(libc::SYS_ioctl, listener.as_raw_fd(), SEND, &raw const response) }).map(drop)
}

/// Whether who asked still waits: only then what was read by its thread number was its own.
pub(crate) fn notify_is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads one `u64`, which outlives the call.
    result(unsafe { system_call!(libc::SYS_ioctl, listener.as_raw_fd(), ID_VALID, &raw const id) }).is_ok()
}

/// Gives who asked a descriptor, in the place of its own number `at`.
pub(crate) fn notify_add_descriptor(
    listener: BorrowedFd<'_>,
    id: u64,
    descriptor: BorrowedFd<'_>,
    at: u32,
    close_on_exec: bool,
) -> Result<(), Errno> {
    let from = descriptor.as_raw_fd().cast_unsigned();
    let new_flags = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
    let addition = Addition { id, flags: ADD_AT, from, at, new_flags };
    // SAFETY: the kernel reads one `seccomp_notif_addfd`, which outlives the call.
    result(unsafe { system_call!(libc::SYS_ioctl, listener.as_raw_fd(), ADD_DESCRIPTOR, &raw const addition) })
        .map(drop)
}

/// `process_vm_readv(2)`: reads the memory of a thread; how much could be read.
pub(crate) fn read_memory(thread: u32, address: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let here = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let there = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: into.len() };
    // SAFETY: the kernel writes at most `into.len()` bytes to `into`; the other address is of another process
    // and is checked there.
    let read = unsafe {
        let (one, no_flags) = (1_usize, 0_usize);
        system_call!(libc::SYS_process_vm_readv, thread, &raw const here, one, &raw const there, one, no_flags)
    };
    result(read).map(|count| count as usize)
}
