//! `ringfence doctor`

use clap::Args;
use ringfence::{Level, Runtime};

use crate::Outcome;
use crate::exit_code::ExitCode;
use crate::output::{print, print_json};
use crate::style::Style;
use crate::table::{Cell, Table};

/// How to print it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the facts of this machine and which levels it can provide.
pub(crate) fn doctor(arguments: &Arguments) -> Outcome {
    let runtime = Runtime::builder().current_thread().build()?;
    let mut levels = Vec::new();
    let mut table = Table::new(0);
    for level in Level::ALL {
        let backend = runtime.backends().iter().find(|backend| backend.level() == level);
        let facts = backend.map(|backend| backend.probe()).unwrap_or_default();
        let missing: Vec<_> = facts.iter().filter(|fact| !fact.usable).collect();
        let verdict = match (backend.is_some(), missing.is_empty()) {
            (false, _) => Cell::faint("not in this version"),
            (true, true) => Cell::good("available"),
            (true, false) => Cell::warning("available, with less"),
        };
        table.row([Cell::title(level.name()), verdict, Cell::from("")]);
        for fact in &facts {
            let remedy = fact.remedy.as_ref().map(|remedy| format!("remedy: {remedy}")).unwrap_or_default();
            table.row([Cell::from(format!("  {}", fact.name)), Cell::from(fact.found.clone()), Cell::from(remedy)]);
        }
        levels.push(serde_json::json!({ "level": level, "available": backend.is_some(), "facts": facts }));
    }
    if arguments.json {
        print_json(&levels)?;
    } else {
        print(&table.render(Style::of_stdout()))?;
    }
    Ok(ExitCode::Done)
}
