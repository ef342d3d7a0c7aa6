//! Learning: which files a program uses, by the system calls that name them.
//!
//! The filter of system calls asks the supervisor about each such call, which takes down what it is about and
//! lets it go on. Between the two the program can change what it named: what is learned is what an
//! honest program used, and nothing is judged by it. Everything in the tree is granted meanwhile, and
//! changes are kept apart.

mod calls;

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use ringfence_isolation::Host;
use ringfence_isolation::system::FOLDERS;
use ringfence_manifest::Permission;
use rustix::fs::OFlags;

use crate::sys::{self, Notification};
use crate::tree::{PROGRAM, Plan, covers};
use calls::{Operand, What};

pub(crate) use calls::numbers;

/// The longest path, `path_resolution(7)`.
const LONGEST: usize = 4096;
/// Folders beside the system's that every program sees and that need no permission.
const EVERYBODYS: [&str; 4] = ["/etc", "/proc", "/dev", PROGRAM];
/// The part of them that does.
const SHARED_MEMORY: &str = "/dev/shm";

/// Takes down what a program uses.
pub(crate) struct Notes {
    host: Arc<dyn Host>,
    /// What needs no permission.
    everybodys: Vec<&'static str>,
    /// Where the host's files are, and whether they can be changed.
    places: Vec<(String, bool)>,
}

impl Notes {
    pub(crate) fn new(host: Arc<dyn Host>, plan: &Plan) -> Self {
        let places = plan.places.iter().map(|place| (place.at.clone(), place.writable)).collect();
        let everybodys = FOLDERS.into_iter().chain(EVERYBODYS).collect();
        Notes { host, everybodys, places }
    }

    /// Takes down what a call is about, if it is one that names a file.
    pub(crate) fn take(&self, call: &Notification) {
        for operand in calls::operands(call.number).unwrap_or_default() {
            if let Some(path) = path(call, operand) {
                self.note(call, operand.what, &path);
            }
        }
    }

    fn note(&self, call: &Notification, what: What, path: &Path) {
        use Permission::{FsCreate, FsDelete, FsRead, FsWrite};
        let Some(text) = path.to_str() else { return };
        let is_place = self.places.iter().any(|(place, _)| place != "/" && covers(place, text));
        if text == "/" || !is_place && !covers(SHARED_MEMORY, text) && self.is_everybodys(text) {
            return;
        }
        let used = |permission| self.host.used(Some(permission), text.as_bytes());
        match what {
            What::Look => self.host.used(None, text.as_bytes()),
            What::Execute => used(FsRead),
            What::Create => used(FsCreate),
            What::Delete => used(FsDelete),
            What::Replace => [FsDelete, FsCreate].into_iter().for_each(used),
            What::Write => used(FsWrite),
            What::Truncate => [FsCreate, FsWrite].into_iter().for_each(used),
            What::Open(index) => self.opened(call.arguments[index] as u32, text),
            What::OpenHow(index) => {
                let mut flags = [0; 8];
                if sys::read_memory(call.thread, call.arguments[index], &mut flags) == Ok(flags.len()) {
                    self.opened(u64::from_ne_bytes(flags) as u32, text);
                }
            }
            // Let through only where every file of the host's that can be changed may be changed.
            What::Metadata => {
                for (place, _) in self.places.iter().filter(|(_, writable)| *writable) {
                    self.host.used(Some(FsWrite), place.as_bytes());
                }
            }
        }
    }

    fn opened(&self, flags: u32, path: &str) {
        use Permission::{FsCreate, FsList, FsRead, FsWrite};
        let flags = OFlags::from_bits_retain(flags);
        let used = |permission| self.host.used(Some(permission), path.as_bytes());
        if flags.contains(OFlags::PATH) {
            return self.host.used(None, path.as_bytes());
        }
        if flags.contains(OFlags::CREATE) || flags.contains(OFlags::TMPFILE) {
            used(FsCreate);
        }
        let mode = flags & OFlags::RWMODE;
        if mode != OFlags::RDONLY || flags.contains(OFlags::TRUNC) {
            used(FsWrite);
        }
        if mode != OFlags::WRONLY && !flags.contains(OFlags::TMPFILE) {
            used(if flags.contains(OFlags::DIRECTORY) { FsList } else { FsRead });
        }
    }

    fn is_everybodys(&self, path: &str) -> bool {
        self.everybodys.iter().any(|folder| covers(folder, path))
    }
}

/// The file a call names, in the capsule's tree: absolute, and without `.` and `..`.
fn path(call: &Notification, operand: &Operand) -> Option<PathBuf> {
    let written = match operand.path.map(|index| call.arguments[index]) {
        None | Some(0) => Vec::new(),
        Some(address) => text(call.thread, address)?,
    };
    if written.starts_with(b"/") {
        return Some(plain(Path::new(OsStr::from_bytes(&written))));
    }
    if written.is_empty() && operand.what == What::Look {
        return None;
    }
    let folder = operand.folder.map(|index| call.arguments[index] as i32).filter(|&number| number != libc::AT_FDCWD);
    let link = match folder {
        Some(number) => format!("/proc/{}/fd/{number}", call.thread),
        None => format!("/proc/{}/cwd", call.thread),
    };
    let base = std::fs::read_link(link).ok().filter(|base| base.is_absolute())?;
    Some(plain(&base.join(OsStr::from_bytes(&written))))
}

/// A text of the program's memory.
fn text(thread: u32, address: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; LONGEST];
    let count = sys::read_memory(thread, address, &mut bytes).ok()?;
    let end = bytes[..count].iter().position(|&byte| byte == 0)?;
    bytes.truncate(end);
    Some(bytes)
}

fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => _ = plain.pop(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    // A file that is gone meanwhile is named so by the kernel, `proc(5)`.
    match plain.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(name) => PathBuf::from(std::ffi::OsString::from_vec(name.to_vec())),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain() {
        for (written, expected) in [("/a/./b/../c", "/a/c"), ("/../..", "/"), ("/a/b (deleted)", "/a/b")] {
            assert_eq!(plain(Path::new(written)), Path::new(expected));
        }
    }
}
