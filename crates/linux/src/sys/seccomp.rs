//! `seccomp(2)`.

use rustix::io::Errno;

use super::call::{result, system_call};

/// `struct sock_filter`: one instruction of classic BPF.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) value: u32,
}

/// Installs a filter for the calling thread and what it starts. Needs `no_new_privs`.
pub(crate) fn seccomp_filter(program: &[Instruction]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let description = libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: `Instruction` has the layout of `sock_filter`; the kernel reads `length` of them and writes nothing.
    let returned =
        unsafe { system_call!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0_u32, &raw const description) };
    result(returned).map(drop)
}

/// Whether this kernel's seccomp knows an action.
pub(crate) fn seccomp_has_action(action: u32) -> Result<(), Errno> {
    // SAFETY: the kernel reads one `u32`, which outlives the call.
    let returned = unsafe { system_call!(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) };
    result(returned).map(drop)
}
