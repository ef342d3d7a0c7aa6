//! How an instance ended, from everything that is known of it.

use std::time::Duration;

use ringfence_isolation::{Exit, Limit, LimitKind, LostReason, Trap};
use ringfence_manifest::Limits;
use rustix::io::Errno;

use crate::launch::{Message, Step};
use crate::tree::PAGE;

/// What is known when everything of an instance is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Why the supervisor ended it, if it did.
    pub(crate) verdict: Option<Exit>,
    /// The last message of the place.
    pub(crate) message: Option<Message>,
    /// Processes ended for lack of memory.
    pub(crate) out_of_memory: u64,
    /// Processes and threads that were not made.
    pub(crate) too_many: u64,
    pub(crate) memory_peak: u64,
    pub(crate) cpu_time: Duration,
    /// Bytes of the limit on the disk that are for the host's folders.
    pub(crate) set_aside: u64,
    /// Whether its owner killed it.
    pub(crate) killed: bool,
}

impl Known {
    /// How it ended: a limit that tripped comes before what the program made of it.
    pub(crate) fn exit(self, limits: &Limits) -> Exit {
        if let Some(exit) = self.verdict {
            return exit;
        }
        if self.out_of_memory > 0
            && let Some(allowed) = limits.memory
        {
            return exceeded(LimitKind::Memory, allowed.0, self.memory_peak.max(allowed.0));
        }
        if self.too_many > 0
            && let Some(allowed) = limits.processes
        {
            return exceeded(LimitKind::Processes, allowed, allowed.saturating_add(1));
        }
        match self.message {
            Some(Message::Ended(status)) => ended(status, self.cpu_time, limits),
            Some(Message::Failed(Step::Execute, errno)) => unexecuted(errno),
            Some(Message::Failed(step, errno)) => Exit::Lost(LostReason::Backend(format!("{}: {errno}", step.doing()))),
            _ if self.killed => Exit::Stopped,
            Some(Message::Full(pages)) => {
                let allowed = limits.disk.map_or(0, |bytes| bytes.0);
                exceeded(LimitKind::Disk, allowed, u64::from(pages) * PAGE + self.set_aside)
            }
            Some(Message::Ready | Message::Doors(_)) | None => {
                Exit::Lost(LostReason::Backend("pid 1 of the place ended without a word".into()))
            }
        }
    }
}

/// What became of a program that `execve(2)` refused: its own fault, or a lack of something here.
fn unexecuted(errno: Errno) -> Exit {
    match errno {
        Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::IO | Errno::FAULT => {
            Exit::Lost(LostReason::Backend(format!("{}: {errno}", Step::Execute.doing())))
        }
        errno => Exit::Trapped(Trap::NotExecutable(errno.to_string())),
    }
}

pub(crate) fn exceeded(limit: LimitKind, allowed: u64, used: u64) -> Exit {
    Exit::Exceeded(Limit { limit, allowed, used })
}

/// Nanoseconds.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A status as `wait(2)` has it: as a shell shows it, unless a signal tells of a limit.
fn ended(status: i32, cpu_time: Duration, limits: &Limits) -> Exit {
    if libc::WIFEXITED(status) {
        // A status is the program's own word, also where a shell says that a command ended by a signal.
        return Exit::Returned(libc::WEXITSTATUS(status));
    }
    let signal = libc::WTERMSIG(status);
    match (signal, limits.file_size, limits.cpu_time) {
        (libc::SIGXFSZ, Some(allowed), _) => exceeded(LimitKind::FileSize, allowed.0, allowed.0.saturating_add(1)),
        (libc::SIGXCPU | libc::SIGKILL, _, Some(allowed)) if cpu_time >= allowed => {
            exceeded(LimitKind::CpuTime, nanoseconds(allowed), nanoseconds(cpu_time))
        }
        _ => Exit::Returned(as_a_shell_shows(status)),
    }
}

/// What a shell's `$?` is after a command with this status, as `wait(2)` has it.
pub(crate) fn as_a_shell_shows(status: i32) -> i32 {
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_manifest::Bytes;

    fn limits() -> Limits {
        Limits {
            memory: Some(Bytes(100)),
            processes: Some(4),
            cpu_time: Some(Duration::from_secs(1)),
            file_size: Some(Bytes(10)),
            ..Limits::default()
        }
    }

    fn after(message: Message) -> Known {
        Known { message: Some(message), ..Known::default() }
    }

    #[test]
    fn statuses_and_signals_are_as_a_shell_shows_them() {
        assert_eq!(after(Message::Ended(3 << 8)).exit(&limits()), Exit::Returned(3));
        assert_eq!(after(Message::Ended((128 + libc::SIGXFSZ) << 8)).exit(&limits()), Exit::Returned(153));
        assert_eq!(after(Message::Ended(libc::SIGSEGV | 0x80)).exit(&limits()), Exit::Returned(139));
        assert_eq!(after(Message::Ended(libc::SIGXFSZ)).exit(&Limits::default()), Exit::Returned(153));
    }

    #[test]
    fn a_limit_that_tripped_comes_before_the_status() {
        let known = Known { out_of_memory: 1, memory_peak: 90, ..after(Message::Ended(9)) };
        assert_eq!(known.exit(&limits()), exceeded(LimitKind::Memory, 100, 100));
        let known = Known { too_many: 2, ..after(Message::Ended(0)) };
        assert_eq!(known.exit(&limits()), exceeded(LimitKind::Processes, 4, 5));
        assert_eq!(after(Message::Ended(libc::SIGXFSZ)).exit(&limits()), exceeded(LimitKind::FileSize, 10, 11));
        let limits = Limits { disk: Some(Bytes(100)), ..Limits::default() };
        assert_eq!(after(Message::Full(2)).exit(&limits), exceeded(LimitKind::Disk, 100, 8192));
    }

    #[test]
    fn a_kill_of_the_owner_is_a_stop_unless_the_program_had_ended() {
        let known = Known { killed: true, message: None, ..Known::default() };
        assert_eq!(known.exit(&limits()), Exit::Stopped);
        let known = Known { killed: true, ..after(Message::Ended(0)) };
        assert_eq!(known.exit(&limits()), Exit::Returned(0));
    }

    #[test]
    fn a_place_that_ends_without_a_word_is_lost() {
        assert!(matches!(Known::default().exit(&limits()), Exit::Lost(_)));
        let failed = after(Message::Failed(Step::Seccomp, Errno::INVAL));
        assert!(matches!(failed.exit(&limits()), Exit::Lost(_)));
        let failed = after(Message::Failed(Step::Execute, Errno::NOEXEC));
        assert!(matches!(failed.exit(&limits()), Exit::Trapped(Trap::NotExecutable(_))));
        let failed = after(Message::Failed(Step::Execute, Errno::NOMEM));
        assert!(matches!(failed.exit(&limits()), Exit::Lost(_)));
    }
}
