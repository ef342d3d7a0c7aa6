//! What a process says of itself: `prctl(2)`.

use std::sync::atomic::Ordering::SeqCst;

use ringfence_manifest::Point;
use rustix::io::Errno;

use super::process::lock;
use super::thread::Thread;
use super::{Answer, Arguments, int};

/// "RFNG": the program is at a point where it may be captured. Elsewhere this is no option (`EINVAL`).
const MARKER: i32 = 0x5246_4e47;
/// How much later than asked for a thread may be woken, in nanoseconds, unless it says otherwise.
pub(super) const SLACK: u64 = 50_000;
/// The last capability of a kernel.
const LAST_CAPABILITY: u64 = 40;
/// `PR_TSC_ENABLE`: the counter can be read.
const READABLE: u32 = 1;

/// `prctl(2)`
pub(super) fn prctl(thread: &mut Thread, [option, at, third, fourth, fifth, _]: Arguments) -> Answer {
    let (space, process) = (thread.process.space()?, thread.process.clone());
    let unused = || if (third, fourth, fifth) == (0, 0, 0) { Ok(()) } else { Err(Errno::INVAL) };
    match int(option) {
        libc::PR_SET_NAME => {
            let mut name = Vec::new();
            for offset in 0..15 {
                let mut byte = [0];
                space.read(at.wrapping_add(offset), &mut byte)?;
                if byte[0] == 0 {
                    break;
                }
                name.push(byte[0]);
            }
            *lock(&process.name) = Some(name);
            Ok(0)
        }
        libc::PR_GET_NAME => {
            let mut name = process.name();
            name.resize(16, 0);
            space.write(at, &name).map(|()| 0)
        }
        libc::PR_SET_PDEATHSIG if at > 64 => Err(Errno::INVAL),
        libc::PR_SET_PDEATHSIG => {
            process.at_parents_end.store(at as u32, SeqCst);
            Ok(0)
        }
        libc::PR_GET_PDEATHSIG => space.write_u32(at, process.at_parents_end.load(SeqCst)).map(|()| 0),
        libc::PR_SET_DUMPABLE if at > 1 => Err(Errno::INVAL),
        libc::PR_SET_DUMPABLE => {
            process.dumpable.store(at as u32, SeqCst);
            Ok(0)
        }
        libc::PR_GET_DUMPABLE => Ok(process.dumpable.load(SeqCst).into()),
        libc::PR_SET_CHILD_SUBREAPER => {
            process.adopts.store(at != 0, SeqCst);
            Ok(0)
        }
        libc::PR_GET_CHILD_SUBREAPER => space.write_u32(at, process.adopts.load(SeqCst).into()).map(|()| 0),
        libc::PR_SET_NO_NEW_PRIVS => {
            unused()?;
            if at != 1 {
                return Err(Errno::INVAL);
            }
            process.gains_nothing.store(true, SeqCst);
            Ok(0)
        }
        libc::PR_GET_NO_NEW_PRIVS => {
            unused()?;
            if at == 0 { Ok(process.gains_nothing.load(SeqCst).into()) } else { Err(Errno::INVAL) }
        }
        libc::PR_SET_TIMERSLACK => {
            let slack = if at as i64 <= 0 { SLACK } else { at };
            thread.member.slack.store(slack, SeqCst);
            Ok(0)
        }
        libc::PR_GET_TIMERSLACK => Ok(thread.member.slack.load(SeqCst)),
        libc::PR_SET_TIMING if at != 0 => Err(Errno::INVAL),
        libc::PR_SET_TIMING | libc::PR_GET_TIMING => Ok(0),
        libc::PR_SET_KEEPCAPS if at > 1 => Err(Errno::INVAL),
        // There are no capabilities that could be kept.
        libc::PR_SET_KEEPCAPS | libc::PR_GET_KEEPCAPS | libc::PR_GET_SECCOMP | libc::PR_GET_SECUREBITS => Ok(0),
        libc::PR_CAPBSET_READ | libc::PR_CAPBSET_DROP if at > LAST_CAPABILITY => Err(Errno::INVAL),
        libc::PR_CAPBSET_READ => Ok(0),
        libc::PR_CAPBSET_DROP => Err(Errno::PERM),
        libc::PR_GET_TID_ADDRESS => space.write_u64(at, thread.clear_at_end).map(|()| 0),
        libc::PR_GET_TSC => space.write_u32(at, READABLE).map(|()| 0),
        libc::PR_SET_TSC if at == u64::from(READABLE) => Ok(0),
        libc::PR_TASK_PERF_EVENTS_DISABLE | libc::PR_TASK_PERF_EVENTS_ENABLE => Ok(0),
        libc::PR_SET_MM => Err(Errno::PERM),
        libc::PR_GET_SPECULATION_CTRL if at > 2 => Err(Errno::NODEV),
        MARKER => {
            thread.is_at_marker = thread.arrive(Point::Marker) || thread.world.rest.is_wanted();
            // In an instance that goes on from here the answer is 1.
            Ok(0)
        }
        _ => Err(Errno::INVAL),
    }
}
