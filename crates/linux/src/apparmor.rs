//! A further wall, where the administrator of the host has made one: an AppArmor profile for what runs here.
//!
//! Its name is [`PROFILE`]. What is in it is the administrator's affair; whoever may load profiles has to (`apparmor.d(5)`).
//! Pid 1 asks the kernel to begin the next program under it (`aa_change_onexec(2)`); pid 2 and further commands have that
//! from pid 1. It holds beside the other walls, and none of them is left out for it.
//!
//! Where this process has a profile itself, that holds for its programs too, and no other takes its place.

use std::ffi::{CStr, CString};
use std::thread;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read, write};

use crate::cgroup::read_text;

/// The name of the profile.
pub(crate) const PROFILE: &str = "ringfence-capsule";
/// What is written: the form of the kernel's interface, as libapparmor has it.
const REQUEST: &[u8] = b"exec ringfence-capsule";
/// Where a thread says what its next program begins under. The folder of AppArmor's own (Linux 5.8): the one above it
/// belongs to whichever security module comes first.
pub(crate) const ON_EXEC: &CStr = c"/proc/thread-self/attr/apparmor/exec";

/// What AppArmor does here.
#[derive(Clone, Debug)]
pub(crate) struct AppArmor {
    /// This process's profile and its mode, or `unconfined`.
    pub(crate) own: String,
    /// What the kernel says of the profile for programs: its mode. `None` where none is loaded, or may be used.
    pub(crate) profile: Option<Profile>,
}

/// The profile for programs.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// Whether what it does not allow is denied; else it is only noted (`complain`).
    pub(crate) enforces: bool,
    /// Where it is asked for.
    pub(crate) on_exec: CString,
}

impl AppArmor {
    /// Looks, where the kernel has it switched on.
    pub(crate) fn find() -> Option<Self> {
        let own = own()?;
        // Only root sees which profiles there are. Who asks for one that is not there is told, and a thread that ends
        // instead of executing something has asked for nothing.
        let asked = || {
            enter_at_exec(ON_EXEC).ok().and_then(|()| read_text("/proc/thread-self/attr/apparmor/exec".as_ref()).ok())
        };
        let seen = (own == "unconfined").then(|| thread::spawn(asked).join().ok().flatten()).flatten();
        let profile =
            seen.filter(|seen| names(seen)).map(|seen| Profile { enforces: enforces(&seen), on_exec: ON_EXEC.into() });
        Some(AppArmor { own, profile })
    }

    /// In a sentence.
    pub(crate) fn describe(&self) -> String {
        match &self.profile {
            Some(Profile { enforces: true, .. }) => format!("programs run under the profile {PROFILE}"),
            Some(_) => format!("the profile {PROFILE} denies programs nothing: it is in complain mode"),
            None if self.own == "unconfined" => {
                format!("this process is unconfined, and no profile {PROFILE} is loaded for programs")
            }
            None => format!("this process is {}, and so are its programs", self.own),
        }
    }
}

/// This process's profile: `unconfined`, or its name and mode (`apparmor(7)`).
pub(crate) fn own() -> Option<String> {
    let profile = std::fs::read_to_string("/proc/self/attr/apparmor/current").ok()?;
    let profile = profile.trim_end_matches(['\n', '\0']);
    (!profile.is_empty()).then(|| profile.to_owned())
}

/// Has the next program of the calling thread, or of what it starts, begin under the profile. Runs after a clone: it
/// allocates nothing.
pub(crate) fn enter_at_exec(on_exec: &CStr) -> Result<(), Errno> {
    let file = openat(CWD, on_exec, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    match write(&file, REQUEST)? {
        length if length == REQUEST.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Whether the kernel shows of the calling thread that what it executes next begins under the profile, and is held by
/// it. To others it shows nothing of that: who reads the file of another thread is told of itself
/// (`apparmor_getprocattr` of Linux). Runs after a clone: it allocates nothing.
pub(crate) fn is_entered_at_exec() -> Result<bool, Errno> {
    let file = openat(CWD, ON_EXEC, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut seen = [0; 256];
    let length = read(&file, &mut seen)?;
    Ok(str::from_utf8(&seen[..length]).is_ok_and(enforces))
}

/// Whether what the kernel shows is the profile, perhaps stacked with another.
fn names(seen: &str) -> bool {
    let label = seen.trim_end_matches(['\n', '\0']);
    let label = label.rsplit_once(" (").map_or(label, |(label, _)| label);
    label.split("//&").any(|part| part == PROFILE)
}

fn enforces(seen: &str) -> bool {
    let mode = seen.trim_end_matches(['\n', '\0']).rsplit_once(" (").map(|(_, mode)| mode);
    names(seen) && matches!(mode, Some("enforce)" | "kill)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_profile_of_that_name_that_denies_is_one() {
        for seen in
            ["ringfence-capsule (enforce)\n", "ringfence-capsule//&unconfined (enforce)", "ringfence-capsule (kill)\n"]
        {
            assert!(names(seen) && enforces(seen), "{seen}");
        }
        assert!(names("ringfence-capsule (complain)\n") && !enforces("ringfence-capsule (complain)\n"));
        for seen in
            ["", "unconfined\n", "ringfence-capsule2 (enforce)", "other//ringfence-capsule (enforce)", "x (enforce)"]
        {
            assert!(!names(seen) && !enforces(seen), "{seen}");
        }
    }

    #[test]
    fn what_is_asked_for_is_written_whole_or_told() {
        let place = tempfile::tempdir().unwrap();
        let at = place.path().join("exec");
        let path = CString::new(at.to_str().unwrap()).unwrap();
        assert_eq!(enter_at_exec(&path), Err(Errno::NOENT));
        std::fs::write(&at, "").unwrap();
        assert_eq!(enter_at_exec(&path), Ok(()));
        assert_eq!(std::fs::read_to_string(&at).unwrap(), format!("exec {PROFILE}"));
    }
}
