//! Signal masks, handlers and `signalfd(2)`, by raw system calls: a mask is 64 bits, signal 1 the lowest.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::call::{result, system_call};

const MASK_SIZE: usize = size_of::<u64>();

/// Blocks every signal for the calling thread; the mask before.
pub(crate) fn block_all_signals() -> Result<u64, Errno> {
    change_mask(u64::MAX)
}

/// Sets the calling thread's signal mask.
pub(crate) fn set_signal_mask(mask: u64) -> Result<(), Errno> {
    change_mask(mask).map(drop)
}

fn change_mask(mask: u64) -> Result<u64, Errno> {
    let mut before = 0_u64;
    // SAFETY: both pointers are to 64-bit masks, the size the kernel is told, and outlive the call.
    let returned = unsafe {
        system_call!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut before, MASK_SIZE)
    };
    result(returned).map(|_| before)
}

/// Gives every signal its default action, also those that were ignored.
pub(crate) fn reset_signal_handlers() {
    // The kernel's `struct sigaction`: handler (null is the default), flags, restorer, mask.
    let default = [0_usize; 4];
    let before: *mut usize = std::ptr::null_mut();
    for signal in 1..=64 {
        // SAFETY: `default` is a whole kernel `sigaction`; nothing is written through the null pointer.
        // SIGKILL and SIGSTOP cannot be changed and are refused, which changes nothing.
        unsafe { system_call!(libc::SYS_rt_sigaction, signal, default.as_ptr(), before, MASK_SIZE) };
    }
}

/// A descriptor that is readable when one of the signals of `mask` is pending.
pub(crate) fn signal_descriptor(mask: u64) -> Result<OwnedFd, Errno> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the kernel reads a 64-bit mask that outlives the call.
    let raw = result(unsafe { system_call!(libc::SYS_signalfd4, -1_i32, &raw const mask, MASK_SIZE, flags) })?;
    // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}
