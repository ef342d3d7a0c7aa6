//! Ways out of the tree, each of which ends at the wall.

use super::NOT_THERE;
use crate::{Case, Ends, Natively, Otherwise};

const READ: &str = r#"fs.read = ["/data"]"#;
const CHANGE: &str = r#"
fs.read = ["/data"]
fs.write = ["/data"]
fs.create = ["/data"]
fs.delete = ["/data"]
"#;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "escape/dots_stop_at_the_root",
        permissions: READ,
        probe: "read /data/../../../../../../etc/shadow + read /../outside/key.txt + read /data/sub/../in.txt",
        prints: &["err EACCES", "err EACCES", r#"ok 7 "inside""#],
        ends: Ends::Status(1),
        denies: &[("fs.read", "/etc/shadow"), ("fs.read", "/outside/key.txt")],
        natively: Natively::Otherwise(Otherwise::because(NOT_THERE).prints(&[
            "err ENOENT",
            "err ENOENT",
            r#"ok 7 "inside""#,
        ])),
        ..Case::NOTHING
    },
    Case {
        name: "escape/links_are_followed_within_the_tree_only",
        permissions: READ,
        probe: "read /data/good + read /data/good_absolute + read /data/absolute + read /data/up + \
                read /data/up_by_the_side + read /data/outside/key.txt",
        prints: &[r#"ok 7 "inside""#, r#"ok 7 "nested""#, "err EACCES", "err EACCES", "err EACCES", "err EACCES"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "/etc/shadow"), ("fs.read", "/outside/key.txt"), ("fs.read", "…")],
        natively: Natively::Otherwise(Otherwise::because(NOT_THERE).prints(&[
            r#"ok 7 "inside""#,
            r#"ok 7 "nested""#,
            "err ENOENT",
            "err ENOENT",
            "err ENOENT",
            "err ENOENT",
        ])),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "escape/magic_links_lead_nowhere",
        permissions: r#"fs.read = ["/"]"#,
        probe: "read /data/magic + read /proc/self/root/etc/shadow + read /proc/self/fd/0 + read /data/magic_folder/shadow",
        prints: &["err ENOENT", "err ENOENT", "err ENOENT", "err ENOENT"],
        ends: Ends::Status(1),
        natively: Natively::Otherwise(
            Otherwise::because("a program has its own standard input, under that name too").prints(&[
                "err ENOENT",
                "err ENOENT",
                r#"ok 0 """#,
                "err ENOENT",
            ]),
        ),
        ..Case::NOTHING
    },
    Case {
        name: "escape/a_loop_of_links_ends",
        permissions: READ,
        probe: "read /data/loop",
        prints: &["err ELOOP"],
        ends: Ends::Status(1),
        ..Case::NOTHING
    },
    Case {
        name: "escape/links_out_of_the_tree_are_not_made",
        permissions: CHANGE,
        probe: "symlink /etc/shadow /data/new1 + symlink ../outside/key.txt /data/new2 + symlink sub/../../x /data/new3",
        prints: &["err EPERM", "err EPERM", "err EPERM"],
        ends: Ends::Status(1),
        denies: &[("-", "/data/new1"), ("-", "/data/new2"), ("-", "/data/new3")],
        after: |place| {
            for name in ["new1", "new2", "new3"] {
                assert!(place.path("data").join(name).symlink_metadata().is_err());
            }
        },
        natively: Natively::Otherwise(
            Otherwise::because("the kernel takes any text for a link; what it leads to is judged when it is followed")
                .prints(&["ok", "ok", "ok"])
                .ends(Ends::Status(0))
                .denies(&[])
                .after(|place| {
                    let target = std::fs::read_link(place.path("data/new1")).expect("it was made");
                    assert_eq!(target, std::path::Path::new("/etc/shadow"));
                }),
        ),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "escape/links_out_of_the_tree_are_not_made_by_detours",
        permissions: CHANGE,
        probe: "symlink . /data/here + symlink here/../outside/key.txt /data/one + symlink ../in.txt /data/sub/up + \
                rename /data/sub/up /data/two + link /data/sub/up /data/three + rename /data/sub/up /data/sub/still",
        prints: &["ok", "err EPERM", "ok", "err EPERM", "err EPERM", "ok"],
        ends: Ends::Status(1),
        denies: &[("-", "/data/one"), ("-", "/data/two"), ("-", "/data/three")],
        after: |place| {
            for name in ["one", "two", "three"] {
                assert!(place.path("data").join(name).symlink_metadata().is_err());
            }
        },
        natively: Natively::Otherwise(
            Otherwise::because("the kernel takes any text for a link; what it leads to is judged when it is followed")
                .prints(&["ok", "ok", "ok", "ok", "err ENOENT", "err ENOENT"])
                .denies(&[])
                .after(|place| {
                    let target = std::fs::read_link(place.path("data/two")).expect("it was moved");
                    assert_eq!(target, std::path::Path::new("../in.txt"));
                }),
        ),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "escape/a_write_through_a_link_stays_inside",
        permissions: CHANGE,
        probe: "overwrite /data/up changed + append /data/outside/key.txt changed + write /data/absolute changed",
        prints: &["err EACCES", "err EACCES", "err EACCES"],
        ends: Ends::Status(1),
        denies: &[("fs.write", "/outside/key.txt"), ("fs.write", "…"), ("fs.write", "/etc/shadow")],
        natively: Natively::Otherwise(Otherwise::because(NOT_THERE).prints(&["err ENOENT", "err ENOENT", "err EROFS"])),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "escape/a_pipe_in_a_mount_does_not_block",
        permissions: READ,
        probe: "read /data/pipe",
        prints: &["err EACCES"],
        ends: Ends::Status(1),
        denies: &[("-", "/data/pipe")],
        natively: Natively::Otherwise(
            Otherwise::because("a pipe waits for who writes, and the limit on its time ends that")
                .prints(&[])
                .ends(Ends::Exceeded("wall_time"))
                .denies(&[]),
        ),
        limits: "wall_time = \"2s\"",
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
    Case {
        name: "escape/descriptors_of_the_host_are_not_there",
        permissions: READ,
        probe: "openat 3 ../../../../etc/shadow + openat 0 in.txt + openat 7 /etc/shadow",
        prints: &["err …", "err …", "err …"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "…")],
        ..Case::NOTHING
    },
    Case {
        name: "escape/other_users_of_the_folder_do_not_widen_it",
        permissions: READ,
        probe: "read /data/moved/key.txt",
        prints: &["err EACCES"],
        ends: Ends::Status(1),
        denies: &[("fs.read", "…")],
        before: |place| {
            std::os::unix::fs::symlink("../outside", place.path("data/moved")).expect("a link is made");
        },
        natively: Natively::Otherwise(Otherwise::because(NOT_THERE).prints(&["err ENOENT"])),
        served: Some(Natively::Equal),
        ..Case::NOTHING
    },
];
