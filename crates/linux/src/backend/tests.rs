//! What is promised and refused on machines that are not this one.

use ringfence_isolation::Held;
use ringfence_manifest::{Bytes, NetworkPermissions, Permission};

use super::*;
use crate::apparmor::{AppArmor, Profile};
use crate::cgroup::Hierarchies;
use crate::facts::Settings;
use crate::landlock::Abi;
use crate::namespaces::Privilege;
use crate::support::{Lab, executor};

/// A machine that has everything but cgroups, whatever this one has.
fn machine() -> Facts {
    Facts {
        privilege: Privilege::User,
        namespaces: Ok(()),
        landlock: Ok(Abi(7)),
        own_program: Ok(()),
        seccomp: Ok(()),
        notify: Ok(()),
        mounts: Ok(()),
        apparmor: None,
        cgroups: Hierarchies::default(),
        ..Facts::find()
    }
}

fn missing() -> Missing {
    Missing { found: "it is missing".into(), remedy: "add it".into() }
}

fn on(facts: Facts) -> Linux {
    Linux::with_facts(facts, executor().handle().clone())
}

#[track_caller]
fn refused(facts: Facts, lab: &Lab) -> Refusal {
    match on(facts).ready(&lab.spec) {
        Err(BuildError::Refused(refusal)) => refusal,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("not refused"),
    }
}

fn all_of_the_folders_in_memory(lab: Lab) -> Lab {
    use Permission::{FsCreate, FsDelete, FsList, FsRead, FsWrite};
    let all = [FsRead, FsWrite, FsCreate, FsDelete, FsList];
    all.into_iter().fold(lab, |lab, permission| lab.grant(permission, "/tmp").grant(permission, "/dev/shm"))
}

#[test]
fn an_ordinary_user_needs_nothing_but_namespaces_landlock_and_seccomp() {
    assert!(on(machine()).ready(&Lab::new("/bin/sh").spec).is_ok());
}

#[test]
fn what_the_level_cannot_be_without_refuses_everything_and_is_a_fact() {
    let lab = Lab::new("/bin/sh");
    let cases = [
        (Facts { namespaces: Err(missing()), ..machine() }, "namespaces", Guarantee::ProcessesHidden),
        (Facts { mounts: Err(missing()), ..machine() }, "mount interface", Guarantee::FilesystemConfined),
        (Facts { seccomp: Err(missing()), ..machine() }, "seccomp", Guarantee::MemoryIsolated),
    ];
    for (facts, name, guarantee) in cases {
        let told = on(facts.clone()).probe();
        let fact = told.iter().find(|fact| fact.name == name).expect("it is told");
        assert_eq!((fact.usable, fact.remedy.as_deref()), (false, Some("add it")), "{name}");
        let refusal = refused(facts, &lab);
        assert_eq!((refusal.guarantee, refusal.remedy.as_str()), (guarantee, "add it"), "{name}");
        assert_eq!(refusal.facts, told);
    }
}

fn apparmor(profile: Option<Profile>) -> Option<AppArmor> {
    Some(AppArmor { own: "unconfined".into(), profile })
}

#[test]
fn a_profile_for_programs_is_a_wall_where_it_denies() {
    let lab = Lab::new("/bin/sh");
    let held = |profile| {
        let linux = on(Facts { apparmor: apparmor(profile), ..machine() });
        let ready = linux.ready(&lab.spec).unwrap_or_else(|error| panic!("{error}"));
        let fact = linux.probe().into_iter().find(|fact| fact.name == "apparmor").expect("it is told");
        (
            ready.promised.get(Guarantee::FilesystemConfined).clone(),
            fact.found,
            ready.recipe.confinement.profile.is_some(),
        )
    };
    let profile = |enforces| Some(Profile { enforces, on_exec: c"/proc/none".into() });
    let names = |held: &Held| matches!(held, Held::By { by } if by.contains("AppArmor profile ringfence-capsule"));
    let (by, fact, enters) = held(profile(true));
    assert!(names(&by) && fact.contains("run under") && enters, "{by:?} {fact}");
    // One that notes and denies nothing is entered, for who wrote it, and is no wall.
    let (by, fact, enters) = held(profile(false));
    assert!(!names(&by) && fact.contains("complain") && enters, "{by:?} {fact}");
    let (by, fact, enters) = held(None);
    assert!(!names(&by) && fact.contains("no profile ringfence-capsule is loaded") && !enters, "{by:?} {fact}");
}

#[test]
fn what_stays_one_process_has_its_limit_on_memory_without_a_cgroup_too() {
    use rustix::process::Resource;
    let mut lab = Lab::new("/bin/sh");
    // As the carrier of a runner has it: nothing of this is promised.
    lab.spec.limits.memory = Some(Bytes(1 << 20));
    let data = |talks| {
        let ready = on(machine()).ready_as(&lab.spec, talks).unwrap_or_else(|error| panic!("{error}"));
        let mut resources = ready.recipe.resources.iter();
        (
            resources.find(|(resource, _)| *resource == Resource::Data).map(|(_, limit)| limit.maximum),
            ready.recipe.confinement.inner.is_some(),
        )
    };
    assert_eq!(data(Talks::Alone), (Some(Some(1 << 20)), true));
    assert_eq!((data(Talks::Never), data(Talks::AsGranted)), ((None, false), (None, false)));
}

#[test]
fn ubuntus_setting_is_a_fact_and_a_refusal_with_its_remedy() {
    let unconfined = Some("unconfined".to_owned());
    let settings = Settings { present: true, ubuntu: Some(1), confined: unconfined.clone(), ..Settings::default() };
    let facts = Facts { namespaces: settings.judge(), apparmor: apparmor(None), ..machine() };
    let told = on(facts.clone()).probe();
    let fact = |name: &str| told.iter().find(|fact| fact.name == name).expect("it is told");
    assert!(!fact("namespaces").usable && fact("apparmor").found.contains("unconfined"));
    let refusal = refused(facts, &Lab::new("/bin/sh"));
    assert_eq!(refusal.guarantee, Guarantee::ProcessesHidden);
    for text in [&refusal.remedy, fact("namespaces").remedy.as_ref().expect("there is one")] {
        assert!(text.contains("sysctl kernel.apparmor_restrict_unprivileged_userns=0") && text.contains("`userns,`"));
    }
    assert!(refusal.found.contains("AppArmor"), "{refusal}");
    // With a profile that allows them nothing is missing.
    let own = Settings { confined: Some("ringfence (unconfined)".into()), ..settings };
    assert!(on(Facts { namespaces: own.judge(), ..machine() }).ready(&Lab::new("/bin/sh").spec).is_ok());
}

#[test]
fn operations_are_counted_only_where_the_supervisor_can_be_asked() {
    let lab = Lab::new("/bin/sh").limit(|limits| limits.io_operations = Some(10));
    assert!(on(machine()).ready(&lab.spec).unwrap().recipe.confinement.counts);
    let refusal = refused(Facts { notify: Err(missing()), ..machine() }, &lab);
    assert_eq!((refusal.guarantee, refusal.remedy.as_str()), (Guarantee::IoOperationsLimit, "add it"));
}

#[test]
fn without_landlock_only_what_mounts_can_hold_apart_is_run() {
    let without = || Facts { landlock: Err(missing()), ..machine() };
    let refusal = refused(without(), &Lab::new("/bin/sh").grant(Permission::FsRead, "/tmp"));
    assert_eq!((refusal.guarantee, refusal.remedy.as_str()), (Guarantee::FilesystemConfined, "add it"));
    let bare = on(without()).ready(&Lab::new("/bin/sh").spec).unwrap();
    assert!(bare.recipe.tree.scratch.is_empty(), "nothing would keep it from a folder in memory");
    let whole = all_of_the_folders_in_memory(Lab::new("/bin/sh"));
    let ready = on(without()).ready(&whole.spec).unwrap();
    assert!(ready.recipe.confinement.landlock.is_none());
    assert_eq!(ready.promised.get(Guarantee::FilesystemConfined), Held::by("mount namespace and pivot_root"));
}

#[test]
fn without_landlock_ringfence_itself_must_not_be_theirs_to_change() {
    let whole = all_of_the_folders_in_memory(Lab::new("/bin/sh"));
    let own = || Facts { own_program: Err(missing()), ..machine() };
    assert!(on(own()).ready(&whole.spec).is_ok());
    let refusal =
        refused(Facts { landlock: Err(Missing { found: "none".into(), remedy: "none".into() }), ..own() }, &whole);
    assert_eq!((refusal.guarantee, refusal.remedy.as_str()), (Guarantee::FilesystemConfined, "add it"));
}

#[test]
fn of_every_abi_what_it_judges_is_judged_and_nothing_else_is_granted() {
    let lab = all_of_the_folders_in_memory(Lab::new("/bin/sh"));
    let mut before = 0;
    for abi in 3..=9 {
        let ready = on(Facts { landlock: Ok(Abi(abi)), ..machine() }).ready(&lab.spec).unwrap();
        let (attributes, size, grants) = ready.recipe.confinement.landlock.as_ref().expect("it is there");
        assert!(grants.iter().all(|grant| grant.access != 0 && grant.access & !attributes.files == 0), "abi {abi}");
        assert_eq!((attributes.network != 0, attributes.scoped != 0), (abi >= 4, abi >= 6), "abi {abi}");
        assert!(attributes.files >= before && *size >= 8, "abi {abi}");
        before = attributes.files;
    }
}

#[test]
fn without_cgroups_their_limits_are_refused_and_the_rest_runs() {
    let memory = Lab::new("/bin/sh").limit(|limits| limits.memory = Some(Bytes(64 << 20)));
    let refusal = refused(machine(), &memory);
    assert_eq!(refusal.guarantee, Guarantee::MemoryLimit);
    assert!(refusal.remedy.starts_with(REMEDY_FOR_CGROUPS) && refusal.remedy.contains("memory=none"));
    // The sum over its processes is counted by their cgroup.
    let files = Lab::new("/bin/sh").limit(|limits| limits.open_files = Some(64));
    assert_eq!(refused(machine(), &files).guarantee, Guarantee::OpenFilesLimit);
    let file_size = Lab::new("/bin/sh").limit(|limits| limits.file_size = Some(Bytes(64 << 20)));
    assert!(on(machine()).ready(&file_size.spec).is_ok());
}

#[test]
fn who_cannot_ask_the_supervisor_has_no_network() {
    let without = || Facts { notify: Err(missing()), ..machine() };
    let network = Lab::new("/bin/sh").permit(Permission::NetConnect, "example.com:443");
    let refusal = refused(without(), &network);
    assert_eq!((refusal.guarantee, refusal.remedy.as_str()), (Guarantee::NetworkConfined, "add it"));
    let none = Lab::new("/bin/sh");
    assert_eq!(none.spec.permissions.network, NetworkPermissions::default());
    let ready = on(without()).ready(&none.spec).unwrap();
    assert!(!ready.recipe.confinement.asks);
}

#[test]
fn denied_files_are_told_of_nowhere_and_that_is_said() {
    let ready = on(machine()).ready(&Lab::new("/bin/sh").spec).unwrap();
    assert!(matches!(ready.promised.get(Guarantee::DenialsReported), Held::Partly { .. }));
    let mut lab = Lab::new("/bin/sh");
    lab.spec.isolation.require.insert(Guarantee::DenialsReported);
    assert_eq!(refused(machine(), &lab).guarantee, Guarantee::DenialsReported);
}
