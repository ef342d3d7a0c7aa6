//! Making, removing and looking at names.

use std::os::fd::OwnedFd;

use ringfence_abi::{ErrorCode, Stat, Timestamp};
use ringfence_manifest::Permission;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, fstat, fsync, linkat, mkdirat, openat, readlinkat, renameat,
    renameat_with, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::Folder;
use super::links;
use super::place::{End, Last, Place, Resolved};
use super::stat::{of_graft, set_mode, stat, times};
use crate::authority::text;
use crate::error::code;

/// What is there.
type Found = rustix::fs::Stat;

/// A name that is not a mount point, in a folder of the disk.
struct Name<'a> {
    folder: &'a OwnedFd,
    name: &'a [u8],
}

impl Name<'_> {
    fn stat(&self) -> Result<rustix::fs::Stat, Errno> {
        statat(self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW)
    }
}

fn is_folder(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

impl Folder {
    /// `mkdirat(2)`.
    pub(crate) fn create_directory(&self, path: &[u8], mode: Option<u32>) -> Result<(), ErrorCode> {
        let _still = self.vfs.still();
        let resolved = self.resolve(path, Last::Name)?;
        self.vfs.authority.check(Permission::FsCreate, &resolved.path)?;
        let name = self.new_name(&resolved)?;
        self.vfs.check_writable(&resolved)?;
        self.vfs.ledger.add_name()?;
        let mode = Mode::from_raw_mode(mode.unwrap_or(0o777) & 0o777);
        mkdirat(name.folder, name.name, mode).map_err(|errno| self.not_made(errno))
    }

    /// `unlinkat(2)` with `AT_REMOVEDIR`.
    pub(crate) fn remove_directory(&self, path: &[u8]) -> Result<(), ErrorCode> {
        let _still = self.vfs.still();
        let resolved = self.resolve(path, Last::Name)?;
        self.vfs.authority.check(Permission::FsDelete, &resolved.path)?;
        let name = match &resolved.end {
            End::Folder(_) if path == b"." || path.ends_with(b"/.") => return Err(ErrorCode::Invalid),
            End::File { .. } => return Err(ErrorCode::NotDirectory),
            _ => self.old_name(&resolved)?,
        };
        self.vfs.check_writable(&resolved)?;
        unlinkat(name.folder, name.name, AtFlags::REMOVEDIR).map_err(code)?;
        self.vfs.ledger.remove_name();
        Ok(())
    }

    /// `unlinkat(2)`.
    pub(crate) fn unlink(&self, path: &[u8]) -> Result<(), ErrorCode> {
        let _still = self.vfs.still();
        let resolved = self.resolve(path, Last::Name)?;
        self.vfs.authority.check(Permission::FsDelete, &resolved.path)?;
        let name = match &resolved.end {
            End::Folder(_) => return Err(ErrorCode::IsDirectory),
            _ => self.old_name(&resolved)?,
        };
        let found = name.stat().map_err(code)?;
        if is_folder(&found) {
            return Err(ErrorCode::IsDirectory);
        }
        if resolved.must_be_folder {
            return Err(ErrorCode::NotDirectory);
        }
        self.vfs.check_writable(&resolved)?;
        unlinkat(name.folder, name.name, AtFlags::empty()).map_err(code)?;
        self.vfs.ledger.unlinked(&found);
        Ok(())
    }

    /// `renameat(2)`.
    pub(crate) fn rename(&self, from: &[u8], to_folder: &Folder, to: &[u8]) -> Result<(), ErrorCode> {
        let _alone = self.vfs.alone();
        let old = self.resolve(from, Last::Name)?;
        let new = to_folder.resolve(to, Last::Name)?;
        let authority = &self.vfs.authority;
        authority.check(Permission::FsDelete, &old.path)?;
        authority.check(Permission::FsCreate, &new.path)?;
        let source = self.old_name(&old)?;
        let found = source.stat().map_err(code)?;
        let target = match &new.end {
            End::Folder(_) | End::File { .. } => return Err(ErrorCode::Busy),
            _ => self.new_name(&new)?,
        };
        self.vfs.check_writable(&old)?;
        self.vfs.check_writable(&new)?;
        if old.mount != new.mount {
            return Err(ErrorCode::CrossDevice);
        }
        authority.check_no_gain(&old.path, &new.path)?;
        if (old.must_be_folder || new.must_be_folder) && !is_folder(&found) {
            return Err(ErrorCode::NotDirectory);
        }
        let replaced = match target.stat() {
            Ok(stat) => {
                authority.check(Permission::FsDelete, &new.path)?;
                Some(stat)
            }
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(code(errno)),
        };
        let stays_put = links::is_same(source.folder, target.folder)?;
        if !stays_put {
            self.check_moved(&source, &found, &target, &new)?;
        }
        self.move_name(&source, &target, replaced.is_some(), &new)?;
        if !stays_put && !target.stat().is_ok_and(|moved| same(&moved, &found)) {
            // Another program has put something else there meanwhile, which was not looked at.
            let back = RenameFlags::NOREPLACE;
            let _ = renameat_with(target.folder, target.name, source.folder, source.name, back);
            return Err(ErrorCode::Busy);
        }
        match replaced {
            Some(stat) if same(&stat, &found) => return Ok(()),
            Some(stat) => self.vfs.ledger.unlinked(&stat),
            None => {}
        }
        if is_folder(&found) {
            self.vfs.open_folders.moved(&old.path, &new.path);
        }
        Ok(())
    }

    /// Moves a name; replaces nothing that was not seen before and found to be allowed to go.
    fn move_name(&self, source: &Name, target: &Name, replace: bool, new: &Resolved) -> Result<(), ErrorCode> {
        let plain = || renameat(source.folder, source.name, target.folder, target.name).map_err(code);
        if replace || self.vfs.authority.allows(Permission::FsDelete, &new.path) {
            return plain();
        }
        let careful = renameat_with(source.folder, source.name, target.folder, target.name, RenameFlags::NOREPLACE);
        match careful {
            Err(Errno::EXIST) => Err(self.vfs.authority.deny(Permission::FsDelete, &text(&new.path))),
            // A file system without RENAME_NOREPLACE.
            Err(Errno::INVAL) => plain(),
            other => other.map_err(code),
        }
    }

    /// `linkat(2)`.
    pub(crate) fn link(&self, from: &[u8], follow: bool, to_folder: &Folder, to: &[u8]) -> Result<(), ErrorCode> {
        let _still = self.vfs.still();
        let old = self.resolve(from, Last::from(follow))?;
        let new = to_folder.resolve(to, Last::Name)?;
        let authority = &self.vfs.authority;
        authority.check_known(&old.path)?;
        authority.check(Permission::FsCreate, &new.path)?;
        let source = match &old.end {
            End::File { .. } => return Err(ErrorCode::CrossDevice),
            End::Folder(_) => return Err(ErrorCode::NotPermitted),
            _ => self.old_name(&old)?,
        };
        let found = source.stat().map_err(code)?;
        if is_folder(&found) {
            return Err(ErrorCode::NotPermitted);
        }
        if old.must_be_folder || new.must_be_folder {
            return Err(if old.must_be_folder { ErrorCode::NotDirectory } else { ErrorCode::NotFound });
        }
        let target = self.new_name(&new)?;
        self.vfs.check_writable(&new)?;
        if old.mount != new.mount {
            return Err(ErrorCode::CrossDevice);
        }
        authority.check_no_gain(&old.path, &new.path)?;
        if !links::is_same(source.folder, target.folder)? {
            self.check_moved(&source, &found, &target, &new)?;
        }
        self.vfs.ledger.add_name()?;
        linkat(source.folder, source.name, target.folder, target.name, AtFlags::empty())
            .map_err(|errno| self.not_made(errno))?;
        if !target.stat().is_ok_and(|linked| same(&linked, &found)) {
            // Another program has put something else there meanwhile, which was not looked at.
            let _ = unlinkat(target.folder, target.name, AtFlags::empty());
            return Err(self.not_made(Errno::BUSY));
        }
        Ok(())
    }

    /// `symlinkat(2)`, for a target that stays in the mount whoever reads the link.
    pub(crate) fn symlink(&self, target: &[u8], path: &[u8]) -> Result<(), ErrorCode> {
        let _still = self.vfs.still();
        super::resolve::check(target)?;
        let resolved = self.resolve(path, Last::Name)?;
        self.vfs.authority.check(Permission::FsCreate, &resolved.path)?;
        let name = self.new_name(&resolved)?;
        if resolved.must_be_folder {
            return Err(ErrorCode::NotFound);
        }
        self.vfs.check_writable(&resolved)?;
        self.check_link(target, &name, &resolved)?;
        self.vfs.ledger.add_name()?;
        symlinkat(target, name.folder, name.name).map_err(|errno| self.not_made(errno))
    }

    /// Refuses a link that could lead somebody out of its mount.
    fn check_link(&self, target: &[u8], name: &Name, resolved: &Resolved) -> Result<(), ErrorCode> {
        let mount = &self.vfs.tree.mounts[resolved.mount];
        if links::stays(target, name.folder, &mount.descriptor)? {
            return Ok(());
        }
        let rule = format!("a link to {}, which may lead out of mount {}", text(target), mount.at);
        self.vfs.authority.forbid(&resolved.path, rule, None);
        Err(ErrorCode::NotPermitted)
    }

    /// Refuses to give what was found at `source` a name in another folder if links would lead out of
    /// the mount from there.
    fn check_moved(&self, source: &Name, found: &Found, target: &Name, new: &Resolved) -> Result<(), ErrorCode> {
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => {
                let leads = readlinkat(source.folder, source.name, Vec::new()).map_err(code)?;
                self.check_link(leads.as_bytes(), target, new)
            }
            FileType::Directory => {
                let mount = &self.vfs.tree.mounts[new.mount];
                let top = &mount.descriptor;
                if links::may_move(source.name, source.folder, target.folder, top, &self.vfs.meter)? {
                    return Ok(());
                }
                let rule = format!("a link in it may lead out of mount {} from there", mount.at);
                self.vfs.authority.forbid(&new.path, rule, None);
                Err(ErrorCode::CrossDevice)
            }
            _ => Ok(()),
        }
    }

    /// `readlinkat(2)`.
    pub(crate) fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, ErrorCode> {
        let _still = self.vfs.still();
        let resolved = self.resolve(path, Last::Keep)?;
        self.vfs.authority.check_known(&resolved.path)?;
        let name = match &resolved.end {
            End::Folder(_) | End::File { .. } => return Err(ErrorCode::Invalid),
            _ => self.old_name(&resolved)?,
        };
        let target = readlinkat(name.folder, name.name, Vec::new()).map_err(code)?;
        Ok(target.into_bytes())
    }

    /// `fstatat(2)`.
    pub(crate) fn stat_at(&self, path: &[u8], follow: bool) -> Result<Stat, ErrorCode> {
        let _still = self.vfs.still();
        let resolved = self.resolve(path, Last::from(follow))?;
        self.vfs.authority.check_known(&resolved.path)?;
        let found = match &resolved.end {
            End::Folder(place) => return stat_place(place),
            End::File { mount } => fstat(&self.vfs.tree.mounts[*mount].descriptor),
            End::Name { seen: Some(stat), .. } => Ok(**stat),
            _ => self.old_name(&resolved)?.stat(),
        };
        let found = found.map_err(code)?;
        if resolved.must_be_folder && !is_folder(&found) {
            return Err(ErrorCode::NotDirectory);
        }
        Ok(stat(&found))
    }

    /// `fstat(2)`.
    pub(crate) fn stat(&self) -> Result<Stat, ErrorCode> {
        stat_place(&self.place)
    }

    /// `utimensat(2)` by name.
    pub(crate) fn set_times_at(
        &self,
        path: &[u8],
        follow: bool,
        accessed: Option<Timestamp>,
        modified: Option<Timestamp>,
    ) -> Result<(), ErrorCode> {
        let _still = self.vfs.still();
        let times = times(accessed, modified)?;
        let resolved = self.resolve(path, Last::from(follow))?;
        self.vfs.authority.check(Permission::FsWrite, &resolved.path)?;
        self.vfs.check_writable(&resolved)?;
        match &resolved.end {
            End::Folder(Place { descriptor: Some(folder), .. }) => {
                utimensat(folder, c".", &times, AtFlags::empty()).map_err(code)
            }
            End::Folder(_) => Err(self.vfs.nowhere(&resolved)),
            End::File { mount } => rustix::fs::futimens(&self.vfs.tree.mounts[*mount].descriptor, &times).map_err(code),
            _ => {
                let name = self.old_name(&resolved)?;
                if resolved.must_be_folder && !is_folder(&name.stat().map_err(code)?) {
                    return Err(ErrorCode::NotDirectory);
                }
                utimensat(name.folder, name.name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(code)
            }
        }
    }

    /// `fchmodat(2)`.
    pub(crate) fn set_mode_at(&self, path: &[u8], follow: bool, mode: u32) -> Result<(), ErrorCode> {
        const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
        let _still = self.vfs.still();
        let resolved = self.resolve(path, Last::from(follow))?;
        self.vfs.authority.check(Permission::FsWrite, &resolved.path)?;
        self.vfs.check_writable(&resolved)?;
        match &resolved.end {
            End::Folder(Place { descriptor: Some(folder), .. }) => set_mode(folder, mode),
            End::Folder(_) => Err(self.vfs.nowhere(&resolved)),
            End::File { mount } => set_mode(&self.vfs.tree.mounts[*mount].descriptor, mode),
            _ => {
                let name = self.old_name(&resolved)?;
                let found = openat(name.folder, name.name, LOOK, Mode::empty()).map_err(code)?;
                if resolved.must_be_folder && !is_folder(&fstat(&found).map_err(code)?) {
                    return Err(ErrorCode::NotDirectory);
                }
                set_mode(&found, mode)
            }
        }
    }

    /// The same of this folder.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), ErrorCode> {
        self.set_mode_at(b".", true, mode)
    }

    /// `utimensat(2)` of this folder.
    pub(crate) fn set_times(&self, accessed: Option<Timestamp>, modified: Option<Timestamp>) -> Result<(), ErrorCode> {
        self.set_times_at(b".", true, accessed, modified)
    }

    /// Whether its entries may be enumerated; a denial is told.
    pub(crate) fn check_list(&self) -> Result<(), ErrorCode> {
        self.vfs.authority.check(Permission::FsList, &self.path())
    }

    /// `fsync(2)`.
    pub(crate) fn sync(&self) -> Result<(), ErrorCode> {
        let Some(folder) = &self.place.descriptor else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(folder, c".", flags, Mode::empty()).and_then(fsync).map_err(code)
    }

    /// Whether a path seen from `other` means the same tree as one seen from this folder.
    pub(crate) fn shares_tree(&self, other: &Folder) -> bool {
        std::sync::Arc::ptr_eq(&self.vfs, &other.vfs)
    }

    /// The name at the end, for making something.
    fn new_name<'a>(&self, resolved: &'a Resolved) -> Result<Name<'a>, ErrorCode> {
        match &resolved.end {
            End::Name { folder, name, .. } => Ok(Name { folder, name }),
            End::Folder(_) | End::File { .. } => Err(ErrorCode::Exists),
            End::Nowhere => Err(self.vfs.nowhere(resolved)),
            End::Broken(code) => Err(*code),
        }
    }

    /// The name at the end, for something that is there.
    fn old_name<'a>(&self, resolved: &'a Resolved) -> Result<Name<'a>, ErrorCode> {
        match &resolved.end {
            End::Name { folder, name, .. } => Ok(Name { folder, name }),
            End::Folder(_) | End::File { .. } => Err(ErrorCode::Busy),
            End::Nowhere => Err(ErrorCode::NotFound),
            End::Broken(code) => Err(*code),
        }
    }

    fn not_made(&self, errno: Errno) -> ErrorCode {
        self.vfs.ledger.remove_name();
        code(errno)
    }
}

fn stat_place(place: &Place) -> Result<Stat, ErrorCode> {
    match &place.descriptor {
        Some(folder) => fstat(folder).map(|found| stat(&found)).map_err(code),
        None => Ok(of_graft(place.graft)),
    }
}

fn same(one: &rustix::fs::Stat, other: &rustix::fs::Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}
