//! What file permissions grant and deny, each by itself.

use super::{NOT_THERE, READ_ONLY, SYSTEM_THERE};
use crate::{Case, Ends, Natively, Otherwise};

const ALL: &str = r#"
fs.read = ["/data"]
fs.write = ["/data"]
fs.create = ["/data"]
fs.delete = ["/data"]
fs.list = ["/data"]
"#;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "files/a_granted_file_is_read",
        permissions: r#"fs.read = ["/data"]"#,
        probe: "read /data/in.txt + read /data/sub/nested.txt + readat /data/in.txt 2 3",
        prints: &[r#"ok 7 "inside""#, r#"ok 7 "nested""#, r#"ok 3 "sid""#],
        ..Case::NOTHING
    },
    Case {
        name: "files/nothing_is_read_without_a_grant",
        probe: "read /data/in.txt",
        prints: &["err EACCES"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "/data/in.txt")],
        natively: Natively::Otherwise(Otherwise::because(NOT_THERE).prints(&["err ENOENT"])),
        ..Case::NOTHING
    },
    Case {
        name: "files/what_is_not_there_is_denied_like_what_is",
        permissions: r#"fs.read = ["/data"]"#,
        probe: "read /etc/shadow + read /no/such/thing + read /data/no-such-file",
        prints: &["err EACCES", "err EACCES", "err ENOENT"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "/etc/shadow"), ("fs.read", "/no/such/thing")],
        natively: Natively::Otherwise(Otherwise::because(NOT_THERE).prints(&[
            "err ENOENT",
            "err ENOENT",
            "err ENOENT",
        ])),
        ..Case::NOTHING
    },
    Case {
        name: "files/a_prefix_ends_at_a_component",
        permissions: r#"fs.read = ["/data/in"]"#,
        probe: "read /data/in.txt",
        prints: &["err EACCES"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "/data/in.txt")],
        natively: Natively::Otherwise(Otherwise::because(NOT_THERE).prints(&["err ENOENT"])),
        before: |place| std::fs::create_dir(place.path("data/in")).expect("a folder is made"),
        ..Case::NOTHING
    },
    Case {
        name: "files/one_file_can_be_granted",
        permissions: r#"fs.read = ["/data/in.txt"]"#,
        probe: "read /data/in.txt + read /data/sub/nested.txt",
        prints: &[r#"ok 7 "inside""#, "err EACCES"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "/data/sub/nested.txt")],
        natively: Natively::Otherwise(Otherwise::because(NOT_THERE).prints(&[r#"ok 7 "inside""#, "err ENOENT"])),
        ..Case::NOTHING
    },
    Case {
        name: "files/reading_does_not_grant_writing",
        permissions: r#"fs.read = ["/data"]"#,
        probe: "overwrite /data/in.txt changed + append /data/in.txt more + truncate /data/in.txt 0",
        prints: &["err EACCES", "err EACCES", "err EACCES"],
        ends: Ends::Status(1),
        denies: &[("fs.write", "/data/in.txt")],
        after: |place| assert_eq!(place.text("data/in.txt"), "inside\n"),
        natively: Natively::Otherwise(Otherwise::because(READ_ONLY).prints(&["err EROFS", "err EROFS", "err EROFS"])),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "files/writing_does_not_grant_creating_or_deleting",
        permissions: r#"fs.write = ["/data"]"#,
        probe: "overwrite /data/in.txt changed + exclusive /data/new + mkdir /data/folder + unlink /data/in.txt + symlink in.txt /data/link",
        prints: &["ok 7", "err EACCES", "err EACCES", "err EACCES", "err EACCES"],
        ends: Ends::Status(1),
        denies: &[
            ("fs.create", "/data/new"),
            ("fs.create", "/data/folder"),
            ("fs.delete", "/data/in.txt"),
            ("fs.create", "/data/link"),
        ],
        after: |place| {
            assert!(place.text("data/in.txt").starts_with("changed"));
            assert!(!place.path("data/new").exists() && !place.path("data/folder").exists());
        },
        ..Case::NOTHING
    },
    Case {
        name: "files/deleting_does_not_grant_reading",
        permissions: r#"fs.delete = ["/data"]"#,
        probe: "read /data/in.txt + unlink /data/in.txt",
        prints: &["err EACCES", "ok"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "/data/in.txt")],
        after: |place| assert!(!place.path("data/in.txt").exists()),
        ..Case::NOTHING
    },
    Case {
        name: "files/listing_is_a_permission_of_its_own",
        permissions: r#"fs.read = ["/data"]"#,
        probe: "list /data/sub",
        prints: &["err EACCES"],
        ends: Ends::Status(1),
        denies: &[("fs.list", "/data/sub")],
        ..Case::NOTHING
    },
    Case {
        name: "files/a_folder_is_listed",
        permissions: r#"fs.list = ["/data"]"#,
        probe: "list /data/sub + list /data/empty",
        prints: &[r#"ok 1 "nested.txt""#, "ok 0"],
        ..Case::NOTHING
    },
    Case {
        name: "files/mounts_show_in_the_root",
        permissions: r#"fs.list = ["/"]"#,
        probe: "list /",
        prints: &[r#"ok 2 "data" "fixed""#],
        natively: Natively::Otherwise(Otherwise::because(SYSTEM_THERE).prints(&[r#"ok … "data" … "fixed" …"#])),
        ..Case::NOTHING
    },
    Case {
        name: "files/everything_granted_works",
        permissions: ALL,
        probe: "write /data/new one + append /data/new two + read /data/new + rename /data/new /data/sub/moved + \
                read /data/sub/moved + copy /data/sub/moved /data/copy + mkdir /data/folder + rmdir /data/folder + \
                unlink /data/copy + symlink in.txt /data/link + readlink /data/link + read /data/link + \
                truncate /data/sub/moved 3 + read /data/sub/moved + link /data/in.txt /data/hard + read /data/hard + \
                deep /data 20",
        prints: &[
            "ok 3",
            "ok 3",
            r#"ok 6 "onetwo""#,
            "ok",
            r#"ok 6 "onetwo""#,
            "ok 6",
            "ok",
            "ok",
            "ok",
            "ok",
            r#"ok "in.txt""#,
            r#"ok 7 "inside""#,
            "ok",
            r#"ok 3 "one""#,
            "ok",
            r#"ok 7 "inside""#,
            "ok 20",
        ],
        after: |place| {
            assert_eq!(place.text("data/sub/moved"), "one");
            assert_eq!(place.text("data/hard"), "inside\n");
            assert!(!place.path("data/copy").exists() && !place.path("data/folder").exists());
        },
        ..Case::NOTHING
    },
    Case {
        name: "files/times_are_set",
        permissions: ALL,
        probe: "times /data/in.txt 1000000000 + stat /data/in.txt",
        prints: &["ok", "ok file size=7 modified=1000000000"],
        ..Case::NOTHING
    },
    Case {
        name: "files/metadata_of_what_is_not_granted_is_denied",
        permissions: r#"fs.read = ["/data"]"#,
        probe: "stat /data/in.txt + stat /etc/shadow + lstat /fixed/fixed.txt",
        prints: &["ok file size=7…", "err EACCES", "err EACCES"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "/etc/shadow"), ("fs.read", "/fixed/fixed.txt")],
        natively: Natively::Otherwise(Otherwise::because(NOT_THERE).prints(&[
            "ok file size=7…",
            "err ENOENT",
            "err ENOENT",
        ])),
        ..Case::NOTHING
    },
    Case {
        name: "files/a_read_only_mount_stays_as_it_is",
        permissions: r#"
            fs.read = ["/fixed"]
            fs.write = ["/fixed"]
            fs.create = ["/fixed"]
            fs.delete = ["/fixed"]
        "#,
        probe: "read /fixed/fixed.txt + overwrite /fixed/fixed.txt changed + exclusive /fixed/new + \
                unlink /fixed/fixed.txt + mkdir /fixed/folder + times /fixed/fixed.txt 1",
        prints: &[r#"ok 6 "fixed""#, "err EROFS", "err EROFS", "err EROFS", "err EROFS", "err EROFS"],
        ends: Ends::Status(1),
        denies: &[("-", "/fixed/fixed.txt"), ("-", "/fixed/new"), ("-", "/fixed/folder")],
        ..Case::NOTHING
    },
    Case {
        name: "files/rights_are_not_gained_by_renaming",
        permissions: r#"
            fs.delete = ["/data"]
            fs.create = ["/data"]
            fs.read = ["/data/sub"]
        "#,
        probe: "rename /data/in.txt /data/sub/in.txt + read /data/sub/in.txt",
        prints: &["err EXDEV", "err ENOENT"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "/data/in.txt")],
        after: |place| assert_eq!(place.text("data/in.txt"), "inside\n"),
        ..Case::NOTHING
    },
    Case {
        name: "files/rights_are_not_gained_by_linking",
        permissions: r#"
            fs.create = ["/data"]
            fs.read = ["/data"]
            fs.write = ["/data/sub"]
        "#,
        probe: "link /data/in.txt /data/sub/hard + overwrite /data/sub/hard changed",
        prints: &["err EXDEV", "err ENOENT"],
        ends: Ends::Status(1),
        denies: &[("fs.write", "/data/in.txt")],
        after: |place| assert_eq!(place.text("data/in.txt"), "inside\n"),
        ..Case::NOTHING
    },
    Case {
        name: "files/nothing_is_renamed_from_mount_to_mount",
        permissions: r#"
            fs.read = ["/"]
            fs.write = ["/"]
            fs.create = ["/"]
            fs.delete = ["/"]
        "#,
        probe: "rename /data/in.txt /in.txt",
        prints: &["err EXDEV"],
        ends: Ends::Status(1),
        after: |place| assert_eq!(place.text("data/in.txt"), "inside\n"),
        ..Case::NOTHING
    },
    Case {
        name: "files/the_root_is_the_capsules_own",
        permissions: r#"
            fs.read = ["/"]
            fs.write = ["/"]
            fs.create = ["/"]
            fs.list = ["/"]
        "#,
        probe: "write /note kept + read /note + list /",
        prints: &["ok 4", r#"ok 4 "kept""#, r#"ok 3 "data" "fixed" "note""#],
        after: |place| assert_eq!(place.text("home/vfs/conformance/note"), "kept"),
        natively: Natively::Otherwise(Otherwise::because(SYSTEM_THERE).prints(&[
            "ok 4",
            r#"ok 4 "kept""#,
            r#"ok … "data" … "fixed" … "note" …"#,
        ])),
        ..Case::NOTHING
    },
];
