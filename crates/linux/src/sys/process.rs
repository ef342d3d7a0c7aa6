//! `clone3(2)`, `clone(2)`, `execve(2)` and the rest of a process's life.

use std::cmp::Ordering;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;

use super::call::{result, system_call};

/// `linux/sched.h`; libc's own constant does not fit its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What `clone3` is asked for.
pub(crate) struct CloneArguments<'a> {
    /// Namespaces and other flags; `CLONE_PIDFD` and `CLONE_INTO_CGROUP` are added here.
    pub(crate) flags: u64,
    /// The cgroup (v2) to begin in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
}

/// `clone3(2)` as a fork: the child runs `child` on a copy of the memory and never comes back.
///
/// Other threads are not copied, and locks they held stay locked in the child: `child` must not
/// allocate, lock, print or panic. A panic aborts the child.
pub(crate) fn clone3<T>(arguments: &CloneArguments<'_>, child: fn(&T) -> !, data: &T) -> Result<(i32, OwnedFd), Errno> {
    let mut pidfd: c_int = -1;
    // SAFETY: `clone_args` is plain integers, for which zero is a value.
    let mut raw: libc::clone_args = unsafe { std::mem::zeroed() };
    raw.flags = arguments.flags | libc::CLONE_PIDFD as u64;
    raw.pidfd = (&raw mut pidfd) as u64;
    raw.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = arguments.cgroup {
        raw.flags |= CLONE_INTO_CGROUP;
        raw.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with a null stack this is a fork: the child goes on with a copy of this stack.
    // The kernel writes one descriptor number to `pidfd`, which outlives the call.
    let pid = result(unsafe { system_call!(libc::SYS_clone3, &raw mut raw, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        never_back(child, data);
    }
    // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
    Ok((pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

fn never_back<T>(child: fn(&T) -> !, data: &T) -> ! {
    struct Abort;
    impl Drop for Abort {
        fn drop(&mut self) {
            exit(134);
        }
    }
    let _abort = Abort;
    child(data)
}

/// The stack of a process that shares its parent's memory.
pub(crate) struct Stack(Box<[MaybeUninit<u128>]>);

impl Stack {
    pub(crate) fn new(bytes: usize) -> Self {
        // Not touched: every page of it would be copied by the clone.
        Stack(Box::new_uninit_slice(bytes / size_of::<u128>()))
    }
}

/// What else than its memory a child shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    /// Nothing: it has copies of the descriptors.
    Memory,
    /// Its descriptors, too (`CLONE_FILES`).
    Descriptors,
}

/// `clone(2)` with `CLONE_VM`: the child runs `child` on `stack` in the *same* memory until it
/// executes a program or exits. Both must keep from changing what the other reads, and neither may use what libc
/// keeps for a thread, which here is one for both.
pub(crate) fn clone_sharing_memory<T>(
    child: fn(&T) -> !,
    data: &T,
    stack: &Stack,
    shared: Shared,
) -> Result<i32, Errno> {
    struct Start<'a, T>(fn(&T) -> !, &'a T);
    extern "C" fn begin<T>(start: *mut c_void) -> c_int {
        // SAFETY: `start` is the `Start` that `clone_sharing_memory` placed at the top of the child's own stack,
        // where it stays as long as the child does.
        let Start(child, data) = unsafe { &*start.cast::<Start<'_, T>>() };
        never_back(*child, data)
    }
    let bytes = size_of_val(&*stack.0);
    let room = size_of::<Start<'_, T>>().next_multiple_of(64);
    if bytes < room * 2 {
        return Err(Errno::NOMEM);
    }
    // SAFETY: `top` is `room` bytes below the end of the allocation, aligned to 16, and nobody else uses the
    // stack: its owner only keeps it alive. `begin` never returns, and `data` outlives the child, because the
    // caller, pid 1, keeps it until it exits, and the child ends with it.
    unsafe {
        let top = stack.0.as_ptr().cast::<u8>().cast_mut().add(bytes - room);
        let start = top.cast::<Start<'_, T>>();
        start.write(Start(child, data));
        let files = if shared == Shared::Descriptors { libc::CLONE_FILES } else { 0 };
        match libc::clone(begin::<T>, top.cast(), libc::CLONE_VM | files | libc::SIGCHLD, start.cast()) {
            // Nothing shares this memory now that could have changed it.
            -1 => Err(Errno::from_raw_os_error(*libc::__errno_location())),
            pid => Ok(pid),
        }
    }
}

/// `clone(2)` as a fork, where `clone3` is forbidden: the child runs `child` on a copy of the memory and never
/// comes back. As for [`clone3`], it must not allocate, lock, print or panic.
pub(crate) fn clone_copying_memory<T>(child: fn(&T) -> !, data: &T) -> Result<i32, Errno> {
    let none = 0_usize;
    // SAFETY: without CLONE_VM and with a null stack this is a fork: the child goes on with a copy of this stack.
    let pid = result(unsafe { system_call!(libc::SYS_clone, libc::SIGCHLD as usize, none, none, none, none) })?;
    if pid == 0 {
        never_back(child, data);
    }
    Ok(pid as i32)
}

/// A null-terminated array of strings, as `execve(2)` takes it.
pub(crate) struct Strings {
    pointers: Vec<*const c_char>,
    /// What the pointers point into.
    _owned: Vec<CString>,
}

// SAFETY: the pointers lead into `_owned`, which is never changed.
unsafe impl Send for Strings {}
// SAFETY: as above.
unsafe impl Sync for Strings {}

impl Strings {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Strings { pointers, _owned: strings }
    }

    /// They, as `execve(2)` takes them.
    pub(crate) fn pointers(&self) -> Pointers<'_> {
        Pointers(&self.pointers)
    }
}

/// A null-terminated array of strings that somebody keeps.
#[derive(Clone, Copy)]
pub(crate) struct Pointers<'a>(&'a [*const c_char]);

/// Words of a command, in memory of their own: for where nothing may be allocated. Whoever has them becomes
/// another program or ends, so that memory is never given back.
pub(crate) struct Words {
    bytes: &'static mut [u8],
    pointers: &'static mut [*const c_char],
}

impl Words {
    /// Room for words of so many bytes together, each with its NUL.
    pub(crate) fn room(bytes: usize) -> Result<Self, Errno> {
        let bytes = bytes.next_multiple_of(align_of::<*const c_char>());
        // There are no more words than bytes, and a null pointer after them.
        let pointers = bytes + 1;
        let size = bytes + pointers * size_of::<*const c_char>();
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let nowhere: *mut c_void = std::ptr::null_mut();
        // SAFETY: asks for new memory, wherever there is room.
        let start = result(unsafe { system_call!(libc::SYS_mmap, nowhere, size, protection, flags, -1_i32, 0_usize) })?;
        let start = start as *mut u8;
        // SAFETY: the memory is new, zeroed, nobody else's and never unmapped; zero is a value of both types, and
        // `bytes` is a multiple of the alignment of a pointer, as the start of a page is.
        unsafe {
            Ok(Words {
                bytes: std::slice::from_raw_parts_mut(start, bytes),
                pointers: std::slice::from_raw_parts_mut(start.add(bytes).cast(), pointers),
            })
        }
    }

    /// The room, to be filled.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// Takes the first `count` bytes for words that each end with a NUL.
    pub(crate) fn split(&mut self, count: usize) -> Result<(), Errno> {
        let text = self.bytes.get(..count).filter(|text| text.last() == Some(&0)).ok_or(Errno::INVAL)?;
        let mut number = 0;
        for word in text.split_inclusive(|&byte| byte == 0) {
            self.pointers[number] = word.as_ptr().cast();
            number += 1;
        }
        self.pointers[number] = std::ptr::null();
        Ok(())
    }

    /// The words.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &CStr> {
        let count = self.pointers.iter().take_while(|pointer| !pointer.is_null()).count();
        let mut rest: &[u8] = self.bytes;
        std::iter::from_fn(move || {
            let word = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[word.count_bytes() + 1..];
            Some(word)
        })
        .take(count)
    }

    /// The words after the one of this index.
    pub(crate) fn after(&self, index: usize) -> Pointers<'_> {
        let end = self.pointers.iter().position(|pointer| pointer.is_null()).unwrap_or(0);
        Pointers(&self.pointers[(index + 1).min(end)..=end])
    }
}

/// `execve(2)`; returns only when it failed.
pub(crate) fn execve(path: &CStr, arguments: &Strings, environment: &Strings) -> Errno {
    execute(path, &arguments.pointers, environment.pointers())
}

/// The same with words that were not allocated.
pub(crate) fn execve_words(path: &CStr, arguments: &Words, environment: Pointers<'_>) -> Errno {
    execute(path, arguments.pointers, environment)
}

fn execute(path: &CStr, arguments: &[*const c_char], environment: Pointers<'_>) -> Errno {
    // SAFETY: `path` is NUL-terminated, and both arrays are null-terminated arrays of such strings: only this
    // module makes them.
    let returned = unsafe { system_call!(libc::SYS_execve, path.as_ptr(), arguments.as_ptr(), environment.0.as_ptr()) };
    match result(returned) {
        Err(errno) => errno,
        Ok(_) => Errno::INVAL,
    }
}

/// `PTRACE_DETACH` of `ptrace(2)`: a process that has stopped for this tracer goes on, with that signal if it is not 0.
pub(crate) fn stop_tracing(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: takes integers only; the third argument is not looked at.
    result(unsafe { system_call!(libc::SYS_ptrace, libc::PTRACE_DETACH, pid, 0_usize, signal as usize) }).map(drop)
}

/// `_exit(2)` of the calling thread: of the process, where that is its only one. It is not
/// `exit_group`, which waits for the supervisor behind some filters, and the supervisor may wait for
/// this process.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: ends the thread without running anything more of it; takes an integer only.
        unsafe { system_call!(libc::SYS_exit, status) };
    }
}

/// Whether the working directory can be named from the root, as `getcwd(2)` says of one that cannot.
pub(crate) fn is_within_root() -> Result<(), Errno> {
    let mut path = [0_u8; 4096];
    // SAFETY: the kernel writes at most so many bytes to the array, which outlives the call.
    result(unsafe { system_call!(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) })?;
    if path[0] == b'/' { Ok(()) } else { Err(Errno::XDEV) }
}

/// `kill(2)` by number.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    result(unsafe { system_call!(libc::SYS_kill, pid, signal) }).map(drop)
}

/// `kcmp(2)` of two threads' tables of descriptors: an order in which the same are equal.
pub(crate) fn compare_descriptors(one: i32, other: i32) -> Result<Ordering, Errno> {
    const FILES: libc::c_long = 2;
    // SAFETY: takes integers only.
    match result(unsafe { system_call!(libc::SYS_kcmp, one, other, FILES, 0_usize, 0_usize) })? {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        _ => Err(Errno::INVAL),
    }
}

/// `unshare(2)`.
pub(crate) fn unshare(flags: i32) -> Result<(), Errno> {
    // SAFETY: takes integers only; this crate asks for namespaces, never for a private descriptor table.
    result(unsafe { system_call!(libc::SYS_unshare, flags) }).map(drop)
}

/// Gives the calling thread a copy of the table of descriptors for itself.
pub(crate) fn unshare_descriptors() -> Result<(), Errno> {
    // SAFETY: takes integers only. Each descriptor this thread has goes on to name what it named.
    result(unsafe { system_call!(libc::SYS_unshare, libc::CLONE_FILES) }).map(drop)
}

/// `waitid(2)` for the process behind a pidfd: waits for its end and reaps it; the processor time that it and those it
/// waited for used.
pub(crate) fn wait_for(pidfd: BorrowedFd<'_>) -> Result<Duration, Errno> {
    // SAFETY: both are plain data for which zero is a value.
    let (mut information, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: the kernel writes a `siginfo_t` and an `rusage`, which outlive the call.
        let returned = unsafe {
            system_call!(
                libc::SYS_waitid,
                libc::P_PIDFD,
                RawFd::from(pidfd.as_raw_fd()),
                &raw mut information,
                libc::WEXITED,
                &raw mut usage,
            )
        };
        match result(returned) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    let time = |value: libc::timeval| {
        Duration::new(value.tv_sec.unsigned_abs(), 0) + Duration::from_micros(value.tv_usec.unsigned_abs())
    };
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

/// `prctl(PR_CAPBSET_DROP)` for every capability the kernel has.
pub(crate) fn drop_bounding_set() -> Result<(), Errno> {
    for capability in 0..64 {
        // SAFETY: takes integers only.
        match result(unsafe { system_call!(libc::SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            Ok(_) => {}
            // One past the last.
            Err(Errno::INVAL) if capability > 0 => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
