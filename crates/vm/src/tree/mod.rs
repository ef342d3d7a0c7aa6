//! What a program sees beside what its manifest grants: the system's programs and libraries, read-only,
//! and what a Linux program expects in `/etc`, `/dev` and `/proc`.
//!
//! The set is that of level `sandbox`. It is served here, from the host's root that is opened when a
//! spec is prepared; every path is looked up anew and judged by where it really leads. Everything else
//! is the hal's.

mod content;
mod system;

pub(crate) use content::HostFile;
pub(crate) use system::{Looked, System};

/// `path` seen from `folder`, without `.`, `..` and double slashes.
pub(crate) fn normal(folder: &[u8], path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    let beginning: &[u8] = if path.starts_with(b"/") { b"" } else { folder };
    for name in beginning.split(|&byte| byte == b'/').chain(path.split(|&byte| byte == b'/')) {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let mut normal = Vec::new();
    for name in names {
        normal.push(b'/');
        normal.extend_from_slice(name);
    }
    if normal.is_empty() { b"/".to_vec() } else { normal }
}

/// Whether `path` is `folder` or below it.
pub(crate) fn covers(folder: &[u8], path: &[u8]) -> bool {
    folder == b"/" || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_absolute_and_never_goes_above_the_root() {
        for (folder, path, expected) in [
            ("/a/b", "c", "/a/b/c"),
            ("/a/b", "../c/./d//", "/a/c/d"),
            ("/a", "/x/../../../y", "/y"),
            ("/", "..", "/"),
            ("/a", "", "/a"),
        ] {
            assert_eq!(normal(folder.as_bytes(), path.as_bytes()), expected.as_bytes(), "{folder} {path}");
        }
    }

    #[test]
    fn a_folder_covers_itself_and_what_is_below_it_alone() {
        assert!(covers(b"/usr", b"/usr") && covers(b"/usr", b"/usr/lib") && covers(b"/", b"/x"));
        assert!(!covers(b"/usr", b"/usrlocal") && !covers(b"/usr/lib", b"/usr"));
    }
}
