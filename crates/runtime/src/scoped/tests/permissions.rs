//! What is granted and what is denied.

use super::*;

#[test]
fn what_is_not_granted_is_denied_whether_it_exists_or_not() {
    let lab = lab(|spec, root| {
        std::fs::write(root.join("there"), "").unwrap();
        spec.permissions.files.read = rules(&["/data"]);
        spec.permissions.files.list = rules(&["/data"]);
        spec.permissions.files.write = rules(&["/data"]);
        spec.permissions.files.create = rules(&["/data"]);
        spec.permissions.files.delete = rules(&["/data"]);
    });
    for path in ["there", "missing", "there/below", "missing/below", "data/../there"] {
        assert_eq!(lab.open(path, READ), Err(ErrorCode::Denied), "{path}");
        assert_eq!(lab.open(path, CREATE), Err(ErrorCode::Denied), "{path}");
        assert_eq!(lab.unlink(path), Err(ErrorCode::Denied), "{path}");
        let (directory, path) = (lab.top(), path.as_bytes());
        assert_eq!(lab.call(Call::StatAt { directory, path, follow: true }), Err(ErrorCode::Denied));
        assert_eq!(lab.call(Call::ReadLink { directory, path }), Err(ErrorCode::Denied));
        assert_eq!(lab.call(Call::CreateDirectory { directory, path, mode: None }), Err(ErrorCode::Denied));
    }
    assert_eq!(lab.open("data/missing", READ), Err(ErrorCode::NotFound));
}

#[test]
fn a_denial_names_the_rule_the_resource_and_the_line_that_grants_it() {
    let lab = lab(|spec, _| spec.permissions.files = Default::default());
    assert_eq!(lab.open("/etc/passwd", READ), Err(ErrorCode::Denied));
    let expected = ("not in fs.read".into(), "/etc/passwd".into(), Some("fs.read = [\"/etc/passwd\"]".into()));
    assert_eq!(lab.last_denial(), expected);
}

#[test]
fn each_permission_is_judged_by_itself() {
    let lab = lab(|spec, root| {
        std::fs::write(root.join("file"), "old").unwrap();
        spec.permissions.files = Default::default();
        spec.permissions.files.read = rules(&["/file"]);
        spec.permissions.files.create = rules(&["/new"]);
    });
    let write = OpenHow { read: false, write: true, ..READ };
    assert!(lab.open("file", READ).is_ok());
    assert_eq!(lab.open("file", write), Err(ErrorCode::Denied));
    assert_eq!(lab.open("file", OpenHow { truncate: true, ..READ }), Err(ErrorCode::Denied));
    assert_eq!(std::fs::read(lab.host("file")).unwrap(), b"old");
    // Creating is not writing.
    assert_eq!(lab.open("new", OpenHow { create: true, ..write }), Err(ErrorCode::Denied));
    let made = lab.open("new", OpenHow { read: false, create: true, ..READ }).unwrap();
    assert_eq!(lab.write(made, Position::End, 1), Err(ErrorCode::Denied));
    assert_eq!(lab.unlink("new"), Err(ErrorCode::Denied));
    let list = Call::List { directory: lab.top(), after: 0, most: 10 };
    assert_eq!(lab.call(list), Err(ErrorCode::Denied));
}

#[test]
fn a_link_is_judged_where_it_leads() {
    let lab = lab(|spec, root| {
        std::fs::create_dir(root.join("data")).unwrap();
        std::fs::write(root.join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("data/link")).unwrap();
        std::os::unix::fs::symlink("/secret", root.join("data/absolute")).unwrap();
        spec.permissions.files.read = rules(&["/data"]);
    });
    for link in ["data/link", "data/absolute"] {
        assert_eq!(lab.open(link, READ), Err(ErrorCode::Denied));
        assert_eq!(lab.last_denial().1, "/secret");
    }
}

#[test]
fn a_read_only_mount_is_not_changed() {
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("file"), "old").unwrap();
    let lab = lab(|spec, _| {
        spec.mounts.push(mount("/ro", other.path(), MountMode::ReadOnly));
        spec.mounts.push(mount("/single", &other.path().join("file"), MountMode::ReadOnly));
    });
    let (directory, path) = (lab.top(), &b"ro/file"[..]);
    let file = lab.open("ro/file", READ).unwrap();
    assert_eq!(lab.call(Call::SetTimes { handle: file, accessed: None, modified: Some(0) }), Err(ErrorCode::Denied));
    assert_eq!(lab.call(Call::SetMode { handle: file, mode: 0o777 }), Err(ErrorCode::Denied));
    let attempts = [
        lab.open("ro/file", OpenHow { write: true, ..READ }).map(|_| Reply::Done),
        lab.open("ro/file", OpenHow { truncate: true, ..READ }).map(|_| Reply::Done),
        lab.open("ro/new", CREATE).map(|_| Reply::Done),
        lab.open("single", OpenHow { write: true, ..READ }).map(|_| Reply::Done),
        lab.unlink("ro/file"),
        lab.rename("ro/file", "ro/other"),
        lab.link("ro/file", "ro/other"),
        lab.call(Call::CreateDirectory { directory, path: b"ro/new", mode: None }),
        lab.call(Call::Symlink { target: b"file", directory, path: b"ro/new" }),
        lab.call(Call::SetTimesAt { directory, path, follow: true, accessed: None, modified: Some(0) }),
        lab.call(Call::SetModeAt { directory, path, follow: true, mode: 0o777 }),
    ];
    for attempt in attempts {
        assert_eq!(attempt, Err(ErrorCode::ReadOnly));
    }
    assert_eq!(std::fs::read(other.path().join("file")).unwrap(), b"old");
    let (rule, _, grant) = lab.last_denial();
    assert_eq!(rule, "mount /ro is read-only");
    assert!(grant.unwrap().contains("mode = \"rw\""));
}

#[test]
fn a_rename_or_link_that_would_gain_a_right_is_denied() {
    let lab = lab(|spec, root| {
        std::fs::create_dir_all(root.join("in/folder")).unwrap();
        std::fs::create_dir(root.join("out")).unwrap();
        std::fs::write(root.join("in/secret"), "").unwrap();
        std::fs::write(root.join("in/folder/secret"), "").unwrap();
        std::fs::write(root.join("out/own"), "").unwrap();
        spec.permissions.files.read = rules(&["/out", "/elsewhere/x/secret"]);
        std::fs::create_dir(root.join("elsewhere")).unwrap();
    });
    assert_eq!(lab.rename("in/secret", "out/mine"), Err(ErrorCode::CrossDevice));
    assert_eq!(lab.last_denial().0, "would gain fs.read as /out/mine");
    assert_eq!(lab.link("in/secret", "out/mine"), Err(ErrorCode::CrossDevice));
    // What is in a folder must not gain either.
    assert_eq!(lab.rename("in/folder", "elsewhere/x"), Err(ErrorCode::CrossDevice));
    assert_eq!(lab.rename("in/folder", "elsewhere/y"), Ok(Reply::Done));
    // Losing rights is nobody's harm.
    assert_eq!(lab.rename("out/own", "in/own"), Ok(Reply::Done));
}

#[test]
fn a_verdict_alone_is_the_same_and_told() {
    let lab = lab(|spec, _| {
        spec.permissions.files = FilePermissions { write: rules(&["/tmp/own"]), ..FilePermissions::default() };
    });
    let judge = |path: &str, wanted: FileUse<'_>| lab.hal.judge(path.as_bytes(), wanted);
    assert_eq!(judge("/tmp/own/x", FileUse::With(Permission::FsWrite)), Ok(()));
    assert_eq!(judge("/tmp", FileUse::Look), Ok(()));
    assert_eq!(judge("/tmp/x", FileUse::With(Permission::FsWrite)), Err(ErrorCode::Denied));
    assert_eq!(lab.last_denial().0, "not in fs.write");
    assert_eq!(judge("/srv", FileUse::Look), Err(ErrorCode::Denied));
    assert_eq!(lab.last_denial().0, "nothing is granted on it or below it");
    assert_eq!(judge("/tmp/x", FileUse::Move(b"/tmp/own/x")), Err(ErrorCode::CrossDevice));
    assert_eq!(lab.last_denial().0, "would gain fs.write as /tmp/own/x");
}

#[test]
fn replacing_needs_the_right_to_delete() {
    let lab = lab(|spec, root| {
        std::fs::write(root.join("a"), "a").unwrap();
        std::fs::write(root.join("b"), "b").unwrap();
        spec.permissions.files.delete = rules(&["/a"]);
    });
    assert_eq!(lab.rename("a", "b"), Err(ErrorCode::Denied));
    assert_eq!(std::fs::read(lab.host("b")).unwrap(), b"b");
    assert_eq!(lab.rename("a", "c"), Ok(Reply::Done), "there is nothing to replace");
}

#[test]
fn a_link_is_made_within_its_mount_only() {
    let lab = lab(|_, _| ());
    let symlink = |target: &str, path: &str| {
        lab.call(Call::Symlink { target: target.as_bytes(), directory: lab.top(), path: path.as_bytes() })
    };
    assert_eq!(symlink("/etc", "absolute"), Err(ErrorCode::NotPermitted));
    assert_eq!(symlink("../etc", "above"), Err(ErrorCode::NotPermitted));
    assert_eq!(symlink("file", "inside"), Ok(Reply::Done));
    let read = Call::ReadLink { directory: lab.top(), path: b"inside" };
    assert_eq!(lab.call(read), Ok(Reply::Bytes(b"file".to_vec())));
}

#[test]
fn a_handle_opened_through_a_folder_has_no_right_the_folder_lacks() {
    let lab = lab(|_, root| std::fs::write(root.join("file"), "x").unwrap());
    let Ok(Reply::Handle(less)) = lab.call(Call::Duplicate { handle: lab.top(), rights: Rights::WALK | Rights::READ })
    else {
        panic!("the top can be duplicated")
    };
    let open = |how| lab.call(Call::Open { directory: less, path: b"file", how });
    let Ok(Reply::Handle(file)) = open(READ) else { panic!("file can be read") };
    assert_eq!(lab.call(Call::RightsOf { handle: file }), Ok(Reply::Rights(Rights::READ)));
    assert_eq!(open(OpenHow { write: true, ..READ }), Err(ErrorCode::Denied));
    let create = Call::Open { directory: less, path: b"new", how: OpenHow { create: true, ..READ } };
    assert_eq!(lab.call(create), Err(ErrorCode::Denied));
    assert_eq!(lab.call(Call::Unlink { directory: less, path: b"file" }), Err(ErrorCode::Denied));
    lab.call(Call::Revoke { handle: lab.top() }).unwrap();
    assert_eq!(open(READ), Err(ErrorCode::BadHandle));
}

#[test]
fn modes_are_the_hosts_in_nine_bits_and_nowhere_else() {
    use std::os::unix::fs::PermissionsExt;
    let mut place = std::path::PathBuf::new();
    let lab = lab(|spec, root| {
        std::fs::create_dir_all(root.join("in/folder")).unwrap();
        std::fs::create_dir(root.join("out")).unwrap();
        for path in ["in/file", "out/file"] {
            std::fs::write(root.join(path), "").unwrap();
            std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(0o640)).unwrap();
        }
        let folder = std::fs::Permissions::from_mode(0o2755);
        std::fs::set_permissions(root.join("in/folder"), folder).unwrap();
        std::os::unix::fs::symlink("../out/file", root.join("in/link")).unwrap();
        spec.permissions.files.write = rules(&["/in"]);
        place = root.to_owned();
    });
    let directory = lab.top();
    let mode = |path: &str| std::fs::symlink_metadata(place.join(path)).unwrap().permissions().mode() & 0o7777;
    let set = |path: &str, follow, mode| {
        lab.call(Call::SetModeAt { directory, path: path.as_bytes(), follow, mode }).map(drop)
    };
    let shown = |path: &str| match lab.call(Call::StatAt { directory, path: path.as_bytes(), follow: true }) {
        Ok(Reply::Stat(stat)) => stat.mode,
        other => panic!("{other:?}"),
    };
    assert_eq!((shown("in/file"), shown("in/folder")), (0o640, 0o755));
    assert_eq!((set("in/file", true, 0o751), mode("in/file"), shown("in/file")), (Ok(()), 0o751, 0o751));
    // A folder keeps what it passes on, and no file becomes its owner's.
    assert_eq!((set("in/folder", true, 0o700), mode("in/folder")), (Ok(()), 0o2700));
    assert_eq!((set("in/file", true, 0o4755), mode("in/file")), (Err(ErrorCode::Invalid), 0o751));
    // Not what a link leads to, and not the link.
    assert_eq!(set("in/link", true, 0o777), Err(ErrorCode::Denied));
    assert_eq!(set("in/link", false, 0o777), Err(ErrorCode::NotSupported));
    assert_eq!((set("out/file", true, 0o777), mode("out/file")), (Err(ErrorCode::Denied), 0o640));
    // Of what is open, also when it is only looked at.
    let looked = lab.open("in/file", OpenHow { read: false, ..READ }).unwrap();
    assert_eq!(lab.call(Call::SetMode { handle: looked, mode: 0o600 }), Ok(Reply::Done));
    assert_eq!(lab.call(Call::SetTimes { handle: looked, accessed: None, modified: Some(0) }), Ok(Reply::Done));
    assert_eq!(mode("in/file"), 0o600);
    // And of what is made.
    let make = || lab.call(Call::Open { directory, path: b"in/new", how: OpenHow { mode: Some(0o4700), ..CREATE } });
    assert!(matches!(make(), Ok(Reply::Created(_))));
    assert!(matches!(make(), Ok(Reply::Handle(_))));
    lab.call(Call::CreateDirectory { directory, path: b"in/made", mode: Some(0o2700) }).unwrap();
    assert_eq!((mode("in/new"), mode("in/made")), (0o700, 0o700));
}
