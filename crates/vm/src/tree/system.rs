//! The parts of the host that a dynamic program needs, the same as at level `sandbox`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringfence_isolation::names;
use ringfence_isolation::system::{self, FILES_OF_ETC, FOLDERS, FOLDERS_OF_ETC};
use ringfence_manifest::Spec;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2};
use rustix::io::Errno;

use super::{HostFile, covers};

/// What C libraries ask for in passing, and what only the personality has: beyond that it is not here, and
/// nobody need hear of it.
const ABSENT: [&str; 6] = ["/etc/ld.so.preload", "/etc/host.conf", "/etc/gai.conf", "/etc/selinux", "/proc", "/sys"];
/// Where the program is when it is not part of the system.
const PROGRAM: &str = "/program";
/// How often a path is walked while others rename or mount something.
const TRIES: usize = 10_000;

/// The system, and the program.
pub(crate) struct System {
    root: OwnedFd,
    /// What the system's folders are below the host's root, links followed.
    folders: Vec<Vec<u8>>,
    /// The parts of the system that this host has.
    parts: Vec<&'static [u8]>,
    /// Where there is more than the system: folders that it has parts in, from `/etc` on.
    above: BTreeSet<Vec<u8>>,
    /// Mounts of the manifest, which lie over the system.
    mounts: Vec<Vec<u8>>,
    /// The content of files that are made here.
    made: BTreeMap<&'static str, Vec<u8>>,
    /// Where the program is for itself, and its file.
    program: Vec<u8>,
    program_file: OwnedFd,
}

/// What there is at a path of the system's.
pub(crate) struct Looked {
    /// Open as a path only.
    pub(crate) place: OwnedFd,
    pub(crate) stat: Stat,
    /// Where it really is; the path it was looked for at, where that is no part of the system.
    pub(crate) real: Vec<u8>,
    /// It is the program's own file, which is open for reading and may lie where nothing else can be opened.
    is_program: bool,
}

impl System {
    /// Opens the host's root and the program.
    pub(crate) fn open(spec: &Spec) -> Result<System, Errno> {
        let program_file = open(&spec.program.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Self::around(spec, program_file)
    }

    /// The same with the program's file, which somebody else opened for reading.
    pub(crate) fn around(spec: &Spec, program_file: OwnedFd) -> Result<System, Errno> {
        let root = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let folders = FOLDERS.into_iter().chain(FOLDERS_OF_ETC).filter_map(|folder| {
            let real = Path::new(folder).canonicalize().ok()?;
            real.is_dir().then(|| real.as_os_str().as_bytes().to_vec())
        });
        let mut system = System {
            root,
            folders: folders.collect(),
            parts: parts(),
            above: BTreeSet::new(),
            mounts: spec.mounts.iter().map(|mount| mount.at.clone().into_bytes()).collect(),
            made: made(spec),
            program: Vec::new(),
            program_file,
        };
        let path = spec.program.path.as_os_str().as_bytes();
        system.program = match system.look(path, true) {
            Ok(_) => path.to_vec(),
            Err(_) => {
                let name = spec.program.path.file_name().map_or(&b"program"[..], |name| name.as_bytes());
                [PROGRAM.as_bytes(), b"/", name].concat()
            }
        };
        let made = system.made.keys().map(|made| made.as_bytes());
        let parts = system
            .parts
            .iter()
            .copied()
            .chain(made)
            .chain([&system.program[..]])
            .map(|part| Path::new(OsStr::from_bytes(part)));
        let above = parts.flat_map(|part| part.ancestors().skip(1)).map(|path| path.as_os_str().as_bytes());
        // Elsewhere than in `/etc` there may be more, which is the hal's.
        let is_ours = |path: &[u8]| covers(b"/etc", path) || covers(PROGRAM.as_bytes(), path);
        let is_beside = |path: &&[u8]| is_ours(path) && !system.has(path) && !system.is_mounted_over(path);
        system.above = above.filter(is_beside).map(<[u8]>::to_vec).collect();
        Ok(system)
    }

    /// Whether a folder, which is not part of the system, is there because parts of it are below.
    pub(crate) fn is_above(&self, folder: &[u8]) -> bool {
        self.above.contains(folder)
    }

    /// Whether mounts of the manifest lie beside it, to which its links may lead.
    pub(crate) fn has_mounts_beside(&self) -> bool {
        self.mounts.iter().any(|mount| mount != b"/")
    }

    /// Where a file of the system's really is, links followed.
    pub(crate) fn real(&self, path: &[u8]) -> Vec<u8> {
        self.look(path, true).map_or_else(|_| path.to_vec(), |looked| looked.real)
    }

    /// Where the program is, for itself.
    pub(crate) fn program(&self) -> &[u8] {
        &self.program
    }

    /// The program's file.
    pub(crate) fn program_file(&self) -> Result<HostFile, Errno> {
        Ok(HostFile::new(rustix::io::fcntl_dupfd_cloexec(&self.program_file, 3)?, &self.real(&self.program)))
    }

    /// The content of a file that is made here.
    pub(crate) fn made(&self, path: &[u8]) -> Option<&[u8]> {
        self.made.get(std::str::from_utf8(path).ok()?).map(Vec::as_slice)
    }

    /// Whether a path is the system's to serve; its content may still be missing.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        if path == self.program {
            return true;
        }
        let system = FOLDERS.iter().chain(&FOLDERS_OF_ETC).chain(&FILES_OF_ETC);
        let inside = system.chain(&ABSENT).any(|known| covers(known.as_bytes(), path));
        inside && !self.is_mounted_over(path)
    }

    /// Mounts of the manifest in a folder, beside the one at the root.
    pub(crate) fn mounts_in(&self, folder: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.mounts.iter().map(Vec::as_slice).filter(move |mount| *mount != folder && covers(folder, mount))
    }

    /// Whether a mount of the manifest's lies there, beside the one at the root.
    pub(crate) fn is_mounted_over(&self, path: &[u8]) -> bool {
        self.mounts.iter().any(|mount| mount != b"/" && covers(mount, path))
    }

    /// What is at a path of the system's. What leads out of it is as if it were not there.
    pub(crate) fn look(&self, path: &[u8], follow: bool) -> Result<Looked, Errno> {
        if path == self.program && !self.program.is_empty() && path.starts_with(PROGRAM.as_bytes()) {
            let place = rustix::io::fcntl_dupfd_cloexec(&self.program_file, 3)?;
            let stat = fstat(&place)?;
            return Ok(Looked { place, stat, real: path.to_vec(), is_program: true });
        }
        if ABSENT.iter().any(|absent| covers(absent.as_bytes(), path)) {
            return Err(Errno::NOENT);
        }
        let follows = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let relative = path.strip_prefix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(b".");
        let open = || openat2(&self.root, relative, OFlags::PATH | OFlags::CLOEXEC | follows, Mode::empty(), resolve);
        // While somebody renames or mounts anything on this machine, a link with `..` in it is not followed: `EAGAIN`.
        let place = (0..TRIES).map(|_| open()).find(|opened| !matches!(opened, Err(Errno::AGAIN)));
        let place = place.unwrap_or(Err(Errno::IO))?;
        let stat = fstat(&place)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let plain = matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink);
        let real = real_path(&place)?;
        if !plain || !self.is_inside(&real) {
            return Err(Errno::NOENT);
        }
        let real = if self.has(&real) { real } else { path.to_vec() };
        Ok(Looked { place, stat, real, is_program: false })
    }

    /// Whether what really lies at a path of the host is part of the system.
    fn is_inside(&self, real: &[u8]) -> bool {
        let file = || FILES_OF_ETC.iter().any(|file| file.as_bytes() == real);
        let link = || FOLDERS.iter().chain(&FOLDERS_OF_ETC).any(|folder| folder.as_bytes() == real);
        self.folders.iter().any(|folder| covers(folder, real)) || file() || link()
    }

    /// Opens what was looked at for reading.
    pub(crate) fn read(&self, looked: &Looked) -> Result<OwnedFd, Errno> {
        use std::os::fd::AsRawFd;
        if looked.is_program {
            return rustix::io::fcntl_dupfd_cloexec(&looked.place, 3);
        }
        let again = format!("/proc/self/fd/{}", looked.place.as_raw_fd());
        open(again, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
    }

    /// The names of the system in a folder that holds more than the system, in no order, some of them twice.
    pub(crate) fn names_in(&self, folder: &[u8]) -> Vec<Vec<u8>> {
        let there = self.parts.iter().copied();
        let extra = [&b"/dev"[..], b"/proc", &self.program].into_iter();
        let made = self.made.keys().map(|path| path.as_bytes());
        let prefix = if folder == b"/" { &b"/"[..] } else { &[folder, b"/"].concat() };
        there
            .chain(extra)
            .chain(made)
            .filter_map(|path| path.strip_prefix(prefix))
            .filter_map(|rest| rest.split(|&byte| byte == b'/').next())
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }
}

/// Those parts of the system that are on this host.
fn parts() -> Vec<&'static [u8]> {
    let known = FOLDERS.iter().chain(&FOLDERS_OF_ETC).chain(&FILES_OF_ETC);
    known.filter(|path| Path::new(path).symlink_metadata().is_ok()).map(|path| path.as_bytes()).collect()
}

/// Where a place really is on the host.
fn real_path(place: &OwnedFd) -> Result<Vec<u8>, Errno> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", place.as_raw_fd());
    Ok(rustix::fs::readlink(link, Vec::new())?.into_bytes())
}

fn made(spec: &Spec) -> BTreeMap<&'static str, Vec<u8>> {
    let user = rustix::process::getuid().as_raw();
    let mut made = BTreeMap::from([
        ("/etc/passwd", system::users(user, user).into_bytes()),
        ("/etc/group", system::groups(user).into_bytes()),
        ("/etc/hosts", system::hosts(&spec.capsule.name).into_bytes()),
        ("/etc/nsswitch.conf", system::NAME_SERVICES.into()),
    ]);
    if spec.permissions.has_names() {
        made.insert("/etc/resolv.conf", format!("nameserver {}\n", names::SERVER).into_bytes());
    }
    made
}
