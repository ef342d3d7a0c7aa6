//! `ringfence doctor`: what this machine can do.

use clap::Args;
use ringfence::manifest::Kind;
use ringfence::{Fact, Level, Places, Runtime, Served, SystemCall};
use serde::Serialize;
use serde_json::json;

use crate::Outcome;
use crate::exit_code::ExitCode;
use crate::output::{print, print_json, visible};
use crate::style::Style;
use crate::table::{Cell, Table};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// List the system calls of Linux that level microvm serves, those it serves in part, and why others are absent
    #[arg(long)]
    syscalls: bool,
}

/// One level on this machine.
#[derive(Serialize)]
struct Finding {
    level: Level,
    available: bool,
    /// Why not, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// The kinds of programs it runs here.
    kinds: Vec<Kind>,
    facts: Vec<Fact>,
}

pub(crate) fn doctor(arguments: &Arguments) -> Outcome {
    let mut facts = Vec::new();
    let runtime = crate::run::with_runner(Runtime::builder()).current_thread().build()?;
    if arguments.syscalls {
        return system_calls(&runtime, arguments.json);
    }
    facts.push(match Places::of_user().data {
        Some(folder) => Fact::good("data folder", folder.display().to_string()),
        None => {
            let remedy = "set HOME or XDG_DATA_HOME to a folder of yours";
            Fact::missing("data folder", "neither XDG_DATA_HOME nor HOME is set", remedy)
        }
    });
    let levels: Vec<Finding> = Level::ALL.into_iter().map(|level| look(&runtime, level)).collect();
    if arguments.json {
        print_json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "system": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "facts": facts,
            "levels": levels,
        }))?;
    } else {
        print(&text(&facts, &levels))?;
    }
    Ok(ExitCode::Done)
}

/// What of Linux the levels serve that serve system calls themselves.
fn system_calls(runtime: &Runtime, json: bool) -> Outcome {
    let levels = runtime.backends().iter().map(|backend| (backend.level(), backend.system_calls()));
    let levels: Vec<(Level, Vec<SystemCall>)> = levels.filter(|(_, calls)| !calls.is_empty()).collect();
    if json {
        let levels = levels.iter().map(|(level, calls)| json!({ "level": level, "system_calls": calls }));
        print_json(&json!({ "levels": levels.collect::<Vec<_>>() }))?;
        return Ok(ExitCode::Done);
    }
    let mut text = String::new();
    for (level, calls) in levels {
        let mut table = Table::new(0);
        for call in &calls {
            let (served, more) = match call.served {
                Served::Fully => (Cell::good("served"), ""),
                Served::Partly { missing } => (Cell::warning("partly"), missing),
                Served::Absent { why } => (Cell::faint("ENOSYS"), why),
            };
            table.row([
                call.number.to_string().into(),
                Cell::title(call.name),
                call.family.into(),
                served,
                more.into(),
            ]);
        }
        let count = |is: fn(&Served) -> bool| calls.iter().filter(|call| is(&call.served)).count();
        let fully = count(|served| matches!(served, Served::Fully));
        let partly = count(|served| matches!(served, Served::Partly { .. }));
        text += &table.render(Style::of_stdout());
        text += &format!(
            "level {level}: {fully} served, {partly} served in part, {} answer ENOSYS\n",
            calls.len() - fully - partly
        );
    }
    print(&text)?;
    Ok(ExitCode::Done)
}

fn look(runtime: &Runtime, level: Level) -> Finding {
    match runtime.backends().iter().find(|backend| backend.level() == level) {
        Some(backend) => {
            let facts = backend.probe();
            // A level of which nothing is there cannot be used at all; a part missing costs a guarantee.
            let available = facts.is_empty() || facts.iter().any(|fact| fact.usable);
            let kinds = Kind::ALL.into_iter().filter(|&kind| available && backend.runs(kind)).collect();
            Finding { level, available, why: (!available).then_some("not usable on this machine"), kinds, facts }
        }
        None => {
            let why = Some("not in this version");
            Finding { level, available: false, why, kinds: Vec::new(), facts: Vec::new() }
        }
    }
}

fn text(facts: &[Fact], levels: &[Finding]) -> String {
    let style = Style::of_stdout();
    let mut machine = Table::new(0);
    let what = format!("{} on {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    machine.row([Cell::title("ringfence"), what.into()]);
    for fact in facts {
        rows(&mut machine, "", fact);
    }
    let mut table = Table::new(0);
    for finding in levels {
        let verdict = match finding.why {
            None => {
                let kinds: Vec<_> = finding.kinds.iter().map(|kind| kind.name()).collect();
                Cell::good(format!("available, for programs of kind {}", kinds.join(" and ")))
            }
            Some(why) => Cell::faint(why),
        };
        table.row([Cell::title(finding.level.name()), verdict]);
        for fact in &finding.facts {
            rows(&mut table, "  ", fact);
        }
    }
    format!("{}\n{}", machine.render(style), table.render(style))
}

fn rows(table: &mut Table, indent: &str, fact: &Fact) {
    let found = visible(&fact.found);
    let found = if fact.usable { Cell::from(found) } else { Cell::warning(found) };
    table.row([format!("{indent}{}", fact.name).into(), found]);
    if let Some(remedy) = &fact.remedy {
        table.row([format!("{indent}  remedy").into(), visible(remedy).into()]);
    }
}
