use proptest::prelude::*;

use super::*;
use crate::{Bytes, Guarantee, Level, MountMode};

const WRITTEN: &str = r#"
[capsule]
name = "example"

[program]
path = "example.wasm"
cwd = "/work"

[isolation]
level = "wasm"
require = ["kill-works"]

[permissions]
fs.read = ["/data"]
env = ["TERM"]
random = true

[mounts]
"/data" = "./data"
"in" = "./in"

[env]
LOG = "info"

[limits]
memory = "64 MiB"
cores = 1
"#;

fn manifest() -> Manifest {
    Manifest::parse("capsule.toml", WRITTEN).unwrap()
}

fn with(overrides: &Overrides) -> Manifest {
    manifest().with(overrides).unwrap_or_else(|error| panic!("{error}"))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn no_flags_change_nothing() {
    assert_eq!(with(&Overrides::default()), manifest());
}

#[test]
fn a_flag_adds_to_a_list() {
    let overrides = Overrides {
        allow: texts(&["fs.read=/etc", "fs.read,fs.list=/srv", "net.connect=a.com:443", "fs.read=/data"]),
        require: texts(&["own-address-space,nothing-left"]),
        ..Overrides::default()
    };
    let manifest = with(&overrides);
    let granted = &manifest.permissions.granted;
    assert_eq!(granted.texts(Permission::FsRead), ["/data", "/etc", "/srv"]);
    assert_eq!(granted.texts(Permission::FsList), ["/srv"]);
    assert_eq!(granted.texts(Permission::NetConnect), ["a.com:443"]);
    let require: Vec<_> = manifest.isolation.require.iter().map(|guarantee| guarantee.value).collect();
    assert_eq!(require, [Guarantee::KillWorks, Guarantee::OwnAddressSpace, Guarantee::NothingLeft]);
}

#[test]
fn a_flag_replaces_a_single_value() {
    let overrides = Overrides {
        allow: texts(&["random=false", "log", "args=true"]),
        limit: texts(&["memory=128MiB", "processes=4", "memory=256MiB"]),
        level: Some("auto".into()),
        minimum: Some("sandbox".into()),
        cwd: Some("/other".into()),
        ..Overrides::default()
    };
    let manifest = with(&overrides);
    assert!(
        !manifest.permissions.granted.random && manifest.permissions.granted.log && manifest.permissions.granted.args
    );
    assert_eq!(manifest.limits.values.memory, Some(Bytes(256 << 20)));
    assert_eq!(manifest.limits.values.processes, Some(4));
    assert_eq!(manifest.limits.values.cores, self::manifest().limits.values.cores);
    assert_eq!(manifest.isolation.level, Some(Written::nowhere(None)));
    assert_eq!(manifest.isolation.minimum, Some(Written::nowhere(Level::Sandbox)));
    assert_eq!(manifest.program.working_directory(), "/other");
}

#[test]
fn a_variable_of_a_flag_replaces_that_of_the_manifest_both_ways() {
    let manifest = with(&Overrides { env: texts(&["TERM=dumb", "LOG", "URL=a=b"]), ..Overrides::default() });
    assert_eq!(manifest.environment["TERM"].value, "dumb");
    assert_eq!(manifest.environment["URL"].value, "a=b");
    assert!(!manifest.environment.contains_key("LOG"));
    assert_eq!(manifest.permissions.granted.texts(Permission::Env), ["LOG"]);
}

#[test]
fn a_mount_of_a_flag_replaces_that_of_the_manifest_at_the_same_path() {
    let overrides = Overrides { mount: texts(&["/srv:/data/:rw", "c:/x:/work/in"]), ..Overrides::default() };
    let mounts = with(&overrides).mounts;
    let shown: Vec<_> = mounts.iter().map(|mount| (&*mount.at.value, &*mount.from.value, mount.mode)).collect();
    assert_eq!(shown, [("/data/", "/srv", MountMode::ReadWrite), ("/work/in", "c:/x", MountMode::ReadOnly)]);
}

#[test]
fn a_mistake_names_its_flag() {
    let overrides = Overrides { limit: texts(&["memory=64Mib"]), level: Some("wsm".into()), ..Overrides::default() };
    let error = manifest().with(&overrides).unwrap_err();
    let flags: Vec<_> = error.problems.iter().map(|problem| (&*problem.file, problem.line)).collect();
    assert_eq!(flags, [("--limit memory=64Mib", 0), ("--level wsm", 0)]);
}

proptest! {
    #[test]
    fn flags_say_what_lines_of_the_manifest_say(paths in prop::collection::vec("/[a-z]{1,4}", 0..5), split: prop::sample::Index) {
        // Some paths in the manifest and the rest in flags, or all of them in the manifest.
        let line = |paths: &[String]| format!("{}[permissions]\nfs.read = {paths:?}\n", "[capsule]\nname = \"x\"\n[program]\npath = \"x\"\n");
        let split = if paths.is_empty() { 0 } else { split.index(paths.len()) };
        let whole = Manifest::parse("capsule.toml", &line(&paths)).unwrap();
        let part = Manifest::parse("capsule.toml", &line(&paths[..split])).unwrap();
        let allow = paths[split..].iter().map(|path| format!("fs.read={path}")).collect();
        prop_assert_eq!(part.with(&Overrides { allow, ..Overrides::default() }).unwrap(), whole);
    }

    #[test]
    fn the_last_of_two_flags_wins(first in 1u64..1 << 40, second in 1u64..1 << 40) {
        let limit = vec![format!("disk={first}"), format!("disk={second} B")];
        let manifest = with(&Overrides { limit, ..Overrides::default() });
        prop_assert_eq!(manifest.limits.values.disk, Some(Bytes(second)));
    }

    #[test]
    fn any_flags_are_applied_or_an_error(flags in prop::collection::vec("(fs.read|env|log|memory|/a|[,:=])?\\PC{0,8}", 0..4)) {
        let overrides = Overrides {
            allow: flags.clone(),
            mount: flags.clone(),
            env: flags.clone(),
            limit: flags.clone(),
            level: flags.first().cloned(),
            minimum: flags.first().cloned(),
            require: flags.clone(),
            seccomp: flags.first().cloned(),
            cwd: flags.first().cloned(),
        };
        if let Err(error) = manifest().with(&overrides) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
