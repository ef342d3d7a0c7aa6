//! The program that this process executes, and how it is kept from what it starts.
//!
//! What a process executes is still this program when it becomes another one, and a script's interpreter may be
//! `/proc/self/exe`: from there it can be opened for writing by who may write it (CVE-2019-5736). No mount of the
//! place hides it, because it was opened before there were any. Landlock does; so does a read-only mount
//! through which it was executed.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::facts::landlock;
use crate::sys::{self, MountAttributes};

const PROGRAM: &str = "/proc/self/exe";
/// Where the program lies, once it is executed through a mount that is nowhere.
const PATH: &str = "RINGFENCE_PROGRAM";

/// Whether what this process starts could never change its program, whatever else is there.
pub(crate) fn is_safe() -> bool {
    let owner = Path::new(PROGRAM).metadata().map_or(0, |found| found.uid());
    match accessat(CWD, PROGRAM, Access::WRITE_OK, AtFlags::EACCESS) {
        // A mount that nobody behind the walls has the capability to change.
        Err(Errno::ROFS) => true,
        Err(_) => owner != rustix::process::geteuid().as_raw(),
        Ok(()) => false,
    }
}

/// Executes this program anew through a read-only mount of its own, where Landlock does not keep it from what it is
/// going to start; returns where that is not needed, or cannot be done, which [`is_safe`] then tells. To be called before
/// the process has threads, files or anything else to lose. The mount takes the capability CAP_SYS_ADMIN
/// (`open_tree(2)`), which those have whose program needs it.
pub fn protect_program() {
    let is_again = std::env::var_os(PATH).is_some();
    if !is_again && landlock(sys::landlock_abi()).is_err() && !is_safe() {
        // Without it the machine is as it was, and says so.
        let _ = execute_read_only();
    }
}

/// Where this program lies, for other processes to execute.
///
/// # Errors
/// As for [`std::env::current_exe`].
pub fn program_path() -> io::Result<PathBuf> {
    match std::env::var_os(PATH) {
        Some(path) => Ok(path.into()),
        None => std::env::current_exe(),
    }
}

fn execute_read_only() -> io::Result<Infallible> {
    let path = std::env::current_exe()?;
    let mount = open_tree(CWD, PROGRAM, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let attributes = MountAttributes { set: libc::MOUNT_ATTR_RDONLY, ..MountAttributes::default() };
    sys::mount_set_attributes(mount.as_fd(), c"", false, &attributes)?;
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (name, arguments) = arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(format!("/proc/self/fd/{}", mount.as_raw_fd()));
    Err(command.arg0(name).args(arguments).env(PATH, path).exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: &str = "RINGFENCE_TEST_OF_OWN_PROGRAM";

    #[test]
    fn what_is_executed_through_a_mount_of_its_own_is_nobodys_to_change() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root may make a mount");
            return;
        }
        if std::env::var_os(INSIDE).is_none() {
            let name = "own_program::tests::what_is_executed_through_a_mount_of_its_own_is_nobodys_to_change";
            let mut again = Command::new(std::env::current_exe().unwrap());
            let output = again.args([name, "--exact", "--nocapture"]).env(INSIDE, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("nobody can change it"), "{text}");
        } else if std::env::var_os(PATH).is_none() {
            assert!(!is_safe(), "root may change it");
            panic!("{:?}", execute_read_only());
        } else {
            assert!(is_safe());
            // To write it would be refused as long as it runs, whatever the mount.
            let changed = std::fs::set_permissions(PROGRAM, Path::new(PROGRAM).metadata().unwrap().permissions());
            assert_eq!(changed.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
            assert!(program_path().unwrap().is_file());
            println!("nobody can change it");
        }
    }
}
