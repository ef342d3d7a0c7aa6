//! A file of the host's that programs may read and run.

use std::os::fd::OwnedFd;

use rustix::io::{Errno, pread, retry_on_intr};

use crate::memory::Content;

/// An open regular file of the host, for reading.
pub(crate) struct HostFile {
    file: OwnedFd,
    path: Vec<u8>,
}

impl HostFile {
    /// `path` is how programs know it.
    pub(crate) fn new(file: OwnedFd, path: &[u8]) -> Self {
        HostFile { file, path: path.to_vec() }
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.file
    }
}

impl Content for HostFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < into.len() {
            let at = offset.checked_add(done as u64).filter(|&at| at <= i64::MAX as u64).ok_or(Errno::INVAL)?;
            match retry_on_intr(|| pread(&self.file, &mut into[done..], at))? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    fn path(&self) -> &[u8] {
        &self.path
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
