//! What KVM is on this machine.

use std::path::Path;
use std::sync::OnceLock;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, VmFd};
use rustix::io::Errno;

use super::processor::{Event, Registers};
use super::{Machine, PAGE, Tables, Translation, USER_STUB};

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
    cpuid: CpuId,
    kind: OnceLock<StubKind>,
    processors: Processors,
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
    pub(crate) fn open(device: &Path, processors: Processors) -> Result<Kvm, Missing> {
        use rustix::fs::{Mode, OFlags};
        let opened = rustix::fs::open(device, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let descriptor = opened.map_err(|errno| missing(device, errno))?;
        let kvm = std::fs::File::from(descriptor);
        let kvm = crate::sys::kvm_from(kvm);
        if kvm.get_api_version() != 12 {
            return Err(Missing::new(format!("{} is not KVM as of version 12", device.display()), NO_DEVICE));
        }
        for (capability, name) in [(Cap::SyncRegs, "KVM_CAP_SYNC_REGS"), (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT")]
        {
            if !kvm.check_extension(capability) {
                return Err(Missing::new(format!("KVM has no {name}"), TOO_OLD));
            }
        }
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(|error| Missing::new(format!("KVM does not say what its processors can do: {error}"), TOO_OLD))?;
        Ok(Kvm { kvm, cpuid, kind: OnceLock::new(), processors })
    }

    /// `type` of the descriptor of a task state: `kvm_segment`.
    pub(super) fn task_kind(&self) -> u8 {
        match self.processors {
            Processors::Real => 11,
            Processors::Emulated => 9,
        }
    }

    pub(super) fn cpuid(&self) -> &CpuId {
        &self.cpuid
    }

    /// What its processors can do, to be compared with another machine's.
    pub(crate) fn fingerprint(&self) -> (Vec<u32>, Vec<u32>) {
        super::cpuid::fingerprint(&self.cpuid)
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
        if let Some(&kind) = self.kind.get() {
            return Ok(kind);
        }
        let kind = self.try_out().map_err(|found| Missing::new(found, NO_DEVICE))?;
        Ok(*self.kind.get_or_init(|| kind))
    }

    fn try_out(&self) -> Result<StubKind, String> {
        // In a page that programs can read the stub serves both kinds, as long as the supervisor may
        // run it: SMEP and SMAP are off for this kind.
        let machine = Machine::new(self, StubKind::User, Some(PAGE)).map_err(|error| error.to_string())?;
        let mut tables = Tables::new(&machine).ok_or("no page tables")?;
        let frame = machine.take_frames(1).map_err(|error| error.to_string())?.start;
        const CODE: u64 = 0x40_0000;
        // syscall; hlt
        machine.write(frame * PAGE, &[0x0f, 0x05, 0xf4]);
        let translation = Translation { frame, write: false, execute: true };
        tables.set(&machine, CODE / PAGE, translation).ok_or("no page tables")?;
        let mut processor = machine.processor().map_err(|error| error.to_string())?;
        let start = Registers { rip: CODE, rsp: CODE, rflags: 0x202, rax: 0x1234, ..Registers::default() };
        processor.enter(&machine, tables.root(), 0, &start).map_err(|error| error.to_string())?;
        for _ in 0..16 {
            match processor.run(&machine) {
                Event::Syscall if processor.user_context(&machine).rcx == CODE + 2 => {
                    let level = processor.privilege().map_err(|error| error.to_string())?;
                    return Ok(if level == 3 { StubKind::User } else { StubKind::Supervisor });
                }
                Event::Interrupted => {}
                other => return Err(format!("a first system call ended in {other:?} (stub at {USER_STUB:x})")),
            }
        }
        Err("a first system call was interrupted again and again".into())
    }
}

fn missing(device: &Path, errno: Errno) -> Missing {
    let device = device.display();
    match errno {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => Missing::new(format!("there is no {device}"), NO_DEVICE),
        Errno::ACCESS | Errno::PERM => Missing::new(format!("{device} may not be opened: {errno}"), NO_PERMISSION),
        errno => Missing::new(format!("{device} cannot be opened: {errno}"), NO_DEVICE),
    }
}
