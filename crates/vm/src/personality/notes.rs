//! What programs write about themselves in `/proc`: `proc_pid_comm(5)`, `proc_pid_oom_score_adj(5)`,
//! `proc_pid_timerslack_ns(5)`. It is kept and told again; of a name and a number the host hears nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::process::{Process, lock};
use super::thread::Thread;

/// What can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Name,
    Adjustment,
    Slack,
}

/// Something of a process that can be written, or of one of its threads.
pub(super) struct Note {
    pub(super) process: Arc<Process>,
    who: u32,
    subject: Subject,
}

/// How far the adjustment goes either way: `OOM_SCORE_ADJ_MAX`.
pub(super) const FARTHEST: i32 = 1000;
/// How much of a number is looked at.
const LONGEST_NUMBER: usize = 20;

/// What a path of `/proc` leads to, when that can be written.
pub(super) fn of(thread: &Thread, path: &[u8]) -> Option<Note> {
    let mut names = std::str::from_utf8(path).ok()?.strip_prefix("/proc/")?.split('/');
    let first = names.next()?;
    let mut who = None;
    let process = match first {
        "self" => thread.process.clone(),
        "thread-self" => {
            who = Some(thread.member.id);
            thread.process.clone()
        }
        number => thread.world.process(number.parse().ok()?)?,
    };
    let mut last = names.next()?;
    if last == "task" {
        let id = names.next()?.parse().ok()?;
        lock(&process.threads).get(&id)?;
        (who, last) = (Some(id), names.next()?);
    }
    let subject = match last {
        "comm" => Subject::Name,
        "oom_score_adj" => Subject::Adjustment,
        "timerslack_ns" => Subject::Slack,
        _ => return None,
    };
    let who = who.unwrap_or(process.id);
    names.next().is_none().then_some(Note { process, who, subject })
}

/// A number as `kstrtol` of Linux reads it: of base 16 behind `0x`, of base 8 behind `0`.
fn number(text: &[u8]) -> Result<i64, Errno> {
    let text = std::str::from_utf8(&text[..text.len().min(LONGEST_NUMBER)]).map_err(|_| Errno::INVAL)?;
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, base) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return Err(Errno::INVAL);
    }
    let value = i64::from_str_radix(digits, base).map_err(|_| Errno::INVAL)?;
    Ok(if is_negative { -value } else { value })
}

impl Note {
    /// Takes what was written.
    pub(super) fn write(&self, thread: &Thread, from: &[u8]) -> Result<usize, Errno> {
        let process = &self.process;
        let mine = process.id == thread.process.id;
        match self.subject {
            Subject::Name if !mine => return Err(Errno::INVAL),
            Subject::Name => process.name_thread(self.who, from),
            Subject::Adjustment => {
                let wanted = i32::try_from(number(from)?).ok();
                let wanted = wanted.filter(|wanted| (-FARTHEST..=FARTHEST).contains(wanted)).ok_or(Errno::INVAL)?;
                let privileged = lock(&thread.process.credentials).is_privileged();
                let mut oom = lock(&process.oom);
                if wanted < oom[1] && !privileged {
                    return Err(Errno::ACCESS);
                }
                // Whoever may sets also how low others may go.
                *oom = [wanted, if privileged { wanted } else { oom[1] }];
            }
            Subject::Slack => {
                let privileged = lock(&thread.process.credentials).is_privileged();
                if !mine && !privileged {
                    return Err(Errno::PERM);
                }
                let wanted = number(from)?;
                let member = lock(&process.threads).get(&self.who).cloned().ok_or(Errno::SRCH)?;
                let slack = if wanted <= 0 { member.first_slack.load(SeqCst) } else { wanted.unsigned_abs() };
                member.slack.store(slack, SeqCst);
            }
        }
        Ok(from.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_linux_reads_them() {
        for (text, value) in [("5", 5), ("-17\n", -17), ("0x10", 16), ("010", 8), (" 0 ", 0), ("+3", 3)] {
            assert_eq!(number(text.as_bytes()), Ok(value), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "x", "1 2", "--1", "0x", "-", "99999999999999999999999", "\u{e9}"] {
            assert_eq!(number(text.as_bytes()), Err(Errno::INVAL), "{text:?}");
        }
    }
}
