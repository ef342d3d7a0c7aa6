//! An archive for the first file system of a kernel: `cpio(5)`, "newc".

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// Files and folders, one after the other.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    number: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.number += 1;
        let mut header = String::from("070701");
        let (size, length) = (content.len() as u32, name.len() as u32 + 1);
        for field in [self.number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length, 0] {
            let _ = write!(header, "{field:08x}");
        }
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// A file that can be run, with the folders it is in.
    pub(crate) fn add(&mut self, path: &str, content: &[u8]) {
        let name = path.trim_start_matches('/');
        for (at, _) in name.match_indices('/') {
            if self.folders.insert(name[..at].to_owned()) {
                self.entry(&name[..at], 0o040_755, b"");
            }
        }
        self.entry(name, 0o100_755, content);
    }

    /// The same, from a file of this machine.
    pub(crate) fn add_file(&mut self, path: &str, from: &Path) -> std::io::Result<()> {
        self.add(path, &std::fs::read(from)?);
        Ok(())
    }

    /// With its end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.bytes
    }
}
