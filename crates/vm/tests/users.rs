//! Users, owners and modes are the instance's own.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use ringfence_manifest::MountMode;
use support::Lab;

fn expected() -> &'static str {
    if rustix::process::geteuid().is_root() { "ok" } else { "ok, as somebody who cannot become another" }
}

#[test]
fn who_becomes_nobody_is_held_to_owners_and_modes_in_memory() {
    let Some(lab) = Lab::compiled("users.c", &["/tmp"]) else { return };
    lab.grant_all("/tmp").prints(expected());
}

#[test]
fn the_hosts_files_keep_their_owners_and_modes() {
    let Some(lab) = Lab::compiled("users.c", &["/data"]) else { return };
    let lab = lab.mount("/data", MountMode::ReadWrite).grant_all("/data");
    let file = lab.host("/data").join("before");
    std::fs::write(&file, "before").unwrap();
    let before = std::fs::metadata(&file).unwrap();
    lab.prints(expected());
    let is = |name: &str| std::fs::metadata(lab.host("/data").join(name)).unwrap();
    assert_eq!((is("before").mode(), is("before").uid()), (before.mode(), before.uid()));
    for name in ["f", "e", "d"] {
        assert_eq!((is(name).uid(), is(name).permissions().mode() & 0o7000), (before.uid(), 0), "{name}");
    }
    if rustix::process::geteuid().is_root() {
        assert_eq!(is("f").permissions().mode() & 0o777, 0o644);
    }
}
