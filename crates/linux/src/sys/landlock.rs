//! `landlock_create_ruleset(2)`, `landlock_add_rule(2)`, `landlock_restrict_self(2)`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::call::{result, system_call};

const VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RulesetAttributes {
    pub(crate) files: u64,
    pub(crate) network: u64,
    pub(crate) scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
#[derive(Clone, Copy)]
pub(crate) struct PathBeneath {
    access: u64,
    parent: RawFd,
}

/// The Landlock ABI of this kernel.
pub(crate) fn landlock_abi() -> Result<u32, Errno> {
    let nothing: *const RulesetAttributes = std::ptr::null();
    // SAFETY: with the version flag the kernel reads no memory; the pointer must be null.
    let abi = result(unsafe { system_call!(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) })?;
    Ok(u32::try_from(abi).unwrap_or(0))
}

/// A ruleset that handles these accesses. `size` is how much of the attributes this kernel's ABI knows.
pub(crate) fn landlock_create(attributes: &RulesetAttributes, size: usize) -> Result<OwnedFd, Errno> {
    let size = size.min(size_of::<RulesetAttributes>());
    // SAFETY: `attributes` points to at least `size` readable bytes.
    let raw = result(unsafe { system_call!(libc::SYS_landlock_create_ruleset, &raw const *attributes, size, 0_u32) })?;
    // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Grants `access` on what `parent` stands for and everything below it.
pub(crate) fn landlock_add_path(ruleset: BorrowedFd<'_>, parent: BorrowedFd<'_>, access: u64) -> Result<(), Errno> {
    let rule = PathBeneath { access, parent: parent.as_raw_fd() };
    // SAFETY: `rule` is a `landlock_path_beneath_attr` that outlives the call.
    let returned = unsafe {
        system_call!(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &raw const rule, 0_u32)
    };
    result(returned).map(drop)
}

/// Confines the calling thread and what it starts.
pub(crate) fn landlock_restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    result(unsafe { system_call!(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) }).map(drop)
}
