//! Who the capsule is: the user and group of the supervisor, without anything that goes with them.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, write};
use rustix::process::{getegid, geteuid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, set_capabilities,
    set_capabilities_secure_bits, set_thread_groups,
};

use crate::launch::Step;

/// Whether namespaces can be made directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// By root, with every capability that takes.
    Root,
    /// Within a user namespace.
    User,
}

/// The supervisor's user and group, as they are written into a user namespace.
pub(crate) struct Identity {
    pub(crate) privilege: Privilege,
    pub(crate) user: u32,
    pub(crate) group: u32,
    user_map: Vec<u8>,
    group_map: Vec<u8>,
}

impl Privilege {
    /// What this process has.
    pub(crate) fn own() -> Self {
        let needed = CapabilitySet::SYS_ADMIN
            | CapabilitySet::SETPCAP
            | CapabilitySet::SETGID
            | CapabilitySet::SYS_CHROOT
            | CapabilitySet::NET_ADMIN;
        let all = geteuid().is_root() && capabilities(None).is_ok_and(|sets| sets.effective.contains(needed));
        if all { Privilege::Root } else { Privilege::User }
    }
}

impl Identity {
    pub(crate) fn own(privilege: Privilege) -> Self {
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        let map = |id: u32| format!("{id} {id} 1\n").into_bytes();
        Identity { privilege, user, group, user_map: map(user), group_map: map(group) }
    }

    /// Becomes this user within the new user namespace, or gives up root's further groups. Runs after a
    /// clone: it allocates nothing.
    pub(crate) fn assume(&self) -> Result<(), Errno> {
        match self.privilege {
            Privilege::Root => set_thread_groups(&[]),
            Privilege::User => {
                put(c"/proc/self/setgroups", b"deny")?;
                put(c"/proc/self/uid_map", &self.user_map)?;
                put(c"/proc/self/gid_map", &self.group_map)
            }
        }
    }
}

fn put(file: &std::ffi::CStr, text: &[u8]) -> Result<(), Errno> {
    let file = openat(CWD, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = write(&file, text)?;
    if written == text.len() { Ok(()) } else { Err(Errno::IO) }
}

/// Gives up every capability for good, in every set (`capabilities(7)`). Runs after a clone.
pub(crate) fn drop_capabilities() -> Result<(), (Step, Errno)> {
    crate::sys::drop_bounding_set().map_err(|errno| (Step::BoundingSet, errno))?;
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits).map_err(|errno| (Step::SecureBits, errno))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(|errno| (Step::Capabilities, errno))
}
