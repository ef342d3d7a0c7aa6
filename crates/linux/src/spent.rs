//! What the processes of a place use, as `/proc` tells anybody who asks: where nothing else counts it.

use std::fs;
use std::time::Duration;

use crate::tree::PAGE;

/// More processes than this are not looked at.
const MOST: usize = 4096;

/// What some processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Bytes of memory of their own.
    pub(crate) memory: u64,
    /// Processor time, in steps of a hundredth of a second: with that of ended ones that somebody waited for.
    pub(crate) cpu_time: Duration,
}

impl Spent {
    /// What a process and those below it use.
    pub(crate) fn below(pid: i32) -> Self {
        let mut all = vec![pid];
        let mut spent = Spent::default();
        let mut next = 0;
        while let Some(&pid) = all.get(next).filter(|_| next < MOST) {
            next += 1;
            spent.memory += private(pid).unwrap_or(0);
            spent.cpu_time += processor_time(pid).unwrap_or_default();
            for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                all.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
            }
        }
        spent
    }
}

/// Memory that a process shares with no file: `proc_pid_statm(5)`, resident without shared.
fn private(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut fields = text.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0_u64));
    let (resident, shared) = (fields.next()?, fields.next()?);
    Some(resident.saturating_sub(shared) * PAGE)
}

/// Processor time of a process and of the children it waited for: `proc_pid_stat(5)`, fields 14 to 17.
fn processor_time(pid: i32) -> Option<Duration> {
    /// Hundredths of a second, on every architecture this runs on (`time(7)`, USER_HZ).
    const TICK: Duration = Duration::from_millis(10);
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second field may contain anything.
    let (_, rest) = text.rsplit_once(')')?;
    let ticks: u64 = rest.split_whitespace().skip(11).take(4).map(|field| field.parse().unwrap_or(0)).sum();
    Some(TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_children_use_is_counted() {
        let script = "sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo done; read end' ; true";
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let spent = Spent::below(child.id().cast_signed());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(spent.memory >= 2 * PAGE && spent.cpu_time > Duration::ZERO, "{spent:?}");
        assert_eq!(Spent::below(i32::MAX), Spent::default());
    }
}
