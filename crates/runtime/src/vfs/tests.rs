use std::path::Path;
use std::sync::Arc;

use ringfence_abi::{ErrorCode, OpenHow, Rights};
use ringfence_isolation::Spec;

use super::*;
use crate::denials::Denials;
use crate::sample;

mod oracle;
mod races;

/// The tree of a spec, with nobody hearing of denials.
fn vfs(spec: Spec) -> Arc<Vfs> {
    let spec = Arc::new(spec);
    let meter = Arc::new(Meter::new(&spec.limits));
    let authority = Arc::new(Authority::new(Arc::clone(&spec), Arc::new(Denials::new(None))));
    Vfs::new(Mounts::open(&spec).unwrap(), authority, meter)
}

/// The tree at `root` with everything granted.
fn open_tree(root: &Path) -> Arc<Vfs> {
    let mut spec = sample::spec(root);
    spec.permissions.files = sample::everything();
    vfs(spec)
}

const READ: OpenHow = OpenHow {
    read: true,
    write: false,
    create: false,
    exclusive: false,
    truncate: false,
    directory: false,
    follow: true,
    mode: None,
};

/// What a file of the tree holds.
fn content(folder: &Folder, path: &str) -> Result<Vec<u8>, ErrorCode> {
    match folder.open(path.as_bytes(), READ, Rights::all())? {
        Opened::File(file, ..) => {
            let mut bytes = vec![0; 100];
            let count = file.read(0, &mut bytes)?;
            bytes.truncate(count);
            Ok(bytes)
        }
        Opened::Folder(..) => Err(ErrorCode::IsDirectory),
    }
}

#[test]
fn a_folder_that_was_moved_is_judged_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("a/x")).unwrap();
    std::fs::create_dir(root.path().join("b")).unwrap();
    std::fs::write(root.path().join("b/secret"), "secret").unwrap();
    let mut spec = sample::spec(root.path());
    spec.permissions.files = sample::everything();
    spec.permissions.files.read = sample::rules(&["/a"]);
    let vfs = vfs(spec);
    let top = vfs.root();
    let Ok(Opened::Folder(x, _)) = top.open(b"a/x", READ, Rights::all()) else { panic!("a/x is a folder") };
    top.rename(b"/a/x", &top, b"/b/x").unwrap();
    top.rename(b"/b/secret", &top, b"/b/x/secret").unwrap();
    assert_eq!(content(&x, "secret"), Err(ErrorCode::Denied));
    assert_eq!(&*x.path(), b"/b/x");
}

#[test]
fn above_an_open_folder_is_the_folder_it_is_in() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("a/b/c")).unwrap();
    std::fs::write(root.path().join("a/file"), "a").unwrap();
    let top = open_tree(root.path()).root();
    let Ok(Opened::Folder(c, _)) = top.open(b"a/b/c", READ, Rights::all()) else { panic!("c is a folder") };
    assert_eq!(content(&c, "../../file"), Ok(b"a".to_vec()));
    assert_eq!(content(&c, "../../../../../a/file"), Ok(b"a".to_vec()));
    assert_eq!(top.rename(b"a/b/..", &top, b"z"), Err(ErrorCode::Busy));
    assert_eq!(c.rename(b"..", &top, b"z"), Err(ErrorCode::Busy));
    assert_eq!(c.unlink(b".."), Err(ErrorCode::IsDirectory));
}

#[test]
fn a_long_listing_is_given_in_pieces_and_has_the_mount_points() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..3000 {
        std::fs::write(root.path().join(format!("file-{number}")), "").unwrap();
    }
    std::fs::write(root.path().join("hidden"), "").unwrap();
    std::fs::write(root.path().join("m"), "shadowed by the mount").unwrap();
    let mut spec = sample::spec(root.path());
    spec.permissions.files = sample::everything();
    spec.mounts.push(sample::mount("/m", other.path(), ringfence_manifest::MountMode::ReadOnly));
    spec.mounts.push(sample::mount("/way/to/n", other.path(), ringfence_manifest::MountMode::ReadOnly));
    let top = vfs(spec).root();
    let (mut names, mut after) = (Vec::new(), 0);
    loop {
        let entries = top.list(after, 7).unwrap();
        let Some(last) = entries.last() else { break };
        after = last.cookie;
        names.extend(entries.into_iter().map(|entry| (String::from_utf8(entry.name).unwrap(), entry.kind)));
    }
    assert_eq!(names.len(), 3003);
    names.sort_by(|one, other| one.0.cmp(&other.0));
    names.dedup_by(|one, other| one.0 == other.0);
    assert_eq!(names.len(), 3003);
    let kind = |name: &str| names.iter().find(|(found, _)| found == name).map(|&(_, kind)| kind);
    assert_eq!(kind("m"), Some(ringfence_abi::FileKind::Directory));
    assert_eq!(kind("way"), Some(ringfence_abi::FileKind::Directory));
    assert_eq!(kind("file-2999"), Some(ringfence_abi::FileKind::File));
}

#[test]
fn paths_that_are_none_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let top = open_tree(root.path()).root();
    assert_eq!(content(&top, ""), Err(ErrorCode::NotFound));
    assert_eq!(content(&top, "a\0b"), Err(ErrorCode::Invalid));
    assert_eq!(content(&top, &"x".repeat(256)), Err(ErrorCode::NameTooLong));
    assert_eq!(content(&top, &"x/".repeat(2048)), Err(ErrorCode::NameTooLong));
    assert_eq!(content(&top, &"x".repeat(255)), Err(ErrorCode::NotFound));
}

#[test]
fn links_that_go_round_are_a_loop() {
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("b", root.path().join("a")).unwrap();
    std::os::unix::fs::symlink("a", root.path().join("b")).unwrap();
    let top = open_tree(root.path()).root();
    assert_eq!(content(&top, "a"), Err(ErrorCode::Loop));
    assert_eq!(content(&top, "a/x"), Err(ErrorCode::Loop));
}

#[test]
fn neither_pipes_nor_sockets_are_opened() {
    let root = tempfile::tempdir().unwrap();
    let name = root.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &name, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    let top = open_tree(root.path()).root();
    assert_eq!(content(&top, "pipe"), Err(ErrorCode::Denied));
    assert_eq!(content(&top, "socket"), Err(ErrorCode::Denied));
    let denied = top.vfs.authority.denials();
    assert_eq!(denied.list()[0].0.rule, "not a regular file or folder");
    // Its metadata is no secret.
    assert_eq!(top.stat_at(b"pipe", true).unwrap().kind, ringfence_abi::FileKind::Pipe);
}

#[test]
fn a_trailing_slash_asks_for_a_folder() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("d")).unwrap();
    std::fs::write(root.path().join("f"), "f").unwrap();
    std::os::unix::fs::symlink("d", root.path().join("to-d")).unwrap();
    let top = open_tree(root.path()).root();
    assert_eq!(content(&top, "f/"), Err(ErrorCode::NotDirectory));
    assert_eq!(top.stat_at(b"f/", false), Err(ErrorCode::NotDirectory));
    assert_eq!(top.stat_at(b"to-d", false).unwrap().kind, ringfence_abi::FileKind::Symlink);
    assert_eq!(top.stat_at(b"to-d/", false).unwrap().kind, ringfence_abi::FileKind::Directory);
    assert_eq!(top.remove_directory(b"to-d/"), Err(ErrorCode::NotDirectory));
    assert_eq!(top.unlink(b"f/"), Err(ErrorCode::NotDirectory));
    assert_eq!(top.rename(b"f/", &top, b"g"), Err(ErrorCode::NotDirectory));
    assert_eq!(top.create_directory(b"new/", None), Ok(()));
    assert_eq!(top.remove_directory(b"new/."), Err(ErrorCode::Invalid));
    assert_eq!(top.remove_directory(b"new/"), Ok(()));
}

#[test]
fn an_entry_that_is_a_mount_point_stays() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(other.path().join("file"), "x").unwrap();
    let mut spec = sample::spec(root.path());
    spec.permissions.files = sample::everything();
    spec.mounts.push(sample::mount("/m", other.path(), ringfence_manifest::MountMode::ReadWrite));
    spec.mounts.push(sample::mount("/way/f", &other.path().join("file"), ringfence_manifest::MountMode::ReadWrite));
    let top = vfs(spec).root();
    assert_eq!(top.remove_directory(b"m"), Err(ErrorCode::Busy));
    assert_eq!(top.unlink(b"way/f"), Err(ErrorCode::Busy));
    assert_eq!(top.rename(b"way", &top, b"x"), Err(ErrorCode::Busy));
    assert_eq!(top.create_directory(b"way", None), Err(ErrorCode::Exists));
    assert_eq!(top.create_directory(b"way/x", None), Err(ErrorCode::ReadOnly));
    assert_eq!(top.rename(b"m/file", &top, b"x"), Err(ErrorCode::CrossDevice));
    assert_eq!(content(&top, "way/f"), Ok(b"x".to_vec()));
    assert_eq!(content(&top, "m/../way/./f"), Ok(b"x".to_vec()));
}

/// What stands in the folder `a/b` and its neighbours of a fresh tree.
fn nest() -> (tempfile::TempDir, Arc<Folder>) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("a/b")).unwrap();
    std::fs::create_dir_all(root.path().join("a/c/d")).unwrap();
    let top = open_tree(root.path()).root();
    (root, top)
}

#[test]
fn a_link_is_not_made_through_another_link() {
    let (root, top) = nest();
    top.symlink(b".", b"here").unwrap();
    assert_eq!(top.symlink(b"here/../outside", b"evil"), Err(ErrorCode::NotPermitted));
    assert_eq!(top.symlink(b"a/b/../../x", b"evil"), Err(ErrorCode::NotPermitted));
    assert_eq!(top.symlink(b"../outside", b"here/evil"), Err(ErrorCode::NotPermitted));
    assert!(root.path().join("evil").symlink_metadata().is_err());
    top.symlink(b"../../x", b"a/b/fine").unwrap();
    assert_eq!(top.symlink(b"../../../x", b"a/b/evil"), Err(ErrorCode::NotPermitted));
}

#[test]
fn a_link_is_checked_where_it_is_moved_or_linked_to() {
    let (root, top) = nest();
    top.symlink(b"../x", b"a/link").unwrap();
    assert_eq!(top.rename(b"a/link", &top, b"evil"), Err(ErrorCode::NotPermitted));
    assert_eq!(top.link(b"a/link", false, &top, b"evil"), Err(ErrorCode::NotPermitted));
    assert!(root.path().join("evil").symlink_metadata().is_err());
    top.link(b"a/link", false, &top, b"a/same").unwrap();
    top.rename(b"a/link", &top, b"a/b/deeper").unwrap();
    top.rename(b"a/same", &top, b"a/other").unwrap();
}

#[test]
fn a_folder_moves_up_only_with_links_that_stay() {
    let (root, top) = nest();
    top.symlink(b"../../../x", b"a/c/d/link").unwrap();
    assert_eq!(top.rename(b"a/c", &top, b"evil"), Err(ErrorCode::CrossDevice));
    assert_eq!(top.rename(b"a/c/d", &top, b"a/evil"), Err(ErrorCode::CrossDevice));
    assert!(root.path().join("evil").symlink_metadata().is_err());
    top.rename(b"a/c", &top, b"a/b/c").unwrap();
    top.rename(b"a/b/c", &top, b"a/b/e").unwrap();
    top.rename(b"a/b/e", &top, b"a/c").unwrap();
    top.unlink(b"a/c/d/link").unwrap();
    top.symlink(b"../../x", b"a/c/d/link").unwrap();
    top.rename(b"a/c", &top, b"c").unwrap();
}

#[test]
fn the_depth_of_a_folder_that_somebody_else_moved_is_the_one_it_has() {
    let (root, top) = nest();
    let Ok(Opened::Folder(d, _)) = top.open(b"a/c/d", OpenHow { directory: true, ..READ }, Rights::all()) else {
        panic!("it is a folder")
    };
    std::fs::rename(root.path().join("a/c/d"), root.path().join("d")).unwrap();
    assert_eq!(d.symlink(b"../../outside", b"evil"), Err(ErrorCode::NotPermitted));
    assert!(root.path().join("d/evil").symlink_metadata().is_err());
}
