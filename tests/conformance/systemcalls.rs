//! The runner of system call tests, over programs of our own that show what calls answer: at level
//! `microvm` they have to print what they print on the host.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ringfence::{Level, Runtime};
use serde_json::Value;

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../programs/calls");

/// Why level microvm cannot be used here, if it cannot.
fn missing() -> Option<String> {
    let runtime = Runtime::builder().current_thread().build().unwrap();
    let Some(vm) = runtime.backends().iter().find(|backend| backend.level() == Level::MicroVm) else {
        return Some("level microvm is not in this build".into());
    };
    vm.probe().into_iter().find(|fact| !fact.usable).map(|fact| format!("{}: {}", fact.name, fact.found))
}

/// Compiles these programs; `None`, said aloud, when there is no compiler.
fn compiled(folder: &Path, sources: &[PathBuf]) -> Option<()> {
    let next = AtomicUsize::new(0);
    let compile = || {
        while let Some(source) = sources.get(next.fetch_add(1, Relaxed)) {
            let program = folder.join(source.file_stem().unwrap());
            let mut command = Command::new("cc");
            command.args(["-O1", "-w", "-static", "-pthread", "-o"]).arg(program).arg(source).arg("-lutil");
            match command.status() {
                Ok(status) => assert!(status.success(), "{} does not compile", source.display()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let results = std::thread::scope(|scope| {
        let compiling: Vec<_> = (0..2).map(|_| scope.spawn(compile)).collect();
        compiling.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    match results.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(_) => Some(()),
        Err(error) => {
            eprintln!("skipped: no C compiler: {error}");
            None
        }
    }
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let runner = env!("CARGO_BIN_EXE_ringfence-syscall-tests");
    let output = Command::new(runner).arg(folder).args(arguments).arg("--json").output().unwrap();
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code(), json.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

#[test]
fn programs_print_at_level_microvm_what_they_print_on_the_host() {
    if let Some(missing) = missing() {
        eprintln!("skipped: {missing}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let entries = Path::new(PROGRAMS).read_dir().unwrap().map(|entry| entry.unwrap().path());
    let sources: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "c")).collect();
    if compiled(folder.path(), &sources).is_none() {
        return;
    }
    let (status, found) = run(folder.path(), &["--stdout", "--files", "tmp", "--jobs", "2", "--time", "30"]);
    let tests = found["tests"].as_array().unwrap();
    let wrong: Vec<_> = tests.iter().filter(|test| test["outcome"] != "passed").collect();
    assert!(wrong.is_empty(), "{}", serde_json::to_string_pretty(&wrong).unwrap());
    assert_eq!((status, tests.len()), (Some(0), sources.len()));
}

#[test]
fn a_level_that_answers_otherwise_fails_the_test() {
    if let Some(missing) = missing() {
        eprintln!("skipped: {missing}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("1-same", "echo same 1 TPASS : fine; exit 0");
    script(
        "2-other",
        "case $(uname -v) in *ringfence*) echo other 1 TFAIL : broken; exit 1;; esac; echo other 1 TPASS : x",
    );
    script("3-unfit", "echo unfit 1 TCONF : not on the host; exit 32");
    let (status, found) = run(folder.path(), &[]);
    let outcomes: Vec<_> = found["tests"].as_array().unwrap().iter().map(|test| test["outcome"].clone()).collect();
    assert_eq!((status, outcomes), (Some(1), vec!["passed".into(), "failed".into(), "skipped".into()]));
    assert_eq!(found["tests"][1]["level"]["parts"]["TFAIL"], 1);
}
