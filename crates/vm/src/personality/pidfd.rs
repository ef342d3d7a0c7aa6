//! Descriptors of processes: `pidfd_open(2)`, `pidfd_send_signal(2)`.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::open::{Kind, Open};
use super::process::Process;
use super::thread::Thread;
use super::{Answer, Arguments, int, signals};

/// A descriptor of a process, which is closed when another program begins.
pub(super) fn add(thread: &Thread, process: &Arc<Process>, flags: u32) -> Answer {
    let how = libc::O_RDWR as u32 | flags & libc::O_NONBLOCK as u32;
    let open = Open::new(&thread.world, Kind::Process(process.clone()), b"anon_inode:[pidfd]", how);
    thread.process.descriptors().add(open, 0, true)
}

/// `pidfd_open(2)`
pub(super) fn open(thread: &mut Thread, [id, flags, ..]: Arguments) -> Answer {
    let flags = flags as u32;
    // `PIDFD_THREAD`
    let known = (libc::O_NONBLOCK | libc::O_EXCL) as u32;
    if flags & !known != 0 || int(id) <= 0 {
        return Err(Errno::INVAL);
    }
    let process = thread.world.process(id as u32).ok_or(Errno::SRCH)?;
    add(thread, &process, flags)
}

/// `pidfd_send_signal(2)`
pub(super) fn send_signal(thread: &mut Thread, [number, signal, info, flags, ..]: Arguments) -> Answer {
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let open = thread.process.descriptors().get(int(number))?;
    let process = match &open.kind {
        Kind::Process(process) => process.clone(),
        // The folder of a process stands for it, too.
        Kind::Listing(_) => {
            let name = open.path.strip_prefix(b"/proc/").and_then(|rest| std::str::from_utf8(rest).ok());
            let number = match name {
                Some("self") => Some(thread.process.id),
                name => name.and_then(|name| name.parse().ok()),
            };
            thread.world.process(number.ok_or(Errno::BADF)?).ok_or(Errno::SRCH)?
        }
        _ => return Err(Errno::BADF),
    };
    // What is told has to be of the signal that is sent.
    if info != 0 && thread.process.space()?.read_u32(info)? != signal as u32 {
        return Err(Errno::INVAL);
    }
    let is_there = thread.world.has(&process);
    if !is_there && process.is_over.load(SeqCst) {
        return Err(Errno::SRCH);
    }
    signals::send_by(thread, &process, signal, info)
}
