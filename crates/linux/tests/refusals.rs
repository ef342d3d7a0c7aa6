//! What cannot be held is refused before anything is made, with what was found and what to do.

mod support;

use ringfence_isolation::{Backend, BuildError, Guarantee, Held, Refusal};
use ringfence_manifest::{Bytes, Kind, Limits, MountMode, Permission};
use support::{Lab, explain, here, linux};

#[track_caller]
fn refused(lab: &Lab) -> Refusal {
    match linux().prepare(&lab.spec) {
        Err(BuildError::Refused(refusal)) => refusal,
        Err(other) => panic!("not refused: {}", explain(&other)),
        Ok(_) => panic!("not refused"),
    }
}

#[track_caller]
fn rejected(lab: &Lab) -> String {
    match linux().prepare(&lab.spec) {
        Err(error @ BuildError::Program { .. }) => explain(&error),
        Err(other) => panic!("not for the program's sake: {}", explain(&other)),
        Ok(_) => panic!("not rejected"),
    }
}

#[test]
fn limits_without_a_mechanism_are_refused_by_name() {
    if !here() {
        return;
    }
    type Case = (fn(&mut Limits), Guarantee);
    let cases: [Case; 2] = [
        (|limits| limits.io_bytes = Some(Bytes(10)), Guarantee::IoBytesLimit),
        (|limits| limits.fuel = Some(10), Guarantee::FuelLimit),
    ];
    for (set, guarantee) in cases {
        let mut lab = Lab::new("/bin/true").limit(set);
        lab.spec.isolation.require.insert(guarantee);
        let refusal = refused(&lab);
        assert_eq!(refusal.guarantee, guarantee);
        assert!(refusal.found.contains("not") && !refusal.remedy.is_empty(), "{refusal}");
        assert!(refusal.facts.iter().any(|fact| fact.name == "landlock"), "{refusal:?}");
    }
}

#[test]
fn guarantees_this_level_cannot_give_are_refused() {
    if !here() {
        return;
    }
    use Guarantee as G;
    for guarantee in [G::OwnKernel, G::HardwareBoundary, G::MemoryEncrypted, G::Attested] {
        let mut lab = Lab::new("/bin/true");
        lab.spec.isolation.require.insert(guarantee);
        assert_eq!(refused(&lab).guarantee, guarantee);
    }
}

#[test]
fn a_limit_on_the_disk_is_refused_where_a_folder_of_the_host_can_be_changed() {
    if !here() {
        return;
    }
    let lab = Lab::new("/bin/true").limit(|limits| limits.disk = Some(Bytes(1 << 20)));
    let lab = lab.mount("/data", MountMode::ReadWrite).grant(Permission::FsRead, "/data");
    assert!(linux().prepare(&lab.spec).is_ok(), "it is only read");
    let lab = lab.grant(Permission::FsWrite, "/data");
    let refusal = refused(&lab);
    assert_eq!(refusal.guarantee, Guarantee::DiskLimit);
    let folder = lab.host("/data").display().to_string();
    assert!(refusal.found.contains(&folder) && refusal.remedy.contains("mount -o loop"), "{refusal}");
}

#[test]
fn a_run_that_was_told_to_be_weaker_says_what_does_not_hold() {
    if !here() {
        return;
    }
    let mut lab = Lab::new("/bin/true");
    lab.spec.limits.io_bytes = Some(Bytes(10));
    let prepared = linux().prepare(&lab.spec).unwrap();
    assert!(matches!(prepared.promised().get(Guarantee::IoBytesLimit), Held::Not { .. }));
}

#[test]
fn permissions_without_a_mechanism_are_rejected_with_a_remedy() {
    if !here() {
        return;
    }
    let with = |change: fn(&mut ringfence_manifest::Permissions)| {
        let mut lab = Lab::new("/bin/true");
        change(&mut lab.spec.permissions);
        rejected(&lab)
    };
    for text in [
        with(|permissions| permissions.clock = false),
        with(|permissions| permissions.random = false),
        with(|permissions| permissions.log = true),
        with(|permissions| permissions.channel_send.push("events".parse().unwrap())),
    ] {
        assert!(text.contains("level wasm"), "{text}");
    }
    assert!(with(|permissions| permissions.learn = true).contains("kept apart"));
}

#[test]
fn what_is_no_program_is_told_apart() {
    let mut lab = Lab::new("/bin/true");
    lab.spec.program.kind = Kind::Wasm;
    assert!(rejected(&lab).contains("kind linux"));
    assert!(rejected(&Lab::new("/usr")).contains("not a file"));
    let missing = Lab::new("/no/such/program");
    assert!(matches!(linux().prepare(&missing.spec), Err(BuildError::Unreadable { .. })));
}

#[test]
fn permissions_the_kernel_cannot_tell_apart_are_refused() {
    if !here() {
        return;
    }
    let lab = || {
        let lab = Lab::new("/bin/true").mount("/data", MountMode::ReadWrite);
        std::fs::write(lab.host("/data").join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", lab.host("/data").join("link")).unwrap();
        lab
    };
    for (permission, path, found) in [
        (Permission::FsCreate, "/data/new/file", "does not exist"),
        (Permission::FsRead, "/data/later", "does not exist"),
        (Permission::FsDelete, "/data/file", "names a file"),
        (Permission::FsRead, "/data/link", "symbolic link"),
    ] {
        let refusal = refused(&lab().grant(permission, path).grant(Permission::FsList, "/data"));
        assert_eq!(refusal.guarantee, Guarantee::FilesystemConfined);
        assert!(refusal.found.contains(found) && !refusal.remedy.is_empty(), "{refusal}");
    }
}

#[test]
fn a_part_of_a_mount_that_is_not_there_is_told() {
    if !here() {
        return;
    }
    let lab = Lab::new("/bin/true").mount("/data", MountMode::ReadOnly).grant(Permission::FsRead, "/data/later");
    assert!(rejected(&lab).contains("/data/later is granted"));
}

#[test]
fn a_mount_over_the_system_is_refused() {
    if !here() {
        return;
    }
    let lab = |at: &str| Lab::new("/bin/true").mount(at, MountMode::ReadOnly).grant(Permission::FsRead, at);
    for at in [
        "/",
        "/proc",
        "/proc/self",
        "/dev",
        "/dev/null",
        "/dev/pts/0",
        "/etc",
        "/usr",
        "/usr/local/share/own",
        "/bin",
        "/lib/own",
        "/nix",
        "/program",
        "/program/true",
        "/etc/ssl/certs/own",
    ] {
        assert!(rejected(&lab(at)).contains(&format!("{at} cannot be mounted: ")), "{at}");
    }
    // What looks like it and is not, is mounted and seen.
    for at in ["/binary", "/etc/own", "/dev/shm/own", "/procedures", "/opt/usr"] {
        let lab = Lab::shell(&format!("cat {at}/file")).mount(at, MountMode::ReadOnly).grant(Permission::FsRead, at);
        std::fs::write(lab.host(at).join("file"), at).unwrap();
        lab.prints(at);
    }
}

#[test]
fn what_is_granted_in_a_folder_in_memory_is_a_folder_only_where_that_is_said() {
    if !here() {
        return;
    }
    let file = Lab::shell("echo x > /tmp/out").grant(Permission::FsWrite, "/tmp/out");
    assert!(rejected(&file).contains("/tmp/out is granted and is not there yet"));
    let folder = Lab::shell("echo x > /tmp/out/x && ls /tmp/out").grant(Permission::FsWrite, "/tmp/out");
    folder.grant(Permission::FsCreate, "/tmp/out").grant(Permission::FsList, "/tmp/out").prints("x");
}
