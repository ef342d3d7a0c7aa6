//! A system call as the kernel takes it, without libc: that keeps errors in memory which belongs to a thread, and
//! pid 1 and pid 2 of a place, which share their memory, would share it too.

use std::arch::asm;

use libc::c_long;
use rustix::io::Errno;

/// Makes a system call; what the kernel returned, which is the negative number of an error where it is one
/// (`syscall(2)`).
///
/// # Safety
///
/// The arguments are what the call demands: whatever it reads or writes through them is there for it.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn call(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> c_long {
    let returned;
    // SAFETY: the registers of the calling convention (`syscall(2)`), and those the instruction changes; what
    // the call does is in the caller's hands.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => returned,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    returned
}

/// As above.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn call(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> c_long {
    let returned;
    // SAFETY: as above.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => returned,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    returned
}

/// [`call`] with the arguments a call has, which are integers and pointers.
macro_rules! system_call {
    ($number:expr $(, $argument:expr)* $(,)?) => {{
        let given: &[usize] = &[$($argument as usize),*];
        let mut arguments = [0_usize; 6];
        arguments[..given.len()].copy_from_slice(given);
        $crate::sys::call::call($number, arguments)
    }};
}
pub(super) use system_call;

/// The errors are the last 4095 numbers (`syscall(2)`).
const ERRORS: std::ops::RangeInclusive<c_long> = -4095..=-1;

/// What a call returned, or its error.
pub(super) fn result(returned: c_long) -> Result<c_long, Errno> {
    if ERRORS.contains(&returned) {
        return Err(Errno::from_raw_os_error(-(returned as i32)));
    }
    Ok(returned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_gives_what_it_returns_or_its_error() {
        // SAFETY: neither call reads or writes anything.
        let (own, wrong) = unsafe { (system_call!(libc::SYS_getpid), system_call!(libc::SYS_close, -1_i32)) };
        assert_eq!(result(own), Ok(std::process::id().into()));
        assert_eq!(result(wrong), Err(Errno::BADF));
    }

    #[test]
    fn an_error_of_one_call_is_not_left_for_another() {
        // SAFETY: libc keeps a valid pointer to the calling thread's errno; the call reads and writes nothing.
        unsafe {
            *libc::__errno_location() = libc::EIO;
            assert_eq!(result(system_call!(libc::SYS_close, -1_i32)), Err(Errno::BADF));
            assert_eq!(*libc::__errno_location(), libc::EIO);
        }
    }
}
