//! Processes and their threads, made of captured ones.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use kvm_bindings::kvm_xsave;

use super::ReviveError::{self, Invalid};
use super::{LAST_ID, LONGEST, Reviving, at};
use crate::kvm::{Registers, USER_END};
use crate::personality::credentials::Credentials;
use crate::personality::limits::Limits;
use crate::personality::process::{Image as Program, LONGEST_NAME, Parts, Place, Process, lock};
use crate::personality::rseq::Registration;
use crate::personality::signals::{Alternate, never_blocked};
use crate::personality::starting::{Begin, First, More, member};
use crate::personality::world::{FIRST, World};
use crate::snapshot::state;

impl Reviving<'_> {
    pub(super) fn processes(&self) -> Result<First, ReviveError> {
        let world = self.world;
        let (mut main, mut others, mut alarms) = (None, Vec::new(), Vec::new());
        for captured in &self.state.processes {
            let process = self.process(captured)?;
            for thread in &captured.threads {
                let begin = begin(world, &process, thread)?;
                if captured.id == FIRST && main.is_none() { main = Some(begin) } else { others.push(begin) }
            }
            alarms.push((process.clone(), captured.alarms.clone()));
        }
        let main = main.ok_or(Invalid("processes"))?;
        for begin in others.iter().chain([&main]) {
            lock(&begin.process.threads).insert(begin.member.id, begin.member.clone());
        }
        world.set_next_number(self.state.next);
        Ok(First::of(main, others, alarms))
    }

    /// The processes without anything of theirs: what is open may refer to them. They are let go of with the world.
    pub(super) fn shells(&self) -> Result<(), ReviveError> {
        for captured in &self.state.processes {
            let limits = Limits::revived(captured.limits).ok_or(Invalid("limits"))?;
            let known = (-20..=19).contains(&captured.niceness)
                && captured.at_parents_end <= 64
                && captured.dumpable <= 1
                && (0..=64).contains(&captured.last_signal)
                && captured.name.as_ref().is_none_or(|name| is_name(name))
                && captured.oom.iter().all(|adjustment| (-1000..=1000).contains(adjustment))
                && captured.halt.1.flatten().is_none_or(|signal| (1..=64).contains(&signal));
            if !known {
                return Err(Invalid("processes"));
            }
            let parts = Parts {
                id: captured.id,
                parent: captured.parent,
                group: captured.group,
                session: captured.session,
                space: (),
                descriptors: Arc::default(),
                actions: Arc::default(),
                place: Arc::new(Mutex::new(Place { folder: b"/".to_vec(), mask: 0 })),
                image: Arc::new(Program::new(&self.world.machine, captured.path.clone(), captured.arguments.clone())),
                limits,
                niceness: captured.niceness,
            };
            let process = Process::revived(parts, None);
            process.name_it(captured.name.clone());
            process.halt.revive(captured.halt.0, captured.halt.1);
            process.has_executed.store(captured.has_executed, SeqCst);
            process.at_parents_end.store(captured.at_parents_end, SeqCst);
            process.dumpable.store(captured.dumpable, SeqCst);
            *lock(&process.oom) = captured.oom;
            process.persona.store(captured.persona, SeqCst);
            process.keeps_capabilities.store(captured.keeps.0, SeqCst);
            process.no_huge_pages.store(captured.keeps.1, SeqCst);
            process.barriers.store(captured.barriers, SeqCst);
            process.adopts.store(captured.adopts, SeqCst);
            process.last_signal.store(captured.last_signal, SeqCst);
            // Whoever said so cannot take it back.
            process.gains_nothing.store(true, SeqCst);
            let more = &captured.more_groups;
            let credentials = Credentials::of(&self.world.machine, captured.users, captured.groups, more);
            *lock(&process.credentials) = credentials.ok_or(Invalid("users"))?;
            *lock(&process.ended_time) = captured.used.0.min(LONGEST);
            *lock(&process.children_time) = captured.used.1.min(LONGEST);
            process.set_peaks(captured.peaks);
            process.queue.revive(&process.pending, &captured.signals).ok_or(Invalid("signals"))?;
            process.has_left.store(captured.has_left, SeqCst);
            if let Some(status) = captured.over {
                process.status.store(status, SeqCst);
                process.is_over.store(true, SeqCst);
            }
            self.world.processes().insert(captured.id, process);
        }
        Ok(())
    }

    /// The process that a descriptor stands for: one of those there are, or what is known of one that was waited for.
    pub(super) fn process_of(&self, id: u32, gone: Option<i32>) -> Result<Arc<Process>, ReviveError> {
        let wrong = Invalid("descriptors of processes");
        let Some(status) = gone else { return self.world.process(id).ok_or(wrong) };
        if id >= LAST_ID || !(0..=0xffff).contains(&status) {
            return Err(wrong);
        }
        let process = Process::revived(
            Parts {
                id,
                parent: 1,
                group: id,
                session: id,
                space: (),
                descriptors: Arc::default(),
                actions: Arc::default(),
                place: Arc::new(Mutex::new(Place { folder: b"/".to_vec(), mask: 0 })),
                image: Arc::default(),
                limits: Limits::default(),
                niceness: 0,
            },
            None,
        );
        process.status.store(status, SeqCst);
        process.is_over.store(true, SeqCst);
        Ok(process)
    }

    /// Gives a process what it has.
    fn process(&self, captured: &state::Process) -> Result<Arc<Process>, ReviveError> {
        let process = self.world.process(captured.id).ok_or(Invalid("processes"))?;
        if let Some(space) = captured.space {
            process.set_space(Some(at(&self.spaces, space, "processes")?.clone()));
        }
        if let Some(table) = captured.descriptors {
            process.set_descriptors(at(&self.tables, table, "processes")?.clone());
        }
        *lock(&process.actions) = at(&self.actions, captured.actions, "processes")?.clone();
        *lock(&process.place) = at(&self.places, captured.place, "processes")?.clone();
        Ok(process)
    }
}

/// Whether that can be the name of a thread.
fn is_name(name: &[u8]) -> bool {
    name.len() <= LONGEST_NAME && !name.contains(&0)
}

/// What a thread begins with that was captured.
fn begin(world: &World, process: &Arc<Process>, captured: &state::Thread) -> Result<Begin, ReviveError> {
    let [rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags] =
        captured.registers;
    let rax = if captured.is_marker { 1 } else { rax };
    let registers =
        Registers { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags };
    let is_canonical = |base: u64| (base as i64) << 16 >> 16 == base as i64;
    let (fs_base, gs_base) = captured.bases;
    if rip >= USER_END || !is_canonical(fs_base) || !is_canonical(gs_base) {
        return Err(Invalid("registers"));
    }
    let mut vectors = Box::<kvm_xsave>::default();
    let place = vectors.region.get_mut(..captured.vectors.len()).ok_or(Invalid("registers"))?;
    place.copy_from_slice(&captured.vectors);
    if !is_name(&captured.name) || captured.slack.contains(&0) {
        return Err(Invalid("threads"));
    }
    let mut member = member(captured.id, captured.blocked & !never_blocked());
    if let Some(member) = Arc::get_mut(&mut member) {
        member.earlier = captured.used.min(LONGEST);
        member.name = Mutex::new(captured.name.clone());
        [member.slack, member.first_slack] = captured.slack.map(Into::into);
    }
    member.queue.revive(&member.pending, &captured.signals).ok_or(Invalid("signals"))?;
    let (at, size, disarms) = captured.alternate;
    Ok(Begin {
        counted: Some(world.begin_thread().map_err(|_| Invalid("threads"))?),
        process: process.clone(),
        member,
        registers,
        fs_base,
        vectors: Some(vectors),
        clear_at_end: captured.clear_at_end,
        alternate: Alternate { at, size, disarms },
        rseq: captured.rseq.map(|rseq| Registration::of(rseq).ok_or(Invalid("threads"))).transpose()?,
        more: Some(More { gs_base, robust: captured.robust, waiting: captured.waiting }),
    })
}
