//! Specs and folders for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ringfence_isolation::{Level, Spec};
use ringfence_manifest::{
    FilePermissions, Identity, Isolation, Kind, Limits, Mount, MountMode, PathRule, Permissions, Program, Stdio,
    StreamIn, StreamOut,
};

/// A spec that grants nothing, with its root at `root`.
pub(crate) fn spec(root: &Path) -> Spec {
    Spec {
        capsule: Identity { name: "sample".into(), version: None },
        program: Program {
            kind: Kind::Wasm,
            path: PathBuf::from("/opt/sample.wasm"),
            args: vec!["--once".into()],
            working_directory: "/".into(),
        },
        isolation: Isolation { level: Level::Wasm, require: BTreeSet::new(), seccomp: Default::default() },
        permissions: Permissions::default(),
        mounts: Vec::new(),
        environment: BTreeMap::from([("LOG".to_owned(), "info".to_owned())]),
        limits: Limits::default(),
        stdio: Stdio { stdin: StreamIn::Null, stdout: StreamOut::Capture, stderr: StreamOut::Null },
        root: Some(root.to_owned()),
        defaults: BTreeSet::new(),
        session: ringfence_manifest::Session::default(),
    }
}

/// A mount.
pub(crate) fn mount(at: &str, from: &Path, mode: MountMode) -> Mount {
    Mount { at: at.to_owned(), name: at.to_owned(), from: from.to_owned(), mode }
}

/// Rules from their paths.
pub(crate) fn rules(paths: &[&str]) -> Vec<PathRule> {
    paths.iter().map(|&path| PathRule(path.to_owned())).collect()
}

/// Every file permission on everything.
pub(crate) fn everything() -> FilePermissions {
    let all = || rules(&["/"]);
    FilePermissions { read: all(), write: all(), create: all(), delete: all(), list: all() }
}
