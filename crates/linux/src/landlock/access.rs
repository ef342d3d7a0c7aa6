//! The accesses Landlock judges, by the ABI that brought them, and what each permission needs.

use ringfence_manifest::Permission;

use crate::sys::RulesetAttributes;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SOCK: u64 = 1 << 9;
const MAKE_FIFO: u64 = 1 << 10;
const MAKE_SYM: u64 = 1 << 12;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

/// What can be granted on a file that is no folder.
const ON_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

const BIND_TCP: u64 = 1 << 0;
const CONNECT_TCP: u64 = 1 << 1;

const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1 << 0;
const SCOPE_SIGNAL: u64 = 1 << 1;

/// Version 3 judges cutting files; before it, who may open a file to read could empty it.
pub(crate) const OLDEST: u32 = 3;

/// A version of Landlock's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Abi(pub(crate) u32);

impl Abi {
    /// Whether it judges what a socket of TCP is bound to.
    pub(crate) fn judges_sockets(self) -> bool {
        self.0 >= 4
    }

    /// Whether it can express the permissions on files.
    pub(crate) fn usable(self) -> bool {
        self.0 >= OLDEST
    }

    const fn files(self) -> u64 {
        match self.0 {
            0 => 0,
            1 => REFER - 1,
            2 => TRUNCATE - 1,
            3 | 4 => IOCTL_DEV - 1,
            _ => (IOCTL_DEV << 1) - 1,
        }
    }
}

/// Everything this ABI can judge is judged; what no rule grants is denied.
pub(crate) fn attributes(abi: Abi) -> RulesetAttributes {
    RulesetAttributes {
        files: abi.files(),
        network: if abi.judges_sockets() { BIND_TCP | CONNECT_TCP } else { 0 },
        scoped: if abi.0 >= 6 { SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL } else { 0 },
    }
}

/// How much of the attributes the ABI knows.
pub(crate) fn attributes_size(abi: Abi) -> usize {
    match abi.0 {
        0..4 => 8,
        4..6 => 16,
        _ => 24,
    }
}

/// What a permission needs on the path of its rule.
pub(super) fn of_permission(permission: Permission) -> u64 {
    match permission {
        // What can be read can be run: the loader would do it.
        Permission::FsRead => READ_FILE | EXECUTE,
        Permission::FsWrite => WRITE_FILE | TRUNCATE,
        Permission::FsCreate => MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | REFER,
        Permission::FsDelete => REMOVE_DIR | REMOVE_FILE | REFER,
        Permission::FsList => READ_DIR,
        _ => 0,
    }
}

/// Beside that, where nobody outside sees it.
pub(super) const MAKE_SOCKETS: u64 = MAKE_SOCK;
/// Programs and libraries.
pub(super) const SYSTEM: u64 = EXECUTE | READ_FILE | READ_DIR;
/// The program itself.
pub(super) const PROGRAM: u64 = EXECUTE | READ_FILE;
/// Configuration and processes.
pub(super) const LOOK: u64 = READ_FILE | READ_DIR;
/// A device.
pub(super) const DEVICE: u64 = READ_FILE | WRITE_FILE | IOCTL_DEV;

/// A folder of devices that can be looked through.
pub(super) const TERMINALS: u64 = DEVICE | READ_DIR;

/// What of `access` fits a file or folder and this ABI.
pub(super) fn fitting(access: u64, is_folder: bool, abi: Abi) -> u64 {
    access & abi.files() & if is_folder { u64::MAX } else { ON_FILES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_abi_judges_what_it_brought_and_all_before() {
        for (abi, bits) in [(0, 0), (1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (6, 16), (7, 16), (99, 16)] {
            assert_eq!(Abi(abi).files().count_ones(), bits, "abi {abi}");
        }
    }

    #[test]
    fn what_an_abi_does_not_know_is_not_asked_of_it() {
        for number in 0..10 {
            let (abi, asked) = (Abi(number), attributes(Abi(number)));
            assert_eq!(asked.network != 0, attributes_size(abi) >= 16, "abi {number}");
            assert_eq!(asked.scoped != 0, attributes_size(abi) >= 24, "abi {number}");
        }
    }

    #[test]
    fn nothing_of_a_folder_is_granted_on_a_file() {
        assert_eq!(fitting(of_permission(Permission::FsCreate), false, Abi(7)), 0);
        assert_eq!(fitting(of_permission(Permission::FsRead), false, Abi(7)), READ_FILE | EXECUTE);
    }

    #[test]
    fn device_files_cannot_be_made_under_any_permission() {
        let all = Permission::ALL.iter().fold(0, |all, &permission| all | of_permission(permission));
        assert_eq!(all & (1 << 6 | 1 << 11), 0);
    }
}
