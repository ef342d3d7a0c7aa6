//! One virtual machine: its memory, and its processors while nobody runs on them.

use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvm_ioctls::{VcpuFd, VmFd};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use rustix::io::Errno;
use vm_memory::mmap::MmapRegion;
use vm_memory::{Bytes, FileOffset, VolatileMemory};

use super::cpuid::{Features, features};
use super::journal::Recorder;
use super::layout::{self, PROCESSORS};
use super::processor::Idle;
use super::tables::TablePool;
use super::{Frames, Kvm, PAGE, Processor, Shortcuts, StubKind};
use crate::sys;

/// A memory slot: what is added at once when memory grows. Its cost grows with its size.
const SLOT: u64 = 64 << 20;
/// Where page tables are, in guest physical memory: all of the first slot but the control area.
pub(crate) const TABLE_AREA: Range<u64> = 2 << 20..SLOT;
/// How much of a program's memory is really there in a machine that waits for one.
const WARM: u64 = 1 << 20;
/// How much memory a machine has when no limit says so.
const UNLIMITED: u64 = 16 << 30;

/// A virtual machine.
pub(crate) struct Machine {
    // Dropped in this order: processors, virtual machine, memory.
    pub(super) idle: Mutex<Vec<Idle>>,
    /// The first processor, when only what it can do has been asked of it.
    first: Mutex<Option<VcpuFd>>,
    pub(super) created: Mutex<usize>,
    tables: Mutex<TablePool>,
    vm: VmFd,
    region: MmapRegion,
    file: File,
    frames: Mutex<Grown>,
    kind: StubKind,
    task_kind: u8,
    features: Features,
    cpuid: kvm_bindings::CpuId,
    extent: super::Extent,
    allowed: u64,
    shortcuts: Shortcuts,
    /// Whether everything of it is about to go at once.
    pub(super) retired: AtomicBool,
    /// Bytes that the host keeps for programs: pipes, sockets.
    pub(super) kept: AtomicU64,
    /// What programs change, when it is to be used again.
    pub(super) recorder: Recorder,
}

/// About what the host keeps for a processor and who runs on it: KVM's caches for its page tables, registers, stacks.
const PROCESSOR: usize = 512 << 10;

/// Bytes that the host keeps for programs, counted as theirs.
pub(crate) struct Kept {
    machine: Arc<Machine>,
    bytes: u64,
}

impl Kept {
    /// None yet.
    pub(crate) fn new(machine: Arc<Machine>) -> Kept {
        Kept { machine, bytes: 0 }
    }

    /// So many.
    pub(crate) fn of(machine: &Arc<Machine>, bytes: usize) -> Kept {
        let mut kept = Kept::new(machine.clone());
        kept.set(bytes);
        kept
    }

    /// So many now.
    pub(crate) fn set(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.machine.kept.fetch_add(bytes, Ordering::Relaxed);
        self.machine.kept.fetch_sub(std::mem::replace(&mut self.bytes, bytes), Ordering::Relaxed);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.set(0);
    }
}

pub(super) struct Grown {
    pub(super) frames: Frames,
    /// How far slots reach.
    slots: u64,
}

/// Why there is no machine, or it cannot grow; the host's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MachineError {
    /// KVM refused something.
    #[error("{doing}: {source}")]
    Kvm {
        /// What.
        doing: &'static str,
        /// Why.
        source: kvm_ioctls::Error,
    },
    /// Memory cannot be had.
    #[error("cannot get memory for a virtual machine: {0}")]
    Memory(String),
    /// No more processors.
    #[error("a virtual machine has at most {PROCESSORS} processors")]
    Processors,
    /// No more memory.
    #[error("the memory of the virtual machine is used up")]
    Full,
}

pub(super) fn failed(doing: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> MachineError {
    move |source| MachineError::Kvm { doing, source }
}

impl Machine {
    /// A machine whose programs can have `memory_wanted` bytes.
    pub(crate) fn new(kvm: &Kvm, kind: StubKind, memory_wanted: Option<u64>) -> Result<Machine, MachineError> {
        if let Some(spare) = kvm.take_spare(kind) {
            match spare.adopted(memory_wanted) {
                Ok(machine) => return Ok(machine),
                Err(too_small) => drop(too_small),
            }
        }
        if kvm.is_tried() {
            kvm.keep_branch();
        }
        let vm = kvm.create_vm().map_err(failed("cannot create a virtual machine"))?;
        let (cpuid, first) = kvm.cpuid(&vm).map_err(failed("cannot find out what processors can do"))?;
        let features = features(&cpuid, kind == StubKind::Supervisor);
        let most = (1_u64 << features.address_bits.clamp(32, 39)) - SLOT;
        let memory = memory_wanted.unwrap_or(UNLIMITED).min(most).next_multiple_of(SLOT);
        let allowed = memory_wanted.unwrap_or(u64::MAX);
        let size = SLOT + memory;
        let no_memory = |error: &dyn std::fmt::Display| MachineError::Memory(error.to_string());
        let file = memfd_create(c"microvm", MemfdFlags::CLOEXEC).map_err(|errno| no_memory(&errno))?;
        ftruncate(&file, size).map_err(|errno| no_memory(&errno))?;
        let file = File::from(file);
        let copy = file.try_clone().map_err(|error| no_memory(&error))?;
        let region =
            MmapRegion::from_file(FileOffset::new(copy, 0), size as usize).map_err(|error| no_memory(&error))?;
        sys::add_slot(&vm, 0, &region, 0..SLOT).map_err(failed("cannot give memory to a virtual machine"))?;
        let frames = Grown { frames: Frames::new(SLOT / PAGE..size / PAGE), slots: SLOT };
        let machine = Machine {
            idle: Mutex::default(),
            first: Mutex::new(first),
            created: Mutex::new(0),
            tables: Mutex::default(),
            vm,
            region,
            file,
            frames: Mutex::new(frames),
            kind,
            task_kind: kvm.task_kind(),
            features,
            extent: super::Extent::new(&cpuid, features.xcr0),
            cpuid,
            allowed,
            shortcuts: kvm.shortcuts(),
            retired: AtomicBool::new(false),
            kept: AtomicU64::new(0),
            recorder: Recorder::default(),
        };
        layout::furnish(&machine);
        Ok(machine)
    }

    /// This machine, whose programs can have `memory_wanted` bytes from now on; nothing of it is in use.
    /// Back as it is when it has less.
    fn adopted(mut self, memory_wanted: Option<u64>) -> Result<Machine, Box<Machine>> {
        let size = self.region.size() as u64;
        let memory = memory_wanted.unwrap_or(0).next_multiple_of(SLOT);
        if memory > size - SLOT {
            return Err(Box::new(self));
        }
        let end = memory_wanted.map_or(size, |_| SLOT + memory);
        self.grown().frames = Frames::new(SLOT / PAGE..end / PAGE);
        self.allowed = memory_wanted.unwrap_or(u64::MAX);
        Ok(self)
    }

    pub(crate) fn kind(&self) -> StubKind {
        self.kind
    }

    pub(super) fn task_kind(&self) -> u8 {
        self.task_kind
    }

    pub(super) fn features(&self) -> Features {
        self.features
    }

    pub(super) fn cpuid(&self) -> &kvm_bindings::CpuId {
        &self.cpuid
    }

    /// What the vector registers of its processors take.
    pub(crate) fn extent(&self) -> &super::Extent {
        &self.extent
    }

    /// A new processor, of which nothing is set.
    pub(super) fn bare_processor(&self, index: usize) -> Result<VcpuFd, kvm_ioctls::Error> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| index == 0);
        first.map_or_else(|| self.vm.create_vcpu(index as u64), Ok)
    }

    /// A processor for the calling thread: one that nobody runs on, else a new one.
    pub(crate) fn processor(&self) -> Result<Processor, MachineError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(idle) = idle {
            return Ok(Processor::again(idle));
        }
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        if *created == PROCESSORS {
            return Err(MachineError::Processors);
        }
        let processor = Processor::create(self, *created)?;
        *created += 1;
        Ok(processor)
    }

    /// Whether there is a processor for each of so many threads, with those made that are missing. What the host keeps for
    /// them counts as the program's.
    pub(crate) fn has_processors(&self, threads: usize, may_keep: impl Fn(usize) -> bool) -> bool {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        while *created < threads.min(PROCESSORS) {
            if !may_keep(PROCESSOR) {
                return false;
            }
            let Ok(processor) = Processor::create(self, *created) else { return false };
            self.kept.fetch_add(PROCESSOR as u64, Ordering::Relaxed);
            self.put_back(processor);
            *created += 1;
        }
        threads <= PROCESSORS
    }

    /// Makes ahead what an instance needs of it in any case: a processor, and memory for its first pages.
    pub(crate) fn warm(&self) -> Result<(), MachineError> {
        let processor = self.processor()?;
        self.put_back(processor);
        for area in [TABLE_AREA.start..TABLE_AREA.start + 32 * PAGE, SLOT..SLOT + WARM] {
            sys::make_ahead(&self.region, area);
        }
        Ok(())
    }

    /// Takes a processor back.
    pub(crate) fn put_back(&self, processor: Processor) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(processor.into_idle());
    }

    /// Between one and `most` pages in a row, empty.
    pub(crate) fn take_frames(&self, most: u64) -> Result<Range<u64>, MachineError> {
        let mut grown = self.grown();
        let run = grown.frames.take(most).ok_or(MachineError::Full)?;
        self.note_taken(&run);
        while grown.slots < run.end * PAGE {
            let range = grown.slots..grown.slots + SLOT;
            let slot = (grown.slots / SLOT) as u32;
            if let Err(source) = sys::add_slot(&self.vm, slot, &self.region, range) {
                grown.frames.give(run);
                return Err(MachineError::Kvm { doing: "cannot give memory to a virtual machine", source });
            }
            grown.slots += SLOT;
        }
        Ok(run)
    }

    /// No program runs in it any more: what is given back from here on goes with the machine itself.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether no program runs in it any more.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Gives pages back, to which no page table leads any more. Their content is gone.
    pub(crate) fn give_frames(&self, runs: impl IntoIterator<Item = Range<u64>>) {
        if self.is_retired() {
            return;
        }
        for run in runs {
            // Pages that cannot be emptied are never used again.
            if self.empty(run.clone()) {
                self.grown().frames.give(run);
            }
        }
    }

    /// Makes holes of pages: they read as zeroes, and KVM forgets every translation to them.
    pub(super) fn empty(&self, run: Range<u64>) -> bool {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.file, flags, run.start * PAGE, (run.end - run.start) * PAGE).is_ok()
    }

    /// Sees to it that there is memory for pages which are about to be touched. KVM then makes its translations
    /// of several at once.
    pub(crate) fn back(&self, run: Range<u64>) {
        if self.takes(Shortcuts::AHEAD) {
            sys::make_ahead(&self.region, run.start * PAGE..run.end * PAGE);
        }
    }

    /// Makes KVM look again at the page tables that lead to these pages.
    pub(crate) fn forget_translations(&self, run: Range<u64>) {
        sys::forget(&self.region, run.start * PAGE..run.end * PAGE);
    }

    /// Which of all frames have memory behind them: those that somebody touched, and some beside them. In order, in runs;
    /// `None` where that cannot be found out.
    pub(crate) fn backed(&self) -> Option<Vec<Range<u64>>> {
        use rustix::fs::{SeekFrom, seek};
        let mut runs = Vec::new();
        let mut at = SLOT;
        loop {
            let start = match seek(&self.file, SeekFrom::Data(at)) {
                Ok(start) => start,
                // Holes up to the end.
                Err(Errno::NXIO) => return Some(runs),
                Err(_) => return None,
            };
            at = seek(&self.file, SeekFrom::Hole(start)).ok()?;
            runs.push(start / PAGE..at.div_ceil(PAGE));
        }
    }

    /// Whether a way to be faster is taken.
    pub(crate) fn takes(&self, shortcut: Shortcuts) -> bool {
        self.shortcuts.contains(shortcut)
    }

    /// Whether so many pages more would come close to what there is.
    pub(crate) fn is_short(&self, pages: u64) -> bool {
        self.used() + pages * PAGE > self.allowed
    }

    /// Bytes in use by programs: pages, tables, and what the host keeps for them.
    pub(crate) fn used(&self) -> u64 {
        (self.grown().frames.used() + self.table_pool().made()) * PAGE + self.kept.load(Ordering::Relaxed)
    }

    pub(super) fn table_pool(&self) -> MutexGuard<'_, TablePool> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn grown(&self) -> MutexGuard<'_, Grown> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies into guest memory. What does not fit is left out: callers stay within pages they own.
    pub(crate) fn write(&self, at: u64, from: &[u8]) {
        let _ = self.region.as_volatile_slice().write_slice(from, at as usize);
    }

    /// Copies into pages that are empty, whole ones. They are made by writing to the file, which neither faults
    /// nor clears what is overwritten, and then mapped together: both cost several times as much page by page.
    pub(crate) fn fill(&self, run: Range<u64>, from: &[u8]) {
        if !self.takes(Shortcuts::FILL) {
            return self.write(run.start * PAGE, from);
        }
        let mut done = 0;
        while done < from.len() {
            match rustix::io::pwrite(&self.file, &from[done..], run.start * PAGE + done as u64) {
                Ok(count) if count > 0 => done += count,
                Err(Errno::INTR) => {}
                // The other way there is.
                _ => return self.write(run.start * PAGE + done as u64, &from[done..]),
            }
        }
        sys::map_ahead(&self.region, run.start * PAGE..run.end * PAGE);
    }

    /// The same from other pages, in a row as well: what a program changes meanwhile is copied or is not.
    pub(crate) fn copy(&self, from: Range<u64>, to: u64) {
        let bytes = from.start * PAGE..from.end * PAGE;
        if self.takes(Shortcuts::FILL) && sys::copy_within(&self.region, &self.file, bytes, to * PAGE) {
            return sys::map_ahead(&self.region, to * PAGE..(to + from.end - from.start) * PAGE);
        }
        let mut content = vec![0; PAGE as usize];
        for (from, to) in from.zip(to..) {
            self.read(from * PAGE, &mut content);
            self.write(to * PAGE, &content);
        }
    }

    /// Copies out of guest memory.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) {
        let _ = self.region.as_volatile_slice().read_slice(into, at as usize);
    }

    pub(crate) fn write_u64(&self, at: u64, word: u64) {
        let stored = self.region.as_volatile_slice().store(word, at as usize, Ordering::SeqCst);
        debug_assert!(stored.is_ok(), "{at:#x} is not the place of a word");
    }

    pub(crate) fn read_u64(&self, at: u64) -> u64 {
        self.region.as_volatile_slice().load(at as usize, Ordering::SeqCst).unwrap_or(0)
    }

    /// A word of guest memory that programs change at the same time; aligned.
    pub(crate) fn atomic(&self, at: u64) -> Option<&AtomicU32> {
        self.region.get_atomic_ref(usize::try_from(at).ok()?).ok()
    }
}
