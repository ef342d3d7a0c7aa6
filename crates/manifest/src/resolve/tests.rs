use std::collections::BTreeSet;

use std::path::Path;

use super::*;
use crate::{Bytes, Kind, MountMode, Permission, Strength};

/// The crate's own folder: it has a `src` to mount.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn surroundings<'a>() -> Surroundings<'a> {
    Surroundings {
        directory: HERE.into(),
        current_directory: Path::new(HERE).join("src"),
        data_home: Some("/var/lib/ringfence".into()),
        host_environment: &|name| (name == "TERM").then(|| "xterm".to_owned()),
        levels: vec![Level::Script, Level::Wasm, Level::Sandbox, Level::Container],
        extra_args: Vec::new(),
    }
}

fn manifest(rest: &str) -> Manifest {
    let text = format!("[capsule]\nname = \"example\"\n[program]\npath = \"bin/example.wasm\"\n{rest}");
    Manifest::parse("capsule.toml", &text).unwrap_or_else(|error| panic!("{error}"))
}

fn resolved(rest: &str) -> Spec {
    resolved_with(rest, &Overrides::default())
}

fn resolved_with(rest: &str, overrides: &Overrides) -> Spec {
    manifest(rest).resolve(overrides, &surroundings()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn defaults_are_filled_in_and_marked() {
    let spec = resolved("");
    assert_eq!(spec.limits.memory, Some(Bytes(1 << 30)));
    assert_eq!(spec.limits.open_files, Some(1024));
    assert_eq!(spec.limits.wall_time, None);
    assert_eq!(spec.defaults, BTreeSet::from(["memory", "open_files"]));
    assert_eq!(spec.program.working_directory, "/");
    assert_eq!(spec.stdio.stdin, StreamIn::Inherit);
    assert_eq!(spec.root, None);
    assert!(resolved("[limits]\nmemory = 1000\nopen_files = 3\n").defaults.is_empty());
}

#[test]
fn paths_of_the_manifest_are_seen_from_its_folder_and_those_of_flags_from_here() {
    let overrides = Overrides { mount: vec![".:/flag".into()], ..Overrides::default() };
    let spec = resolved_with("[mounts]\n\"/file\" = \"./src\"\n[stdio]\nstdout = { file = \"out.txt\" }\n", &overrides);
    let here = Path::new(HERE);
    assert_eq!(spec.program.path, here.join("bin/example.wasm"));
    assert_eq!(spec.mounts[0].from, here.join("src"));
    assert_eq!(spec.mounts[1].from, here.join("src"));
    assert_eq!(spec.stdio.stdout, StreamOut::OfFolder(here.join("out.txt")));
}

#[test]
fn a_linux_program_that_is_only_named_is_the_hosts() {
    let found = |program: &str| {
        let path = |name: &str| (name == "PATH").then(|| "/usr/bin:/bin".to_owned());
        let surroundings = Surroundings { host_environment: &path, ..surroundings() };
        Manifest::new("example", program).resolve(&Overrides::default(), &surroundings).unwrap().program.path
    };
    assert_eq!(found("env"), Path::new("/usr/bin/env"));
    // A file beside the manifest comes first, and what is more than a name is a path.
    for own in ["Cargo.toml", "./env", "bin/env", "env.wasm", "no-such-program-of-that-name"] {
        assert_eq!(found(own), Path::new(HERE).join(own.trim_start_matches("./")), "{own}");
    }
}

#[test]
fn a_bare_program_is_seen_from_here() {
    let spec = Manifest::bare("tool.js").resolve(&Overrides::default(), &surroundings()).unwrap();
    assert_eq!(spec.program.path, Path::new(HERE).join("src/tool.js"));
    assert_eq!((spec.program.kind, spec.isolation.level), (Kind::Js, Level::Script));
}

#[test]
fn the_folder_may_be_relative() {
    let surroundings = Surroundings { directory: "".into(), current_directory: HERE.into(), ..surroundings() };
    let spec = manifest("").resolve(&Overrides::default(), &surroundings).unwrap();
    assert_eq!(spec.program.path, Path::new(HERE).join("bin/example.wasm"));
}

#[test]
fn a_relative_mount_is_seen_from_the_working_directory_and_keeps_its_name() {
    let overrides = Overrides { cwd: Some("/work/./x".into()), ..Overrides::default() };
    let spec = resolved_with("[mounts]\n\"data\" = { from = \"src\", mode = \"rw\" }\n", &overrides);
    let mount = &spec.mounts[0];
    assert_eq!((mount.at.as_str(), mount.name.as_str(), mount.mode), ("/work/x/data", "data", MountMode::ReadWrite));
    assert_eq!(spec.program.working_directory, "/work/x");
}

#[test]
fn a_mount_is_read_only_unless_it_says_otherwise() {
    let overrides =
        Overrides { mount: vec![".:/c".into(), ".:/d:ro".into(), ".:/e:rw".into()], ..Overrides::default() };
    let spec = resolved_with("[mounts]\n\"/a\" = \"src\"\n\"/b\" = { from = \"src\" }\n", &overrides);
    let modes: Vec<_> = spec.mounts.iter().map(|mount| mount.mode).collect();
    let (ro, rw) = (MountMode::ReadOnly, MountMode::ReadWrite);
    assert_eq!(modes, [ro, ro, ro, ro, rw]);
}

#[test]
fn mounts_keep_their_order_and_may_nest() {
    let spec = resolved("[mounts]\n\"/z\" = \"src\"\n\"/a\" = \"src\"\n\"/z/deeper\" = \"src\"\n");
    assert_eq!(spec.mounts.iter().map(|mount| mount.at.as_str()).collect::<Vec<_>>(), ["/z", "/a", "/z/deeper"]);
}

#[test]
fn variables_are_complete() {
    let overrides = Overrides { env: vec!["NEW=1".into(), "UNSET".into()], ..Overrides::default() };
    let spec = resolved_with("[permissions]\nenv = [\"TERM\", \"HOME\"]\n[env]\nLOG = \"info\"\n", &overrides);
    let expected = [("LOG", "info"), ("NEW", "1"), ("TERM", "xterm")];
    assert_eq!(spec.environment, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn every_permission_remembers_where_it_was_written() {
    let overrides = Overrides { allow: vec!["fs.read=/x".into(), "random=false".into()], ..Overrides::default() };
    let rest = "[permissions]\nfs.read = [\"/data\"]\nrandom = true\n[permissions.net]\nresolve = [\"a.com\"]\n";
    let spec = resolved_with(rest, &overrides);
    let source = |permission| spec.permissions.sources.get(&permission).map(|source| source.0.as_str());
    assert_eq!(source(Permission::FsRead), Some("capsule.toml:6, --allow fs.read=/x"));
    assert_eq!(source(Permission::Random), Some("--allow random=false"));
    assert_eq!(source(Permission::NetResolve), Some("capsule.toml:9"));
    assert_eq!(source(Permission::FsList), None);
}

#[test]
fn arguments_of_the_command_line_need_a_permission() {
    let with_args = || Surroundings { extra_args: vec!["-x".into()], ..surroundings() };
    assert!(manifest("").resolve(&Overrides::default(), &with_args()).is_err());
    let allow = Overrides { allow: vec!["args".into()], ..Overrides::default() };
    assert_eq!(manifest("").resolve(&allow, &with_args()).unwrap().program.args, ["-x"]);
    let bare = Manifest::bare("x.wasm").resolve(&Overrides::default(), &with_args()).unwrap();
    assert_eq!(bare.program.args, ["-x"]);
}

#[test]
fn what_is_required_is_what_was_asked_what_always_holds_and_what_limits_need() {
    let spec = resolved("[isolation]\nrequire = [\"processes-hidden\"]\n[limits]\ndisk = 0\n");
    let mut expected: BTreeSet<_> = Guarantee::ALWAYS.iter().copied().collect();
    expected.extend([
        Guarantee::ProcessesHidden,
        Guarantee::DiskLimit,
        Guarantee::MemoryLimit,
        Guarantee::OpenFilesLimit,
    ]);
    assert_eq!(spec.isolation.require, expected);
}

#[test]
fn the_weakest_level_that_will_do_is_chosen() {
    assert_eq!(resolved("").isolation.level, Level::Wasm);
    assert_eq!(resolved("[isolation]\nminimum = \"sandbox\"\n").isolation.level, Level::Sandbox);
    assert_eq!(resolved("[isolation]\nrequire = [\"own-address-space\"]\n").isolation.level, Level::Sandbox);
    assert_eq!(resolved("[isolation]\nlevel = \"container\"\n").isolation.level, Level::Container);
    assert_eq!(resolved("[isolation]\nlevel = \"wasm\"\nminimum = \"wasm\"\n").isolation.level, Level::Wasm);
}

/// The choice by its definition, over every minimum, kind, requirement and set of levels.
#[test]
fn no_weaker_level_would_do_and_none_is_chosen_that_does_not() {
    for kind in Kind::ALL {
        for minimum in Level::ALL {
            for guarantee in Guarantee::ALL.iter().copied() {
                for available in 0..1usize << Level::ALL.len() {
                    let levels: Vec<_> = (0..Level::ALL.len())
                        .filter(|bit| available >> bit & 1 == 1)
                        .map(|bit| Level::ALL[bit])
                        .collect();
                    let mut manifest = Manifest::new("example", "example");
                    manifest.program.kind = Some(Written::nowhere(kind));
                    manifest.isolation.minimum = Some(Written::nowhere(minimum));
                    let require = BTreeSet::from([guarantee]);
                    let will_do =
                        |level: &Level| *level >= minimum && level.runs(kind) && level.holds(guarantee) != Strength::No;
                    match level::choose(&manifest, &require, &levels) {
                        Ok(level) => assert_eq!(Some(level), levels.iter().copied().find(|level| will_do(level))),
                        Err(ResolveError::NoLevel { rejected, .. }) => {
                            assert!(!levels.iter().any(will_do));
                            assert_eq!(rejected.len(), Level::ALL.len());
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    }
}

#[test]
fn problems_of_the_manifest_and_of_flags_are_told_together() {
    let overrides = Overrides { limit: vec!["memory=x".into()], ..Overrides::default() };
    let rest = "[isolation]\nlevel = \"script\"\n[mounts]\n\"/x\" = \"./nowhere\"\n";
    let Err(ResolveError::Invalid(error)) = manifest(rest).resolve(&overrides, &surroundings()) else { panic!() };
    assert_eq!(error.problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [6, 8, 0], "{error}");
}

#[test]
fn a_manifest_made_by_a_program_is_checked_too() {
    let manifest = Manifest::new("../x", "x.wasm");
    assert!(matches!(manifest.resolve(&Overrides::default(), &surroundings()), Err(ResolveError::Invalid(_))));
}

#[test]
fn a_capsule_has_a_folder_of_its_own_when_something_in_it_is_granted() {
    let root = |rest: &str, data_home: Option<&str>| {
        let surroundings = Surroundings { data_home: data_home.map(PathBuf::from), ..surroundings() };
        manifest(rest).resolve(&Overrides::default(), &surroundings).map(|spec| spec.root)
    };
    let beside = "[permissions]\nfs.read = [\"/data\", \"/own\"]\n[mounts]\n\"/data\" = \"src\"\n";
    let within = "[permissions]\nfs.read = [\"/data/x\"]\n[mounts]\n\"/data\" = \"src\"\n";
    let above = "[permissions]\nfs.list = [\"/\"]\n[mounts]\n\"/data\" = \"src\"\n";
    for rest in [beside, above] {
        assert_eq!(root(rest, Some("/home")).unwrap(), Some("/home/vfs/example".into()));
        let error = root(rest, None).unwrap_err().to_string();
        assert!(error.contains("set XDG_DATA_HOME"), "{error}");
    }
    for rest in ["", within] {
        assert_eq!([root(rest, Some("/home")).unwrap(), root(rest, None).unwrap()], [None, None]);
    }
}

#[test]
fn a_mount_is_resolved_to_what_it_leads_to() {
    let place = Place::Manifest { offset: 0, length: 1 };
    let manifest = |from: &str| {
        let mut manifest = manifest("");
        let written = |value: &str| Written { value: value.to_owned(), place: place.clone() };
        let mount = crate::section::Mount { at: written("/m"), from: written(from), mode: MountMode::ReadOnly };
        manifest.mounts.push(mount);
        manifest
    };
    let from = |from: &str| {
        let spec = manifest(from).resolve(&Overrides::default(), &surroundings());
        spec.map(|mut spec| spec.mounts.remove(0).from)
    };
    assert_eq!(from("src/../src/./resolve").unwrap(), Path::new(HERE).join("src/resolve"));
    // What is written as outside of the folder may be there, and is shown as what it is.
    assert_eq!(from("../manifest/../abi").unwrap(), Path::new(HERE).parent().unwrap().join("abi"));
    assert_eq!(from("/proc/self/root").unwrap(), Path::new("/"));
}

#[test]
fn streams_of_flags_are_the_users_own_and_may_be_anywhere() {
    let mut manifest = manifest("");
    let written = |path: &str| {
        Some(Written { value: Stream::File(path.into()), place: Place::CommandLine(format!("--stdin {path}")) })
    };
    manifest.stdio.stdin = written("/etc/passwd");
    manifest.stdio.stdout = written("out.txt");
    let spec = manifest.resolve(&Overrides::default(), &surroundings()).unwrap();
    assert_eq!(spec.stdio.stdin, StreamIn::File("/etc/passwd".into()));
    assert_eq!(spec.stdio.stdout, StreamOut::File(Path::new(HERE).join("src/out.txt")));
}
