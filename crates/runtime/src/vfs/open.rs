//! Opening and creating.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringfence_abi::{ErrorCode, OpenHow, Rights};
use ringfence_manifest::Permission;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::Folder;
use super::place::{End, Last, Place, Resolved};
use crate::error::code;
use crate::files::File;

/// What was opened, and the rights of its handle.
pub(crate) enum Opened {
    /// A regular file, and whether it was made just now.
    File(Arc<File>, Rights, bool),
    /// A folder.
    Folder(Arc<Folder>, Rights),
}

/// Why one attempt to open ended.
enum Failed {
    /// For good.
    With(ErrorCode),
    /// Another thing took the name between looking and opening: look again.
    Swapped,
}

impl From<ErrorCode> for Failed {
    fn from(code: ErrorCode) -> Self {
        Failed::With(code)
    }
}

/// How often a name that is swapped all the time is tried.
const ATTEMPTS: usize = 32;

/// Nothing waits for a peer, no terminal becomes ours, no link is followed.
const CAREFUL: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The rights a handle has because of what it names, if the folder it was opened through had them.
const OF_ANY: Rights = Rights::STAT.union(Rights::DUPLICATE).union(Rights::TRANSFER);
/// The rights of a folder. Those on content are the most that handles opened through it can get.
pub(crate) const OF_FOLDER: Rights = OF_ANY
    .union(Rights::LIST)
    .union(Rights::WALK)
    .union(Rights::CHANGE)
    .union(Rights::TOUCH)
    .union(Rights::READ)
    .union(Rights::WRITE)
    .union(Rights::RESIZE);

impl Folder {
    /// Opens what `path` names, with at most the rights of `bound`.
    pub(crate) fn open(&self, path: &[u8], how: OpenHow, bound: Rights) -> Result<Opened, ErrorCode> {
        let wanted = [(how.read, Rights::READ), (how.write, Rights::WRITE), (how.truncate, Rights::RESIZE)];
        if wanted.iter().any(|&(wanted, right)| wanted && !bound.contains(right)) {
            return Err(ErrorCode::Denied);
        }
        let _still = self.vfs.still();
        let last = Last::from(how.follow && !(how.create && how.exclusive));
        for _ in 0..ATTEMPTS {
            let mut resolved = self.resolve(path, last)?;
            match self.open_resolved(&mut resolved, how, last, bound) {
                Ok(opened) => return Ok(opened),
                Err(Failed::With(code)) => return Err(code),
                Err(Failed::Swapped) => self.vfs.meter.go_on()?,
            }
        }
        Err(ErrorCode::Loop)
    }

    fn open_resolved(
        &self,
        resolved: &mut Resolved,
        how: OpenHow,
        last: Last,
        bound: Rights,
    ) -> Result<Opened, Failed> {
        self.check_wish(resolved, how)?;
        match std::mem::replace(&mut resolved.end, End::Nowhere) {
            End::Folder(place) => self.open_folder(resolved, place, how, bound),
            End::File { mount } => self.open_mounted(resolved, mount, how, bound),
            End::Name { folder, name, seen } => {
                let seen = match seen {
                    Some(stat) => Some(*stat),
                    None => match statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => Some(stat),
                        Err(Errno::NOENT) => None,
                        Err(errno) => return Err(code(errno).into()),
                    },
                };
                match seen {
                    Some(stat) => self.open_existing(resolved, &folder, &name, &stat, how, last, bound),
                    None => self.open_missing(resolved, &folder, &name, how, bound),
                }
            }
            End::Nowhere => {
                self.check_missing(resolved, how)?;
                Err(if how.create { self.vfs.nowhere(resolved) } else { ErrorCode::NotFound }.into())
            }
            End::Broken(code) => {
                self.check_missing(resolved, how)?;
                Err(code.into())
            }
        }
    }

    /// The verdict that does not depend on what is there.
    fn check_wish(&self, resolved: &Resolved, how: OpenHow) -> Result<(), ErrorCode> {
        let authority = &self.vfs.authority;
        if how.create && how.exclusive {
            authority.check(Permission::FsCreate, &resolved.path)?;
        }
        if authority.knows_at_use(&resolved.path) {
            return Ok(());
        }
        let permission = match how {
            OpenHow { directory: true, .. } => Permission::FsList,
            OpenHow { write: true, .. } | OpenHow { truncate: true, .. } => Permission::FsWrite,
            OpenHow { read: false, create: true, .. } => Permission::FsCreate,
            _ => Permission::FsRead,
        };
        authority.check(permission, &resolved.path)
    }

    /// The verdict on content.
    fn check_content(&self, path: &[u8], how: OpenHow) -> Result<(), ErrorCode> {
        if how.read {
            self.vfs.authority.check(Permission::FsRead, path)?;
        }
        if how.write || how.truncate {
            self.vfs.authority.check(Permission::FsWrite, path)?;
        }
        Ok(())
    }

    /// The verdict on a file that is not there: as if it were.
    fn check_missing(&self, resolved: &Resolved, how: OpenHow) -> Result<(), ErrorCode> {
        if how.create {
            self.vfs.authority.check(Permission::FsCreate, &resolved.path)?;
        }
        if how.directory { Ok(()) } else { self.check_content(&resolved.path, how) }
    }

    fn open_missing(
        &self,
        resolved: &Resolved,
        folder: &OwnedFd,
        name: &[u8],
        how: OpenHow,
        bound: Rights,
    ) -> Result<Opened, Failed> {
        self.check_missing(resolved, how)?;
        if !how.create {
            return Err(ErrorCode::NotFound.into());
        }
        if !bound.contains(Rights::CHANGE) {
            return Err(ErrorCode::Denied.into());
        }
        if resolved.must_be_folder || how.directory {
            return Err(if how.directory { ErrorCode::Invalid } else { ErrorCode::IsDirectory }.into());
        }
        self.vfs.check_writable(resolved)?;
        self.vfs.ledger.add_name()?;
        let flags = access(how) | OFlags::CREATE | OFlags::EXCL | CAREFUL;
        let created = openat(folder, name, flags, Mode::from_raw_mode(how.mode.unwrap_or(0o666) & 0o777));
        let made = created.and_then(|descriptor| Ok((fstat(&descriptor)?, descriptor)));
        match made {
            Ok((stat, descriptor)) => Ok(self.file(resolved, Arc::new(descriptor), &stat, true, how, bound)),
            Err(errno) => {
                self.vfs.ledger.remove_name();
                Err(match errno {
                    Errno::EXIST if how.exclusive => ErrorCode::Exists.into(),
                    Errno::EXIST => Failed::Swapped,
                    errno => code(errno).into(),
                })
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what was found and what is wanted")]
    fn open_existing(
        &self,
        resolved: &Resolved,
        folder: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        how: OpenHow,
        last: Last,
        bound: Rights,
    ) -> Result<Opened, Failed> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            check_as_folder(how)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return match openat(folder, name, flags, Mode::empty()) {
                Ok(descriptor) => {
                    let place = Place { descriptor: Some(Arc::new(descriptor)), mount: resolved.mount, graft: None };
                    self.open_folder(resolved, place, how, bound)
                }
                Err(errno) => Err(swapped(errno)),
            };
        }
        self.check_content(&resolved.path, how)?;
        if how.create && how.exclusive {
            return Err(ErrorCode::Exists.into());
        }
        if kind == FileType::Symlink && last == Last::Follow {
            return Err(Failed::Swapped);
        }
        if how.directory || resolved.must_be_folder {
            return Err(ErrorCode::NotDirectory.into());
        }
        match kind {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(ErrorCode::Loop.into()),
            _ => return Err(self.special(resolved).into()),
        }
        if how.write || how.truncate {
            self.vfs.check_writable(resolved)?;
        }
        let flags = if how.read || how.write || how.truncate {
            access(how)
        } else {
            // Nothing is wanted but metadata, which needs no access of the host's user.
            OFlags::PATH
        };
        let descriptor = openat(folder, name, flags | CAREFUL, Mode::empty()).map_err(swapped)?;
        let stat = fstat(&descriptor).map_err(code)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Failed::Swapped);
        }
        self.truncated(self.file(resolved, Arc::new(descriptor), &stat, false, how, bound), how)
    }

    fn open_mounted(&self, resolved: &Resolved, mount: usize, how: OpenHow, bound: Rights) -> Result<Opened, Failed> {
        self.check_content(&resolved.path, how)?;
        if how.create && how.exclusive {
            return Err(ErrorCode::Exists.into());
        }
        if how.directory || resolved.must_be_folder {
            return Err(ErrorCode::NotDirectory.into());
        }
        if how.write || how.truncate {
            self.vfs.check_writable(resolved)?;
        }
        let descriptor = Arc::clone(&self.vfs.tree.mounts[mount].descriptor);
        let stat = fstat(&descriptor).map_err(code)?;
        self.truncated(self.file(resolved, descriptor, &stat, false, how, bound), how)
    }

    fn open_folder(&self, resolved: &Resolved, place: Place, how: OpenHow, bound: Rights) -> Result<Opened, Failed> {
        self.vfs.authority.check_known(&resolved.path)?;
        check_as_folder(how)?;
        let folder = Arc::new(Folder::new(Arc::clone(&self.vfs), place, &resolved.path));
        self.vfs.open_folders.add(&folder);
        Ok(Opened::Folder(folder, bound & OF_FOLDER))
    }

    fn file(
        &self,
        resolved: &Resolved,
        descriptor: Arc<OwnedFd>,
        stat: &Stat,
        created: bool,
        how: OpenHow,
        bound: Rights,
    ) -> Opened {
        let mut rights = OF_ANY;
        rights.set(Rights::READ, how.read);
        rights.set(Rights::WRITE | Rights::RESIZE, how.write);
        let touch = self.vfs.authority.allows(Permission::FsWrite, &resolved.path)
            && !self.vfs.tree.mounts[resolved.mount].read_only;
        rights.set(Rights::TOUCH, touch);
        let mut file = File::new(descriptor, self.vfs.ledger.open(stat, created));
        if touch && !how.write && self.vfs.authority.is_learning() {
            // Opening it took no permission to write; setting its times or mode will.
            let (authority, path) = (Arc::clone(&self.vfs.authority), resolved.path.clone());
            file = file.with_touched(Box::new(move || authority.learn(Permission::FsWrite, &path)));
        }
        Opened::File(Arc::new(file), rights & bound, created)
    }

    fn truncated(&self, opened: Opened, how: OpenHow) -> Result<Opened, Failed> {
        if let Opened::File(file, ..) = &opened
            && how.truncate
        {
            file.set_size(0)?;
        }
        Ok(opened)
    }

    fn special(&self, resolved: &Resolved) -> ErrorCode {
        self.vfs.authority.forbid(&resolved.path, "not a regular file or folder".to_owned(), None);
        ErrorCode::Denied
    }
}

/// Refuses what cannot be done to a folder that is there.
fn check_as_folder(how: OpenHow) -> Result<(), ErrorCode> {
    if how.create && how.exclusive {
        return Err(ErrorCode::Exists);
    }
    if how.write || how.truncate || (how.create && !how.directory) {
        return Err(ErrorCode::IsDirectory);
    }
    Ok(())
}

/// The access mode the host's descriptor needs.
fn access(how: OpenHow) -> OFlags {
    match (how.read, how.write || how.truncate) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    }
}

/// Whether an error to open what was just seen says that it is something else by now.
fn swapped(errno: Errno) -> Failed {
    match errno {
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR => Failed::Swapped,
        errno => code(errno).into(),
    }
}
