//! What `run` says on standard error while a capsule runs: for people a line each, with `--json` an
//! object on a line each. Nobody waits for who reads it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringfence::{Denial, Exit, Progress, Report};
use serde_json::{Value, json};

use crate::changes::{self, Changes};
use crate::failure::Failure;
use crate::marked::{self, Marked};
use crate::output::{visible, visible_line};
use crate::progress::Elapsed;
use crate::signals;
use crate::stderr::Stderr;
use crate::style::Style;

/// How long whoever reads standard error may take for a piece of it at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where events go.
#[derive(Clone)]
pub(crate) struct Events(Arc<Inner>);

struct Inner {
    json: bool,
    quiet: bool,
    style: Style,
    stderr: Stderr,
    compiling: Mutex<Option<Elapsed>>,
}

impl Events {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self::written_to(Stderr::of_process(), json, quiet)
    }

    /// Those of a program that runs: nothing but them is on standard error where they are objects.
    pub(crate) fn of_run(json: bool, quiet: bool) -> io::Result<(Self, Option<Marked>)> {
        if !json {
            return Ok((Self::new(json, quiet), None));
        }
        let apart = marked::set_apart()?;
        let events = Self::written_to(Stderr::to(Box::new(apart.stderr()?)), json, quiet);
        let marked = Marked::begin(apart, &events)?;
        Ok((events, Some(marked)))
    }

    fn written_to(stderr: Stderr, json: bool, quiet: bool) -> Self {
        let style = Style::of(&std::io::stderr());
        Events(Arc::new(Inner { json, quiet, style, stderr, compiling: Mutex::new(None) }))
    }

    /// Whether lines for people are wanted.
    pub(crate) fn talks(&self) -> bool {
        !self.0.json && !self.0.quiet
    }

    pub(crate) fn denied(&self, denial: &Denial) {
        if self.0.json {
            self.object("denied", json!(denial));
        } else if !self.0.quiet {
            self.line(self.0.style.warning(&visible_line(&denial.to_string())));
        }
    }

    pub(crate) fn logged(&self, level: u8, text: &str) {
        if self.0.json {
            self.object("log", json!({ "level": level, "text": text }));
        } else if !self.0.quiet {
            self.line(format!("log {level}: {}", visible_line(text)));
        }
    }

    pub(crate) fn progress(&self, progress: Progress<'_>) {
        if let Progress::NoCache { folder, reason } = progress {
            return self.uncached(folder, reason);
        }
        let mut compiling = self.0.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Compiling { path, bytes } if self.0.json => {
                self.object("compiling", json!({ "path": path.to_string_lossy(), "bytes": bytes }));
            }
            Progress::Compiled if self.0.json => self.object("compiled", json!({})),
            Progress::Compiling { path, .. } => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                *compiling = self.talks().then(|| Elapsed::begin(format!("compiling {}", visible(&name)))).flatten();
            }
            _ => *compiling = None,
        }
    }

    fn uncached(&self, folder: &Path, reason: &str) {
        let folder = folder.to_string_lossy();
        if self.0.json {
            self.object("uncached", json!({ "folder": folder, "reason": reason }));
        } else if !self.0.quiet {
            let text = format!("compiled code is not kept: {}; ringfence doctor has the remedy", visible(reason));
            self.line(self.0.style.warning(&visible(&text)));
        }
    }

    /// What the program printed where events are written: a line, or a piece of one. Waits for room.
    pub(crate) fn printed(&self, stream: &str, text: &str, ends: bool) {
        self.0.stderr.wait(object("printed", json!({ "stream": stream, "text": text, "line": ends })));
    }

    /// A signal is passed on to the capsule, or kills it.
    pub(crate) fn signal(&self, signal: i32, kills: bool) {
        if self.0.json {
            self.object("signal", json!({ "signal": signals::name(signal), "kills": kills }));
        }
    }

    /// Something worth a line.
    pub(crate) fn note(&self, text: &str) {
        if self.0.json {
            self.object("note", json!({ "text": text }));
        } else if !self.0.quiet {
            self.line(visible_line(text));
        }
    }

    /// What a dry run would have changed.
    pub(crate) fn changes(&self, changes: &Changes) {
        if self.0.json {
            self.0.stderr.insist(object("changes", changes::as_json(changes)));
        } else if !self.0.quiet {
            let name = &changes.name;
            let help = format!("ringfence commit {name} applies them, ringfence discard {name} throws them away");
            let text = format!("ringfence: changes kept as {name}:\n{}ringfence: {help}\n", changes::as_text(changes));
            self.0.stderr.insist(text);
        }
    }

    /// What a dry run would have changed cannot be found out.
    pub(crate) fn unlisted(&self, name: &str, error: &io::Error) {
        let reason = error.to_string();
        self.0.stderr.insist(match self.0.json {
            true => object("unlisted", json!({ "name": name, "reason": reason })),
            false => {
                let text = format!("the changes kept as {name} cannot be listed: {reason}");
                let help = format!("they cannot be committed; ringfence discard {name} throws them away");
                format!("ringfence: {}\nringfence: {help}\n", self.0.style.bad(visible_line(&text)))
            }
        });
    }

    /// The capsule is over.
    pub(crate) fn ended(&self, report: &Report, signal: Option<i32>) {
        if self.0.json {
            return self.0.stderr.insist(object("ended", json!({ "report": report })));
        }
        if self.0.quiet {
            return;
        }
        let text = match (&report.exit, signal) {
            (Exit::Returned(_), _) => return,
            (Exit::Stopped, Some(signal)) => format!("stopped by {}", signals::name(signal)),
            (Exit::Exceeded(limit), _) => {
                format!("exceeded {limit}; to allow more: --limit {}=…", limit.limit)
            }
            // The denial itself was told when it happened.
            (Exit::Denied(denial), _) => format!("ended: it cannot be told that it may not use {}", denial.resource),
            (exit, _) => exit.to_string(),
        };
        self.0.stderr.insist(format!("ringfence: {}\n", self.0.style.bad(visible_line(&text))));
        if report.denials_dropped > 0 {
            self.line(format!("{} more denials are not shown", report.denials_dropped));
        }
    }

    /// Nothing ran, or what ran had to be ended by force.
    pub(crate) fn failed(&self, failure: &Failure) {
        let text = match self.0.json {
            true => object("failed", json!(failure)),
            false => format!("{}{}\n", self.over_progress(), failure.text()),
        };
        self.0.stderr.insist(text);
    }

    /// What clears the line of something that still takes long.
    fn over_progress(&self) -> &'static str {
        let drawn = self.0.compiling.try_lock().is_ok_and(|compiling| compiling.is_some());
        if drawn { "\r\x1b[K" } else { "" }
    }

    /// Whether events are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.0.json
    }

    /// A text as it is.
    pub(crate) fn text(&self, text: String) {
        self.0.stderr.insist(text);
    }

    /// Waits a little until everything is written, and says how much was left out.
    pub(crate) fn finish(&self) {
        let left_out = self.0.stderr.left_out();
        if left_out > 0 {
            self.0.stderr.insist(match self.0.json {
                true => object("left-out", json!({ "count": left_out })),
                false => format!("ringfence: {left_out} lines are left out: nobody read standard error in time\n"),
            });
        }
        self.0.stderr.flush(PATIENCE);
    }

    fn line(&self, text: impl std::fmt::Display) {
        self.0.stderr.write(format!("ringfence: {text}\n"));
    }

    fn object(&self, event: &str, value: Value) {
        self.0.stderr.write(object(event, value));
    }
}

fn object(event: &str, mut value: Value) -> String {
    if let Some(object) = value.as_object_mut() {
        object.insert("event".into(), event.into());
    }
    format!("{value}\n")
}
