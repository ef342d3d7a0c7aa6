//! Why nothing ran, for people and for programs.

use std::error::Error;
use std::time::Duration;

use ringfence::{BuildError, Diagnostics, LoadError, ReadError, ResolveError, SetupError, StartError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::exit_code::ExitCode;
use crate::output::{visible, visible_line};
use crate::signals;

/// Why nothing ran.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// What sort of failure: `manifest`, `program`, `snapshot`, `refused`, `stopped`, `exceeded` or `host`.
    pub(crate) kind: &'static str,
    /// In words.
    pub(crate) message: String,
    /// What else is known: the problems of a manifest, a refusal.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(crate) detail: Value,
    #[serde(skip)]
    pub(crate) code: ExitCode,
}

impl Failure {
    fn new(code: ExitCode, kind: &'static str, error: &dyn Error) -> Self {
        Failure { kind, message: chain(error), detail: Value::Null, code }
    }

    /// This machine failed.
    pub(crate) fn host(error: &dyn Error) -> Self {
        Self::new(ExitCode::Failed, "host", error)
    }

    /// What was asked for is wrong.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Failure { kind: "manifest", message: message.into(), detail: Value::Null, code: ExitCode::Wrong }
    }

    /// A program was not captured.
    pub(crate) fn not_captured(why: &str) -> Self {
        let message = format!("nothing was captured: {why}");
        Failure { kind: "snapshot", message, detail: Value::Null, code: ExitCode::Wrong }
    }

    /// A signal came before anything ran.
    pub(crate) fn stopped(signal: i32) -> Self {
        let message = format!("stopped by {}; nothing ran", signals::name(signal));
        Failure { kind: "stopped", message, detail: Value::Null, code: ExitCode::Signal(signal) }
    }

    /// The capsule was stopped by a signal and did not end.
    pub(crate) fn stopped_by_force(signal: i32, patience: Duration) -> Self {
        let message = format!("stopped by {}; {}", signals::name(signal), by_force(patience));
        Failure { kind: "stopped", message, detail: Value::Null, code: ExitCode::Signal(signal) }
    }

    /// The capsule used up its time and did not end.
    pub(crate) fn exceeded_by_force(allowed: Duration, patience: Duration) -> Self {
        let message = format!("exceeded wall_time: {allowed:?} allowed; {}", by_force(patience));
        let detail = json!({ "limit": "wall_time", "allowed": allowed.as_nanos() });
        Failure { kind: "exceeded", message, detail, code: ExitCode::Exceeded }
    }

    /// How it is shown on a terminal.
    pub(crate) fn text(&self) -> String {
        let message = visible(&self.message);
        // Of a manifest's problems the lines are ringfence's own, and show nothing that breaks them. All else is one
        // line: another one would pass for ringfence's.
        match self.detail.get("problems").and_then(Value::as_array).map(Vec::len) {
            // These begin with a place that editors know how to jump to.
            Some(1) => format!("{message}\nringfence: nothing ran"),
            Some(count) => format!("{message}\n\nringfence: {count} mistakes; nothing ran"),
            None => match self.parted() {
                Some((why, remedy)) => {
                    format!("ringfence: {}\n  remedy: {}", visible_line(why), visible_line(remedy))
                }
                None => format!("ringfence: {}", visible_line(&self.message)),
            },
        }
    }

    /// Of a refusal, why it is one and what to do about it.
    fn parted(&self) -> Option<(&str, &str)> {
        let remedy = self.detail.get("refusal")?.get("remedy")?.as_str()?;
        let why = self.message.strip_suffix(remedy)?.strip_suffix("\n  remedy: ")?;
        Some((why, remedy))
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Manifest(ReadError::Invalid(diagnostics)) => diagnostics.into(),
            LoadError::Resolve(error) => error.into(),
            LoadError::Build(error) => error.into(),
            LoadError::NoManifest(_) => Self::wrong(format!(
                "{error}; `ringfence init` writes one, and `ringfence run PROGRAM` runs a program that is granted nothing"
            )),
            LoadError::Missing(_) => {
                Self::wrong(format!("{error}: neither a file or folder here, nor a program in PATH"))
            }
            LoadError::Special(_) | LoadError::Manifest(_) => Self::new(ExitCode::Wrong, "manifest", &error),
            error => Self::host(&error),
        }
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        let problems: Vec<_> = diagnostics
            .problems
            .iter()
            .map(|problem| {
                json!({
                    "file": problem.file,
                    "line": problem.line,
                    "column": problem.column,
                    "text": problem.text,
                    "message": problem.message,
                    "help": problem.help,
                })
            })
            .collect();
        let failure = Self::new(ExitCode::Wrong, "manifest", &diagnostics);
        Failure { detail: json!({ "problems": problems }), ..failure }
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Invalid(diagnostics) => diagnostics.into(),
            ResolveError::NoRoot { .. } => Self::host(&error),
            error => Self::new(ExitCode::Refused, "refused", &error),
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        match &error {
            BuildError::Refused(refusal) => {
                let failure = Self::new(ExitCode::Refused, "refused", &error);
                Failure { detail: json!({ "refusal": refusal }), ..failure }
            }
            BuildError::Shortfall(_) => Self::new(ExitCode::Refused, "refused", &error),
            BuildError::Snapshot(_) => Self::new(ExitCode::Wrong, "snapshot", &error),
            BuildError::Unreadable { .. } | BuildError::Program { .. } => Self::new(ExitCode::Wrong, "program", &error),
            _ => Self::host(&error),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Build(error) => error.into(),
            error => Self::host(&error),
        }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::host(&error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::host(&error)
    }
}

fn by_force(patience: Duration) -> String {
    format!("something it waits for held it for {patience:?} more, so ringfence ends with it")
}

/// Says that ringfence or this machine failed.
pub(crate) fn internal(error: &anyhow::Error) -> ExitCode {
    eprintln!("ringfence: {}", visible_line(&chain(error.as_ref())));
    ExitCode::Failed
}

/// An error and what caused it, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_its_remedy_on_a_line_of_its_own() {
        let message = "cannot hold it: /a\nb is not there\n  remedy: make\n  remedy: it".to_owned();
        let detail = json!({ "refusal": { "remedy": "make\n  remedy: it" } });
        let shown = Failure { kind: "refused", message, detail, code: ExitCode::Refused }.text();
        assert_eq!(shown, "ringfence: cannot hold it: /a\\nb is not there\n  remedy: make\\n  remedy: it");
    }

    #[test]
    fn what_a_program_chose_makes_no_line_of_its_own() {
        let shown = Failure::not_captured("the folder /a\nringfence: all is well\x1b[2J is being listed").text();
        assert_eq!(
            shown,
            "ringfence: nothing was captured: the folder /a\\nringfence: all is well\\u{1b}[2J is being listed"
        );
    }
}
