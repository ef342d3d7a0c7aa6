//! Whether a program needs files beside its own.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The header of an executable of 64 bits (`elf(5)`), and where in it the table of its segments is told of.
const HEADER: usize = 64;
const TABLE_AT: usize = 32;
const ENTRY_SIZE: usize = 54;
const ENTRIES: usize = 56;
/// A segment that names a loader of libraries.
const PT_INTERP: u32 = 3;
/// The size of an entry, and more of them than any program has.
const ENTRY: usize = 56;
const MOST_ENTRIES: usize = 128;

/// Whether the program at `path` is known to be one file that the kernel starts without another: an executable of this
/// machine that names no loader. Of what cannot be read or is something else it is not known.
pub(crate) fn is_whole(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| names_no_loader(&file) == Some(true))
}

fn names_no_loader(file: &File) -> Option<bool> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).ok()?;
    // Of 64 bits, the low byte first.
    if header[..6] != *b"\x7fELF\x02\x01" {
        return None;
    }
    let half = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let count = half(ENTRIES);
    if half(ENTRY_SIZE) != ENTRY || !(1..=MOST_ENTRIES).contains(&count) {
        return None;
    }
    let mut table = vec![0; ENTRY * count];
    file.read_exact_at(&mut table, u64::from_le_bytes(header[TABLE_AT..TABLE_AT + 8].try_into().ok()?)).ok()?;
    Some(table.chunks_exact(ENTRY).all(|entry| entry[..4] != PT_INTERP.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executable with segments of these kinds.
    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[TABLE_AT] = HEADER as u8;
        bytes[ENTRY_SIZE] = ENTRY as u8;
        bytes[ENTRIES] = kinds.len() as u8;
        for kind in kinds {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; ENTRY - 4]);
        }
        bytes
    }

    #[test]
    fn a_program_is_whole_where_it_is_read_and_names_no_loader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let is = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            is_whole(&path)
        };
        assert!(is(&program(&[1, 2, 6])));
        assert!(!is(&program(&[1, PT_INTERP])));
        assert!(!is(&program(&[])));
        let cut = program(&[1, 1]);
        assert!(!is(&cut[..cut.len() - 1]) && !is(&cut[..20]) && !is(b"#!/bin/sh\n") && !is(b""));
        assert!(!is_whole(&folder.path().join("absent")));
    }
}
