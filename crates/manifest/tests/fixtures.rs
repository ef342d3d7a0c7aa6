//! Every rule of the manifest has a fixture under `tests/manifests/rejected`, named for the mistake,
//! with the exact message. `UPDATE_EXPECTED=1` writes the messages anew.

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_manifest::{Level, Manifest, Overrides, Surroundings};

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/manifests").canonicalize().unwrap()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// Everything that is wrong with a manifest and its flags, as the user is told; `Ok` is its spec.
fn told(text: &str, flags: &str, directory: &Path) -> Result<ringfence_manifest::Spec, String> {
    let manifest = Manifest::parse("capsule.toml", text).map_err(|error| error.to_string())?;
    let (overrides, extra_args) = read_flags(flags);
    let surroundings = Surroundings {
        directory: directory.to_owned(),
        current_directory: directory.to_owned(),
        data_home: Some("/var/lib/ringfence".into()),
        host_environment: &|name| (name == "TERM").then(|| "xterm".to_owned()),
        levels: vec![Level::Script, Level::Wasm, Level::Sandbox, Level::Container],
        extra_args,
    };
    manifest.resolve(&overrides, &surroundings).map_err(|error| error.to_string())
}

/// One flag on each line; the words after a line `--` are for the program.
fn read_flags(flags: &str) -> (Overrides, Vec<String>) {
    let mut overrides = Overrides::default();
    let mut lines = flags.lines();
    for line in lines.by_ref().take_while(|line| *line != "--") {
        let (flag, value) = line.split_once(' ').unwrap();
        let value = value.to_owned();
        match flag {
            "--allow" => overrides.allow.push(value),
            "--mount" => overrides.mount.push(value),
            "--env" => overrides.env.push(value),
            "--limit" => overrides.limit.push(value),
            "--level" => overrides.level = Some(value),
            "--minimum" => overrides.minimum = Some(value),
            "--require" => overrides.require.push(value),
            "--seccomp" => overrides.seccomp = Some(value),
            "--cwd" => overrides.cwd = Some(value),
            flag => panic!("there is no flag {flag}"),
        }
    }
    (overrides, lines.map(str::to_owned).collect())
}

#[test]
fn every_rejected_manifest_is_told_its_mistake_by_name() {
    let folder = manifests().join("rejected");
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    let fixtures = entries(&folder);
    assert!(fixtures.len() >= 40, "fixtures are missing from {}", folder.display());
    for fixture in fixtures {
        let text = fs::read_to_string(fixture.join("capsule.toml")).unwrap();
        let flags = fs::read_to_string(fixture.join("flags.txt")).unwrap_or_default();
        let name = fixture.file_name().unwrap().to_string_lossy();
        let Err(message) = told(&text, &flags, &fixture) else {
            wrong.push(format!("{name} is accepted"));
            continue;
        };
        // Where the fixtures lie is no part of the message.
        let message = message.replace(&fixture.to_string_lossy().into_owned(), "/fixture") + "\n";
        let expected = fixture.join("expected.txt");
        if update {
            fs::write(&expected, &message).unwrap();
        } else if fs::read_to_string(&expected).ok().as_ref() != Some(&message) {
            wrong.push(format!("{name} is told:\n{message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_accepted_manifest_resolves_and_reads_back_from_what_it_writes() {
    for path in entries(&manifests().join("accepted")).iter().filter(|path| path.extension().is_some()) {
        let text = fs::read_to_string(path).unwrap();
        let directory = path.parent().unwrap();
        if let Err(message) = told(&text, "", directory) {
            panic!("{} is rejected:\n{message}", path.display());
        }
        let manifest = Manifest::parse("capsule.toml", &text).unwrap();
        let written = manifest.to_toml();
        assert_eq!(Manifest::parse("capsule.toml", &written).unwrap(), manifest, "{}\n{written}", path.display());
    }
}

#[test]
fn the_schema_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema/capsule.schema.json");
    let schema = Manifest::json_schema();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
    }
    // As values: how the keys are ordered is up to a feature of serde_json that any crate may switch on.
    let committed: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(committed == schema, "{} is out of date: run with UPDATE_EXPECTED=1", path.display());
}
