//! What this machine has of what the level needs.

use std::sync::Arc;

use ringfence_isolation::Fact;
use rustix::io::Errno;

use crate::apparmor::{self, AppArmor};
use crate::cgroup::{Controller, Hierarchies, Kernel, Tree};
use crate::landlock::Abi;
use crate::namespaces::Privilege;
use crate::{own_program, sys};

/// What was found, once, when the backend was made.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) privilege: Privilege,
    /// Why namespaces cannot be made, if they cannot.
    pub(crate) namespaces: Result<(), Missing>,
    pub(crate) landlock: Result<Abi, Missing>,
    /// Whether the program that runs here is safe from those it starts where nothing else keeps them from it.
    pub(crate) own_program: Result<(), Missing>,
    pub(crate) seccomp: Result<(), Missing>,
    /// Whether system calls can wait for the supervisor's answer.
    pub(crate) notify: Result<(), Missing>,
    pub(crate) mounts: Result<(), Missing>,
    /// What AppArmor does, where the kernel has it switched on.
    pub(crate) apparmor: Option<AppArmor>,
    pub(crate) cgroups: Hierarchies,
    pub(crate) tree: Arc<dyn Tree>,
}

/// What was found instead, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) found: String,
    pub(crate) remedy: String,
}

impl Missing {
    fn new(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Missing { found: found.into(), remedy: remedy.into() }
    }
}

impl Facts {
    /// Looks at this machine.
    pub(crate) fn find() -> Self {
        let tree: Arc<dyn Tree> = Arc::new(Kernel);
        let privilege = Privilege::own();
        Facts {
            privilege,
            namespaces: namespaces(privilege),
            landlock: landlock(sys::landlock_abi()),
            own_program: own_program(),
            seccomp: seccomp(),
            notify: notify(),
            mounts: mounts(),
            apparmor: AppArmor::find(),
            cgroups: Hierarchies::find(&*tree).unwrap_or_default(),
            tree,
        }
    }

    /// Whether programs run under an AppArmor profile that denies.
    pub(crate) fn has_profile(&self) -> bool {
        let profile = self.apparmor.as_ref().and_then(|apparmor| apparmor.profile.as_ref());
        profile.is_some_and(|profile| profile.enforces)
    }

    /// The same as facts with remedies.
    pub(crate) fn list(&self) -> Vec<Fact> {
        let who = match self.privilege {
            Privilege::Root => "made by root",
            Privilege::User => "made within a user namespace",
        };
        let mut facts = vec![
            fact("namespaces", &self.namespaces, |()| who.to_owned()),
            fact("mount interface", &self.mounts, |()| "open_tree, move_mount, mount_setattr".to_owned()),
            fact("landlock", &self.landlock, |abi| format!("abi {}", abi.0)),
            fact("seccomp", &self.seccomp, |()| "filters".to_owned()),
            fact("seccomp notify", &self.notify, |()| "user notification".to_owned()),
        ];
        // A machine without it misses nothing: it stands behind the other walls.
        facts.extend(self.apparmor.as_ref().map(|apparmor| Fact::good("apparmor", apparmor.describe())));
        facts.extend(Controller::ALL.into_iter().map(|controller| self.controller(controller)));
        facts
    }

    /// A cgroup controller as a fact.
    pub(crate) fn controller(&self, controller: Controller) -> Fact {
        let name = match controller {
            Controller::Memory => "cgroup memory",
            Controller::Pids => "cgroup pids",
            Controller::Cpu => "cgroup cpu",
            Controller::CpuAccounting => "cgroup cpuacct",
            Controller::Freezer => "cgroup freezer",
        };
        match self.cgroups.place(controller) {
            Some(place) => Fact::good(name, format!("{}, below {}", place.version.name(), place.folder.display())),
            None => Fact::missing(name, self.cgroups.why_missing(controller), REMEDY_FOR_CGROUPS),
        }
    }
}

/// What to do when cgroups cannot be used.
pub(crate) const REMEDY_FOR_CGROUPS: &str = "run as root, or have a cgroup delegated: \
     `systemd-run --user --scope -p Delegate=yes …` gives a shell one with cgroup v2";

/// What to do when nothing bounds what a folder of the host can hold.
pub(crate) const REMEDY_FOR_DISK: &str = "have the folder on a file system, or under a project quota, of no more than \
     the limit: `truncate -s 100M data.img && mkfs.ext4 data.img && mount -o loop data.img data` makes one of 100 MB; \
     or choose level wasm or microvm, which count what each file grows by; to run without this limit: `--limit disk=none`";

fn fact<T>(name: &'static str, found: &Result<T, Missing>, text: impl Fn(&T) -> String) -> Fact {
    match found {
        Ok(value) => Fact::good(name, text(value)),
        Err(missing) => Fact::missing(name, missing.found.clone(), missing.remedy.clone()),
    }
}

fn setting(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether namespaces can be made: by root always, by others where nothing forbids user namespaces.
fn namespaces(privilege: Privilege) -> Result<(), Missing> {
    if privilege == Privilege::Root {
        return Ok(());
    }
    let settings = Settings {
        present: std::path::Path::new("/proc/self/ns/user").exists(),
        most: setting("/proc/sys/user/max_user_namespaces"),
        debian: setting("/proc/sys/kernel/unprivileged_userns_clone"),
        ubuntu: setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        confined: apparmor::own(),
    };
    settings.judge()
}

/// The settings of a kernel that decide about user namespaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) present: bool,
    pub(crate) most: Option<u64>,
    pub(crate) debian: Option<u64>,
    pub(crate) ubuntu: Option<u64>,
    /// The AppArmor profile of this process: a profile that allows them makes Ubuntu's setting moot.
    pub(crate) confined: Option<String>,
}

impl Settings {
    pub(crate) fn judge(&self) -> Result<(), Missing> {
        if !self.present {
            return Err(Missing::new(
                "this kernel has no user namespaces",
                "run as root, or boot a kernel with CONFIG_USER_NS",
            ));
        }
        if self.most == Some(0) {
            return Err(Missing::new(
                "user.max_user_namespaces is 0",
                "`sysctl user.max_user_namespaces=10000` as root, or run as root",
            ));
        }
        if self.debian == Some(0) {
            return Err(Missing::new(
                "kernel.unprivileged_userns_clone is 0",
                "`sysctl kernel.unprivileged_userns_clone=1` as root, or run as root",
            ));
        }
        let unconfined = self.confined.as_deref().is_none_or(|profile| profile.trim() == "unconfined");
        if self.ubuntu == Some(1) && unconfined {
            return Err(Missing::new(
                "AppArmor lets only programs with a profile make user namespaces \
                 (kernel.apparmor_restrict_unprivileged_userns is 1)",
                "load a profile with `userns,` for this program, or as root \
                 `sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
            ));
        }
        Ok(())
    }
}

pub(crate) fn landlock(abi: Result<u32, Errno>) -> Result<Abi, Missing> {
    let remedy =
        "boot a kernel of 6.2 or newer with Landlock: `lsm=landlock,…` on its command line, CONFIG_SECURITY_LANDLOCK";
    match abi {
        Ok(number) if Abi(number).usable() => Ok(Abi(number)),
        Ok(number) => Err(Missing::new(format!("abi {number}, which cannot keep files from being cut"), remedy)),
        Err(Errno::NOSYS) => Err(Missing::new("this kernel has no Landlock", remedy)),
        Err(Errno::OPNOTSUPP) => Err(Missing::new("Landlock was not switched on when this machine booted", remedy)),
        Err(errno) => Err(Missing::new(format!("Landlock does not answer: {errno}"), remedy)),
    }
}

fn own_program() -> Result<(), Missing> {
    if own_program::is_safe() {
        return Ok(());
    }
    Err(Missing::new(
        "who runs ringfence here may change its program, and without Landlock so could what it runs (/proc/self/exe)",
        "boot a kernel of 6.2 or newer with Landlock, or have ringfence belong to root and run it as another user",
    ))
}

fn seccomp() -> Result<(), Missing> {
    let has = |action| sys::seccomp_has_action(action).is_ok();
    if has(libc::SECCOMP_RET_KILL_PROCESS) && has(libc::SECCOMP_RET_ERRNO) {
        return Ok(());
    }
    Err(Missing::new("this kernel filters no system calls", "boot a kernel with CONFIG_SECCOMP_FILTER"))
}

/// Whether the supervisor can answer system calls and put sockets into the program's hands: by then
/// (5.14) every kernel with the one has the other.
fn notify() -> Result<(), Missing> {
    if sys::seccomp_has_action(libc::SECCOMP_RET_USER_NOTIF).is_ok() && mounts().is_ok() {
        return Ok(());
    }
    let found = "this kernel lets nobody answer system calls: seccomp user notification is missing";
    Err(Missing::new(
        found,
        "boot a kernel of 5.14 or newer with CONFIG_SECCOMP_FILTER, or take net.* out of [permissions]",
    ))
}

/// Whether the kernel has the calls the tree is raised with, the youngest of them `mount_setattr`, of 5.12.
fn mounts() -> Result<(), Missing> {
    use std::os::fd::AsFd;
    let nothing = crate::sys::MountAttributes::default();
    let Ok(root) = std::fs::File::open("/") else {
        return Err(Missing::new("/ cannot be opened", "run where it can"));
    };
    // Asked to change nothing of a path that does not exist, it does nothing either way.
    match sys::mount_set_attributes(root.as_fd(), c"ringfence-does-not-exist", false, &nothing) {
        Err(Errno::NOSYS) => Err(Missing::new("this kernel has no mount_setattr", "boot a kernel of 5.12 or newer")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { present: true, most: Some(100), ..Settings::default() }
    }

    #[test]
    fn user_namespaces_that_nothing_forbids_can_be_made() {
        assert_eq!(settings().judge(), Ok(()));
        assert_eq!(Settings { debian: Some(1), ubuntu: Some(0), ..settings() }.judge(), Ok(()));
    }

    #[test]
    fn every_way_to_forbid_user_namespaces_has_its_remedy() {
        for (settings, remedy) in [
            (Settings { present: false, ..settings() }, "CONFIG_USER_NS"),
            (Settings { most: Some(0), ..settings() }, "user.max_user_namespaces"),
            (Settings { debian: Some(0), ..settings() }, "kernel.unprivileged_userns_clone"),
            (Settings { ubuntu: Some(1), ..settings() }, "apparmor_restrict_unprivileged_userns"),
        ] {
            assert!(settings.judge().unwrap_err().remedy.contains(remedy), "{settings:?}");
        }
    }

    #[test]
    fn a_profile_of_its_own_makes_ubuntus_setting_moot() {
        let confined = Some("ringfence (enforce)\n".to_owned());
        assert_eq!(Settings { ubuntu: Some(1), confined, ..settings() }.judge(), Ok(()));
    }

    #[test]
    fn landlock_before_abi_3_is_not_usable() {
        assert!(landlock(Ok(2)).is_err() && landlock(Err(Errno::NOSYS)).is_err());
        for abi in 3..9 {
            assert_eq!(landlock(Ok(abi)), Ok(Abi(abi)));
        }
    }
}
