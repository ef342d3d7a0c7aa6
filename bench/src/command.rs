//! The command, from its start to its exit, with compiled code at hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::peer::HELLO;
use crate::ratio::{Often, compare};

const OFTEN: Often = Often { rounds: 200, calls: 1 };

pub(crate) fn run() {
    let path = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.exists());
    let (Some(ringfence), Some(wasmtime)) = (path("RINGFENCE"), path("WASMTIME")) else {
        println!("skipped: RINGFENCE and WASMTIME have to name the two commands (bench/run sets them)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let hello = folder.path().join("hello.wasm");
    std::fs::write(&hello, wat::parse_str(HELLO).expect("it is valid")).expect("it can be written");
    let compiled = folder.path().join("hello.cwasm");
    let compile = Command::new(&wasmtime).arg("compile").arg(&hello).arg("-o").arg(&compiled).status();
    assert!(compile.is_ok_and(|status| status.success()), "wasmtime compile failed");
    let mine = |extra: &[&str]| {
        let mut command = Command::new(&ringfence);
        command.arg("run").arg(&hello).args(extra);
        command.env("XDG_CACHE_HOME", folder.path()).env("XDG_DATA_HOME", folder.path());
        once(&mut command);
    };
    let theirs = |file: &Path| once(Command::new(&wasmtime).args(["run", "--allow-precompiled"]).arg(file));
    compare("hello, granted nothing", OFTEN, "wasmtime run", || mine(&[]), || theirs(&compiled));
    let limits = ["--limit", "memory=64MiB", "--limit", "wall_time=10s", "--limit", "cpu_time=5s"];
    compare("hello, with limits", OFTEN, "wasmtime run, without", || mine(&limits), || theirs(&compiled));
    compare("hello", OFTEN, "/bin/true", || mine(&[]), || once(&mut Command::new("/bin/true")));
}

fn once(command: &mut Command) {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    assert!(output.stdout == b"hello\n" || output.stdout.is_empty(), "{command:?} printed something else");
}
