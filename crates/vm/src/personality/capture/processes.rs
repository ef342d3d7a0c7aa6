//! Processes, as they are captured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::{CaptureError, Capturing, address};
use crate::personality::process::{Member, Process, lock};
use crate::snapshot::state::{self, Index};

impl Capturing<'_> {
    pub(super) fn process(
        &mut self,
        process: &Arc<Process>,
        threads: &BTreeMap<u32, state::Thread>,
    ) -> Result<state::Process, CaptureError> {
        if lock(&process.awaited).is_some() {
            let text = "a command that was begun from outside is running in it: wait for its end";
            return Err(CaptureError::Holds(text.into()));
        }
        let alarms = process.alarms.captured(process);
        let signals = process.queue.captured();
        let over = process.is_over.load(SeqCst).then(|| process.status.load(SeqCst));
        let members: Vec<Arc<Member>> = lock(&process.threads).values().cloned().collect();
        // What was sent to a thread since it rests belongs to it as well.
        let thread = |member: &Arc<Member>| {
            let thread = threads.get(&member.id)?.clone();
            Some(state::Thread { signals: member.queue.captured(), ..thread })
        };
        let (space, descriptors) = match over {
            Some(_) => (None, None),
            None => {
                let space = process.space().map_err(|_| CaptureError::Ending)?;
                (Some(self.space(&space)?), Some(self.table(&process.descriptors())?))
            }
        };
        let image = process.image();
        let credentials = lock(&process.credentials).clone();
        Ok(state::Process {
            id: process.id,
            parent: process.parent.load(SeqCst),
            group: process.group.load(SeqCst),
            session: process.session.load(SeqCst),
            halt: process.halt.captured(),
            has_executed: process.has_executed.load(SeqCst),
            niceness: process.niceness.load(SeqCst),
            limits: lock(&process.limits).words(),
            name: process.given_name(),
            at_parents_end: process.at_parents_end.load(SeqCst),
            dumpable: process.dumpable.load(SeqCst),
            last_signal: process.last_signal.load(SeqCst),
            adopts: process.adopts.load(SeqCst),
            users: credentials.users,
            groups: credentials.groups,
            more_groups: credentials.more().to_vec(),
            oom: *lock(&process.oom),
            persona: process.persona.load(SeqCst),
            keeps: (process.keeps_capabilities.load(SeqCst), process.no_huge_pages.load(SeqCst)),
            barriers: process.barriers.load(SeqCst),
            used: (process.cpu_time(), *lock(&process.children_time)),
            peaks: process.peaks(),
            over,
            has_left: process.has_left.load(SeqCst),
            space,
            descriptors,
            actions: self.actions_of(process),
            place: self.place_of(process),
            path: image.path.clone(),
            arguments: image.arguments.clone(),
            alarms,
            signals,
            threads: members.iter().filter_map(thread).collect(),
        })
    }

    fn actions_of(&mut self, process: &Process) -> Index {
        let actions = process.actions();
        let words = lock(&actions).words();
        self.place(address(&actions), |me| &mut me.actions).unwrap_or_else(|place| {
            self.actions.push(words);
            place
        })
    }

    fn place_of(&mut self, process: &Process) -> Index {
        let there = process.place();
        let (folder, mask) = {
            let there = lock(&there);
            (there.folder.clone(), there.mask)
        };
        self.place(address(&there), |me| &mut me.places).unwrap_or_else(|place| {
            self.places.push(state::Place { folder, mask });
            place
        })
    }
}
