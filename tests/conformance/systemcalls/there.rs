//! A test at a level.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence::{Exit, Load, LoadError, Overrides, Report, Runtime, StartError, StreamIn, StreamOut};

use crate::Files;
use crate::find::Test;
use crate::here::environment;
use crate::outcome::Behaviour;

/// Everything that can be granted on a folder.
const ALL: &str = "fs.read,fs.write,fs.create,fs.delete,fs.list";

/// Where tests are run.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) level: String,
    pub(crate) files: Files,
    pub(crate) time: Duration,
}

/// Why a test was not run.
pub(crate) enum Unable {
    /// The level did not take it.
    Refused(String),
    /// There is no folder to run it in.
    Folder(String),
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Runs it with a fresh folder, `/tmp`, the folder of tests, the loopback network and nothing else.
pub(crate) fn run(test: &Test, place: &Place, runtime: &Runtime) -> Result<Behaviour, Unable> {
    let work = tempfile::tempdir().map_err(|error| Unable::Folder(format!("no folder: {error}")))?;
    let report = report(test, place, work.path(), runtime).map_err(|error| Unable::Refused(explain(&error)))?;
    let end = match report.exit {
        Exit::Returned(status) => Ok(status),
        exit => Err(exit.to_string()),
    };
    Ok(Behaviour { end, stdout: report.stdout.unwrap_or_default(), stderr: report.stderr.unwrap_or_default() })
}

fn report(test: &Test, place: &Place, work: &Path, runtime: &Runtime) -> Result<Report, RunError> {
    let folder = place.folder.display();
    let at = match place.files {
        Files::Host => "/work",
        Files::Tmp => "/tmp",
    };
    let begin = Overrides { cwd: Some(at.into()), ..Overrides::default() };
    let mut load = Load::path(place.folder.join(&test.program))?
        .overrides(begin)
        .level(place.level.as_str())
        .limit(format!("wall_time={}s", place.time.as_secs()))
        // Tests find out themselves how many there can be.
        .limit("open_files=none")
        .mount(format!("{folder}:{folder}:ro"))
        .allow(format!("fs.read,fs.list={folder}"))
        .mount(format!("{}:/work:rw", work.display()))
        .allow(format!("{ALL}=/work"))
        .allow(format!("{ALL}=/tmp"))
        .allow(format!("{ALL}=/dev/shm"))
        .allow("net.connect=127.0.0.1:*")
        .allow("net.connect=[::1]:*")
        .allow("net.listen=*:*")
        .args(&test.arguments)
        .stdin(StreamIn::Null)
        .stdout(StreamOut::Capture)
        .stderr(StreamOut::Capture);
    for (name, value) in environment(&place.folder, Path::new(at)) {
        load = load.env(format!("{name}={value}"));
    }
    Ok(runtime.load_with(load)?.run_blocking()?)
}

fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
