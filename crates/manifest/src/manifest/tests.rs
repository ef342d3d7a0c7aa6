use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::section::Stream;
use crate::{BitRate, Bytes, Cores, Guarantee, Kind, Level, MountMode, Permission, RuleError, SystemCalls};

fn parsed(text: &str) -> Manifest {
    Manifest::parse("capsule.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

const SMALLEST: &str = "[capsule]\nname = \"example\"\n[program]\npath = \"example.wasm\"\n";

#[test]
fn the_smallest_manifest_grants_nothing_but_clock_and_random() {
    let manifest = parsed(SMALLEST);
    let nothing = crate::Permissions { clock: true, random: true, ..crate::Permissions::default() };
    assert_eq!(manifest.permissions.granted, nothing);
    assert_eq!(manifest, Manifest::new("example", "example.wasm"));
}

#[test]
fn every_value_knows_its_place() {
    let manifest = parsed(SMALLEST);
    let Place::Manifest { offset, length } = manifest.program.path.place else { panic!() };
    assert_eq!(&SMALLEST[offset..offset + length], "\"example.wasm\"");
}

#[test]
fn dotted_keys_nested_tables_and_inline_tables_say_the_same() {
    let texts = [
        "[permissions]\nfs.read = [\"/a\"]\nfs.list = [\"/b\"]\nlog = true\n",
        "[permissions]\nlog = true\n[permissions.fs]\nread = [\"/a\"]\nlist = [\"/b\"]\n",
        "[permissions]\nlog = true\nfs = { read = [\"/a\"], list = [\"/b\"] }\n",
    ];
    let [first, second, third] = texts.map(|text| parsed(&format!("{SMALLEST}{text}")));
    assert_eq!(first, second);
    assert_eq!(first, third);
    assert_eq!(first.permissions.granted.texts(Permission::FsRead), ["/a"]);
}

#[test]
fn variables_among_the_permissions_have_values_or_are_passed_on() {
    let set = parsed(&format!("{SMALLEST}[permissions]\nenv = {{ LOG = \"info\" }}\n"));
    assert_eq!(set.environment["LOG"].value, "info");
    assert!(set.permissions.granted.environment.is_empty());
    let passed_on = parsed(&format!("{SMALLEST}[permissions]\nenv = [\"LOG\"]\n"));
    assert!(passed_on.environment.is_empty());
    assert_eq!(passed_on.permissions.granted.texts(Permission::Env), ["LOG"]);
}

#[test]
fn a_bare_program_is_called_after_its_file_and_grants_nothing() {
    for (path, name) in [
        ("./tools/fetch.wasm", "fetch"),
        ("/bin/[", "capsule"),
        ("a b.js", "a-b"),
        (".hidden", "hidden"),
        ("..", "capsule"),
        ("", "capsule"),
        ("日本", "capsule"),
    ] {
        let manifest = Manifest::bare(path);
        assert_eq!(manifest.capsule.name.value, name, "{path}");
        assert_eq!(manifest.program.path.value, Path::new(path));
        let mut granted = manifest.permissions.granted.clone();
        assert!(granted.args);
        granted.args = false;
        assert_eq!(granted, Permissions::default().granted);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_apart_from_one_that_is_wrong() {
    assert!(matches!(Manifest::read("/nowhere/capsule.toml"), Err(ReadError::Unreadable { .. })));
    assert!(matches!(Manifest::read("/dev/zero"), Err(ReadError::Special { .. })));
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert!(matches!(Manifest::read(here), Err(ReadError::Invalid(_))));
}

#[test]
fn every_problem_is_told_and_none_twice() {
    let text = "x = 1\n[capsule]\nname = 3\n[limits]\nmemory = \"1 x\"\nmemory = \"2 x\"\n[program]\n";
    let error = Manifest::parse("capsule.toml", text).unwrap_err();
    let lines: Vec<_> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 3, 5, 6, 7], "{error}");
    for problem in &error.problems {
        assert_eq!(problem.text, text[problem.offset..problem.offset + problem.length]);
    }
}

#[test]
fn a_text_with_a_mistake_in_every_line_is_told_soon() {
    let text: String = (0..20_000).map(|line| format!("x{line} = 1\n")).collect();
    assert_eq!(Manifest::parse("capsule.toml", &text).unwrap_err().problems.len(), 100);
}

#[test]
fn a_deep_text_is_refused_and_not_followed() {
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Manifest::parse("capsule.toml", &deep).is_err());
}

fn written<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Written<T>> {
    value.prop_map(Written::nowhere)
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/.]{1,8}", "[^\0]{1,12}"]
}

/// Texts that stand for rules, one list for each permission that has rules.
fn granted() -> impl Strategy<Value = crate::Permissions> {
    let path = "/[a-z\"\\\\ é]{0,6}(/[a-z]{1,3}){0,2}";
    let connect = select(vec![
        "*",
        "*:443",
        "a.example.com:1-2",
        "*.example.com:*",
        "10.0.0.0/8:5432",
        "[fd00::/8]:80",
        "[::1]:80",
        "127.0.0.1:8080",
    ]);
    let listen = select(vec!["*", "*:80", "127.0.0.1:0", "[::1]:1-9", "0.0.0.0/0:80", "[::/0]:80"]);
    let resolve = select(vec!["*", "*.example.com", "example.org"]);
    let channel = "[a-z.]{1,5}\\*?";
    let rules = (
        vec((select(Permission::ALL), path), 0..6),
        vec(connect, 0..4),
        vec(listen, 0..4),
        vec(resolve, 0..3),
        vec((any::<bool>(), channel), 0..3),
        vec("[A-Z]{1,2}_P", 0..3),
    );
    (rules, any::<[bool; 4]>()).prop_map(|((paths, connect, listen, resolve, channel, environment), switches)| {
        let mut granted = crate::Permissions::default();
        let mut grant = |permission, text: &str| granted.grant(permission, text).unwrap();
        for (permission, path) in paths {
            if permission.name().starts_with("fs.") {
                grant(permission, &path);
            }
        }
        connect.iter().for_each(|text| grant(Permission::NetConnect, text));
        listen.iter().for_each(|text| grant(Permission::NetListen, text));
        resolve.iter().for_each(|text| grant(Permission::NetResolve, text));
        environment.iter().for_each(|text| grant(Permission::Env, text));
        for (send, text) in channel {
            grant(if send { Permission::ChannelSend } else { Permission::ChannelReceive }, &text);
        }
        let [args, clock, random, log] = switches;
        crate::Permissions { args, clock, random, log, ..granted }
    })
}

fn limits() -> impl Strategy<Value = crate::Limits> {
    let amount = || proptest::option::of((1u64.., 0u32..63).prop_map(|(amount, shift)| (amount >> shift).max(1)));
    let size = move || amount().prop_map(|amount| amount.map(Bytes));
    let time = move || amount().prop_map(|amount| amount.map(Duration::from_nanos));
    let cores = proptest::option::of((1u32..).prop_map(Cores));
    let sizes = (size(), size(), size(), size(), size());
    let counts = (amount(), amount(), amount(), amount());
    let rate = amount().prop_map(|amount| amount.map(BitRate));
    (sizes, counts, time(), time(), cores, rate).prop_map(|(sizes, counts, cpu_time, wall_time, cores, bandwidth)| {
        let (memory, disk, file_size, io_bytes, output) = sizes;
        let (processes, open_files, io_operations, fuel) = counts;
        crate::Limits {
            memory,
            cpu_time,
            wall_time,
            cores,
            processes,
            open_files,
            disk,
            file_size,
            bandwidth,
            io_operations,
            io_bytes,
            output,
            fuel,
        }
    })
}

fn stream() -> impl Strategy<Value = Option<Written<Stream>>> {
    let stream =
        prop_oneof![Just(Stream::Inherit), Just(Stream::Null), any_text().prop_map(|path| Stream::File(path.into()))];
    proptest::option::of(written(stream))
}

prop_compose! {
    fn program()(
        kind in proptest::option::of(written(select(&Kind::ALL))),
        path in written(any_text().prop_map(std::path::PathBuf::from)),
        args in vec(written("[^\0]{0,8}"), 0..3),
        cwd in proptest::option::of(written("/[a-z]{0,4}".prop_map(String::from))),
    ) -> Program {
        Program { kind, path, args, cwd }
    }
}

prop_compose! {
    fn isolation()(
        level in proptest::option::of(written(proptest::option::of(select(&Level::ALL)))),
        minimum in proptest::option::of(written(select(&Level::ALL))),
        require in vec(written(select(Guarantee::ALL)), 0..3),
        seccomp in vec(written(select(SystemCalls::vocabulary()).prop_map(String::from)), 0..3),
    ) -> Isolation {
        Isolation { level, minimum, require, seccomp }
    }
}

fn mounts() -> impl Strategy<Value = Vec<Mount>> {
    let mode = prop_oneof![Just(MountMode::ReadOnly), Just(MountMode::ReadWrite)];
    let mounts = btree_map("/?[a-z \"]{1,6}", (any_text(), mode), 0..3);
    mounts.prop_map(|mounts: BTreeMap<String, _>| {
        let mount = |(at, (from, mode))| Mount { at: Written::nowhere(at), from: Written::nowhere(from), mode };
        mounts.into_iter().map(mount).collect()
    })
}

prop_compose! {
    fn manifest()(
        name in "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,20}",
        version in proptest::option::of(select(vec!["1.2.3", "0.1.0-rc.1+x"])),
        program in program(),
        isolation in isolation(),
        granted in granted(),
        mounts in mounts(),
        environment in btree_map("[A-Z][A-Z.'-]{0,3}_S", written("[^\0]{0,8}"), 0..3),
        limits in limits(),
        (stdin, stdout, stderr) in (stream(), stream(), stream()),
    ) -> Manifest {
        let version = version.map(|version| Written::nowhere(version.to_owned()));
        Manifest {
            capsule: Capsule { name: Written::nowhere(name), version },
            program,
            isolation,
            mounts,
            environment,
            limits: Limits { values: limits, ..Limits::default() },
            stdio: Stdio { stdin, stdout, stderr },
            ..Manifest::new("", "").with_permissions(granted)
        }
    }
}

proptest! {
    #[test]
    fn a_manifest_reads_back_from_what_it_writes(manifest in manifest()) {
        let toml = manifest.to_toml();
        match Manifest::parse("capsule.toml", &toml) {
            Ok(read) => prop_assert_eq!(read, manifest, "{}", toml),
            Err(error) => prop_assert!(false, "{}\n{}", error, toml),
        }
    }

    #[test]
    fn any_text_is_a_manifest_or_an_error_with_a_place(text in "\\PC*|([\\[\\]=.\",{}\n a-z#0-9\r\t\u{0}é]|fs|\\[limits\\]\n|memory = ){0,60}") {
        if let Err(error) = Manifest::parse("capsule.toml", &text) {
            prop_assert!(!error.problems.is_empty());
            for problem in &error.problems {
                prop_assert!(problem.offset + problem.length <= text.len());
                prop_assert!(problem.line >= 1 && problem.column >= 1);
            }
            // Showing it does not fail either.
            let _ = error.to_string();
        }
    }

    #[test]
    fn a_damaged_manifest_is_a_manifest_or_an_error(manifest in manifest(), at: prop::sample::Index, with in "\\PC{0,2}|[\"\\[\\]={}\n]") {
        let mut toml = manifest.to_toml();
        let at = toml.floor_char_boundary(at.index(toml.len()));
        let end = toml.ceil_char_boundary(at + 1);
        toml.replace_range(at..end, &with);
        if let Err(error) = Manifest::parse("capsule.toml", &toml) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn what_a_run_needed_can_be_written() {
    let mut needed = crate::Permissions { clock: true, random: true, learn: true, ..crate::Permissions::default() };
    needed.grant(Permission::FsRead, "/data/in.txt").unwrap();
    needed.grant(Permission::NetConnect, "api.example.com:443").unwrap();
    assert!(matches!(needed.grant(Permission::FsRead, "in.txt"), Err(RuleError::RelativePath(_))));
    let toml = Manifest::new("example", "example.wasm").with_permissions(needed).to_toml();
    assert_eq!(
        toml,
        "[capsule]\nname = \"example\"\n\n[program]\npath = \"example.wasm\"\n\n[permissions]\n\
         fs.read = [\"/data/in.txt\"]\nnet.connect = [\"api.example.com:443\"]\n"
    );
}
