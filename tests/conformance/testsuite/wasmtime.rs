//! The same test with the `wasmtime` command.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::behaviour::{Behaviour, End};
use crate::capsule::SECONDS;
use crate::fixture::Fixture;
use crate::test::Test;

/// A `wasmtime` command.
pub(crate) struct Wasmtime(PathBuf);

/// Why it cannot be compared with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WasmtimeError {
    #[error("cannot run {}: {source}", path.display())]
    Run { path: PathBuf, source: io::Error },
    #[error("{} is not wasmtime: --version fails", .0.display())]
    NotWasmtime(PathBuf),
}

impl Wasmtime {
    /// Checks that it runs.
    pub(crate) fn find(path: &Path) -> Result<Self, WasmtimeError> {
        let version = Command::new(path).arg("--version").stdin(Stdio::null()).output();
        let version = version.map_err(|source| WasmtimeError::Run { path: path.to_owned(), source })?;
        if version.status.success() && version.stdout.starts_with(b"wasmtime") {
            Ok(Wasmtime(path.to_owned()))
        } else {
            Err(WasmtimeError::NotWasmtime(path.to_owned()))
        }
    }

    /// Runs a test with what its specification names, and nothing else.
    pub(crate) fn run(&self, test: &Test, fixture: &Fixture) -> Behaviour {
        let mut command = Command::new(&self.0);
        command.arg("run").args(["-W", &format!("timeout={SECONDS}s")]);
        for (folder, name) in &fixture.folders {
            command.arg("--dir").arg(format!("{}::{name}", folder.display()));
        }
        for (name, value) in &test.env {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.arg(&test.program).args(&test.args);
        output(command, &test.stdin)
            .unwrap_or_else(|error| Behaviour { end: End::Other(format!("nothing: {error}")), ..Behaviour::default() })
    }
}

fn output(mut command: Command, stdin: &str) -> io::Result<Behaviour> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pipe = child.stdin.take();
    let stdin = stdin.to_owned();
    // It may print before it reads, and it may end without reading.
    let writing = thread::spawn(move || pipe.map(|mut pipe| pipe.write_all(stdin.as_bytes())));
    let output = child.wait_with_output()?;
    let _ = writing.join();
    let end = match output.status.code() {
        Some(End::TRAP) => End::Trap,
        Some(status) => End::Status(status),
        None => End::Other(output.status.to_string()),
    };
    Ok(Behaviour { end, stdout: output.stdout, stderr: output.stderr, notes: Vec::new() })
}
