//! Where instances are found.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use rustix::process::geteuid;

use crate::failure::Failure;
use crate::held::{self, Held};

/// The longest name.
const LONGEST: usize = 64;
/// How many may wait to be let in.
const WAITING: i32 = 16;
/// The socket, in the folder of an instance.
const SOCKET: &str = "control";
/// A folder in which there is nothing and never will be; no instance can have its name.
pub(super) const EMPTY: &str = ".empty";
/// How often a name that is free one moment and gone the next is tried.
const TRIES: usize = 10;

/// An instance's own folder, in which it listens. Dropping it removes the folder.
pub(super) struct Entry {
    pub(super) listener: OwnedFd,
    held: Held,
}

impl Entry {
    /// Takes a name that nobody has; `None` when somebody does.
    pub(super) fn take(name: &str) -> io::Result<Option<Entry>> {
        let own = own()?;
        if folders().iter().any(|folder| *folder != own && is_held(&folder.join(name))) {
            return Ok(None);
        }
        let folder = own.join(name);
        for _ in 0..TRIES {
            match Held::make_at(&folder) {
                Ok(Some(held)) => return Self::listen(held).map(Some),
                // Somebody who cleans up was quicker.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match Held::take(&folder)? {
                    // A process that was killed left it.
                    Some(left) => left.remove()?,
                    // Somebody may just be looking at it, as who cleans up does.
                    None if is_held(&folder) => return Ok(None),
                    None => {}
                },
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn listen(held: Held) -> io::Result<Entry> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let folder = File::open(held.path())?;
        bind(&listener, &within(&folder)?)?;
        listen(&listener, WAITING)?;
        Ok(Entry { listener, held })
    }

    pub(super) fn remove(self) {
        // Quicker than to look what there is: this is on the way out of every run that was listed.
        let folder = self.held.path().to_owned();
        if fs::remove_file(folder.join(SOCKET)).and_then(|()| fs::remove_dir(folder)).is_ok() {
            self.held.keep();
        }
    }
}

/// Connects to the instance of this name; `None` when there is none.
pub(super) fn reach(name: &str) -> io::Result<Option<OwnedFd>> {
    for folder in folders() {
        let Ok(folder) = File::open(folder.join(name)) else { continue };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        match connect(&socket, &within(&folder)?) {
            Ok(()) => return Ok(Some(socket)),
            Err(rustix::io::Errno::AGAIN) => return Err(io::Error::other("too many wait for it already")),
            // Nobody listens: it was killed, or is just going.
            Err(_) => {}
        }
    }
    Ok(None)
}

/// The names that are taken.
pub(super) fn names() -> Vec<String> {
    let entries = folders().into_iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let mut names: Vec<String> = entries
        .filter(|entry| is_held(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| check_name(name).is_ok())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The folders of instances whose process was killed.
pub(crate) fn left() -> Vec<PathBuf> {
    let entries = folders().into_iter().flat_map(|folder| held::left(&folder, ""));
    entries.filter(|folder| !folder.ends_with(EMPTY)).collect()
}

/// Whether it can be the name of an instance: what can be that of a capsule, as a name of a file that is not hidden
/// and of an argument that is no flag.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let why = match name.as_bytes() {
        [] => "it is empty",
        [b'-' | b'.', ..] => "it begins with - or .",
        name if name.len() > LONGEST => "it is longer than 64 bytes",
        name if !name.iter().copied().all(fits) => "letters, digits, -, _ and . make a name",
        _ => return Ok(()),
    };
    Err(Failure::wrong(format!("{name:?} cannot be the name of an instance: {why}")))
}

/// A name for an instance of this capsule, which nobody is likely to have.
pub(super) fn make_name(capsule: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";
    let mut random = [0; 5];
    // Without random bytes the name may be taken, which is noticed.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
    let suffix: String = random.iter().map(|&byte| char::from(LETTERS[usize::from(byte) % 32])).collect();
    let kept = capsule.trim_start_matches(['-', '.']);
    let kept = &kept[..kept.len().min(LONGEST - 1 - suffix.len())];
    let kept = if check_name(kept).is_ok() { kept } else { "capsule" };
    format!("{kept}-{suffix}")
}

/// The folder in which this process makes its own.
pub(super) fn own() -> io::Result<PathBuf> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for folder in possible() {
        match prepare(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => failed = io::Error::new(error.kind(), format!("{}: {error}", folder.display())),
        }
    }
    Err(failed)
}

/// Makes sure that it is there, and nobody else's.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_private(folder) { Ok(()) } else { Err(io::Error::other("it is there, and others can get at it")) }
}

/// Those that are there.
fn folders() -> Vec<PathBuf> {
    possible().into_iter().filter(|folder| is_private(folder)).collect()
}

/// Where they may be: with the user's other sockets, or where everybody has a place. Whoever looks for an instance
/// looks into both.
pub(super) fn possible() -> Vec<PathBuf> {
    let user = geteuid().as_raw();
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    // Who becomes another user may still have the variable of the first one.
    let given = given.and_then(|folder| folder.canonicalize().ok());
    let given = given.filter(|folder| fs::metadata(folder).is_ok_and(|found| found.uid() == user));
    let ours = given.map(|folder| folder.join("ringfence"));
    let shared = Path::new("/tmp").canonicalize().ok().map(|folder| folder.join(format!("ringfence-{user}")));
    ours.into_iter().chain(shared).collect()
}

/// Whether it is a folder of this user's that nobody else can look into.
fn is_private(folder: &Path) -> bool {
    fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0)
}

fn is_held(folder: &Path) -> bool {
    File::open(folder)
        .is_ok_and(|opened| opened.metadata().is_ok_and(|found| found.is_dir()) && opened.try_lock_shared().is_err())
}

/// The socket in a folder, however long the folder's path is (`unix(7)` has room for 108 bytes).
fn within(folder: &File) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_that_are_seen() {
        for name in ["a", "web-1", "A_b.c", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", ".empty", "-x", "a/b", "a b", "ä", "a\0", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_made_is_one_and_not_made_twice() {
        for capsule in ["tally", "...", "-", "", &"x".repeat(64)] {
            let (one, other) = (make_name(capsule), make_name(capsule));
            assert!(check_name(&one).is_ok() && one != other, "{one} {other}");
        }
    }
}
