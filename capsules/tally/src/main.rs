//! `tally [--json] [FOLDER]` counts lines of code, comments and blank lines by language.
//!
//! It follows no symbolic links and leaves out hidden entries and the folders `target` and
//! `node_modules`. What it cannot read it names on stderr and goes on.

mod count;
mod language;
mod report;
mod tree;

use std::{env, path::PathBuf, process::ExitCode};

const USAGE: &str = "usage: tally [--json] [FOLDER]";

fn main() -> ExitCode {
    let mut folder = None;
    let mut json = false;
    for argument in env::args_os().skip(1) {
        match argument.to_str() {
            Some("--json") => json = true,
            Some("--help" | "-h") => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            Some(option) if option.starts_with('-') => {
                eprintln!("tally: no option is called {option:?}\n{USAGE}");
                return ExitCode::FAILURE;
            }
            // The last folder wins: a manifest may pass one, and the command line another.
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let folder = folder.unwrap_or_else(|| PathBuf::from("/src"));
    let mut found = report::Report::default();
    if let Err(error) = tree::walk(&folder, &mut found) {
        eprintln!("tally: {}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    let text = if json { found.json() } else { found.table() };
    print!("{text}");
    ExitCode::SUCCESS
}
