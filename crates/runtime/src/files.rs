//! An open file.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringfence_abi::{ErrorCode, Position, Stat, Timestamp};
use rustix::fs::{AtFlags, fdatasync, fstat, fsync, ftruncate, futimens, utimensat};
use rustix::io::{Errno, ReadWriteFlags, pread, pwrite, pwritev2};

use crate::error::code;
use crate::ledger::Opened;
use crate::vfs::{set_mode, stat, times};

/// The largest offset of a file, `off_t`.
const END: u64 = i64::MAX as u64;

/// The error of a transfer. A regular file makes nobody wait (`poll(2)` calls it ready at all times), so
/// one that says it would, as some of `/proc` do, can only fail: whoever waited for it would wait in vain.
pub(crate) fn content(errno: Errno) -> ErrorCode {
    match code(errno) {
        ErrorCode::WouldBlock => ErrorCode::Io,
        other => other,
    }
}

/// An open regular file.
pub(crate) struct File {
    descriptor: Arc<OwnedFd>,
    opened: Opened,
    touched: Option<Touched>,
}

/// Hears that the times or the mode of a file were set.
type Touched = Box<dyn Fn() + Send + Sync>;

impl File {
    /// How much one call reads or writes at most, so that it returns soon and a deadline is met.
    /// Short reads and writes are within `read(2)` and `write(2)`.
    pub(crate) const MOST: usize = 4 << 20;

    pub(crate) fn new(descriptor: Arc<OwnedFd>, opened: Opened) -> Self {
        Self { descriptor, opened, touched: None }
    }

    /// The same, with somebody who hears when its times are set.
    pub(crate) fn with_touched(self, touched: Touched) -> Self {
        Self { touched: Some(touched), ..self }
    }

    /// `pread(2)`.
    #[inline]
    pub(crate) fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, ErrorCode> {
        if offset > END {
            return Err(ErrorCode::Invalid);
        }
        let most = into.len().min(Self::MOST);
        pread(&*self.descriptor, &mut into[..most], offset).map_err(content)
    }

    /// `pwrite(2)`, or a write with `RWF_APPEND`. What it adds is charged before.
    pub(crate) fn write(&self, at: Position, from: &[u8]) -> Result<usize, ErrorCode> {
        let from = &from[..from.len().min(Self::MOST)];
        if from.is_empty() {
            return Ok(0);
        }
        match at {
            Position::Offset(offset) => self.write_at(offset, from),
            Position::End => self.append(from),
        }
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> Result<usize, ErrorCode> {
        let end = offset.checked_add(from.len() as u64).filter(|&end| end <= END).ok_or(ErrorCode::TooLarge)?;
        if self.opened.grows(end) {
            let growth = self.opened.grow(end, self.size()?)?;
            let written = pwrite(&*self.descriptor, from, offset).map_err(content)?;
            growth.settle(offset + written as u64)?;
            Ok(written)
        } else {
            let written = pwrite(&*self.descriptor, from, offset).map_err(content)?;
            self.opened.wrote(end, || self.size().unwrap_or(end))?;
            Ok(written)
        }
    }

    fn append(&self, from: &[u8]) -> Result<usize, ErrorCode> {
        let growth = self.opened.append(from.len() as u64, self.size()?)?;
        let start = growth.start();
        let written = pwritev2(&*self.descriptor, &[IoSlice::new(from)], 0, ReadWriteFlags::APPEND).map_err(content)?;
        growth.settle(start + written as u64)?;
        Ok(written)
    }

    /// `fstat(2)`.
    pub(crate) fn stat(&self) -> Result<Stat, ErrorCode> {
        fstat(&*self.descriptor).map(|found| stat(&found)).map_err(code)
    }

    /// `ftruncate(2)`.
    pub(crate) fn set_size(&self, size: u64) -> Result<(), ErrorCode> {
        if size > END {
            return Err(ErrorCode::TooLarge);
        }
        let cut = || ftruncate(&*self.descriptor, size).map_err(code);
        if size <= self.size()? {
            return self.opened.shrink(size, cut);
        }
        let growth = self.opened.grow(size, self.size()?)?;
        cut()?;
        growth.settle(size)
    }

    /// `futimens(3)`.
    pub(crate) fn set_times(&self, accessed: Option<Timestamp>, modified: Option<Timestamp>) -> Result<(), ErrorCode> {
        if let Some(touched) = &self.touched {
            touched();
        }
        let times = times(accessed, modified)?;
        match futimens(&*self.descriptor, &times) {
            // It was only opened to look at.
            Err(Errno::BADF) => utimensat(&*self.descriptor, c"", &times, AtFlags::EMPTY_PATH),
            other => other,
        }
        .map_err(code)
    }

    /// `fchmod(2)`.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), ErrorCode> {
        if let Some(touched) = &self.touched {
            touched();
        }
        set_mode(&*self.descriptor, mode)
    }

    /// `fsync(2)` or `fdatasync(2)`.
    pub(crate) fn sync(&self, metadata: bool) -> Result<(), ErrorCode> {
        if metadata { fsync(&*self.descriptor) } else { fdatasync(&*self.descriptor) }.map_err(code)
    }

    fn size(&self) -> Result<u64, ErrorCode> {
        let size = fstat(&*self.descriptor).map_err(code)?.st_size;
        u64::try_from(size).map_err(|_| ErrorCode::Io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_would_block_has_failed() {
        assert_eq!(content(Errno::AGAIN), ErrorCode::Io);
        assert_eq!(content(Errno::NOSPC), ErrorCode::NoSpace);
    }
}
