//! One step of raising a tree. Everything it needs is there before the clone.

use std::ffi::CString;

use super::{Overlay, Source};
use crate::sys::MountAttributes;

/// A name in a folder of the new tree. The folder's path never leads through a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Relative to the new root; empty for the root itself.
    pub(crate) parent: CString,
    pub(crate) name: CString,
}

/// One step.
pub(crate) enum Operation {
    /// A folder, unless there is one.
    Folder(Spot),
    /// An empty file to mount something on, unless there is one.
    Target(Spot),
    /// A file with this content.
    File { at: Spot, content: Vec<u8> },
    /// A symbolic link.
    Link { at: Spot, target: CString },
    /// A folder or file of the host.
    Attach { source: Source, at: Spot, protection: Protection },
    /// A folder of the host, whose changes are kept apart.
    Overlay { source: Source, overlay: Overlay, at: Spot },
    /// A new file system in memory of at most so many bytes and files (`tmpfs(5)`).
    Memory { at: Spot, size: CString, files: CString, protection: Protection },
    /// A part of the new tree under another name.
    Again { from: CString, at: Spot },
    /// The user's terminal, unless it is gone.
    Console { source: Source, at: Spot },
    /// The terminal of the place, if it has one.
    Terminal { at: Spot },
    /// The terminals that programs of the place make: `pts(4)`.
    Terminals { at: Spot },
    /// `proc(5)` of the new pid namespace.
    Processes { at: Spot },
    /// Makes the mount at a path of ours read-only, when everything is in it.
    Seal { at: CString },
}

/// What a block of a file system in memory holds.
pub(crate) const PAGE: u64 = 4096;

/// What a mount does not do; `mount_setattr(2)`. No mount takes setuid programs or device files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protection {
    pub(crate) read_only: bool,
    pub(crate) no_execute: bool,
    /// Whether device files work; only for the mounts of single devices.
    pub(crate) devices: bool,
}

impl Protection {
    pub(crate) const READ_ONLY: Protection = Protection { read_only: true, no_execute: false, devices: false };
    pub(crate) const WRITABLE: Protection = Protection { read_only: false, no_execute: false, devices: false };
    pub(crate) const DEVICE: Protection = Protection { read_only: true, no_execute: true, devices: true };

    pub(crate) fn attributes(self) -> MountAttributes {
        let mut set = libc::MOUNT_ATTR_NOSUID;
        if self.read_only {
            set |= libc::MOUNT_ATTR_RDONLY;
        }
        if self.no_execute {
            set |= libc::MOUNT_ATTR_NOEXEC;
        }
        if !self.devices {
            set |= libc::MOUNT_ATTR_NODEV;
        }
        // Nothing that is mounted on the host later appears, and nothing of ours appears there.
        MountAttributes { set, propagation: libc::MS_PRIVATE, ..MountAttributes::default() }
    }
}
