//! What KVM is on this machine.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, VcpuFd, VmFd};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::processor::{Event, Registers};
use super::{Machine, PAGE, Shortcuts, Tables, Translation, USER_STUB};
use crate::sys::time_stamp;

/// What stub of system calls this machine's KVM needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StubKind {
    /// `syscall` stays at CPL 3 (virtualization in software): the stub is a page that programs can read.
    User,
    /// `syscall` goes to CPL 0: the stub is the supervisor's.
    Supervisor,
}

/// KVM, opened.
pub(crate) struct Kvm {
    kvm: kvm_ioctls::Kvm,
    /// What KVM says that processors can do, before there is one.
    told: CpuId,
    /// And what they can do.
    cpuid: OnceLock<CpuId>,
    found: OnceLock<Found>,
    /// The machine things were found out in, for the first instance of the same kind.
    spare: Mutex<Option<Machine>>,
    /// See [`Kvm::keep_branch`].
    keeper: OnceLock<Option<(VcpuFd, VmFd)>>,
    processors: Processors,
    shortcuts: Shortcuts,
    /// Whether Linux keeps its own time by the time stamp counter.
    keeps_time: bool,
    /// Whether this process is there for one machine, and ends with it.
    is_for_one: bool,
}

/// What one process knows of KVM, for another one that makes a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Findings {
    /// It had a machine of its own.
    Found {
        /// The leaves of CPUID that guests see: function, index, flags, and the four registers.
        cpuid: Vec<[u32; 7]>,
        /// Whether KVM virtualizes in software.
        software: bool,
        /// The frequency in kilohertz of a counter that guests and the host share.
        counter: Option<u32>,
    },
    /// It had none. The rest shows in the other's machine.
    Seen {
        /// The same leaves, as KVM tells them before there is a processor.
        cpuid: Vec<[u32; 7]>,
        /// Whether KVM virtualizes in software, by the modules that are loaded.
        software: bool,
        /// Whether Linux keeps its own time by the time stamp counter.
        keeps_time: bool,
    },
}

/// CPUID for another process.
fn words(cpuid: &CpuId) -> Vec<[u32; 7]> {
    let leaves = cpuid.as_slice().iter();
    leaves.map(|leaf| [leaf.function, leaf.index, leaf.flags, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]).collect()
}

/// And from it.
fn leaves(words: &[[u32; 7]]) -> Result<CpuId, Missing> {
    let leaves = words.iter().map(|&[function, index, flags, eax, ebx, ecx, edx]| kvm_bindings::kvm_cpuid_entry2 {
        function,
        index,
        flags,
        eax,
        ebx,
        ecx,
        edx,
        ..Default::default()
    });
    let leaves: Vec<_> = leaves.collect();
    CpuId::from_entries(&leaves).map_err(|_| Missing::new("more of CPUID than KVM takes", TOO_OLD))
}

/// What KVM says that processors can do.
fn told(kvm: &kvm_ioctls::Kvm) -> Result<CpuId, Missing> {
    let failed = |error| Missing::new(format!("KVM does not say what its processors can do: {error}"), TOO_OLD);
    kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(failed)
}

/// What a first machine showed.
#[derive(Clone, Copy, Debug)]
struct Found {
    kind: StubKind,
    /// The frequency of a counter that guests and the host share.
    counter: Option<u32>,
}

/// What the processors are under KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processors {
    Real,
    /// QEMU's TCG: it looks at the map of ports only when the task state is marked available, which
    /// real processors refuse. For tests of the path for ordinary hardware.
    Emulated,
}

/// Why there is no KVM, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) found: String,
    pub(crate) remedy: &'static str,
}

const NO_DEVICE: &str = "load the module (`modprobe kvm_intel` or `kvm_amd`), switch virtualization on in the firmware, \
     or give the virtual machine this runs in nested virtualization; a container needs `--device /dev/kvm`";
const NO_PERMISSION: &str = "let this user open /dev/kvm: `usermod -aG kvm $USER` and log in again, \
     or `setfacl -m u:$USER:rw /dev/kvm` as root";
const TOO_OLD: &str = "boot a kernel of 5.4 or newer";

impl Missing {
    fn new(found: impl Into<String>, remedy: &'static str) -> Self {
        Missing { found: found.into(), remedy }
    }
}

impl Kvm {
    /// Opens the device and looks at what it can do.
    pub(crate) fn open(device: &Path, processors: Processors, shortcuts: Shortcuts) -> Result<Kvm, Missing> {
        let (kvm, _) = usable(open_device(device)?, device)?;
        let told = told(&kvm)?;
        Ok(Self::with(kvm, told, processors, shortcuts, keeps_time()))
    }

    /// The same with the device that somebody else opened, and what that one found out.
    pub(crate) fn passed(device: OwnedFd, findings: &Findings) -> Result<Kvm, Missing> {
        let kvm = crate::sys::kvm_from(device.into());
        let kind = |software: bool| if software { StubKind::User } else { StubKind::Supervisor };
        match findings {
            Findings::Found { cpuid, software, counter } => {
                let found = Found { kind: kind(*software), counter: *counter }.into();
                let cpuid = leaves(cpuid)?;
                let kvm = Self::with(kvm, cpuid.clone(), Processors::Real, Shortcuts::all(), false);
                Ok(Kvm { found, cpuid: cpuid.into(), is_for_one: true, ..kvm })
            }
            Findings::Seen { cpuid, software, keeps_time } => {
                let kvm = Self::with(kvm, leaves(cpuid)?, Processors::Real, Shortcuts::all(), *keeps_time);
                match kvm.stub_kind()? == kind(*software) {
                    true => Ok(Kvm { is_for_one: true, ..kvm }),
                    false => Err(Missing::new("KVM virtualizes in another way than its modules say", NO_DEVICE)),
                }
            }
        }
    }

    /// What was found out, for another process.
    pub(crate) fn findings(&self) -> Result<Findings, Missing> {
        let software = self.stub_kind()? == StubKind::User;
        Ok(Findings::Found { cpuid: words(self.known()), software, counter: self.counter() })
    }

    /// The same without a machine: what the device itself and files of the system say.
    pub(crate) fn seen(device: &OwnedFd, software: bool) -> Result<Findings, Missing> {
        let device = device.try_clone().map_err(|error| Missing::new(error.to_string(), NO_DEVICE))?;
        let cpuid = words(&told(&crate::sys::kvm_from(device.into()))?);
        Ok(Findings::Seen { cpuid, software, keeps_time: keeps_time() })
    }

    /// Opens the device for another process, which is to make the machine; the kind of stub when the
    /// modules that are loaded tell it.
    pub(crate) fn look(device: &Path) -> Result<(OwnedFd, Option<StubKind>), Missing> {
        let opened = open_device(device)?;
        let copy = opened.try_clone().map_err(|error| Missing::new(error.to_string(), NO_DEVICE))?;
        let (_, kind) = usable(copy, device)?;
        Ok((opened, kind))
    }

    fn with(kvm: kvm_ioctls::Kvm, told: CpuId, processors: Processors, shortcuts: Shortcuts, keeps_time: bool) -> Kvm {
        Kvm {
            kvm,
            told,
            cpuid: OnceLock::new(),
            found: OnceLock::new(),
            spare: Mutex::default(),
            keeper: OnceLock::new(),
            processors,
            shortcuts,
            keeps_time,
            is_for_one: false,
        }
    }

    /// `type` of the descriptor of a task state: `kvm_segment`.
    pub(super) fn task_kind(&self) -> u8 {
        match self.processors {
            Processors::Real => 11,
            Processors::Emulated => 9,
        }
    }

    /// What the processors of a machine can do. Where KVM virtualizes in software it may leave out what programs find
    /// all the same, and use: the machine's first processor says it, and comes back to be used.
    pub(super) fn cpuid(&self, vm: &VmFd) -> Result<(CpuId, Option<VcpuFd>), kvm_ioctls::Error> {
        if let Some(known) = self.cpuid.get() {
            return Ok((known.clone(), None));
        }
        let mut cpuid = self.told.clone();
        let mut first = None;
        if !super::cpuid::has_vectors(&cpuid) && std::arch::is_x86_feature_detected!("xsave") {
            let processor = vm.create_vcpu(0)?;
            processor.set_cpuid2(&cpuid)?;
            cpuid = processor.get_cpuid2(KVM_MAX_CPUID_ENTRIES)?;
            super::cpuid::add_bit_counting(&mut cpuid);
            first = Some(processor);
        }
        if self.shortcuts.contains(Shortcuts::CACHES) {
            super::cpuid::name_caches(&mut cpuid);
        }
        Ok((self.cpuid.get_or_init(|| cpuid).clone(), first))
    }

    /// Finds that out where no machine was made yet.
    pub(crate) fn find_out(&self) -> Result<(), Missing> {
        if self.cpuid.get().is_some() {
            return Ok(());
        }
        let found = self.create_vm().and_then(|vm| self.cpuid(&vm));
        found.map(drop).map_err(|error| Missing::new(format!("KVM shows no processor: {error}"), TOO_OLD))
    }

    /// What processors can do, as far as it was found out.
    fn known(&self) -> &CpuId {
        self.cpuid.get().unwrap_or(&self.told)
    }

    /// The same, to be compared with another machine's. [`find_out`](Self::find_out), or a machine, comes first.
    pub(crate) fn fingerprint(&self) -> (Vec<u32>, Vec<u32>) {
        super::cpuid::fingerprint(self.known())
    }

    /// `KVM_CREATE_VM`, which a signal may interrupt.
    pub(super) fn create_vm(&self) -> Result<VmFd, kvm_ioctls::Error> {
        loop {
            match self.kvm.create_vm() {
                Err(error) if error.errno() == Errno::INTR.raw_os_error() => {}
                other => return other,
            }
        }
    }

    /// The kind of stub: the first time, a machine is made in which one system call is made.
    pub(crate) fn stub_kind(&self) -> Result<StubKind, Missing> {
        if let Some(found) = self.found.get() {
            return Ok(found.kind);
        }
        let (found, machine) = self.try_out().map_err(|found| Missing::new(found, NO_DEVICE))?;
        if found.kind == machine.kind() && self.shortcuts.contains(Shortcuts::SPARE) {
            *self.spare() = Some(machine);
        }
        Ok(self.found.get_or_init(|| found).kind)
    }

    /// The frequency in kilohertz of the time stamp counter, if time can be told by it in a guest: it runs
    /// evenly, the host's kernel keeps its own time by it, and guests read the same one.
    pub(crate) fn counter(&self) -> Option<u32> {
        self.found.get()?.counter.filter(|_| self.shortcuts.contains(Shortcuts::TIME))
    }

    /// Whether a machine serves one instance of a snapshot after the other. Before Linux 6.13 it would wait for a grace
    /// period whenever another thread runs its processor.
    pub(crate) fn uses_again(&self) -> bool {
        let is_quick = |release: String| {
            let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().ok());
            numbers.next().flatten().zip(numbers.next().flatten()).is_some_and(|version: (u32, u32)| version >= (6, 13))
        };
        self.shortcuts.contains(Shortcuts::AGAIN)
            && std::fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(is_quick)
    }

    /// Whether this process is there for one machine, and ends with it.
    pub(crate) fn is_for_one(&self) -> bool {
        self.is_for_one
    }

    /// Which ways to be faster are taken.
    pub(super) fn shortcuts(&self) -> Shortcuts {
        self.shortcuts
    }

    /// Whether a first machine has been tried out.
    pub(super) fn is_tried(&self) -> bool {
        self.found.get().is_some()
    }

    /// Keeps an empty processor from the second machine on. With the first processor that has no interrupt
    /// controller, and again when the last one goes, KVM rewrites a branch of its own code, for which it
    /// stops every processor of the host: nobody who runs one instance after the other is to pay for that
    /// twice each.
    pub(super) fn keep_branch(&self) {
        if self.is_for_one {
            return;
        }
        self.keeper.get_or_init(|| {
            let vm = self.create_vm().ok()?;
            Some((vm.create_vcpu(0).ok()?, vm))
        });
    }

    fn spare(&self) -> MutexGuard<'_, Option<Machine>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine things were found out in, if it is of this kind and nobody has had it. Nothing of a
    /// program ever ran in it.
    pub(super) fn take_spare(&self, kind: StubKind) -> Option<Machine> {
        self.spare().take_if(|machine| machine.kind() == kind)
    }

    fn try_out(&self) -> Result<(Found, Machine), String> {
        // In a page that programs can read the stub serves both kinds, as long as the supervisor may
        // run it: SMEP and SMAP are off for this kind.
        let machine = Machine::new(self, StubKind::User, None).map_err(|error| error.to_string())?;
        let mut tables = Tables::new(&machine).ok_or("no page tables")?;
        let frame = machine.take_frames(1).map_err(|error| error.to_string())?.start;
        const CODE: u64 = 0x40_0000;
        // rdtsc; syscall; hlt
        machine.write(frame * PAGE, &[0x0f, 0x31, 0x0f, 0x05, 0xf4]);
        let translation = Translation { frame, write: false, execute: true };
        tables.set(&machine, CODE / PAGE, translation).ok_or("no page tables")?;
        let mut processor = machine.processor().map_err(|error| error.to_string())?;
        let start = Registers { rip: CODE, rsp: CODE, rflags: 0x202, ..Registers::default() };
        processor.enter(&machine, tables.root(), 0, &start).map_err(|error| error.to_string())?;
        let before = time_stamp();
        for _ in 0..16 {
            match processor.run(&machine) {
                Event::Syscall if processor.user_context(&machine).rcx == CODE + 4 => {
                    let after = time_stamp();
                    let level = processor.privilege().map_err(|error| error.to_string())?;
                    let kind = if level == 3 { StubKind::User } else { StubKind::Supervisor };
                    let registers = processor.user_context(&machine);
                    let read = registers.rdx << 32 | registers.rax & 0xffff_ffff;
                    let is_shared = (before..=after).contains(&read) && self.has_even_counter();
                    let counter = processor.counter_kilohertz().filter(|_| is_shared);
                    machine.put_back(processor);
                    tables.clear(&machine, CODE / PAGE);
                    tables.give_back(&machine);
                    machine.give_frames(std::iter::once(frame..frame + 1));
                    return Ok((Found { kind, counter }, machine));
                }
                Event::Interrupted => {}
                other => return Err(format!("a first system call ended in {other:?} (stub at {USER_STUB:x})")),
            }
        }
        Err("a first system call was interrupted again and again".into())
    }

    /// Whether the counter runs evenly whatever the processor does, and Linux trusts it: CPUID 8000'0007,
    /// and the clock source, which it leaves when it sees the counter go wrong.
    fn has_even_counter(&self) -> bool {
        let is_invariant =
            |leaf: &kvm_bindings::kvm_cpuid_entry2| leaf.function == 0x8000_0007 && leaf.edx >> 8 & 1 != 0;
        self.known().as_slice().iter().any(is_invariant) && self.keeps_time
    }
}

/// Whether Linux keeps its own time by the time stamp counter.
fn keeps_time() -> bool {
    let source = std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    source.is_ok_and(|source| source.trim_ascii() == b"tsc")
}

fn open_device(device: &Path) -> Result<OwnedFd, Missing> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(device, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| missing(device, errno))
}

/// KVM, if it has what is needed here; the kind of stub when the modules that are loaded tell it.
fn usable(opened: OwnedFd, device: &Path) -> Result<(kvm_ioctls::Kvm, Option<StubKind>), Missing> {
    let kvm = crate::sys::kvm_from(opened.into());
    if kvm.get_api_version() != 12 {
        return Err(Missing::new(format!("{} is not KVM as of version 12", device.display()), NO_DEVICE));
    }
    for (capability, name) in [(Cap::SyncRegs, "KVM_CAP_SYNC_REGS"), (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT")] {
        if !kvm.check_extension(capability) {
            return Err(Missing::new(format!("KVM has no {name}"), TOO_OLD));
        }
    }
    let there = |module: &str| Path::new("/sys/module").join(module).exists();
    let kind = match (there("kvm_pvm"), there("kvm_intel"), there("kvm_amd")) {
        (true, false, false) => Some(StubKind::User),
        (false, true, false) | (false, false, true) => Some(StubKind::Supervisor),
        // Several are loaded, or they are a part of the kernel: trying it out tells.
        _ => None,
    };
    Ok((kvm, kind))
}

fn missing(device: &Path, errno: Errno) -> Missing {
    let device = device.display();
    match errno {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => Missing::new(format!("there is no {device}"), NO_DEVICE),
        Errno::ACCESS | Errno::PERM => Missing::new(format!("{device} may not be opened: {errno}"), NO_PERMISSION),
        errno => Missing::new(format!("{device} cannot be opened: {errno}"), NO_DEVICE),
    }
}
