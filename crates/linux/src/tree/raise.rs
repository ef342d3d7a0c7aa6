//! Carries a plan out. Runs after a clone: it allocates nothing.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, symlinkat};
use rustix::io::{Errno, write};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use super::{Identity, Operation, Plan, Protection, Root, Source};
use crate::launch::Step;
use crate::sys::{MountAttributes, mount_set_attributes};

/// Puts the planned tree in the place of the old one, for this mount namespace.
pub(crate) fn raise(plan: &Plan) -> Result<(), (Step, Errno)> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(c"/", private).map_err(|errno| (Step::Propagation, errno))?;
    let root = match &plan.root {
        Root::Memory => memory(c"1048576", c"1024", Protection::WRITABLE),
        Root::Own { source, .. } => clone_of(source, Protection::WRITABLE),
    };
    let root = root.map_err(|errno| (Step::Root, errno))?;
    // Mounted over the old root, which names still begin at: every source can still be found.
    move_onto(&root, CWD, c"/").map_err(|errno| (Step::Root, errno))?;
    for operation in &plan.operations {
        carry_out(operation, root.as_fd())?;
    }
    if let Root::Own { writable: false, .. } = plan.root {
        seal(root.as_fd(), c"").map_err(|errno| (Step::Seal, errno))?;
    }
    leave(&root).map_err(|errno| (Step::Pivot, errno))
}

fn carry_out(operation: &Operation, root: BorrowedFd<'_>) -> Result<(), (Step, Errno)> {
    match operation {
        Operation::Folder { parent, name } => folder(root, parent, name).map_err(|errno| (Step::Folder, errno)),
        Operation::Target { parent, name } => target(root, parent, name).map_err(|errno| (Step::Folder, errno)),
        Operation::File { parent, name, content } => {
            file(root, parent, name, content).map_err(|errno| (Step::File, errno))
        }
        Operation::Link { parent, name, target } => {
            let made = look(root, parent).and_then(|parent| symlinkat(target.as_c_str(), parent, name.as_c_str()));
            made.map_err(|errno| (Step::File, errno))
        }
        Operation::Attach { source, at, protection } => {
            let attached = clone_of(source, *protection).and_then(|mount| place(&mount, root, at));
            attached.map_err(|errno| (Step::Mount, errno))
        }
        Operation::Memory { at, size, files, protection } => {
            let mounted = memory(size, files, *protection).and_then(|mount| place(&mount, root, at));
            mounted.map_err(|errno| (Step::Memory, errno))
        }
        Operation::Again { from, at } => again(root, from, at).map_err(|errno| (Step::Memory, errno)),
        Operation::Processes { at } => {
            processes().and_then(|mount| place(&mount, root, at)).map_err(|errno| (Step::Processes, errno))
        }
        Operation::Seal { at } => seal(root, at).map_err(|errno| (Step::Seal, errno)),
    }
}

/// Opens a path of the new tree, through no symbolic link.
fn look(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if path.is_empty() {
        return openat(root, c".", flags, Mode::empty());
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), resolve)
}

fn folder(root: BorrowedFd<'_>, parent: &CStr, name: &CStr) -> Result<(), Errno> {
    let parent = look(root, parent)?;
    match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat(&parent, name, flags, Mode::empty()).map(drop)
        }
        Err(errno) => Err(errno),
    }
}

fn target(root: BorrowedFd<'_>, parent: &CStr, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(look(root, parent)?, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn file(root: BorrowedFd<'_>, parent: &CStr, name: &CStr, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(look(root, parent)?, name, flags, Mode::from_raw_mode(0o644))?;
    let written = write(&file, content)?;
    if written == content.len() { Ok(()) } else { Err(Errno::IO) }
}

/// A detached copy of the mount at `source`, with everything mounted below it, protected before it is
/// seen anywhere.
fn clone_of(source: &Source, protection: Protection) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let mount = open_tree(CWD, source.path.as_c_str(), flags)?;
    if Identity::of(&fstat(&mount)?) != source.identity {
        return Err(Errno::STALE);
    }
    mount_set_attributes(mount.as_fd(), c"", true, &protection.attributes())?;
    Ok(mount)
}

fn memory(size: &CStr, files: &CStr, protection: Protection) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"size", size)?;
    fsconfig_set_string(&context, c"nr_inodes", files)?;
    fsconfig_set_string(&context, c"mode", c"0755")?;
    mounted(context.as_fd(), protection)
}

/// Shows nothing but processes (`subset=pid`), and of them only the capsule's own (`hidepid`).
fn processes() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"subset", c"pid")?;
    fsconfig_set_string(&context, c"hidepid", c"invisible")?;
    let protection = Protection { read_only: true, no_execute: true, devices: false };
    mounted(context.as_fd(), protection)
}

fn mounted(context: BorrowedFd<'_>, protection: Protection) -> Result<OwnedFd, Errno> {
    fsconfig_create(context)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    if protection.read_only {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    if protection.no_execute {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn again(root: BorrowedFd<'_>, from: &CStr, at: &CStr) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(look(root, from)?, c"", flags | OpenTreeFlags::AT_EMPTY_PATH)?;
    place(&mount, root, at)
}

fn place(mount: &OwnedFd, root: BorrowedFd<'_>, at: &CStr) -> Result<(), Errno> {
    move_onto(mount, look(root, at)?.as_fd(), c"")
}

fn move_onto(mount: &OwnedFd, to: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", to, path, flags)
}

/// Makes one mount, not those below it, read-only.
fn seal(root: BorrowedFd<'_>, at: &CStr) -> Result<(), Errno> {
    let read_only = MountAttributes { set: libc::MOUNT_ATTR_RDONLY, ..MountAttributes::default() };
    mount_set_attributes(look(root, at)?.as_fd(), c"", false, &read_only)
}

/// Enters the new root and puts the old one away, with everything that was mounted there.
fn leave(root: &OwnedFd) -> Result<(), Errno> {
    fchdir(root)?;
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    chdir(c"/")
}
