//! A test through ringfence.

use ringfence::{Exit, Load, LoadError, Report, Runtime, StartError, StreamIn, StreamOut};

use crate::behaviour::{Behaviour, End};
use crate::fixture::Fixture;
use crate::test::Test;

/// How long a test may take.
pub(crate) const SECONDS: u64 = 30;

/// Everything that can be granted on a folder.
const ALL: &str = "fs.read,fs.write,fs.create,fs.delete,fs.list";

/// Runs a test with what its specification names, and nothing else.
pub(crate) fn run(test: &Test, fixture: &Fixture, runtime: &Runtime) -> Behaviour {
    match report(test, fixture, runtime) {
        Ok(report) => behaviour(report),
        Err(error) => Behaviour { end: End::Other(format!("nothing: {error}")), ..Behaviour::default() },
    }
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Start(#[from] StartError),
}

fn report(test: &Test, fixture: &Fixture, runtime: &Runtime) -> Result<Report, RunError> {
    let mut load = Load::path(&test.program)?
        .limit(format!("wall_time={SECONDS}s"))
        .args(&test.args)
        .stdin(StreamIn::Bytes(test.stdin.clone().into_bytes()))
        .stdout(StreamOut::Capture)
        .stderr(StreamOut::Capture);
    for (folder, name) in &fixture.folders {
        // The names of folders may be relative to the working directory, which is the top.
        let path = format!("/{}", name.trim_start_matches("./").trim_start_matches('/'));
        load = load.mount(format!("{}:{name}:rw", folder.display())).allow(format!("{ALL}={path}"));
    }
    for (name, value) in &test.env {
        load = load.env(format!("{name}={value}"));
    }
    Ok(runtime.load_with(load)?.run_blocking()?)
}

fn behaviour(report: Report) -> Behaviour {
    let mut notes: Vec<_> = report.denials.iter().map(|denied| denied.denial.to_string()).collect();
    let end = match report.exit {
        Exit::Returned(status) => End::Status(status),
        Exit::Trapped(trap) => {
            notes.push(trap.to_string());
            End::Trap
        }
        exit => End::Other(exit.to_string()),
    };
    Behaviour { end, stdout: report.stdout.unwrap_or_default(), stderr: report.stderr.unwrap_or_default(), notes }
}
