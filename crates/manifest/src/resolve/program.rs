//! Where a program is that was named without a folder.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Surroundings;
use crate::Kind;
use crate::section::Program;

/// The folders of the system. What lies elsewhere often needs files beside it that no level shows, so
/// these come first.
const SYSTEM: [&str; 5] = ["/usr", "/bin", "/sbin", "/run/current-system", "/nix/store"];

impl Surroundings<'_> {
    /// The program's file: what is there by that name, else, for a Linux program that was only named,
    /// the host's own.
    pub(super) fn program(&self, program: &Program) -> PathBuf {
        let absolute = self.absolute(&program.path);
        if program.kind() != Kind::Linux || absolute.exists() {
            return absolute;
        }
        let path = (self.host_environment)("PATH").unwrap_or_default();
        let name = program.path.value.to_str();
        name.and_then(|name| find_program(name, path.as_ref())).unwrap_or(absolute)
    }
}

/// The program of this `name` in the folders of `path`, which is written as `PATH` is: the first that lies
/// in a folder of the system, else the first of all. `None` for what is more than a name.
pub fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return None;
    }
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    let mut found: Vec<PathBuf> = folders.map(|folder| folder.join(name)).filter(|path| is_program(path)).collect();
    let of_system = |path: &PathBuf| SYSTEM.iter().any(|system| path.starts_with(system));
    let at = found.iter().position(of_system).unwrap_or(0);
    (!found.is_empty()).then(|| found.swap_remove(at))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_the_folders_and_nothing_else_is() {
        let path = OsStr::new("/no/such/folder:bin:/usr/bin:/bin");
        assert_eq!(find_program("env", path), Some("/usr/bin/env".into()));
        for name in ["", ".", "..", "/usr/bin/env", "../bin/env", "no-such-program-of-that-name", "env\0"] {
            assert_eq!(find_program(name, path), None, "{name:?}");
        }
        assert_eq!(find_program("env", OsStr::new("")), None);
    }

    #[test]
    fn a_program_of_the_system_comes_before_one_of_the_users() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/path");
        let path = |folders: &[&Path]| std::env::join_paths(folders).unwrap();
        let found = find_program("sh", &path(&[&own, Path::new("/bin")]));
        assert_eq!(found, Some("/bin/sh".into()));
        assert_eq!(find_program("sh", &path(&[&own])), Some(own.join("sh")));
        // What cannot be executed is no program.
        assert_eq!(find_program("text", &path(&[&own])), None);
    }
}
