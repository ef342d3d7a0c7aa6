//! What is where in the control area, the first 2 MiB of guest memory, and what is in it.
//!
//! The supervisor sees the area at [`KERNEL`]; a program sees one page of it, the stub of system calls,
//! and only where the processor needs that ([`super::StubKind`]).

use super::Machine;
use crate::sys::SITE_PORT;

/// Where the supervisor sees the control area.
pub(super) const KERNEL: u64 = 0xffff_ffff_8000_0000;
/// The end of what a program can map.
pub(crate) const USER_END: u64 = 1 << 46;
/// Where a program sees the stub of system calls.
pub(crate) const USER_STUB: u64 = USER_END - (2 << 20);

pub(super) const GDT: u64 = 0x1000;
pub(super) const GDT_LIMIT: u16 = 7 * 8 - 1;
pub(super) const IDT: u64 = 0x3000;
const IDT_STUBS: u64 = 0x4000;
const SYSCALL_STUB: u64 = 0x5000;
/// Task state segments and stacks, one of each for every processor. On a stack lies the frame of one exception, and of
/// another one where returning from it fails.
const TASK_STATES: u64 = 0x1_0000;
const TASK_STATE: u64 = 0x100;
const STACKS: u64 = 0x10_0000;
pub(super) const STACK: u64 = 0x200;
/// How many processors have a place: as many as KVM gives a machine, `KVM_MAX_VCPUS`.
pub(super) const PROCESSORS: usize = 1024;

/// In the page of the stub of system calls: how the supervisor returns from one.
const SYSRET: u64 = 0x10;
/// How it returns from anything, by the frame on its stack.
const IRET: u64 = 0x20;

/// The port by which the stub of system calls leaves the guest. Ports below 32 are exceptions.
pub(super) const SYSCALL_PORT: u16 = 0x90;

const _: () = assert!(SYSCALL_PORT / 8 == SITE_PORT / 8);
const _: () = assert!(TASK_STATES + PROCESSORS as u64 * TASK_STATE <= STACKS);
const _: () = assert!(STACKS + PROCESSORS as u64 * STACK <= 2 << 20 && TASK_LIMIT as u64 + 9 <= TASK_STATE);

pub(super) const KERNEL_CODE: u16 = 0x10;
pub(super) const USER_CODE: u16 = 0x33;
pub(super) const USER_DATA: u16 = 0x2b;
pub(super) const TASK: u16 = 0x40;
/// A task state segment with a map of 512 ports.
pub(super) const TASK_LIMIT: u32 = 0x68 + 64;

/// The page of the stub of system calls, in guest physical memory.
pub(crate) const STUB_FRAME: u64 = SYSCALL_STUB;

/// Exceptions that push an error code.
const fn has_error_code(vector: u64) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// Where the task state segment of a processor is, seen by the supervisor.
pub(super) const fn task_state(processor: usize) -> u64 {
    KERNEL + TASK_STATES + processor as u64 * TASK_STATE
}

/// The end of its stack, in guest physical memory.
pub(super) const fn stack_end(processor: usize) -> u64 {
    STACKS + (processor as u64 + 1) * STACK
}

/// Where system calls go.
pub(super) const fn syscall_entry(user_visible: bool) -> u64 {
    if user_visible { USER_STUB } else { KERNEL + SYSCALL_STUB }
}

/// How the supervisor returns from a system call to `rcx`.
pub(super) const SYSRET_STUB: u64 = KERNEL + SYSCALL_STUB + SYSRET;
/// How it returns to the frame on its stack.
pub(super) const IRET_STUB: u64 = KERNEL + SYSCALL_STUB + IRET;

/// Writes everything that is the same for all processors.
pub(super) fn furnish(machine: &Machine) {
    // None for compatibility mode: nothing here is made for calls from there.
    let segments = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0, 0x00cf_f300_0000_ffff];
    for (index, &segment) in segments.iter().chain(&[0x00af_fb00_0000_ffff_u64]).enumerate() {
        machine.write_u64(GDT + index as u64 * 8, segment);
    }
    for vector in 0..32_u64 {
        let stub = KERNEL + IDT_STUBS + vector * 16;
        // Only `int3` and `into` may be asked for by a program.
        let gate: u64 = if matches!(vector, 3 | 4) { 0xee } else { 0x8e };
        let low = (stub & 0xffff) | (u64::from(KERNEL_CODE) << 16) | (gate << 40) | (((stub >> 16) & 0xffff) << 48);
        machine.write_u64(IDT + vector * 16, low);
        machine.write_u64(IDT + vector * 16 + 8, stub >> 32);
        // out %al, $vector; [add $8, %rsp;] iretq
        let code: &[u8] = match has_error_code(vector) {
            true => &[0xe6, vector as u8, 0x48, 0x83, 0xc4, 8, 0x48, 0xcf],
            false => &[0xe6, vector as u8, 0x48, 0xcf],
        };
        machine.write(IDT_STUBS + vector * 16, code);
    }
    // out %al, $port; sysretq
    machine.write(SYSCALL_STUB, &[0xe6, SYSCALL_PORT as u8, 0x48, 0x0f, 0x07]);
    machine.write(SYSCALL_STUB + SYSRET, &[0x48, 0x0f, 0x07]);
    machine.write(SYSCALL_STUB + IRET, &[0x48, 0xcf]);
}

/// Writes the task state segment of one processor: its stack, and which ports a program may use. That of rewritten
/// places (`crate::memory::sites`) any may.
pub(super) fn furnish_processor(machine: &Machine, processor: usize, user_port: bool) {
    let state = TASK_STATES + processor as u64 * TASK_STATE;
    machine.write(state + 4, &(KERNEL + stack_end(processor)).to_le_bytes());
    machine.write(state + 0x66, &0x68_u16.to_le_bytes());
    machine.write(state + 0x68, &[0xff; 72]);
    // A bit that is set denies.
    let allows = |port: u16| !(1_u8 << (port % 8));
    let mut map = allows(SITE_PORT);
    if user_port {
        map &= allows(SYSCALL_PORT);
    }
    machine.write(state + 0x68 + u64::from(SYSCALL_PORT) / 8, &[map]);
}

/// The frame of an exception on a processor's stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u64,
    pub(super) error: u64,
}

impl Frame {
    /// Where it begins, in guest physical memory: at `rip`.
    pub(super) const fn at(processor: usize) -> u64 {
        stack_end(processor) - 40
    }

    pub(super) fn read(machine: &Machine, processor: usize, vector: u8) -> Frame {
        let at = Frame::at(processor);
        let word = |index: u64| machine.read_u64(at + index * 8);
        let error = if has_error_code(vector.into()) { machine.read_u64(at - 8) } else { 0 };
        Frame { rip: word(0), cs: word(1), rflags: word(2), rsp: word(3), ss: word(4), error }
    }

    pub(super) fn write(&self, machine: &Machine, processor: usize) {
        for (index, word) in [self.rip, self.cs, self.rflags, self.rsp, self.ss].into_iter().enumerate() {
            machine.write_u64(Frame::at(processor) + index as u64 * 8, word);
        }
    }
}
