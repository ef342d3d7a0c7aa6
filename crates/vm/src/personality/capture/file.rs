//! What a file is, so that it is known for the same one when a state is gone on from.

use ringfence_abi::{Call, Reply, Timestamp};
use rustix::io::Errno;

use crate::memory::Content;
use crate::personality::open::{Kind, Open};
use crate::snapshot::state::FileIs;
use crate::tree::HostFile;

/// What a file of the system's is. It is not read when it is one that is known.
pub(crate) fn file_is(file: &HostFile, known: Option<&FileIs>) -> Result<FileIs, Errno> {
    let stat = rustix::fs::fstat(file.descriptor())?;
    let time = |seconds: i64, fraction: u64| i128::from(seconds) * 1_000_000_000 + i128::from(fraction);
    let (modified, changed) = (time(stat.st_mtime, stat.st_mtime_nsec), time(stat.st_ctime, stat.st_ctime_nsec));
    let quick = (stat.st_dev, stat.st_ino, modified, changed);
    is(quick, stat.st_size.unsigned_abs(), known, |offset, into| file.read_at(offset, into))
}

/// What an open file of the hal's is, in the same way.
pub(in crate::personality) fn open_is(open: &Open, known: Option<&FileIs>) -> Result<FileIs, Errno> {
    let Kind::File(handle) = open.kind else { return Err(Errno::BADF) };
    let Reply::Stat(stat) = open.world().call(Call::Stat { handle })? else { return Err(Errno::IO) };
    let quick = (stat.identity.0, stat.identity.1, stat.modified, stat.changed);
    is(quick, stat.size, known, |offset, into| open.read_hal(offset, into))
}

fn is(
    quick: (u64, u64, Timestamp, Timestamp),
    size: u64,
    known: Option<&FileIs>,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, Errno>,
) -> Result<FileIs, Errno> {
    if let Some(known) = known.filter(|known| known.quick == quick && known.size == size) {
        return Ok(known.clone());
    }
    let mut hasher = blake3::Hasher::new();
    let mut part = vec![0; 256 << 10];
    let mut offset = 0;
    loop {
        match read(offset, &mut part)? {
            0 => return Ok(FileIs { quick, size, hash: hasher.finalize().into() }),
            count => {
                hasher.update(&part[..count]);
                offset += count as u64;
            }
        }
    }
}
