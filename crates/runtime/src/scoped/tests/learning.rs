//! Learn mode.

use super::*;

#[test]
fn what_is_used_is_learned() {
    let lab = lab(|spec, root| {
        std::fs::write(root.join("file"), "").unwrap();
        spec.permissions.files = Default::default();
        spec.permissions.learn = true;
    });
    lab.open("file", READ).unwrap();
    lab.open("new", CREATE).unwrap();
    let expected = [
        (Permission::FsRead, "/file"),
        (Permission::FsRead, "/new"),
        (Permission::FsWrite, "/new"),
        (Permission::FsCreate, "/new"),
    ];
    assert_eq!(lab.hal.learned(), expected.map(|(permission, path)| (permission, path.to_owned())));
}

#[test]
fn what_is_learned_is_enough_for_the_same_again() {
    let run = |lab: &Lab| {
        for folder in ["one", "two", "three", "three/in"] {
            std::fs::create_dir_all(lab.host(folder)).unwrap();
        }
        for file in ["seen", "source", "three/in/file"] {
            std::fs::write(lab.host(file), "x").unwrap();
        }
        let stat = |path: &str| {
            let call = Call::StatAt { directory: lab.top(), path: path.as_bytes(), follow: true };
            lab.call(call).map(|_| ())
        };
        let read = |path: &str| lab.open(path, READ).and_then(|file| lab.read(file));
        let mut outcomes = vec![stat("seen"), stat("missing"), lab.open("one/new", CREATE).map(|_| ())];
        let how = OpenHow { read: false, ..READ };
        outcomes.push(lab.open("source", how).map(|_| ()));
        outcomes.push(lab.rename("one/new", "two/new").map(|_| ()));
        outcomes.push(lab.rename("two/new", "last").map(|_| ()));
        outcomes.push(read("last").map(|_| ()));
        outcomes.push(lab.link("source", "two/link").map(|_| ()));
        outcomes.push(read("two/link").map(|_| ()));
        let list = |path: &str| {
            let folder = lab.open(path, OpenHow { directory: true, ..READ })?;
            lab.call(Call::List { directory: folder, after: 0, most: 10 }).map(|_| ())
        };
        outcomes.push(list("two"));
        outcomes.push(lab.rename("three", "moved").map(|_| ()));
        outcomes.push(read("moved/in/file").map(|_| ()));
        let touched = lab.open("seen", READ).unwrap();
        outcomes.push(lab.call(Call::SetTimes { handle: touched, accessed: None, modified: Some(0) }).map(|_| ()));
        outcomes
    };
    let learning = lab(|spec, _| {
        spec.permissions.files = Default::default();
        spec.permissions.learn = true;
    });
    let outcomes = run(&learning);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1, "{outcomes:?}");
    let learned = learning.hal.learned();
    let of = |permission| {
        let paths = learned.iter().filter(|(used, _)| *used == permission).map(|(_, path)| path.as_str());
        rules(&paths.collect::<Vec<_>>())
    };
    let again = lab(|spec, _| {
        spec.permissions.files = ringfence_manifest::FilePermissions {
            read: of(Permission::FsRead),
            write: of(Permission::FsWrite),
            create: of(Permission::FsCreate),
            delete: of(Permission::FsDelete),
            list: of(Permission::FsList),
        };
    });
    assert_eq!(run(&again), outcomes);
    assert_eq!(again.hal.denials.list(), []);
    assert_eq!(again.open("other", CREATE), Err(ErrorCode::Denied), "and for nothing else");
}
