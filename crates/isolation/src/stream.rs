//! Standard streams that are files of the capsule's folder.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

/// Opens the regular file at an absolute path, to be read or, with `writes`, made if need be and cut to nothing. No part
/// of the path may be a link: what is there may have been put there by an instance since the path was judged
/// (`openat2(2)`, `RESOLVE_NO_SYMLINKS`).
///
/// # Errors
/// When it cannot be opened so, and when something else than a regular file is there, which is left as it is.
pub fn open_of_folder(path: &Path, writes: bool) -> io::Result<File> {
    // Nobody is waited for, and no terminal becomes ours.
    let careful = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let (access, mode) = match writes {
        true => (OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(0o666)),
        false => (OFlags::RDONLY, Mode::empty()),
    };
    let opened = openat2(CWD, path, access | careful, mode, ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)?;
    if FileType::from_raw_mode(fstat(&opened)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let file = File::from(opened);
    if writes {
        file.set_len(0)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_that_came_later_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let (outside, within, out) = (folder.join("outside"), folder.join("within"), folder.join("within/out"));
        std::fs::create_dir(&within).unwrap();
        std::fs::write(&outside, "kept").unwrap();
        open_of_folder(&out, true).unwrap().write_all(b"printed").unwrap();
        assert_eq!(std::fs::metadata(open_of_folder(&out, false).map(|_| &out).unwrap()).unwrap().len(), 7);
        std::fs::remove_file(&out).unwrap();
        symlink(&outside, &out).unwrap();
        for writes in [false, true] {
            assert_eq!(open_of_folder(&out, writes).unwrap_err().raw_os_error(), Some(40));
        }
        std::fs::rename(&within, folder.join("moved")).unwrap();
        symlink(&folder, &within).unwrap();
        assert_eq!(open_of_folder(&within.join("outside"), true).unwrap_err().raw_os_error(), Some(40));
        assert_eq!(std::fs::read(&outside).unwrap(), b"kept");
    }

    #[test]
    fn what_is_no_file_is_no_stream() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let pipe = folder.join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for path in [&folder, &pipe] {
            open_of_folder(path, false).unwrap_err();
            open_of_folder(path, true).unwrap_err();
        }
    }
}
