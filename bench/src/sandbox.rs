//! Level `sandbox`: `/bin/true` behind it, from the start of the command to its exit.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use ringfence::{Capsule, Load, Runtime, StreamIn, StreamOut};

use crate::ratio::{Often, compare};

const OFTEN: Often = Often { rounds: 100, calls: 1 };
const PROGRAM: &str = "/bin/true";

pub(crate) fn run() {
    command();
    library();
    inside();
}

/// The command against bubblewrap with the same namespaces, which sets no limit on memory.
fn command() {
    let Some(ringfence) = std::env::var_os("RINGFENCE").map(PathBuf::from).filter(|path| path.exists()) else {
        println!("skipped: RINGFENCE has to name the command (bench/run sets it)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mine = || {
        let mut command = Command::new(&ringfence);
        command.args(["run", PROGRAM, "--limit", "memory=64MiB", "--limit", "processes=16"]);
        command.env("XDG_DATA_HOME", folder.path()).env("XDG_CACHE_HOME", folder.path());
        once(&mut command);
    };
    if Command::new("bwrap").arg("--version").output().is_ok() {
        let theirs = || once(Command::new("bwrap").args(BUBBLEWRAP).arg(PROGRAM));
        compare("/bin/true, with memory and processes limited", OFTEN, "bwrap, without", mine, theirs);
    } else {
        println!("skipped: there is no bwrap (Debian's package bubblewrap)");
    }
    compare("/bin/true", OFTEN, "plain exec", mine, || once(&mut Command::new(PROGRAM)));
}

/// A read-only view of the system, and every namespace.
const BUBBLEWRAP: [&str; 13] = [
    "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
    "--tmpfs", "/tmp", "--",
];

/// The library from a warm runtime, against plain fork and exec.
fn library() {
    let Some((tokio, capsule, _folder)) = capsule(PROGRAM, &[]) else { return };
    let mine = || {
        let report = tokio.block_on(capsule.run()).expect("it starts");
        assert!(matches!(report.exit, ringfence::Exit::Returned(0)), "{}", report.exit);
    };
    compare("/bin/true, from the library", OFTEN, "plain exec", mine, || once(&mut Command::new(PROGRAM)));
}

/// A program that makes system calls, inside against outside.
fn inside() {
    const COPY: &[&str] = &["if=/dev/zero", "of=/dev/null", "bs=1", "count=400000", "status=none"];
    let Some((tokio, capsule, _folder)) = capsule("/bin/dd", COPY) else { return };
    let often = Often { rounds: 10, calls: 1 };
    let mine = || {
        let report = tokio.block_on(capsule.run()).expect("it starts");
        assert!(matches!(report.exit, ringfence::Exit::Returned(0)), "{}", report.exit);
    };
    compare("800,000 reads and writes of a byte", often, "outside", mine, || once(Command::new("/bin/dd").args(COPY)));
}

fn capsule(program: &str, args: &[&str]) -> Option<(tokio::runtime::Runtime, Capsule, tempfile::TempDir)> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a Tokio runtime");
    let runtime = Runtime::builder()
        .executor(tokio.handle().clone())
        .data_home(folder.path())
        .without_cache()
        .build()
        .expect("a runtime");
    let load = Load::path(program)
        .expect("it is there")
        .args(args.iter().copied())
        .limit("memory=64MiB")
        .limit("processes=16")
        .stdin(StreamIn::Null)
        .stdout(StreamOut::Null)
        .stderr(StreamOut::Null);
    match runtime.load_with(load) {
        Ok(capsule) => Some((tokio, capsule, folder)),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

fn once(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}
