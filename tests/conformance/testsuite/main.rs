//! Runs a folder of WASI preview 1 tests, in the layout of the public WASI testsuite, through ringfence.
//!
//! ```sh
//! cargo run -p ringfence-conformance --bin ringfence-wasi-testsuite -- FOLDER --compare wasmtime
//! ```
//!
//! A line for each test, then a total; the status is 1 when a test failed. Each test gets a fresh copy
//! of its folders, what its JSON names and nothing else.
#![forbid(unsafe_code)]

mod behaviour;
mod capsule;
mod fixture;
mod test;
mod verdict;
mod wasmtime;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ringfence::{Runtime, SetupError};

use fixture::Fixture;
use test::{Found, Test};
use verdict::{Outcome, Verdict};

/// Run a folder of WASI preview 1 tests (NAME.wasm beside an optional NAME.json) through ringfence
#[derive(Parser)]
#[command(
    name = "ringfence-wasi-testsuite",
    version,
    after_help = "Exit codes:\n  0  all passed\n  1  a test failed\n  2  the tests could not be run"
)]
struct Arguments {
    /// The folder with the tests
    folder: PathBuf,
    /// Where the folders are that tests name as root or in dirs [default: the folder with the tests]
    #[arg(long, value_name = "FOLDER")]
    fixtures: Option<PathBuf>,
    /// Run each test with this wasmtime too, and tell where the two differ
    #[arg(long, value_name = "WASMTIME")]
    compare: Option<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("ringfence-wasi-testsuite: {error}");
            ExitCode::from(2)
        }
    }
}

/// Why the tests could not be run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Tests(#[from] test::TestError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Wasmtime(#[from] wasmtime::WasmtimeError),
    #[error("cannot make a folder for the files of the tests: {0}")]
    Folder(#[source] std::io::Error),
}

/// Whether all passed.
fn run(arguments: &Arguments) -> Result<bool, RunError> {
    let found = test::find(&arguments.folder)?;
    let home = tempfile::tempdir().map_err(RunError::Folder)?;
    let runtime = Runtime::builder()
        .current_thread()
        // A test begins with the folders it names, and counts descriptors from there.
        .without_root_folder()
        .data_home(home.path())
        .cache(std::env::temp_dir().join("ringfence-conformance-cache"))
        .build()?;
    let peer = arguments.compare.as_deref().map(wasmtime::Wasmtime::find).transpose()?;
    let fixtures = arguments.fixtures.as_ref().unwrap_or(&arguments.folder);
    let mut verdicts = Vec::new();
    for Found { name, test } in found {
        let verdict = match test {
            Ok(test) => judge(&test, fixtures, &runtime, peer.as_ref()),
            Err(outcome) => Verdict::of(outcome),
        };
        if !arguments.json {
            print!("{}", verdict.lines(&name));
        }
        verdicts.push((name, verdict));
    }
    let total = verdict::Total::of(verdicts.iter().map(|(_, verdict)| verdict));
    if arguments.json {
        println!("{}", total.json(&verdicts, peer.is_some()));
    } else {
        println!("{}", total.line(peer.is_some()));
    }
    Ok(total.failed == 0)
}

/// Runs one test, here and with the peer, each in a fresh copy of its folders.
fn judge(test: &Test, fixtures: &std::path::Path, runtime: &Runtime, peer: Option<&wasmtime::Wasmtime>) -> Verdict {
    let fixture = || Fixture::copy(test, fixtures).map_err(|error| Outcome::Failed(vec![error.to_string()]));
    let here = match fixture() {
        Ok(fixture) => capsule::run(test, &fixture, runtime),
        Err(outcome) => return Verdict::of(outcome),
    };
    let outcome = test.judge(&here);
    let differs = match peer {
        None => Vec::new(),
        Some(peer) => match fixture() {
            Ok(fixture) => {
                let there = peer.run(test, &fixture);
                verdict::differences(test, (&here, &outcome), &there)
            }
            Err(outcome) => return Verdict::of(outcome),
        },
    };
    Verdict { outcome, differs }
}
