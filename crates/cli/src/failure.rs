//! Telling what went wrong, and with which code to end.

use std::error::Error;

use ringfence::{BuildError, LoadError, StartError};

use crate::exit_code::ExitCode;
use crate::output::visible;

/// Ringfence or this machine failed.
pub(crate) fn internal(error: &anyhow::Error) -> ExitCode {
    eprintln!("ringfence: {}", visible(&format!("{error:#}")));
    ExitCode::Failed
}

/// A capsule was not loaded.
pub(crate) fn load(error: &LoadError) -> ExitCode {
    tell(error);
    match error {
        LoadError::Build(error) => of_build(error),
        _ => ExitCode::Wrong,
    }
}

/// A capsule was not started.
pub(crate) fn start(error: &StartError) -> ExitCode {
    tell(error);
    match error {
        StartError::Build(error) => of_build(error),
        _ => ExitCode::Failed,
    }
}

/// The code for a place that was not built.
pub(crate) fn of_build(error: &BuildError) -> ExitCode {
    match error {
        BuildError::Refused(_) | BuildError::Shortfall(_) => ExitCode::Refused,
        BuildError::Unreadable { .. } | BuildError::Program { .. } => ExitCode::Wrong,
        _ => ExitCode::Failed,
    }
}

/// An error with its causes, each once.
fn tell(error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    eprintln!("ringfence: {text}");
}
