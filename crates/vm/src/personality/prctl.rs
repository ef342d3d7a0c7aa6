//! What a process says of itself: `prctl(2)`.

use std::sync::atomic::Ordering::SeqCst;

use ringfence_manifest::Point;
use rustix::io::Errno;

use super::process::LONGEST_NAME;
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

/// `SECBIT_KEEP_CAPS`, as a word of `capabilities(7)`.
const KEEPS: u64 = 1 << 4;
/// `SECCOMP_MODE_FILTER`.
const FILTER: u64 = 2;

/// `PR_CAP_AMBIENT` of somebody without capabilities: none can be raised, and all are as they were.
fn ambient(what: u64, [capability, fourth, fifth]: [u64; 3]) -> Answer {
    let valid = capability <= LAST_CAPABILITY && (fourth, fifth) == (0, 0);
    match what as i32 {
        libc::PR_CAP_AMBIENT_CLEAR_ALL if (capability, fourth, fifth) == (0, 0, 0) => Ok(0),
        libc::PR_CAP_AMBIENT_IS_SET | libc::PR_CAP_AMBIENT_LOWER if valid => Ok(0),
        libc::PR_CAP_AMBIENT_RAISE if valid => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}

/// `prctl(2)`
pub(super) fn prctl(thread: &mut Thread, [option, at, third, fourth, fifth, _]: Arguments) -> Answer {
    let (space, process) = (thread.process.space()?, thread.process.clone());
    let unused = || if (third, fourth, fifth) == (0, 0, 0) { Ok(()) } else { Err(Errno::INVAL) };
    match int(option) {
        libc::PR_SET_NAME => {
            let mut name = Vec::new();
            for offset in 0..LONGEST_NAME as u64 {
                let mut byte = [0];
                space.read(at.wrapping_add(offset), &mut byte)?;
                if byte[0] == 0 {
                    break;
                }
                name.push(byte[0]);
            }
            process.name_thread(thread.member.id, &name);
            Ok(0)
        }
        libc::PR_GET_NAME => {
            let mut name = process.name_of(thread.member.id);
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
            let slack = if at as i64 <= 0 { thread.member.first_slack.load(SeqCst) } else { at };
            thread.member.slack.store(slack, SeqCst);
            Ok(0)
        }
        libc::PR_GET_TIMERSLACK => Ok(thread.member.slack.load(SeqCst)),
        libc::PR_SET_TIMING if at != 0 => Err(Errno::INVAL),
        libc::PR_SET_TIMING | libc::PR_GET_TIMING => Ok(0),
        libc::PR_SET_KEEPCAPS if at > 1 => Err(Errno::INVAL),
        // There are no capabilities that could be kept.
        libc::PR_SET_KEEPCAPS => {
            process.keeps_capabilities.store(at != 0, SeqCst);
            Ok(0)
        }
        libc::PR_GET_KEEPCAPS => Ok(process.keeps_capabilities.load(SeqCst).into()),
        libc::PR_GET_SECUREBITS => Ok(if process.keeps_capabilities.load(SeqCst) { KEEPS } else { 0 }),
        libc::PR_GET_SECCOMP => Ok(0),
        libc::PR_SET_SECCOMP => {
            if at == FILTER {
                // A filter is looked at first, and there is none here.
                space.read(third, &mut [0; 16])?;
            }
            Err(Errno::INVAL)
        }
        libc::PR_SET_THP_DISABLE => {
            unused()?;
            process.no_huge_pages.store(at != 0, SeqCst);
            Ok(0)
        }
        libc::PR_GET_THP_DISABLE => {
            unused()?;
            if at == 0 { Ok(process.no_huge_pages.load(SeqCst).into()) } else { Err(Errno::INVAL) }
        }
        libc::PR_CAP_AMBIENT => ambient(at, [third, fourth, fifth]),
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
