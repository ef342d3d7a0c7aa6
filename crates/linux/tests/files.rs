//! What a program may do with files is what its manifest grants.

mod support;

use ringfence_isolation::Exit;
use ringfence_manifest::{MountMode, Permission};
use support::{Lab, here};

use Permission::{FsCreate, FsDelete, FsList, FsRead, FsWrite};

/// A folder with a file, a folder and a link in it, mounted at `/data`.
fn lab(script: &str, granted: &[(Permission, &str)], mode: MountMode) -> Lab {
    let lab = Lab::shell(script).mount("/data", mode);
    let data = lab.host("/data");
    std::fs::create_dir_all(data.join("sub")).unwrap();
    std::fs::write(data.join("in.txt"), "inside\n").unwrap();
    std::fs::write(data.join("sub/nested.txt"), "nested\n").unwrap();
    std::fs::write(lab.folder.path().join("secret"), "secret\n").unwrap();
    std::os::unix::fs::symlink(lab.folder.path().join("secret"), data.join("out")).unwrap();
    std::os::unix::fs::symlink("../../secret", data.join("up")).unwrap();
    granted.iter().fold(lab, |lab, (permission, path)| lab.grant(*permission, path))
}

/// Every way to use a file, each with the permission it takes.
const WAYS: [(&str, &[Permission]); 11] = [
    ("cat /data/in.txt", &[FsRead]),
    ("ls /data", &[FsList]),
    (": >> /data/in.txt", &[FsWrite]),
    ("truncate -s 2 /data/in.txt", &[FsWrite]),
    (": > /data/new", &[FsCreate, FsWrite]),
    ("mkdir /data/new", &[FsCreate]),
    ("ln -s x /data/new", &[FsCreate]),
    ("mkfifo /data/new", &[FsCreate]),
    ("rm -f /data/in.txt", &[FsDelete]),
    ("rm /data/sub/nested.txt && rmdir /data/sub", &[FsDelete]),
    ("mv -T /data/in.txt /data/sub/moved", &[FsCreate, FsDelete]),
];

#[test]
fn each_permission_grants_what_it_names_and_nothing_else() {
    if !here() {
        return;
    }
    const ALL: [Permission; 5] = [FsRead, FsWrite, FsCreate, FsDelete, FsList];
    for (way, needed) in WAYS {
        // Nothing but what it takes is enough; everything but one of them is not.
        let granted: Vec<_> = needed.iter().map(|&permission| (permission, "/data")).collect();
        let outcome = lab(way, &granted, MountMode::ReadWrite).run();
        assert_eq!(outcome.exit, Exit::Returned(0), "{way}: {outcome:?}");
        for missing in needed {
            let granted: Vec<_> = ALL.into_iter().filter(|other| other != missing).map(|p| (p, "/data")).collect();
            let outcome = lab(way, &granted, MountMode::ReadWrite).run();
            assert_ne!(outcome.exit, Exit::Returned(0), "{way} without {missing}: {outcome:?}");
        }
    }
}

#[test]
fn a_read_only_mount_is_not_changed_whatever_is_granted() {
    if !here() {
        return;
    }
    for (way, needed) in WAYS.iter().filter(|(_, needed)| !needed.iter().all(|p| [FsRead, FsList].contains(p))) {
        let granted: Vec<_> = needed.iter().map(|&permission| (permission, "/data")).collect();
        let outcome = lab(way, &granted, MountMode::ReadOnly).run();
        assert_ne!(outcome.exit, Exit::Returned(0), "{way}: {outcome:?}");
    }
}

#[test]
fn nothing_is_there_without_a_grant() {
    if !here() {
        return;
    }
    let outcome = lab("cat /data/in.txt; ls -d /data", &[], MountMode::ReadWrite).run();
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (Exit::Returned(2), ""));
}

#[test]
fn a_grant_on_a_part_shows_that_part() {
    if !here() {
        return;
    }
    let script = "cat /data/sub/nested.txt; ls /data/in.txt; cat /data/in.txt";
    let outcome = lab(script, &[(FsRead, "/data/sub")], MountMode::ReadWrite).run();
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (Exit::Returned(1), "nested\n"));
}

#[test]
fn a_grant_above_a_mount_covers_it() {
    if !here() {
        return;
    }
    let lab = Lab::shell("cat /above/data/in.txt").mount("/above/data", MountMode::ReadOnly).grant(FsRead, "/above");
    std::fs::write(lab.host("/above/data").join("in.txt"), "inside\n").unwrap();
    lab.prints("inside");
}

#[test]
fn links_lead_nowhere_out() {
    if !here() {
        return;
    }
    for path in ["/data/out", "/data/up", "/data/../secret", "/proc/1/root/etc/shadow", "/proc/self/root/etc/shadow"] {
        let outcome = lab(&format!("cat {path}"), &[(FsRead, "/"), (FsList, "/")], MountMode::ReadOnly).run();
        assert_eq!((outcome.exit, outcome.stdout.as_str()), (Exit::Returned(1), ""), "{path}");
    }
}

#[test]
fn what_is_written_is_on_the_host_and_belongs_to_its_user() {
    if !here() {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let lab = lab("echo new > /data/sub/new", &[(FsWrite, "/data/sub"), (FsCreate, "/data/sub")], MountMode::ReadWrite);
    assert_eq!(lab.run().exit, Exit::Returned(0));
    let written = lab.host("/data").join("sub/new");
    assert_eq!(std::fs::read_to_string(&written).unwrap(), "new\n");
    assert_eq!(std::fs::metadata(written).unwrap().uid(), std::fs::metadata(lab.folder.path()).unwrap().uid());
}

#[test]
fn the_capsules_own_folder_is_its_root_and_lasts() {
    if !here() {
        return;
    }
    let write = Lab::shell("echo kept > /note; cat /note").grant(FsWrite, "/").grant(FsCreate, "/").grant(FsRead, "/");
    write.prints("kept");
    assert_eq!(std::fs::read_to_string(write.spec.root.as_ref().unwrap().join("note")).unwrap(), "kept\n");
    write.prints("kept");
}

#[test]
fn the_private_folder_in_memory_is_gone_with_it() {
    if !here() {
        return;
    }
    let lab = Lab::shell("ls /tmp; echo x > /tmp/x && cat /tmp/x");
    let lab = [FsRead, FsWrite, FsCreate, FsList].into_iter().fold(lab, |lab, p| lab.grant(p, "/tmp"));
    lab.prints("x");
    lab.prints("x");
    let outcome = Lab::shell("echo x > /tmp/x").run();
    assert_ne!(outcome.exit, Exit::Returned(0), "nothing is granted on it");
}

#[test]
fn metadata_cannot_be_changed_where_something_may_not_be_written() {
    if !here() {
        return;
    }
    for change in ["chmod 777 /data/in.txt", "touch -d 2001-01-01 /data/in.txt"] {
        let granted = [(FsRead, "/data"), (FsWrite, "/data/sub")];
        assert_ne!(lab(change, &granted, MountMode::ReadWrite).run().exit, Exit::Returned(0), "{change}");
        let granted = [(FsRead, "/data"), (FsWrite, "/data")];
        assert_eq!(lab(change, &granted, MountMode::ReadWrite).run().exit, Exit::Returned(0), "{change}");
    }
}

#[test]
fn a_file_that_is_mounted_alone_is_all_that_is_seen() {
    if !here() {
        return;
    }
    let mut lab = Lab::shell("cat /config; ls /").grant(FsRead, "/config");
    let file = lab.folder.path().join("settings");
    std::fs::write(&file, "a = 1\n").unwrap();
    lab.spec.mounts.push(ringfence_manifest::Mount {
        at: "/config".into(),
        name: "/config".into(),
        from: file,
        mode: MountMode::ReadOnly,
    });
    let outcome = lab.run();
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (Exit::Returned(2), "a = 1\n"));
}
