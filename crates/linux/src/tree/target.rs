//! Where in a capsule's tree something of the host can be mounted.

use ringfence_isolation::system::{FOLDERS, FOLDERS_OF_ETC};

use super::extent::covers;
use super::plan::{PROGRAM, SCRATCH_FOLDERS};
use super::{Place, PlanError, Source};

/// Why nothing of the host can be mounted at a path, when something of ours speaks against it.
pub(super) fn obstacle(at: &str) -> Option<&'static str> {
    const SYSTEM: &str = "the system's programs and libraries lie there, and nothing is put among them";
    let within = |folder: &str| covers(folder, at);
    let around = |folder: &str| within(folder) || covers(at, folder);
    if FOLDERS.into_iter().any(around) {
        return Some(SYSTEM);
    }
    let strictly = |folder: &&str| *folder != at && within(folder);
    match at {
        "/etc" => Some("that folder is part of the system; mount a file or folder in it"),
        _ if FOLDERS_OF_ETC.iter().any(strictly) => Some(SYSTEM),
        _ if within("/proc") => Some("the kernel shows the capsule's processes there"),
        _ if within(PROGRAM) => Some("the program lies there"),
        _ if within("/dev") && !SCRATCH_FOLDERS.iter().any(|folder| within(folder)) => Some("the devices lie there"),
        _ => None,
    }
}

/// A mount inside another one needs something of its kind to be mounted on: the host's folder is not
/// changed for it.
pub(super) fn check_target(above: &Place, at: &str, is_folder: bool) -> Result<(), PlanError> {
    let rest = at[above.at.len()..].trim_start_matches('/');
    let wrong = |why| Err(PlanError::Mount { at: at.to_owned(), why });
    match Source::look_below(&above.from, rest) {
        Ok(found) if found.is_folder == is_folder => Ok(()),
        Ok(_) => wrong("what is there in the mount above is not of the same kind"),
        Err(_) => wrong("the mount above has nothing of that name to mount it on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_told_from_what_looks_like_it() {
        for at in ["/usr", "/usr/share/x", "/lib64", "/nix", "/proc/self", "/dev", "/dev/pts", "/program", "/etc"] {
            assert!(obstacle(at).is_some(), "{at}");
        }
        for at in
            ["/user", "/data", "/etc/own", "/dev/shm", "/dev/shm/x", "/tmp", "/nixos", "/etc/ssl/certs", "/programs"]
        {
            assert_eq!(obstacle(at), None, "{at}");
        }
    }
}
