//! The files of cgroups, so that a tree that is none can stand in for the kernel's in tests.

use std::fs;
use std::io;
use std::path::Path;

/// The operations on a tree of cgroups.
pub(crate) trait Tree: Send + Sync {
    /// Makes a cgroup.
    fn make(&self, folder: &Path) -> io::Result<()>;
    /// Removes an empty cgroup.
    fn remove(&self, folder: &Path) -> io::Result<()>;
    /// Reads a file.
    fn read(&self, file: &Path) -> io::Result<String>;
    /// Opens a file to be read again and again.
    fn open(&self, file: &Path) -> io::Result<fs::File>;
    /// Writes an existing file at once.
    fn write(&self, file: &Path, value: &str) -> io::Result<()>;
    /// Whether this process may make cgroups in a folder.
    fn writable(&self, folder: &Path) -> bool;
}

/// The kernel's own.
pub(crate) struct Kernel;

impl Tree for Kernel {
    fn make(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)
    }

    fn remove(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir(folder)
    }

    fn read(&self, file: &Path) -> io::Result<String> {
        read_text(file)
    }

    fn open(&self, file: &Path) -> io::Result<fs::File> {
        fs::File::open(file)
    }

    fn write(&self, file: &Path, value: &str) -> io::Result<()> {
        use std::io::Write;
        fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
    }

    fn writable(&self, folder: &Path) -> bool {
        use rustix::fs::{Access, AtFlags, CWD, accessat};
        let access = Access::WRITE_OK | Access::EXEC_OK;
        folder.is_dir() && accessat(CWD, folder, access, AtFlags::EACCESS).is_ok()
    }
}

/// A file the kernel writes as it is read: each further read costs as much as the first, so that there
/// is room for it from the beginning.
pub(crate) fn read_text(file: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::with_capacity(8 << 10);
    fs::File::open(file)?.read_to_string(&mut text)?;
    Ok(text)
}
