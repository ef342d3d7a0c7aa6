//! What a capsule's tree is made of: a root folder of the host, and mounts grafted onto it.
//!
//! The grafts form a small tree of their own: the root, every mount point, and every folder on the
//! way to one. A name in it always stands for what is grafted there, whatever the disk holds under
//! that name; a folder on the way to a mount point that the disk does not have exists all the same,
//! without anything but the way.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfence_isolation::Spec;
use ringfence_manifest::{Mount, MountMode};
use rustix::fs::{CWD, FileType, MemfdFlags, Mode, OFlags, ResolveFlags, fstat, memfd_create, openat, openat2};
use rustix::io::Errno;

use super::place::Place;

/// The mounts and grafts of one capsule.
pub(crate) struct Tree {
    /// The root first.
    pub(super) mounts: Vec<Mounted>,
    /// The root first.
    pub(super) grafts: Vec<Graft>,
}

/// One folder or file of the host in the tree.
pub(super) struct Mounted {
    /// Where, absolute in the tree.
    pub(super) at: String,
    pub(super) from: PathBuf,
    pub(super) read_only: bool,
    /// `O_PATH` for a folder; for a file opened as its mode allows, and every open shares it.
    pub(super) descriptor: Arc<OwnedFd>,
    pub(super) is_file: bool,
}

/// Where a mount comes from was resolved with every link followed: one that is there now may be a capsule's word.
const RESOLVED: ResolveFlags = ResolveFlags::NO_SYMLINKS;

/// One mount point, or a folder on the way to one.
#[derive(Default)]
pub(super) struct Graft {
    pub(super) children: BTreeMap<Vec<u8>, usize>,
    pub(super) mount: Option<usize>,
}

/// Why a tree was not built; the host's fault or the manifest's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The root folder cannot be made.
    #[error("cannot make the folder {}, for the capsule's own files (XDG_DATA_HOME says where)", .path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The root or a mount cannot be opened.
    #[error("cannot open {} to mount it on {at}", .from.display())]
    Open {
        /// What of the host.
        from: PathBuf,
        /// Where in the capsule's tree.
        at: String,
        /// Why.
        source: std::io::Error,
    },
    /// A mount is neither a folder nor a regular file.
    #[error("{} is neither a folder nor a regular file", .from.display())]
    Special {
        /// What of the host.
        from: PathBuf,
    },
}

impl Tree {
    /// Opens the root, if there is to be one, which is made when it is not there, and every mount.
    pub(crate) fn new(spec: &Spec) -> Result<Self, TreeError> {
        let root = match spec.mounts.iter().find(|mount| mount.at == "/") {
            Some(mount) => Mounted::open(mount, RESOLVED)?,
            None => match &spec.root {
                Some(root) => {
                    create(root)?;
                    let (at, name) = ("/".to_owned(), "/".to_owned());
                    let at_root = Mount { at, name, from: root.clone(), mode: MountMode::ReadWrite };
                    Mounted::open(&at_root, ResolveFlags::empty())?
                }
                None => Mounted::nothing()?,
            },
        };
        let mut tree = Tree { mounts: vec![root], grafts: vec![Graft { mount: Some(0), ..Graft::default() }] };
        for mount in spec.mounts.iter().filter(|mount| mount.at != "/") {
            let graft = tree.graft(&mount.at);
            tree.grafts[graft].mount = Some(tree.mounts.len());
            tree.mounts.push(Mounted::open(mount, RESOLVED)?);
        }
        Ok(tree)
    }

    fn graft(&mut self, at: &str) -> usize {
        let mut graft = 0;
        for name in at.split('/').filter(|name| !name.is_empty()) {
            let next = self.grafts.len();
            graft = match self.grafts[graft].children.get(name.as_bytes()) {
                Some(&child) => child,
                None => {
                    self.grafts[graft].children.insert(name.as_bytes().to_vec(), next);
                    self.grafts.push(Graft::default());
                    next
                }
            };
        }
        graft
    }

    /// The top of the tree.
    pub(super) fn root(&self) -> Place {
        let root = &self.mounts[0];
        Place { descriptor: (!root.is_nothing()).then(|| Arc::clone(&root.descriptor)), mount: 0, graft: Some(0) }
    }

    /// Whether a graft is a file.
    pub(super) fn is_file(&self, graft: usize) -> bool {
        self.grafts[graft].mount.is_some_and(|mount| self.mounts[mount].is_file)
    }

    /// The child of a graft by that name.
    pub(super) fn child(&self, graft: Option<usize>, name: &[u8]) -> Option<usize> {
        self.grafts[graft?].children.get(name).copied()
    }

    /// The folder a graft stands for, seen from the folder it is grafted into. `None` for a file.
    pub(super) fn enter(&self, from: &Place, graft: usize, name: &[u8]) -> Option<Place> {
        if let Some(mount) = self.grafts[graft].mount {
            let mounted = &self.mounts[mount];
            let descriptor = Some(Arc::clone(&mounted.descriptor));
            return (!mounted.is_file).then_some(Place { descriptor, mount, graft: Some(graft) });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = from.descriptor.as_ref().and_then(|folder| openat(folder, name, flags, Mode::empty()).ok());
        Some(Place { descriptor: descriptor.map(Arc::new), mount: from.mount, graft: Some(graft) })
    }
}

impl Mounted {
    /// Whether it still has a name on the host.
    pub(super) fn is_there(&self) -> bool {
        self.is_nothing() || fstat(&self.descriptor).is_ok_and(|stat| stat.st_nlink > 0)
    }

    /// A root that only leads to the mount points. Its descriptor is an empty file in memory, beneath
    /// which nothing can be reached.
    fn nothing() -> Result<Self, TreeError> {
        let at = "/".to_owned();
        let made = memfd_create(c"root", MemfdFlags::CLOEXEC);
        let made = made.map_err(|errno| TreeError::Create { path: "/".into(), source: errno.into() })?;
        Ok(Mounted { at, from: PathBuf::new(), read_only: true, descriptor: Arc::new(made), is_file: false })
    }

    fn is_nothing(&self) -> bool {
        self.from.as_os_str().is_empty()
    }

    fn open(mount: &Mount, resolve: ResolveFlags) -> Result<Self, TreeError> {
        let from = &mount.from;
        let failed =
            |errno: Errno| TreeError::Open { from: from.to_owned(), at: mount.at.clone(), source: errno.into() };
        let read_only = mount.mode == MountMode::ReadOnly;
        // Looked at without opening it: opening a device may do something.
        let open = |flags: OFlags| openat2(CWD, from, flags | OFlags::CLOEXEC, Mode::empty(), resolve).map_err(failed);
        let looked = open(OFlags::PATH)?;
        let (descriptor, is_file) = match kind(&looked).map_err(failed)? {
            FileType::Directory => (looked, false),
            FileType::RegularFile => {
                let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
                let opened = open(access | OFlags::NONBLOCK | OFlags::NOCTTY)?;
                if kind(&opened).map_err(failed)? != FileType::RegularFile {
                    return Err(TreeError::Special { from: from.to_owned() });
                }
                (opened, true)
            }
            _ => return Err(TreeError::Special { from: from.to_owned() }),
        };
        Ok(Mounted {
            at: mount.at.clone(),
            from: from.to_owned(),
            read_only,
            descriptor: Arc::new(descriptor),
            is_file,
        })
    }
}

fn kind(descriptor: &OwnedFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(fstat(descriptor)?.st_mode))
}

/// Makes the folder and its parents, for nobody but this user.
fn create(path: &Path) -> Result<(), TreeError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| TreeError::Create { path: path.to_owned(), source })
}
