//! `ringfence clean`: what processes left that were killed.
//!
//! Most of a run ends with its processes, because the kernel ends it. What does not is found here: what
//! each level makes beside (its backend knows), scratch copies of `--learn`, names of instances, changes of a
//! `--dry-run-fs` that did not come to its end, what a `commit` had not put in its place yet, and snapshots that were not
//! written to their end. Nothing is touched that a living process holds.

use anyhow::Context;
use clap::Args;
use ringfence::{Remnant, Runtime};
use serde::Serialize;

use crate::Outcome;
use crate::changes;
use crate::exit_code::ExitCode;
use crate::held::{self, Held};
use crate::instances;
use crate::output::{print, print_json, visible_line};
use crate::scratch;
use crate::snapshot;

#[derive(Args)]
pub(crate) struct Arguments {
    /// List what would be removed, and remove nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Something that was left, and what became of it.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    remnant: Remnant,
    removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) fn clean(arguments: &Arguments) -> Outcome {
    let runtime = Runtime::builder().current_thread().build().context("cannot look")?;
    let mut found = Vec::new();
    for backend in runtime.backends() {
        for remnant in backend.remnants() {
            found.push(Found::of(remnant, arguments.dry_run, |remnant| backend.remove(remnant)));
        }
    }
    // Before what they are known by.
    for (place, name) in changes::stray::strays() {
        let remnant = Remnant { what: "file of a commit that was killed", place };
        found.push(Found::of(remnant, arguments.dry_run, |_| changes::stray::remove(&name)));
    }
    for remnant in folders() {
        found.push(Found::of(remnant, arguments.dry_run, |remnant| match Held::take(&remnant.place)? {
            Some(left) => left.remove(),
            // Somebody was quicker.
            None => Ok(()),
        }));
    }
    for place in snapshot::unfinished() {
        let remnant = Remnant { what: "unfinished snapshot", place };
        found.push(Found::of(remnant, arguments.dry_run, |remnant| std::fs::remove_file(&remnant.place)));
    }
    show(&found, arguments)?;
    Ok(if found.iter().any(|found| found.error.is_some()) { ExitCode::Failed } else { ExitCode::Done })
}

/// The folders that nobody holds.
fn folders() -> Vec<Remnant> {
    let temporary = std::env::temp_dir();
    let left = held::left(&temporary, scratch::PREFIX);
    let copies = left.into_iter().map(|place| Remnant { what: "scratch copy", place });
    let unfinished = changes::unfinished().into_iter();
    let names = instances::left().into_iter().map(|place| Remnant { what: "name of an instance", place });
    let unfinished = unfinished.map(|place| Remnant { what: "changes of an unfinished run", place });
    copies.chain(unfinished).chain(names).collect()
}

impl Found {
    fn of(remnant: Remnant, dry: bool, remove: impl FnOnce(&Remnant) -> std::io::Result<()>) -> Self {
        if dry {
            return Found { remnant, removed: false, error: None };
        }
        let error = remove(&remnant).err().map(|error| error.to_string());
        Found { removed: error.is_none(), remnant, error }
    }
}

fn show(found: &[Found], arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.json {
        return print_json(&found);
    }
    let mut text = String::new();
    for Found { remnant, error, .. } in found {
        let line = match error {
            None => format!("{}  {}", remnant.what, remnant.place.display()),
            Some(error) => format!("{}  {}  is still there: {error}", remnant.what, remnant.place.display()),
        };
        text.push_str(&visible_line(&line));
        text.push('\n');
    }
    let verb = if arguments.dry_run { "would be removed" } else { "removed" };
    let count = found.iter().filter(|found| found.error.is_none()).count();
    text.push_str(&match count {
        0 => "nothing is left over\n".to_owned(),
        count => format!("{count} {verb}\n"),
    });
    print(&text)
}
