//! `ringfence levels`: what each level guarantees.

use std::collections::BTreeMap;

use clap::Args;
use ringfence::{Guarantee, Level, Strength};
use serde::Serialize;

use crate::Outcome;
use crate::exit_code::ExitCode;
use crate::output::{print, print_json};
use crate::style::Style;
use crate::table::{Cell, Table};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Description {
    level: Level,
    score: u32,
    summary: &'static str,
    guarantees: BTreeMap<Guarantee, Strength>,
}

pub(crate) fn levels(arguments: &Arguments) -> Outcome {
    if arguments.json {
        print_json(&Level::ALL.map(describe))?;
    } else {
        print(&text())?;
    }
    Ok(ExitCode::Done)
}

fn describe(level: Level) -> Description {
    let guarantees = Guarantee::ALL.iter().map(|&guarantee| (guarantee, level.holds(guarantee))).collect();
    Description { level, score: level.score(), summary: level.summary(), guarantees }
}

fn text() -> String {
    let style = Style::of_stdout();
    let mut summaries = Table::new(0);
    summaries.row([Cell::title("level"), Cell::title("score"), Cell::title("the boundary, and what one must trust")]);
    for level in Level::ALL {
        summaries.row([level.name().into(), format!("{:>5}", level.score()).into(), level.summary().into()]);
    }
    let mut matrix = Table::new(0);
    let [none, language, script, wasm, sandbox, container, microvm, unikernel, tee] =
        Level::ALL.map(|level| Cell::title(level.name()));
    let title = Cell::title("guarantee");
    matrix.row([title, none, language, script, wasm, sandbox, container, microvm, unikernel, tee]);
    let mut meanings = Table::new(0);
    for &guarantee in Guarantee::ALL {
        let [none, language, script, wasm, sandbox, container, microvm, unikernel, tee] =
            Level::ALL.map(|level| strength(level.holds(guarantee)));
        let name = guarantee.name().into();
        matrix.row([name, none, language, script, wasm, sandbox, container, microvm, unikernel, tee]);
        meanings.row([guarantee.name().into(), guarantee.meaning().into()]);
    }
    format!(
        "{}\n{}\n{}\n{}",
        summaries.render(style),
        matrix.render(style),
        "What holds a guarantee when the level's mechanisms work as they should: software (the compiler or\n\
         the engine, in the host's own process), kernel (the host's kernel), hardware (the processor). The\n\
         score is the share of all guarantees a level holds, weighted 1, 2 and 3. `ringfence check` says\n\
         what holds for one capsule on this machine.\n",
        meanings.render(style),
    )
}

fn strength(strength: Strength) -> Cell {
    match strength {
        Strength::No => Cell::faint("-"),
        Strength::Software => "software".into(),
        Strength::Kernel => "kernel".into(),
        Strength::Hardware => Cell::good("hardware"),
    }
}
