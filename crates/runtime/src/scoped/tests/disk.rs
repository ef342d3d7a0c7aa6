//! The limit on what files take up.

use super::*;

#[test]
fn the_disk_limit_holds_before_the_disk_has_grown() {
    let lab = lab(|spec, _| spec.limits.disk = Some(Bytes(3 * 4096)));
    let file = lab.open("file", CREATE).unwrap();
    assert_eq!(lab.write(file, Position::Offset(0), 8192), Ok(Reply::Count(8192)));
    assert_eq!(lab.hal.usage().disk, 3 * 4096);
    assert_eq!(lab.write(file, Position::Offset(100), 8000), Ok(Reply::Count(8000)), "it does not grow");
    assert_eq!(lab.write(file, Position::End, 1), Err(ErrorCode::Stopping));
    assert_eq!(lab.tripped(), LimitKind::Disk);
    assert_eq!(std::fs::metadata(lab.host("file")).unwrap().len(), 8192);
    assert_eq!(lab.read(file), Err(ErrorCode::Stopping), "every later call is answered so");
}

#[test]
fn what_is_removed_is_given_back() {
    let lab = lab(|_, _| ());
    let used = || lab.hal.usage().disk;
    let file = lab.open("file", CREATE).unwrap();
    lab.write(file, Position::Offset(0), 1000).unwrap();
    assert_eq!(used(), 4096 + 1000);
    lab.call(Call::SetSize { file, size: 100 }).unwrap();
    assert_eq!(used(), 4096 + 100);
    lab.call(Call::SetSize { file, size: 5000 }).unwrap();
    assert_eq!(used(), 4096 + 5000);
    lab.link("file", "other").unwrap();
    assert_eq!(used(), 2 * 4096 + 5000, "a file with two names is counted once");
    lab.unlink("file").unwrap();
    assert_eq!(used(), 4096 + 5000);
    lab.call(Call::Close { handle: file }).unwrap();
    lab.unlink("other").unwrap();
    assert_eq!(used(), 0);
    let file = lab.open("a", CREATE).unwrap();
    lab.write(file, Position::End, 10).unwrap();
    lab.call(Call::Close { handle: file }).unwrap();
    lab.open("b", CREATE).unwrap();
    lab.rename("b", "a").unwrap();
    assert_eq!(used(), 4096, "what was replaced is gone");
}

#[test]
fn files_without_a_name_count_until_their_last_close() {
    let lab = lab(|spec, _| spec.limits.disk = Some(Bytes(100_000)));
    let mut kept = Vec::new();
    let tripped = (0..200).find(|_| {
        let attempt = lab.open("file", CREATE).and_then(|file| {
            kept.push(file);
            lab.write(file, Position::End, 1000)?;
            lab.unlink("file")
        });
        attempt.is_err()
    });
    assert_eq!(lab.tripped(), LimitKind::Disk);
    assert!((90..110).contains(&tripped.unwrap()), "{tripped:?}");
}

#[test]
fn closing_a_file_without_a_name_gives_it_back() {
    let lab = lab(|_, _| ());
    let file = lab.open("file", CREATE).unwrap();
    let again = lab.open("file", READ).unwrap();
    lab.write(file, Position::End, 1000).unwrap();
    lab.unlink("file").unwrap();
    lab.call(Call::Close { handle: file }).unwrap();
    assert_eq!(lab.hal.usage().disk, 1000, "a reader keeps it");
    lab.call(Call::Close { handle: again }).unwrap();
    assert_eq!(lab.hal.usage().disk, 0);
}

#[test]
fn a_file_that_was_there_is_free_up_to_its_size() {
    let lab = lab(|_, root| std::fs::write(root.join("file"), vec![b'x'; 1000]).unwrap());
    let file = lab.open("file", OpenHow { write: true, truncate: true, ..READ }).unwrap();
    lab.write(file, Position::End, 1000).unwrap();
    assert_eq!(lab.hal.usage().disk, 0);
    lab.write(file, Position::End, 5).unwrap();
    assert_eq!(lab.hal.usage().disk, 5);
}

#[test]
fn names_are_charged_and_those_that_fail_are_not() {
    let lab = lab(|_, _| ());
    let make = || lab.call(Call::CreateDirectory { directory: lab.top(), path: b"folder", mode: None });
    assert_eq!(make(), Ok(Reply::Done));
    assert_eq!(make(), Err(ErrorCode::Exists));
    assert_eq!(lab.hal.usage().disk, 4096);
    assert_eq!(lab.call(Call::RemoveDirectory { directory: lab.top(), path: b"folder" }), Ok(Reply::Done));
    assert_eq!(lab.hal.usage().disk, 0);
}

#[test]
fn a_file_does_not_get_larger_than_its_limit() {
    let lab = lab(|spec, _| spec.limits.file_size = Some(Bytes(100)));
    let file = lab.open("file", CREATE).unwrap();
    assert_eq!(lab.write(file, Position::Offset(50), 50), Ok(Reply::Count(50)));
    assert_eq!(lab.call(Call::SetSize { file, size: 101 }), Err(ErrorCode::Stopping));
    assert_eq!(lab.tripped(), LimitKind::FileSize);
}
