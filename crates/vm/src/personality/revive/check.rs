//! What can be said of a captured state before anything is made of it.

use std::collections::BTreeSet;

use super::LAST_ID;
use super::ReviveError::{self, Invalid};
use crate::kvm::PAGE;
use crate::personality::MOST_THREADS;
use crate::personality::world::{FIRST, World};
use crate::snapshot::Image;
use crate::snapshot::state;

/// How much memory there can be when no limit says so.
const MOST_PAGES: u64 = (16 << 30) / PAGE;

/// Holds its numbers against each other and against the limits.
pub(super) fn check(world: &World, image: &Image) -> Result<(), ReviveError> {
    let state = &image.state;
    let ids = numbers(&state.processes)?;
    for process in &state.processes {
        let is_whole = match process.over {
            Some(status) => process.threads.is_empty() && process.space.is_none() && (0..=0xffff).contains(&status),
            None => !process.threads.is_empty() && process.space.is_some() && process.descriptors.is_some(),
        };
        if !is_whole || process.group >= LAST_ID || process.session >= LAST_ID {
            return Err(Invalid("processes"));
        }
    }
    let is_alive = |process: &state::Process| process.id == FIRST && process.over.is_none();
    let last = ids.last().copied().unwrap_or(0);
    if !state.processes.iter().any(is_alive) || ids.contains(&0) || last >= state.next || state.next >= LAST_ID {
        return Err(Invalid("processes"));
    }
    let needed = state.processes.iter().map(|process| process.threads.len() as u64).sum();
    let allowed = world.spec.limits.processes.unwrap_or(u64::MAX).min(MOST_THREADS.into());
    if needed > allowed {
        return Err(ReviveError::Threads { needed, allowed });
    }
    let spaces = state.spaces.iter().flat_map(|space| space.present.iter().map(|&(_, count)| count));
    let segments = state.segments.iter().map(|segment| segment.pages.len() as u64);
    let pages = spaces.chain(segments).fold(0_u64, u64::saturating_add);
    let limit = world.spec.limits.memory.map_or(u64::MAX, |bytes| bytes.0);
    if pages > limit / PAGE {
        return Err(ReviveError::Memory { needed: pages.saturating_mul(PAGE), allowed: limit });
    }
    if pages > MOST_PAGES {
        return Err(Invalid("pages"));
    }
    Ok(())
}

/// The numbers of all processes and threads: none is there twice, but for that of a process, which one of its
/// threads has.
fn numbers(processes: &[state::Process]) -> Result<BTreeSet<u32>, ReviveError> {
    let mut ids = BTreeSet::new();
    for process in processes {
        let (first, others): (Vec<_>, Vec<_>) =
            process.threads.iter().map(|thread| thread.id).partition(|&id| id == process.id);
        let is_known = ids.insert(process.id) && others.into_iter().all(|id| ids.insert(id));
        if !is_known || first.len() > 1 {
            return Err(Invalid("processes"));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn thread(id: u32) -> state::Thread {
        state::Thread {
            id,
            signals: Vec::new(),
            blocked: 0,
            name: Vec::new(),
            slack: [1; 2],
            registers: [0; 18],
            bases: (0, 0),
            vectors: Vec::new(),
            clear_at_end: 0,
            robust: 0,
            alternate: (0, 0, false),
            used: Duration::ZERO,
            waiting: None,
            is_marker: false,
            rseq: None,
        }
    }

    fn process(id: u32, threads: &[u32]) -> state::Process {
        state::Process {
            id,
            parent: 1,
            group: id,
            session: id,
            halt: (false, None),
            has_executed: false,
            niceness: 0,
            limits: [[0; 2]; 16],
            name: None,
            at_parents_end: 0,
            dumpable: 1,
            last_signal: 0,
            adopts: false,
            users: [0; 4],
            groups: [0; 4],
            more_groups: Vec::new(),
            oom: [0; 2],
            persona: 0,
            keeps: (false, false),
            barriers: 0,
            peaks: [0; 2],
            used: (Duration::ZERO, Duration::ZERO),
            over: None,
            has_left: false,
            space: Some(0),
            descriptors: Some(0),
            actions: 0,
            place: 0,
            path: Vec::new(),
            arguments: Vec::new(),
            alarms: Vec::new(),
            signals: Vec::new(),
            threads: threads.iter().map(|&id| thread(id)).collect(),
        }
    }

    #[test]
    fn no_number_of_a_process_or_thread_is_there_twice() {
        let is_right = |processes: &[(u32, &[u32])]| {
            let processes: Vec<_> = processes.iter().map(|&(id, threads)| process(id, threads)).collect();
            numbers(&processes).is_ok()
        };
        assert!(is_right(&[(2, &[2, 3]), (4, &[4]), (5, &[])]));
        // Its first thread has ended.
        assert!(is_right(&[(2, &[3])]));
        assert!(!is_right(&[(2, &[2, 2])]), "two threads of one number");
        assert!(!is_right(&[(2, &[2]), (2, &[2])]), "two processes of one number");
        assert!(!is_right(&[(2, &[2, 3, 3])]), "two further threads of one number");
        assert!(!is_right(&[(2, &[2, 3]), (3, &[3])]), "a thread and a process of one number");
        assert!(!is_right(&[(3, &[3]), (2, &[2, 3])]), "a process and a thread of one number");
    }
}
