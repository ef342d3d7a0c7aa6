//! `ringfence levels`

use clap::Args;
use ringfence::{Guarantee, Level, Strength};

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

/// Prints each level, its score, and what it guarantees.
pub(crate) fn levels(arguments: &Arguments) -> Outcome {
    let held = |level: Level| Guarantee::ALL.iter().copied().filter(move |&one| level.holds(one) != Strength::No);
    if arguments.json {
        let all: Vec<_> = Level::ALL
            .iter()
            .map(|&level| {
                let guarantees: Vec<_> = held(level)
                    .map(|one| serde_json::json!({ "guarantee": one, "strength": level.holds(one) }))
                    .collect();
                serde_json::json!({
                    "level": level, "score": level.score(), "summary": level.summary(), "guarantees": guarantees,
                })
            })
            .collect();
        print_json(&all)?;
        return Ok(ExitCode::Done);
    }
    let mut table = Table::new(0);
    for level in Level::ALL {
        table.row([Cell::title(level.name()), Cell::from(level.score().to_string()), Cell::from(level.summary())]);
        for strength in [Strength::Software, Strength::Kernel, Strength::Hardware] {
            let names: Vec<_> = held(level).filter(|&one| level.holds(one) == strength).map(Guarantee::name).collect();
            if !names.is_empty() {
                let by = format!("{strength:?}").to_lowercase();
                table.row([Cell::from(""), Cell::faint(by), Cell::from(names.join(" "))]);
            }
        }
    }
    print(&table.render(Style::of_stdout()))?;
    Ok(ExitCode::Done)
}
