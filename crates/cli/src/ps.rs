//! `ringfence ps`: the instances that run.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use ringfence::manifest::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::Outcome;
use crate::exit_code::ExitCode;
use crate::instances::{Status, ago, all, rfc3339};
use crate::output::{print, print_json, visible};
use crate::style::Style;
use crate::table::{Cell, Table};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is said of an instance that does not answer: the process that runs it is stopped, or does something else.
const SILENT: &str = "silent";

pub(crate) fn ps(arguments: &Arguments) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(all());
    if arguments.json {
        print_json(&found.iter().map(as_json).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        print("no instance is running\n")?;
    } else {
        print(&text(&found))?;
    }
    Ok(ExitCode::Done)
}

fn state(status: &Status) -> &'static str {
    if status.paused { "paused" } else { "running" }
}

fn as_json((name, pid, status): &(String, i32, Option<Status>)) -> Value {
    match status {
        None => json!({ "name": name, "pid": pid, "state": SILENT }),
        Some(status) => json!({
            "name": name,
            "capsule": status.capsule,
            "level": status.level,
            "state": state(status),
            "pid": pid,
            "since": rfc3339(status.since),
            "memory": status.memory,
            "cpu_time": status.cpu_time,
        }),
    }
}

fn text(found: &[(String, i32, Option<Status>)]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut table = Table::new(0);
    table.row(["name", "capsule", "level", "state", "pid", "since", "memory", "processor"].map(Cell::title));
    for (name, pid, status) in found {
        let (name, pid) = (Cell::from(visible(name)), Cell::from(pid.to_string()));
        let Some(status) = status else {
            table.row([name, "".into(), "".into(), Cell::bad(SILENT), pid, "".into(), "".into(), "".into()]);
            continue;
        };
        let state = if status.paused { Cell::warning(state(status)) } else { Cell::good(state(status)) };
        let since = ago(Duration::from_secs(now.saturating_sub(status.since)));
        table.row([
            name,
            visible(&status.capsule).into(),
            visible(&status.level).into(),
            state,
            pid,
            format!("{since} ago").into(),
            Bytes(status.memory).to_string().into(),
            format!("{:.2}s", status.cpu_time).into(),
        ]);
    }
    table.render(Style::of_stdout())
}
