//! Time without leaving the guest: `vdso(7)`.
//!
//! A page of code that C libraries call instead of making `clock_gettime(2)`, `gettimeofday(2)` and `time(2)`
//! (and `getcpu(2)`, which it makes), and before it a page of data that only the host writes. There is none unless the
//! processor's counter is invariant, the host's kernel keeps its own time by it, and a guest was seen
//! to read the same counter ([`crate::kvm::Kvm::counter`]). Programs can read the counter
//! without any of this: it tells them nothing new.

mod clock;
mod image;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringfence_abi::{Call, Clock as Which, Reply};
use ringfence_isolation::Host;
use rustix::io::Errno;

use self::clock::{Clock, Sample, Slot};
use crate::kvm::{Machine, PAGE};
use crate::memory::{Backing, Placement, Protection, Reach, Segment, Source, Space};

/// The page of time of one instance. All its processes share it, and none can write to it.
pub(crate) struct Vdso {
    machine: Arc<Machine>,
    pages: Arc<Segment>,
    /// Where the page of data is in guest memory.
    data: u64,
    state: Mutex<State>,
}

struct State {
    clock: Clock,
    generation: u32,
    kilohertz: u32,
    /// How much the monotonic clock is ahead of the host's, in nanoseconds.
    ahead: i64,
}

/// What tells the code of one version of this from that of another: a captured thread may be in the midst of it.
pub(crate) fn fingerprint() -> [u8; 32] {
    blake3::hash(&image::image()).into()
}

/// The same pages where there is no clock: who calls the code is led to ask the host.
pub(crate) fn without_clock(machine: &Arc<Machine>) -> Option<Arc<Segment>> {
    written(Segment::of(machine.clone(), Source::Zeroes, Some(0)))
}

fn written(pages: Arc<Segment>) -> Option<Arc<Segment>> {
    let mut image = image::image();
    image.resize(PAGE as usize, 0);
    pages.write_at(PAGE, &image).ok()?;
    pages.write_at(0, &[0; PAGE as usize]).ok()?;
    Some(pages)
}

impl Vdso {
    /// `None` when the host says no time or there is no room. `kilohertz` is the frequency of the counter.
    pub(crate) fn new(machine: &Arc<Machine>, host: &dyn Host, kilohertz: u32) -> Option<Vdso> {
        let sample = Sample::take(|which| read(host, which, 0))?;
        let pages = match &machine.time_frames()[..] {
            [] => without_clock(machine)?,
            frames => written(Segment::lying(machine.clone(), frames))?,
        };
        let data = pages.frame(0).ok()? * PAGE;
        let state = State { clock: Clock::new(sample, kilohertz), generation: 0, kilohertz, ahead: 0 };
        let state = Mutex::new(state);
        let vdso = Vdso { machine: machine.clone(), pages, data, state };
        {
            let mut state = vdso.state();
            let slot = state.clock.slot();
            vdso.publish(&mut state, slot);
        }
        Some(vdso)
    }

    /// Maps both pages, readable; where the image is: `AT_SYSINFO_EHDR`.
    pub(crate) fn map(&self, space: &Space, at: u64) -> Result<u64, Errno> {
        let backing = |offset| Backing::Shared(self.pages.clone(), offset, Reach::ReadOnly);
        space.map(Placement::Fixed(at), PAGE, Protection::READ, backing(0))?;
        space.map(Placement::Fixed(at + PAGE), PAGE, Protection::READ | Protection::EXECUTE, backing(PAGE))?;
        space.populate(at, 2 * PAGE);
        Ok(at + PAGE)
    }

    /// Compares the page with the host's clocks and corrects it.
    pub(crate) fn refresh(&self, host: &dyn Host) {
        let mut state = self.state();
        let ahead = state.ahead;
        match Sample::take(|which| read(host, which, ahead)) {
            Some(sample) => {
                if let Some(slot) = state.clock.correct(sample, crate::sys::time_stamp()) {
                    self.publish(&mut state, slot);
                }
            }
            // Who may not be told the time any more is not told it here either.
            None => self.generation(0),
        }
    }

    /// The pages, which every process has that was begun with them.
    pub(crate) fn pages(&self) -> &Arc<Segment> {
        &self.pages
    }

    /// Where they are in guest memory, by frame.
    pub(crate) fn frames(&self) -> Vec<u64> {
        self.pages.parts().1.into_iter().map(|(_, frame)| frame).collect()
    }

    /// Which state of the page of data is current.
    pub(crate) fn current(&self) -> u32 {
        self.state().generation
    }

    /// Goes on for programs that were captured with another page: its last `generation`, and how much the monotonic
    /// clock is ahead of this host's. Who was reading it begins again, because the generation is another one.
    pub(crate) fn go_on(&self, host: &dyn Host, generation: u32, ahead: i64) {
        let mut state = self.state();
        (state.generation, state.ahead) = (generation.min(u32::MAX - 1), ahead);
        match Sample::take(|which| read(host, which, ahead)) {
            Some(sample) => {
                state.clock = Clock::new(sample, state.kilohertz);
                let slot = state.clock.slot();
                self.publish(&mut state, slot);
            }
            None => self.generation(0),
        }
    }

    /// What a clock shows according to the page, so that whoever asks the host sees the same time.
    pub(crate) fn now(&self, which: Which) -> i64 {
        let slot = self.state().clock.slot();
        let monotonic = slot.monotonic_at(crate::sys::time_stamp());
        match which {
            Which::Monotonic => monotonic,
            Which::Wall => monotonic + slot.to_wall,
        }
    }

    fn publish(&self, state: &mut State, slot: Slot) {
        // Never 0, which is how a page without a clock begins; odd and even in turns.
        state.generation = if state.generation == u32::MAX - 1 { 1 } else { state.generation + 1 };
        let at = self.data + 64 + u64::from(state.generation & 1) * 64;
        for (index, word) in slot.words().into_iter().enumerate() {
            self.machine.write_u64(at + index as u64 * 8, word);
        }
        self.generation(state.generation);
    }

    fn generation(&self, generation: u32) {
        if let Some(word) = self.machine.atomic(self.data) {
            word.store(generation, SeqCst);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(host: &dyn Host, clock: Which, ahead: i64) -> Option<i64> {
    let ahead = if clock == Which::Monotonic { ahead } else { 0 };
    match host.call(Call::Now { clock }).now() {
        Ok(Reply::Time(time)) => i64::try_from(time).ok()?.checked_add(ahead),
        _ => None,
    }
}
