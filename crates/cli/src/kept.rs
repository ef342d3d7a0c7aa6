//! `ringfence changes`, `commit` and `discard`: what dry runs would have changed.

use clap::Args;
use serde_json::json;

use crate::Outcome;
use crate::changes::{self, Changes};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{print, print_json, visible_line};

#[derive(Args)]
pub(crate) struct List {
    /// Show these; without a name, the names there are
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct One {
    /// The name the run gave
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn list(arguments: &List) -> Outcome {
    let shown = match &arguments.name {
        None => changes::names().map(|names| match arguments.json {
            true => json!(names),
            false if names.is_empty() => "no changes are kept\n".into(),
            false => (names.join("\n") + "\n").into(),
        }),
        Some(name) => Changes::open(name).map(|changes| {
            let shown = match arguments.json {
                true => changes::as_json(&changes),
                false => changes::as_text(&changes).into(),
            };
            changes.keep();
            shown
        }),
    };
    done(shown, arguments.json, ExitCode::Done)
}

pub(crate) fn commit(arguments: &One) -> Outcome {
    let committed = Changes::open(&arguments.name).and_then(|mut changes| {
        let outcome = changes.commit();
        match &outcome {
            Ok(_) if changes.is_empty() => changes.remove()?,
            _ => changes.keep(),
        }
        Ok(outcome?)
    });
    let code = match &committed {
        Ok(outcome) if !outcome.kept.is_empty() => ExitCode::Kept,
        _ => ExitCode::Done,
    };
    let shown = committed.map(|changes::Outcome { applied, kept }| {
        if arguments.json {
            let texts = applied.iter().map(|path| path.to_string_lossy().into_owned());
            let refused = kept.iter().map(|(path, why)| json!({ "path": path.to_string_lossy(), "why": why }));
            return json!({ "applied": texts.collect::<Vec<_>>(), "kept": refused.collect::<Vec<_>>() });
        }
        let line = |text: String| visible_line(&text) + "\n";
        let mut text: String = applied.iter().map(|path| line(format!("applied: {}", path.display()))).collect();
        text += &format!("{} applied\n", applied.len());
        for (path, why) in &kept {
            text += &line(format!("not applied: {}: {why}", path.display()));
        }
        if !kept.is_empty() {
            text += &format!("{} kept as {}\n", kept.len(), arguments.name);
        }
        text.into()
    });
    done(shown, arguments.json, code)
}

pub(crate) fn discard(arguments: &One) -> Outcome {
    let discarded = Changes::discard(&arguments.name).map(|()| match arguments.json {
        true => json!({ "discarded": arguments.name }),
        false => format!("{} is gone\n", arguments.name).into(),
    });
    done(discarded, arguments.json, ExitCode::Done)
}

/// Prints what was done, or why it was not.
fn done(shown: Result<serde_json::Value, Failure>, json: bool, code: ExitCode) -> Outcome {
    match shown {
        Err(failure) if json => print_json(&json!({ "failure": failure })).map(|()| failure.code),
        Err(failure) => {
            eprintln!("{}", failure.text());
            Ok(failure.code)
        }
        Ok(serde_json::Value::String(text)) if !json => print(&text).map(|()| code),
        Ok(value) => print_json(&value).map(|()| code),
    }
}
