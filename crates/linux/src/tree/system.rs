//! The parts of the host that a dynamic program needs.

use std::path::Path;

use super::Source;

/// Folders of programs and libraries. On a host where one is a symbolic link, it is one here too.
pub(super) const FOLDERS: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store"];

/// The folders of `/etc` that programs read: which alternative a command is, and certificates; never those
/// beside them that hold private keys.
pub(super) const FOLDERS_OF_ETC: [&str; 6] =
    ["alternatives", "ssl/certs", "ca-certificates", "pki/tls/certs", "pki/ca-trust/extracted", "pki/java"];

/// The files: where libraries are, the time zone, protocols. No names of users, no passwords, no
/// configuration of the host. Small ones are copied, which takes less time than a mount.
pub(super) const FILES_OF_ETC: [&str; 4] = ["ld.so.cache", "localtime", "mime.types", "protocols"];
/// What a small file is.
pub(super) const SMALL: u64 = 64 << 10;

/// Devices that give nothing of the host.
pub(super) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Whatever terminal controls the session of who opens it: the program's own, where it has one.
pub(super) const CONTROLLING_TERMINAL: &str = "tty";

/// Links in `/dev` that programs expect.
pub(super) const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// `passwd(5)` with the one user there is.
pub(super) fn users(user: u32, group: u32) -> Vec<u8> {
    match user {
        0 => format!("root:x:0:{group}:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"),
        _ => format!("capsule:x:{user}:{group}:capsule:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"),
    }
    .into_bytes()
}

/// `group(5)`.
pub(super) fn groups(group: u32) -> Vec<u8> {
    let name = if group == 0 { "root" } else { "capsule" };
    format!("{name}:x:{group}:\nnogroup:x:65534:\n").into_bytes()
}

/// How one of the folders is on the host.
pub(super) enum Found {
    /// A symbolic link, relative to the root.
    Link(String),
    /// A folder.
    Folder(Source),
}

/// Looks at one of [`FOLDERS`]; `None` when the host has none.
pub(super) fn look(name: &str) -> Option<Found> {
    let path = Path::new("/").join(name);
    if let Ok(target) = std::fs::read_link(&path) {
        let target = target.to_str()?.to_owned();
        return Some(Found::Link(target));
    }
    Source::look(&path).ok().filter(|source| source.is_folder).map(Found::Folder)
}
