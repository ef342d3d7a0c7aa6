//! Where links lead: `readlink(2)`, `symlink(7)`.

use ringfence_abi::{Call, Reply};
use ringfence_isolation::FileUse;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::memory_files::Way;
use super::open::Kind;
use super::opening::Path;
use super::special;
use super::thread::Thread;
use super::{Answer, Arguments, int};
use crate::scratch::Body;

/// `readlink(2)`
pub(super) fn readlink(thread: &mut Thread, [path, at, length, ..]: Arguments) -> Answer {
    readlinkat(thread, [libc::AT_FDCWD as u64, path, at, length, 0, 0])
}

impl Thread {
    /// Where a link leads: `readlink(2)`.
    pub(super) fn target(&self, path: &Path) -> Result<Vec<u8>, Errno> {
        if let Some(target) = special::link(self, &path.normal) {
            return target;
        }
        let path = match self.lead(path, false)? {
            Way::Path(path) => path,
            Way::Memory(spot) => {
                self.world.judge(&spot.path, FileUse::Look)?;
                let Body::Link(target) = &spot.found()?.body else { return Err(Errno::INVAL) };
                return Ok(target.clone());
            }
        };
        if special::look(self, &path.normal).is_some() {
            return Err(Errno::INVAL);
        }
        if path.is_system(self) {
            let looked = self.world.system.look(&path.normal, false)?;
            if FileType::from_raw_mode(looked.stat.st_mode) != FileType::Symlink {
                return Err(Errno::INVAL);
            }
            return Ok(rustix::fs::readlinkat(&looked.place, c"", Vec::new())?.into_bytes());
        }
        match self.world.call(Call::ReadLink { directory: self.root()?, path: &path.written }) {
            Ok(Reply::Bytes(target)) => Ok(target),
            Ok(_) => Err(Errno::IO),
            Err(errno) => Err(self.unseen(&path, errno)),
        }
    }
}

/// `readlinkat(2)`
pub(super) fn readlinkat(thread: &mut Thread, [folder, path, at, length, ..]: Arguments) -> Answer {
    if int(length) <= 0 {
        return Err(Errno::INVAL);
    }
    let space = thread.process.space()?;
    let tell = |target: &[u8]| {
        let part = &target[..target.len().min(int(length).unsigned_abs() as usize)];
        space.write(at, part).map(|()| part.len() as u64)
    };
    if int(folder) != libc::AT_FDCWD && space.text(path)?.is_empty() {
        // Of a link that was opened itself.
        let open = thread.process.descriptors().get(int(folder))?;
        return match &open.kind {
            Kind::Link(_, target) => tell(target),
            Kind::Memory(node) if let Body::Link(target) = &node.body => tell(target),
            _ => Err(Errno::NOENT),
        };
    }
    let path = thread.path(int(folder), path)?;
    if path.has_to_be_a_folder() {
        // Of what a link leads to.
        thread.status_at(&path, true)?;
        return Err(Errno::INVAL);
    }
    tell(&thread.target(&path)?)
}
