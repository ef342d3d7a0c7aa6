//! Carries a plan out. Runs after a clone: it allocates nothing.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, symlinkat};
use rustix::io::{Errno, write};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use super::{Identity, Operation, Overlay, Plan, Protection, Root, Source, Spot};
use crate::launch::Step;
use crate::sys::{MountAttributes, mount_set_attributes};

/// Puts the planned tree in the place of the old one, for this mount namespace, with the terminal that
/// is this place's own.
pub(crate) fn raise(plan: &Plan, terminal: Option<&Source>) -> Result<(), (Step, Errno)> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(c"/", private).map_err(|errno| (Step::Propagation, errno))?;
    let root = match &plan.root {
        Root::Memory => memory(c"1048576", c"1024", Protection::WRITABLE),
        Root::Own { source, overlay: Some(overlay), .. } => {
            Ok(overlaid(source, overlay).map_err(|errno| (Step::Overlay, errno))?)
        }
        Root::Own { source, .. } => clone_of(source, Protection::WRITABLE),
    };
    let root = root.map_err(|errno| (Step::Root, errno))?;
    // Mounted over the old root, which names still begin at: every source can still be found.
    cover_root(&root).map_err(|errno| (Step::Root, errno))?;
    let mut raising = Raising { root: root.as_fd(), folder: None, terminal };
    for operation in &plan.operations {
        raising.carry_out(operation)?;
    }
    if let Root::Own { writable: false, .. } = plan.root {
        raising.seal(c"").map_err(|errno| (Step::Seal, errno))?;
    }
    drop(raising);
    leave(&root).map_err(|errno| (Step::Pivot, errno))
}

/// A tree on which is worked.
struct Raising<'a> {
    root: BorrowedFd<'a>,
    /// The folder that was worked in last: most steps follow one of the same folder.
    folder: Option<(&'a CStr, OwnedFd)>,
    terminal: Option<&'a Source>,
}

impl<'a> Raising<'a> {
    fn carry_out(&mut self, operation: &'a Operation) -> Result<(), (Step, Errno)> {
        let (step, done) = match operation {
            Operation::Folder(at) => (Step::Folder, self.folder(at)),
            Operation::Target(at) => (Step::Folder, self.target(at)),
            Operation::File { at, content } => (Step::File, self.file(at, content)),
            Operation::Link { at, target } => (Step::File, self.link(at, target)),
            Operation::Attach { source, at, protection } => {
                (Step::Mount, clone_of(source, *protection).and_then(|mount| self.place(&mount, at)))
            }
            Operation::Overlay { source, overlay, at } => {
                (Step::Overlay, overlaid(source, overlay).and_then(|mount| self.place(&mount, at)))
            }
            Operation::Terminal { at } => {
                let Some(source) = self.terminal else { return Ok(()) };
                (Step::Terminal, clone_of(source, Protection::DEVICE).and_then(|mount| self.place(&mount, at)))
            }
            Operation::Console { source, at } => match clone_of(source, Protection::DEVICE) {
                Ok(mount) => (Step::Terminal, self.place(&mount, at)),
                Err(Errno::NOENT | Errno::STALE) => return Ok(()),
                Err(errno) => (Step::Terminal, Err(errno)),
            },
            Operation::Memory { at, size, files, protection } => {
                (Step::Memory, memory(size, files, *protection).and_then(|mount| self.place(&mount, at)))
            }
            Operation::Again { from, at } => (Step::Memory, self.again(from, at)),
            Operation::Terminals { at } => (Step::Terminal, terminals().and_then(|mount| self.place(&mount, at))),
            Operation::Processes { at } => (Step::Processes, processes().and_then(|mount| self.place(&mount, at))),
            Operation::Seal { at } => (Step::Seal, self.seal(at)),
        };
        done.map_err(|errno| (step, errno))
    }

    /// Opens a folder of the new tree, unless it is the one that was opened last.
    fn open(&mut self, path: &'a CStr) -> Result<BorrowedFd<'_>, Errno> {
        if path.is_empty() {
            return Ok(self.root);
        }
        if self.folder.as_ref().is_none_or(|(last, _)| *last != path) {
            self.folder = Some((path, look(self.root, path)?));
        }
        self.folder.as_ref().map(|(_, folder)| folder.as_fd()).ok_or(Errno::NOENT)
    }

    fn folder(&mut self, at: &'a Spot) -> Result<(), Errno> {
        let parent = self.open(&at.parent)?;
        match mkdirat(parent, at.name.as_c_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
                openat(parent, at.name.as_c_str(), flags, Mode::empty()).map(drop)
            }
            Err(errno) => Err(errno),
        }
    }

    fn target(&mut self, at: &'a Spot) -> Result<(), Errno> {
        match self.create(at) {
            Ok(_) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn file(&mut self, at: &'a Spot, content: &[u8]) -> Result<(), Errno> {
        let written = write(&self.create(at)?, content)?;
        if written == content.len() { Ok(()) } else { Err(Errno::IO) }
    }

    fn create(&mut self, at: &'a Spot) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(self.open(&at.parent)?, at.name.as_c_str(), flags, Mode::from_raw_mode(0o644))
    }

    fn link(&mut self, at: &'a Spot, target: &CStr) -> Result<(), Errno> {
        symlinkat(target, self.open(&at.parent)?, at.name.as_c_str())
    }

    fn again(&mut self, from: &CStr, at: &'a Spot) -> Result<(), Errno> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(look(self.root, from)?, c"", flags | OpenTreeFlags::AT_EMPTY_PATH)?;
        self.place(&mount, at)
    }

    /// Mounts what no name leads to yet; a symbolic link at the place is not followed (`move_mount(2)`).
    fn place(&mut self, mount: &OwnedFd, at: &'a Spot) -> Result<(), Errno> {
        move_mount(mount, c"", self.open(&at.parent)?, at.name.as_c_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        // It may cover the folder that is open.
        self.folder = None;
        Ok(())
    }

    /// Makes one mount, not those below it, read-only.
    fn seal(&mut self, at: &CStr) -> Result<(), Errno> {
        let read_only = MountAttributes { set: libc::MOUNT_ATTR_RDONLY, ..MountAttributes::default() };
        mount_set_attributes(look(self.root, at)?.as_fd(), c"", false, &read_only)
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

/// A folder with its changes in another one. The folders are named by descriptors: they are the ones
/// that were looked at, and a path may hold what separates options.
fn overlaid(source: &Source, overlay: &Overlay) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // The attributes that anybody may set on their own files (`user.overlay.*`), also for root: whoever
    // looks at the changes later can read them.
    fsconfig_set_flag(&context, c"userxattr")?;
    let lower = opened(source)?;
    let (upper, work) = (opened(&overlay.upper)?, opened(&overlay.work)?);
    for (key, folder) in [(c"lowerdir", &lower), (c"upperdir", &upper), (c"workdir", &work)] {
        fsconfig_set_string(&context, key, DescriptorPath::of(folder).as_c_str())?;
    }
    mounted(context.as_fd(), Protection::WRITABLE)
}

/// What a plan looked at, and nothing else.
fn opened(source: &Source) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat2(CWD, source.path.as_c_str(), flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    if Identity::of(&fstat(&opened)?) == source.identity { Ok(opened) } else { Err(Errno::STALE) }
}

/// `/proc/self/fd/N`, written without allocating.
struct DescriptorPath([u8; 32]);

impl DescriptorPath {
    fn of(descriptor: &OwnedFd) -> Self {
        const FOLDER: &[u8] = b"/proc/self/fd/";
        let mut path = [0; 32];
        path[..FOLDER.len()].copy_from_slice(FOLDER);
        let mut rest = descriptor.as_raw_fd().unsigned_abs();
        let digits = rest.checked_ilog10().unwrap_or(0) as usize + 1;
        for place in path[FOLDER.len()..FOLDER.len() + digits].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        DescriptorPath(path)
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

fn memory(size: &CStr, files: &CStr, protection: Protection) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"size", size)?;
    fsconfig_set_string(&context, c"nr_inodes", files)?;
    fsconfig_set_string(&context, c"mode", c"0755")?;
    mounted(context.as_fd(), protection)
}

/// Terminals of the place's own, as many as the kernel's memory for them is no way past the limit on memory, of which it
/// is no part (the kernel's documentation of `devpts`).
fn terminals() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [(c"mode", c"0620"), (c"ptmxmode", c"0666"), (c"max", c"32")] {
        fsconfig_set_string(&context, key, value)?;
    }
    mounted(context.as_fd(), Protection { read_only: false, no_execute: true, devices: true })
}

/// Shows nothing but processes (`subset=pid`), and of them only the capsule's own: those it may trace, which
/// unlike `invisible` holds for root's group, too (`proc(5)`).
fn processes() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"subset", c"pid")?;
    fsconfig_set_string(&context, c"hidepid", c"ptraceable")?;
    let protection = Protection { read_only: true, no_execute: true, devices: false };
    mounted(context.as_fd(), protection)
}

fn mounted(context: BorrowedFd<'_>, protection: Protection) -> Result<OwnedFd, Errno> {
    fsconfig_create(context)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
    if !protection.devices {
        attributes |= MountAttrFlags::MOUNT_ATTR_NODEV;
    }
    if protection.read_only {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    if protection.no_execute {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn cover_root(mount: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", CWD, c"/", flags)
}

/// Enters the new root and puts the old one away, with everything that was mounted there.
fn leave(root: &OwnedFd) -> Result<(), Errno> {
    fchdir(root)?;
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    chdir(c"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_named_by_its_number() {
        let some = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let path = DescriptorPath::of(&some);
        assert_eq!(path.as_c_str().to_str().unwrap(), format!("/proc/self/fd/{}", some.as_raw_fd()));
        assert_eq!(std::fs::read_link(path.as_c_str().to_str().unwrap()).unwrap(), std::path::Path::new("/dev/null"));
    }
}
