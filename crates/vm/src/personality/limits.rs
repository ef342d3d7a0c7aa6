//! Limits that a process sets for itself: `getrlimit(2)`. Those of the manifest lie over them.

use ringfence_isolation::Spec;
use rustix::io::Errno;

use super::files::MOST;
use super::open::{Kind, Open};
use super::process::lock;
use super::signals::Cause;
use super::thread::Thread;
use super::{Answer, Arguments, alarms};

/// How many resources there are.
const RESOURCES: usize = 16;

/// Standard input, output and error, which are not counted.
const STREAMS: u64 = 3;

/// The soft and the hard limit of each resource.
#[derive(Clone, Copy)]
pub(super) struct Limits([[u64; 2]; RESOURCES]);

impl Default for Limits {
    fn default() -> Self {
        let mut limits = Limits([[u64::MAX; 2]; RESOURCES]);
        let mut both = |resource: u32, limit: u64| limits.0[resource as usize] = [limit; 2];
        both(libc::RLIMIT_STACK, crate::loader::STACK);
        both(libc::RLIMIT_NOFILE, MOST as u64);
        both(libc::RLIMIT_NPROC, super::MOST_THREADS.into());
        both(libc::RLIMIT_SIGPENDING, 1024);
        both(libc::RLIMIT_NICE, 0);
        both(libc::RLIMIT_RTPRIO, 0);
        // None is ever written.
        limits.0[libc::RLIMIT_CORE as usize][0] = 0;
        limits
    }
}

impl Limits {
    /// Those that a program begins with: it meets its own limit on what is open before the manifest's ends it, unless
    /// it goes one too far.
    pub(super) fn of_spec(spec: &Spec) -> Limits {
        let mut limits = Limits::default();
        if let Some(files) = spec.limits.open_files {
            let most = files.saturating_add(STREAMS + 1).min(MOST as u64);
            limits.0[libc::RLIMIT_NOFILE as usize] = [most; 2];
        }
        limits
    }

    /// As words: the soft and the hard one of each resource.
    pub(super) fn words(&self) -> [[u64; 2]; RESOURCES] {
        self.0
    }

    /// The reverse of [`words`](Self::words); `None` for more than a program can give itself.
    pub(super) fn revived(words: [[u64; 2]; RESOURCES]) -> Option<Limits> {
        let most = Limits::default().0;
        let fits = words.iter().zip(most).all(|(&[soft, hard], [_, most])| soft <= hard && hard <= most);
        fits.then_some(Limits(words))
    }

    pub(super) fn of(&self, resource: u32) -> [u64; 2] {
        self.0.get(resource as usize).copied().unwrap_or([0; 2])
    }
}

fn index(resource: u64) -> Result<usize, Errno> {
    usize::try_from(resource as u32).ok().filter(|&index| index < RESOURCES).ok_or(Errno::INVAL)
}

/// `getrlimit(2)`
pub(super) fn getrlimit(thread: &mut Thread, [resource, at, ..]: Arguments) -> Answer {
    let limit = lock(&thread.process.limits).0[index(resource)?];
    thread.process.space()?.write(at, &limit.map(u64::to_le_bytes).concat()).map(|()| 0)
}

/// `setrlimit(2)`: a hard limit only becomes lower.
pub(super) fn setrlimit(thread: &mut Thread, [resource, at, ..]: Arguments) -> Answer {
    let index = index(resource)?;
    let space = thread.process.space()?;
    let [soft, hard] = [space.read_u64(at)?, space.read_u64(at.wrapping_add(8))?];
    if soft > hard {
        return Err(Errno::INVAL);
    }
    {
        let mut limits = lock(&thread.process.limits);
        if hard > limits.0[index][1] {
            return Err(Errno::PERM);
        }
        limits.0[index] = [soft, hard];
    }
    match index as u32 {
        libc::RLIMIT_NOFILE => thread.process.descriptors().set_most(soft),
        libc::RLIMIT_CPU => alarms::limit_processor(&thread.world, &thread.process)?,
        _ => {}
    }
    Ok(0)
}

/// `prlimit(2)`
pub(super) fn prlimit(thread: &mut Thread, [process, resource, new, old, ..]: Arguments) -> Answer {
    if process != 0 && process as u32 != thread.process.id {
        thread.world.process(process as u32).ok_or(Errno::SRCH)?;
        return Err(Errno::PERM);
    }
    let before = lock(&thread.process.limits).0[index(resource)?];
    if new != 0 {
        setrlimit(thread, [resource, new, 0, 0, 0, 0])?;
    }
    if old == 0 {
        return Ok(0);
    }
    thread.process.space()?.write(old, &before.map(u64::to_le_bytes).concat()).map(|()| 0)
}

impl Thread {
    /// How much of `length` bytes may be written at an offset of a file: `RLIMIT_FSIZE`. Beyond it a signal
    /// says so.
    pub(super) fn may_write(&self, open: &Open, at: Option<u64>, length: u64) -> Result<u64, Errno> {
        let [most, _] = lock(&self.process.limits).of(libc::RLIMIT_FSIZE);
        if most == u64::MAX || !matches!(open.kind, Kind::File(_) | Kind::Memory(_)) {
            return Ok(length);
        }
        let at = match at {
            Some(at) => at,
            None if open.flags() & libc::O_APPEND as u32 != 0 => open.size()?,
            None => *lock(&open.position),
        };
        match most.saturating_sub(at) {
            0 if length > 0 => {
                self.raise(&Cause::own(libc::SIGXFSZ));
                Err(Errno::FBIG)
            }
            left => Ok(length.min(left)),
        }
    }

    /// Whether a file may be made so long.
    pub(super) fn may_be_long(&self, size: u64) -> Result<(), Errno> {
        let [most, _] = lock(&self.process.limits).of(libc::RLIMIT_FSIZE);
        if size > most {
            self.raise(&Cause::own(libc::SIGXFSZ));
            return Err(Errno::FBIG);
        }
        Ok(())
    }
}
