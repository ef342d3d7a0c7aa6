//! Files in memory, shared mappings and locks, as programs have them.

mod support;

use ringfence_isolation::{Exit, LimitKind};
use ringfence_manifest::{Bytes, MountMode, Permission};
use support::{Lab, Outcome};

fn files(arguments: &[&str]) -> Option<Lab> {
    Lab::compiled("files.c", arguments).map(|lab| lab.grant_all("/tmp").grant_all("/dev/shm"))
}

fn tripped(outcome: &Outcome) -> Option<LimitKind> {
    outcome.report.tripped.map(|limit| limit.limit)
}

#[test]
fn names_in_memory_are_as_on_a_disk_and_nothing_of_them_is_on_the_host() {
    let Some(lab) = files(&["names"]) else { return };
    lab.prints("ok names");
    assert!(!lab.folder.path().join("root/tmp").exists());
}

#[test]
fn files_in_memory_are_mapped_private_and_shared() {
    let Some(lab) = files(&["maps"]) else { return };
    lab.prints("ok maps");
}

#[test]
fn what_is_written_to_a_shared_mapping_is_in_the_file() {
    let Some(lab) = files(&["host", "/data/file"]) else { return };
    let lab = lab.mount("/data", MountMode::ReadWrite).grant_all("/data");
    lab.prints("ok host");
    let content = std::fs::read(lab.host("/data").join("file")).unwrap();
    assert_eq!((content.len(), &content[..9], &content[5000..5007]), (10000, &b"BY memor!"[..], &b"a child"[..]));
    assert_eq!(&content[9000..9006], b"behind");
}

#[test]
fn locks_hold_between_processes() {
    let Some(lab) = files(&["locks", "/tmp/locked", "locks", "/data/locked"]) else { return };
    lab.mount("/data", MountMode::ReadWrite).grant_all("/data").prints("ok locks\nok locks");
}

#[test]
fn what_is_not_granted_in_memory_is_denied_and_told() {
    let Some(lab) = Lab::compiled("files.c", &["make", "/tmp/new", "open", "/tmp/new"]) else { return };
    let outcome = lab.run();
    assert_eq!(outcome.stdout, "Permission denied\nNo such file or directory\n");
    let told: Vec<_> =
        outcome.report.denials.iter().map(|denied| (denied.denial.permission, &denied.denial.resource[..])).collect();
    assert_eq!(told, [(Some(Permission::FsCreate), "/tmp/new"), (Some(Permission::FsRead), "/tmp/new")]);
    let Some(lab) = Lab::compiled("files.c", &["make", "/tmp/in/new", "make", "/tmp/new"]) else { return };
    let outcome = lab.grant_all("/tmp/in").run();
    assert_eq!(outcome.stdout, "made\nPermission denied\n");
}

#[test]
fn neither_a_second_name_nor_opening_once_more_gives_more_than_is_granted() {
    let Some(lab) = Lab::compiled("files.c", &["gain"]) else { return };
    let readable = [Permission::FsCreate, Permission::FsRead, Permission::FsList];
    lab.grant(&readable, "/tmp/ro").grant_all("/tmp/rw").prints("ok gain");
}

#[test]
fn a_link_in_memory_leads_no_further_than_the_permissions() {
    let Some(lab) = Lab::shell(
        "ln -s /etc/shadow /tmp/a; ln -s /secret /tmp/b; cat /tmp/a /tmp/b; ln -s /data /tmp/c; cat /tmp/c/x; mv /tmp/c/x /tmp/x; cat /tmp/x",
    ) else {
        return;
    };
    let lab = lab.grant_all("/tmp").mount("/data", MountMode::ReadWrite).grant_all("/data");
    std::fs::write(lab.host("/data").join("x"), "content\n").unwrap();
    let outcome = lab.run();
    assert_eq!(outcome.stdout, "content\ncontent\n", "{}", outcome.stderr);
    let told: Vec<_> = outcome.report.denials.iter().map(|denied| denied.denial.resource.as_str()).collect();
    assert_eq!(told, ["/etc/shadow", "/secret"]);
}

#[test]
fn files_in_memory_count_as_memory() {
    let Some(lab) = files(&["fill", "/tmp/large", "64"]) else { return };
    let outcome = lab.limit(|limits| limits.memory = Some(Bytes(32 << 20))).run();
    assert_eq!(tripped(&outcome), Some(LimitKind::Memory), "{}", outcome.report.exit);
    let Some(lab) = files(&["churn"]) else { return };
    lab.limit(|limits| limits.memory = Some(Bytes(16 << 20))).prints("churned");
}

#[test]
fn files_in_memory_count_for_the_disk_and_so_do_their_names() {
    for arguments in [&["fill", "/dev/shm/large", "3"][..], &["many"]] {
        let Some(lab) = files(arguments) else { return };
        let outcome = lab.limit(|limits| limits.disk = Some(Bytes(2 << 20))).run();
        assert_eq!(tripped(&outcome), Some(LimitKind::Disk), "{arguments:?} {}", outcome.report.exit);
        assert!(outcome.report.usage.disk <= (2 << 20) + 8192);
    }
    let Some(lab) = files(&["churn"]) else { return };
    let outcome = lab.limit(|limits| limits.disk = Some(Bytes(2 << 20))).run();
    assert_eq!((outcome.report.exit, outcome.report.usage.disk), (Exit::Returned(0), 0));
}

#[test]
fn a_file_in_memory_has_a_limited_size() {
    let Some(lab) = files(&["fill", "/tmp/large", "2"]) else { return };
    let outcome = lab.limit(|limits| limits.file_size = Some(Bytes(1 << 20))).run();
    assert_eq!(tripped(&outcome), Some(LimitKind::FileSize), "{}", outcome.report.exit);
}
