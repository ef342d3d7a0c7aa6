//! A processor of the guest: running a program on it, and what it leaves the guest for.
//!
//! ```text
//! fresh ──enter──▶ at CPL 3 ──run──▶ in the stub of system calls ─┐
//!                     ▲          └─▶ in the stub of an exception ─┤
//!                     └───────────────────resume──────────────────┘
//! ```

use kvm_bindings::{Msrs, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs, kvm_xcrs, kvm_xsave};
use kvm_ioctls::{SyncReg, VcpuExit, VcpuFd};

use super::layout::{self, Frame, KERNEL, PROCESSORS, SYSCALL_PORT, USER_END};
use super::machine::failed;
use super::{Machine, MachineError, PAGE, StubKind};
use crate::sys;

/// The general registers of a program.
pub(crate) type Registers = kvm_regs;

/// Why a processor left the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A system call.
    Syscall,
    /// A system call from a place that was rewritten; the registers are as that code has them.
    Site,
    /// An exception, with its error code and for a page fault the address.
    Exception {
        /// Which.
        vector: u8,
        /// Its error code.
        error: u64,
        /// `cr2`.
        address: u64,
    },
    /// A kick.
    Interrupted,
    /// It cannot go on: the host's fault, or a guest that broke its own machine.
    Broken(String),
}

/// Where the processor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the program, or interrupted somewhere.
    Program,
    Syscall,
    Exception(Frame),
}

/// A processor with nobody on it.
pub(super) struct Idle {
    vcpu: VcpuFd,
    index: usize,
    task_kind: u8,
}

/// A processor that the calling thread runs on.
pub(crate) struct Processor {
    vcpu: VcpuFd,
    index: usize,
    task_kind: u8,
    place: Place,
}

/// The flags a program may have set: arithmetic, direction, trap, alignment check, identification.
const USER_FLAGS: u64 = 0x24_0dd5;
/// The reserved flag, and interrupts on.
const ALWAYS_FLAGS: u64 = 0x202;

fn user_flags(flags: u64) -> u64 {
    flags & USER_FLAGS | ALWAYS_FLAGS
}

fn segment(selector: u16, kind: u8, long: bool) -> kvm_segment {
    kvm_segment {
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        dpl: 3,
        db: u8::from(!long),
        s: 1,
        l: u8::from(long),
        g: 1,
        ..Default::default()
    }
}

impl Processor {
    pub(super) fn create(machine: &Machine, index: usize) -> Result<Self, MachineError> {
        debug_assert!(index < PROCESSORS);
        let vcpu = machine.bare_processor(index).map_err(failed("cannot create a processor"))?;
        vcpu.set_cpuid2(machine.cpuid()).map_err(failed("cannot set what a processor can do"))?;
        layout::furnish_processor(machine, index, machine.kind() == StubKind::User);
        let entry = layout::syscall_entry(machine.kind() == StubKind::User);
        let msr = |index, data| kvm_msr_entry { index, data, ..Default::default() };
        let star = 0x10 << 32 | 0x23 << 48;
        // Also what a program in compatibility mode would call by leads to the stub, and not to address 0.
        let entries =
            [msr(0xc000_0081, star), msr(0xc000_0082, entry), msr(0xc000_0083, entry), msr(0xc000_0084, 0x4_7700)];
        let set = Msrs::from_entries(&entries).ok().and_then(|msrs| vcpu.set_msrs(&msrs).ok());
        if set != Some(entries.len()) {
            let source = kvm_ioctls::Error::new(libc::EIO);
            return Err(MachineError::Kvm { doing: "cannot set where system calls go", source });
        }
        if machine.features().xcr0 != 0 {
            let mut registers = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
            registers.xcrs[0].value = machine.features().xcr0;
            vcpu.set_xcrs(&registers).map_err(failed("cannot enable the vector registers"))?;
        }
        // Where KVM cannot do this the counter is another one, which `Kvm::counter` finds out.
        let _ = sys::set_counter_offset(&vcpu, 0);
        sys::accept_kicks(&vcpu).map_err(|_| MachineError::Kvm {
            doing: "cannot let a processor be interrupted",
            source: kvm_ioctls::Error::new(libc::EIO),
        })?;
        Ok(Self::again(Idle { vcpu, index, task_kind: machine.task_kind() }))
    }

    pub(super) fn again(idle: Idle) -> Self {
        let Idle { mut vcpu, index, task_kind } = idle;
        vcpu.set_sync_valid_reg(SyncReg::Register);
        Processor { vcpu, index, task_kind, place: Place::Program }
    }

    /// Nothing of a program is left in one with nobody on it: neither registers nor an exception on its way.
    pub(super) fn forget(idle: &Idle, machine: &Machine) -> Result<(), MachineError> {
        let failed = || failed("cannot reset a processor");
        idle.vcpu.set_vcpu_events(&Default::default()).map_err(failed())?;
        sys::set_xsave(&idle.vcpu, &super::vectors::initial()).map_err(failed())?;
        machine.write(layout::stack_end(idle.index) - layout::STACK, &[0; layout::STACK as usize]);
        Ok(())
    }

    pub(super) fn into_idle(self) -> Idle {
        Idle { vcpu: self.vcpu, index: self.index, task_kind: self.task_kind }
    }

    /// Goes to a program: its page tables, its thread's storage, its registers.
    pub(crate) fn enter(
        &mut self,
        machine: &Machine,
        root: u64,
        fs_base: u64,
        registers: &Registers,
    ) -> Result<(), MachineError> {
        let (code, data) = (segment(layout::USER_CODE, 11, true), segment(layout::USER_DATA, 3, false));
        let mut special: kvm_sregs = self.vcpu.get_sregs().map_err(failed("cannot read a processor"))?;
        special.cs = code;
        special.ss = data;
        special.ds = data;
        special.es = data;
        special.fs = kvm_segment { base: fs_base, ..segment(0, 3, false) };
        special.gs = segment(0, 3, false);
        special.tr = kvm_segment {
            base: layout::task_state(self.index),
            limit: layout::TASK_LIMIT,
            selector: layout::TASK,
            type_: self.task_kind,
            present: 1,
            ..Default::default()
        };
        special.ldt = kvm_segment { type_: 2, unusable: 1, ..Default::default() };
        special.gdt.base = KERNEL + layout::GDT;
        special.gdt.limit = layout::GDT_LIMIT;
        special.idt.base = KERNEL + layout::IDT;
        special.idt.limit = 32 * 16 - 1;
        special.cr2 = 0;
        special.cr3 = root;
        special.cr0 = 0x8005_0033;
        special.cr4 = machine.features().cr4;
        special.efer = 0xd01;
        self.vcpu.set_sregs(&special).map_err(failed("cannot set a processor up"))?;
        self.place = Place::Program;
        self.load(registers);
        Ok(())
    }

    fn load(&mut self, registers: &Registers) {
        let mut registers = *registers;
        registers.rflags = user_flags(registers.rflags);
        self.vcpu.sync_regs_mut().regs = registers;
        self.vcpu.set_sync_dirty_reg(SyncReg::Register);
    }

    /// Runs the guest until it leaves.
    pub(crate) fn run(&mut self, machine: &Machine) -> Event {
        let port = match self.vcpu.run() {
            Ok(VcpuExit::IoOut(port, _)) => port,
            // A program may write to these ports and not read them, which KVM cannot tell apart.
            Ok(VcpuExit::IoIn(..)) => {
                self.place = Place::Program;
                return Event::Exception { vector: 13, error: 0, address: 0 };
            }
            Ok(VcpuExit::Intr) => return self.interrupted(machine),
            Ok(other) => return Event::Broken(format!("{other:?}")),
            Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {
                return self.interrupted(machine);
            }
            Err(error) => return Event::Broken(format!("the processor does not run: {error}")),
        };
        match port {
            SYSCALL_PORT => {
                self.place = Place::Syscall;
                Event::Syscall
            }
            sys::SITE_PORT => {
                self.place = Place::Program;
                Event::Site
            }
            0..32 => {
                let vector = port as u8;
                let frame = Frame::read(machine, self.index, vector);
                self.place = Place::Exception(frame);
                let address = match vector {
                    14 => self.vcpu.get_sregs().map_or(0, |special| special.cr2),
                    _ => 0,
                };
                Event::Exception { vector, error: frame.error, address }
            }
            port => Event::Broken(format!("port {port:#x}")),
        }
    }

    fn interrupted(&mut self, machine: &Machine) -> Event {
        sys::take_kick();
        let rip = self.vcpu.sync_regs().regs.rip;
        let is_ours = |stub: u64| rip == stub && self.privilege().is_ok_and(|level| level == 0);
        // A return that was prepared and has not begun can be prepared again, otherwise.
        self.place = if is_ours(layout::IRET_STUB) {
            Place::Exception(Frame::read(machine, self.index, 0))
        } else if is_ours(layout::SYSRET_STUB) {
            Place::Syscall
        } else {
            Place::Program
        };
        Event::Interrupted
    }

    /// Whether the program's registers are known: not while the supervisor is in the middle of something.
    pub(crate) fn is_at_program(&self) -> bool {
        self.place != Place::Program || self.privilege().is_ok_and(|level| level == 3)
    }

    /// The registers as the program had them when it made its system call or its exception.
    pub(crate) fn user_context(&self, _machine: &Machine) -> Registers {
        let registers = self.vcpu.sync_regs().regs;
        match self.place {
            Place::Program => registers,
            Place::Syscall => Registers { rip: registers.rcx, rflags: registers.r11, ..registers },
            Place::Exception(frame) => Registers { rip: frame.rip, rsp: frame.rsp, rflags: frame.rflags, ..registers },
        }
    }

    /// Returns to the program with these registers. An address that no program can be at gives `false`.
    pub(crate) fn resume(&mut self, machine: &Machine, context: &Registers) -> bool {
        if context.rip >= USER_END {
            return false;
        }
        let flags = user_flags(context.rflags);
        match (self.place, machine.kind()) {
            (Place::Program, _) | (Place::Syscall, StubKind::User) => self.load(context),
            (Place::Syscall, StubKind::Supervisor) if context.rcx == context.rip && context.r11 == context.rflags => {
                // A flag that `sysretq` would take from r11 as it is.
                let registers = Registers { rip: layout::SYSRET_STUB, r11: flags, rflags: 2, ..*context };
                self.vcpu.sync_regs_mut().regs = registers;
                self.vcpu.set_sync_dirty_reg(SyncReg::Register);
            }
            (Place::Syscall | Place::Exception(_), _) => {
                let frame = Frame {
                    rip: context.rip,
                    cs: layout::USER_CODE.into(),
                    rflags: flags,
                    rsp: context.rsp,
                    ss: layout::USER_DATA.into(),
                    error: 0,
                };
                frame.write(machine, self.index);
                let rsp = KERNEL + Frame::at(self.index);
                self.vcpu.sync_regs_mut().regs = Registers { rip: layout::IRET_STUB, rsp, rflags: 2, ..*context };
                self.vcpu.set_sync_dirty_reg(SyncReg::Register);
            }
        }
        self.place = Place::Program;
        true
    }

    /// The frequency of the counter that the host's kernel knows, in kilohertz.
    pub(crate) fn counter_kilohertz(&self) -> Option<u32> {
        self.vcpu.get_tsc_khz().ok().filter(|&kilohertz| kilohertz > 0)
    }

    /// Its number, which no other of the machine has.
    pub(crate) fn number(&self) -> u32 {
        self.index as u32
    }

    /// The privilege level it is at.
    pub(super) fn privilege(&self) -> Result<u8, MachineError> {
        Ok(self.vcpu.get_sregs().map_err(failed("cannot read a processor"))?.cs.dpl)
    }

    /// Where thread-local storage is: `arch_prctl(2)`.
    pub(crate) fn fs_base(&self) -> Result<u64, MachineError> {
        Ok(self.vcpu.get_sregs().map_err(failed("cannot read a processor"))?.fs.base)
    }

    pub(crate) fn set_fs_base(&mut self, base: u64) -> Result<(), MachineError> {
        self.change_special(|special| special.fs.base = base)
    }

    fn change_special(&mut self, change: impl FnOnce(&mut kvm_sregs)) -> Result<(), MachineError> {
        let mut special = self.vcpu.get_sregs().map_err(failed("cannot read a processor"))?;
        change(&mut special);
        // KVM gives it back as busy always.
        special.tr.type_ = self.task_kind;
        self.vcpu.set_sregs(&special).map_err(failed("cannot set a processor up"))
    }

    /// The bases of `fs` and `gs`.
    pub(crate) fn bases(&self) -> Result<(u64, u64), MachineError> {
        let special = self.vcpu.get_sregs().map_err(failed("cannot read a processor"))?;
        Ok((special.fs.base, special.gs.base))
    }

    pub(crate) fn set_gs_base(&mut self, base: u64) -> Result<(), MachineError> {
        self.change_special(|special| special.gs.base = base)
    }

    /// The vector registers.
    pub(crate) fn vectors(&self) -> Result<kvm_xsave, MachineError> {
        self.vcpu.get_xsave().map_err(failed("cannot read a processor"))
    }

    /// Sets them to what another processor of this machine had.
    pub(crate) fn set_vectors(&mut self, vectors: &kvm_xsave) -> Result<(), MachineError> {
        sys::set_xsave(&self.vcpu, vectors).map_err(failed("cannot set a processor up"))
    }

    /// Sets them to what a program begins with: `execve(2)`.
    pub(crate) fn clear_vectors(&mut self) -> Result<(), MachineError> {
        self.set_vectors(&super::vectors::initial())
    }
}

const _: () = assert!(PAGE == 4096);
