//! Runs a folder of test programs on the host and at a level, and says where the level answers otherwise.
//!
//! ```sh
//! cargo run -p ringfence-conformance --bin ringfence-syscall-tests -- FOLDER --level microvm --jobs 2
//! ```
//!
//! The programs are those of the Linux Test Project (their lines with TPASS, TFAIL, TBROK and TCONF are
//! counted) or any others: what they do on the host is what they have to do at the level. A line for each
//! test, then a total; the status is 1 when a test failed.
#![deny(unsafe_code)]

mod find;
mod here;
mod outcome;
#[allow(unsafe_code)]
mod sys;
mod there;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use ringfence::{Runtime, SetupError};

use find::Test;
use outcome::{Total, Verdict};

/// Run a folder of test programs on the host and at a level, and compare
#[derive(Parser)]
#[command(
    name = "ringfence-syscall-tests",
    version,
    after_help = "Exit codes:\n  0  none failed\n  1  a test failed\n  2  the tests could not be run"
)]
struct Arguments {
    /// The folder with the programs; it is seen at the level too, and its programs are found by their names
    folder: PathBuf,
    /// The level
    #[arg(long, default_value = "microvm")]
    level: String,
    /// Lines of NAME PROGRAM ARGUMENTS, as in runtest/ of the Linux Test Project [default: each program once]
    #[arg(long, value_name = "FILE")]
    runtest: Option<PathBuf>,
    /// Only tests whose names hold this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where tests begin: a folder of the host's, or one that the level itself keeps
    #[arg(long, value_enum, default_value = "tmp")]
    files: Files,
    /// Standard output has to be the same, too
    #[arg(long)]
    stdout: bool,
    /// How many at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// How many seconds each may take, on either side
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    time: u64,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Where tests begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Files {
    /// `/work`, a mount of a fresh folder of the host's.
    Host,
    /// `/tmp`
    Tmp,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("ringfence-syscall-tests: {error}");
            ExitCode::from(2)
        }
    }
}

/// Why the tests could not be run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("there is no test in {0}")]
    Nothing(PathBuf),
    #[error("inherited descriptors cannot be kept from the programs: {0}")]
    Descriptors(std::io::Error),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("cannot make a folder for the files of the tests: {0}")]
    Folder(#[source] std::io::Error),
}

/// Whether none failed.
fn run(arguments: &Arguments) -> Result<bool, RunError> {
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        move |source| RunError::Unreadable { path, source }
    };
    let folder = arguments.folder.canonicalize().map_err(unreadable(&arguments.folder))?;
    let mut tests = match &arguments.runtest {
        None => find::programs(&folder).map_err(unreadable(&folder))?,
        Some(file) => find::listed(&std::fs::read_to_string(file).map_err(unreadable(file))?),
    };
    tests.retain(|test| arguments.only.as_ref().is_none_or(|only| test.name.contains(only.as_str())));
    if tests.is_empty() {
        return Err(RunError::Nothing(folder));
    }
    // What differs from shell to shell would show on the host alone.
    sys::keep_descriptors().map_err(RunError::Descriptors)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let home = tempfile::tempdir().map_err(RunError::Folder)?;
    let runtime = Runtime::builder().data_home(home.path()).build()?;
    let place = there::Place {
        folder,
        level: arguments.level.clone(),
        files: arguments.files,
        time: Duration::from_secs(arguments.time),
    };
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Relaxed)) {
                    let verdict = judge(test, &place, arguments.stdout, &runtime);
                    if !arguments.json {
                        print!("{}", verdict.lines(&test.name));
                    }
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((test.name.clone(), verdict));
                }
            });
        }
    });
    let mut verdicts = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    verdicts.sort_by(|one, other| one.0.cmp(&other.0));
    let total = Total::of(&verdicts);
    if arguments.json {
        println!("{}", total.json(&arguments.level, &verdicts));
    } else {
        println!("{}", total.line(&arguments.level));
    }
    Ok(total.failed == 0)
}

/// Runs one test on both sides, each in a fresh folder.
fn judge(test: &Test, place: &there::Place, stdout: bool, runtime: &Runtime) -> Verdict {
    let host = match here::run(test, &place.folder, place.time) {
        Ok(host) => host,
        Err(reason) => return Verdict::skipped(format!("on the host: {reason}")),
    };
    if let Some(reason) = host.is_no_measure() {
        return Verdict::skipped(format!("on the host: {reason}"));
    }
    match there::run(test, place, runtime) {
        Ok(level) => Verdict::compare(host, level, stdout),
        Err(there::Unable::Refused(reason)) => Verdict::failed(host, reason),
        Err(there::Unable::Folder(reason)) => Verdict::skipped(reason),
    }
}
