//! What can be done to the host's files beside reading and writing them.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use ringfence_isolation::Exit;
use ringfence_manifest::Permission::{FsCreate, FsDelete, FsList, FsRead, FsWrite};
use ringfence_manifest::{MountMode, StreamIn, StreamOut};
use support::{Lab, compiled, here};

/// The program of the attempts; `None`, said aloud, where it cannot be had or run.
fn attempts(arguments: &[&str]) -> Option<Lab> {
    here().then(|| compiled("metadata.c")).flatten().map(|program| Lab::new(program).args(arguments))
}

#[test]
fn no_file_with_set_id_bits_is_left_on_the_host() {
    let Some(lab) = attempts(&["set-id"]) else { return };
    let all = [FsRead, FsList, FsWrite, FsCreate, FsDelete];
    let lab = all.into_iter().fold(lab.mount("/data", MountMode::ReadWrite), |lab, one| lab.grant(one, "/data"));
    lab.prints("made plain\nmode 0700\nreading with a mode that counts for nothing");
    for entry in std::fs::read_dir(lab.host("/data")).unwrap() {
        let mode = entry.as_ref().unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o6000, 0, "{entry:?} {mode:o}");
    }
}

#[test]
fn a_file_that_is_standard_input_can_be_read_and_no_more() {
    let Some(mut lab) = attempts(&["stream"]) else { return };
    let file = lab.folder.path().join("input");
    std::fs::write(&file, "input\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let before = std::fs::metadata(&file).unwrap();
    lab.spec.stdio.stdin = StreamIn::File(file.clone());
    lab.prints("");
    let after = std::fs::metadata(&file).unwrap();
    assert_eq!((after.mode(), after.mtime(), after.len()), (before.mode(), before.mtime(), before.len()));
}

#[test]
fn a_file_that_is_standard_output_can_be_appended_to_and_no_more() {
    if !here() {
        return;
    }
    let script = "echo new; : > /proc/self/fd/1; truncate -s 0 /proc/self/fd/1; chmod 777 /proc/self/fd/1; exit 0";
    let mut lab = Lab::shell(script);
    let file = lab.folder.path().join("log");
    std::fs::write(&file, "old\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    lab.spec.stdio.stdout = StreamOut::File(file.clone());
    let outcome = lab.run();
    assert_eq!(outcome.exit, Exit::Returned(0), "{outcome:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    // The hal of these tests keeps what is printed; the file is not even open.
    assert_eq!((outcome.stdout.as_str(), std::fs::read_to_string(&file).unwrap().as_str()), ("new\n", "old\n"));
}

#[test]
fn who_may_read_a_file_may_not_change_it_past_its_permissions() {
    let Some(lab) = attempts(&["look", "/data/a"]) else { return };
    let lab =
        [FsRead, FsList].into_iter().fold(lab.mount("/data", MountMode::ReadOnly), |lab, one| lab.grant(one, "/data"));
    std::fs::write(lab.host("/data/a"), "a").unwrap();
    let outcome = lab.run();
    let seen: Vec<_> = outcome.stdout.lines().filter(|line| *line != "flags seen").collect();
    assert_eq!(seen, ["opened"], "{outcome:?}");
}

#[test]
fn pid_one_and_its_command_line_are_hidden_from_everybody() {
    if !here() {
        return;
    }
    Lab::shell("cat /proc/1/cmdline /proc/1/status /proc/1/mountinfo 2>/dev/null; ls /proc | grep -x 1; echo done")
        .grant(FsList, "/")
        .prints("done");
}

#[test]
fn a_mount_in_the_place_of_the_scratch_folder_is_not_measured() {
    if !here() {
        return;
    }
    let lab = Lab::shell("sleep 0.2; echo fine").limit(|limits| limits.disk = Some(ringfence_manifest::Bytes(1 << 20)));
    lab.mount("/tmp", MountMode::ReadOnly).grant(FsRead, "/tmp").prints("fine");
}
