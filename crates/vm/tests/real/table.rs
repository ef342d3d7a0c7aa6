//! The table of what runs.

use std::fmt::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What is tried.
pub(crate) struct Trial {
    pub(crate) name: String,
    pub(crate) what: String,
    /// What does not work yet, and why.
    pub(crate) known: Option<&'static str>,
    pub(crate) run: Box<dyn FnOnce() -> Came>,
}

/// What came of it.
pub(crate) enum Came {
    Runs,
    Fails(String),
    /// It is not here.
    Missing(String),
}

impl Trial {
    pub(crate) fn new(name: &str, what: &str, run: impl FnOnce() -> Came + 'static) -> Trial {
        Trial { name: name.into(), what: what.into(), known: None, run: Box::new(run) }
    }

    /// It fails for this reason.
    pub(crate) fn fails(mut self, why: &'static str) -> Trial {
        self.known = Some(why);
        self
    }
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/microvm-programs.md");
const INTRODUCTION: &str = "# Programs at level `microvm`\n\n\
    Written by `crates/vm/tests/real.rs` (`UPDATE_EXPECTED=1 cargo test -p ringfence-vm --test real`), which fails when a\n\
    line is not true any more. A command of the system or of busybox runs when it prints and returns the same as on the\n\
    host; the tests of an interpreter's own run when none fails that does not fail on the host.\n";

/// Tries everything, and holds what came of it against the table.
pub(crate) fn check(section: &str, trials: Vec<Trial>) {
    if !crate::support::here() {
        return;
    }
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    let only = std::env::var("RINGFENCE_TRIAL").ok();
    for Trial { name, what, known, run } in trials {
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let head = format!("| `{name}` | {what} |");
        match (run(), known) {
            (Came::Missing(why), _) => {
                println!("skipped: {name}: {why}");
                lines.push((head, None));
            }
            (Came::Runs, None) => lines.push((head, Some("runs".to_owned()))),
            (Came::Fails(_), Some(why)) => lines.push((head, Some(format!("does not: {why}")))),
            (Came::Runs, Some(why)) => wrong.push(format!("{name} runs, which was not expected: {why}")),
            (Came::Fails(how), None) => wrong.push(format!("{name} ({what}): {how}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {section}:\n{}", wrong.len(), wrong.join("\n"));
    if only.is_none() {
        hold(section, &lines);
    }
}

fn hold(section: &str, lines: &[(String, Option<String>)]) {
    static WRITING: Mutex<()> = Mutex::new(());
    let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    let before = part(&committed, section);
    let old: Vec<&str> = before.lines().filter(|line| line.starts_with("| `")).collect();
    let mut table = format!("## {section}\n\n| program | what it does | |\n| --- | --- | --- |\n");
    for (head, came) in lines {
        let kept = || old.iter().find(|line| line.starts_with(head.as_str())).map(|line| (*line).to_owned());
        let line = came.as_ref().map(|came| format!("{head} {came} |")).or_else(kept);
        if let Some(line) = line {
            let _ = writeln!(table, "{line}");
        }
    }
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let mut parts: Vec<String> =
            committed.split("\n## ").skip(1).map(|part| format!("## {}\n", part.trim_end())).collect();
        let title = format!("## {section}\n");
        parts.retain(|part| !part.starts_with(&title));
        parts.push(table);
        parts.sort();
        let text = parts.iter().fold(INTRODUCTION.to_owned(), |text, part| format!("{text}\n{part}"));
        std::fs::write(FILE, text).unwrap();
        return;
    }
    let committed = part(&committed, section);
    assert!(committed.trim_end() == table.trim_end(), "{} is out of date: run with UPDATE_EXPECTED=1", file());
}

fn file() -> String {
    Path::new(FILE).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn part(text: &str, section: &str) -> String {
    let found = text.split("\n## ").find(|part| part.strip_prefix(section).is_some_and(|rest| rest.starts_with('\n')));
    found.map(|part| format!("## {part}")).unwrap_or_default()
}
