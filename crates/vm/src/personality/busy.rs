//! What is being written does not run, and what runs is not written: `ETXTBSY` of `execve(2)` and `open(2)`.

use rustix::io::Errno;

use super::opening::Path;
use super::shared::Identity;
use super::thread::Thread;

impl Thread {
    /// Whether a file may be run: nobody has it open to write to it.
    pub(super) fn may_run(&self, identity: Identity) -> Result<(), Errno> {
        let processes: Vec<_> = self.world.processes().values().cloned().collect();
        let is_written = processes
            .iter()
            .any(|process| process.descriptors().written().iter().any(|open| open.identity() == Ok(identity)));
        if is_written { Err(Errno::TXTBSY) } else { Ok(()) }
    }

    /// Whether what is at a path may be written to: no process runs it. Another file may have the name of one that runs.
    pub(super) fn may_rewrite(&self, path: &Path, follow: bool) -> Result<(), Errno> {
        let images: Vec<_> = self.world.processes().values().map(|process| process.image()).collect();
        let named = images.iter().filter(|image| image.path == path.normal).filter_map(|image| image.identity);
        let mut named = named.peekable();
        if named.peek().is_none() {
            return Ok(());
        }
        match self.status_at(path, follow) {
            Ok(status) if named.any(|identity| identity == status.identity()) => Err(Errno::TXTBSY),
            _ => Ok(()),
        }
    }
}
