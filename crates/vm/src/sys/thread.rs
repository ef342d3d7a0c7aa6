//! Kicking a thread out of the guest, and what it used of the processor.

use std::time::Duration;

/// The signal that ends a stay in the guest. It is blocked everywhere else in a thread that runs one,
/// so it is never delivered and needs no handler.
fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 7
}

/// A signal set with the kick alone.
fn set() -> libc::sigset_t {
    // SAFETY: an all-zero `sigset_t` is a valid value, and the calls only write to it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal());
        set
    }
}

/// Blocks the kick for the calling thread, for good.
pub(crate) fn block_kicks() {
    let set = set();
    // SAFETY: the set is valid and outlives the call; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Takes a kick that is pending for the calling thread.
pub(crate) fn take_kick() {
    let set = set();
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: set and time outlive the call; no information is asked for.
    unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const at_once) };
}

/// `tgkill(2)` with the kick, to a thread of this process that blocks it and has not ended.
pub(crate) fn kick(thread: i32) {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal()) };
}

/// The kernel's own signal set with everything blocked but the kick.
pub(super) fn mask_inside() -> u64 {
    !(1_u64 << (signal() - 1))
}

/// Processor time of a thread of this process; `None` when it has ended.
pub(crate) fn thread_time(thread: i32) -> Option<Duration> {
    // The clock of one thread: `clock_getcpuclockid(3)`; the kernel's `MAKE_THREAD_CPUCLOCK`.
    let clock = (!thread << 3) | 0b110;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    let returned = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (returned == 0).then(|| Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
}
