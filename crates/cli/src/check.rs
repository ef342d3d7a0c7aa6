//! `ringfence check`: what would hold each guarantee, and whether that is enough.

mod limits;
mod warnings;

use std::fmt::Write;
use std::path::Path;

use clap::Args;
use ringfence::manifest::{Kind, MountMode};
use ringfence::{Examination, Guarantee, Held, Permission, Spec, StreamIn, StreamOut};
use serde_json::json;

use crate::Outcome;
use crate::events::Events;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{print, print_json, visible};
use crate::run::runtime;
use crate::style::Style;
use crate::table::{Cell, Table};
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found out about one capsule.
struct Findings {
    spec: Spec,
    examination: Examination,
    warnings: Vec<String>,
}

pub(crate) fn check(arguments: Arguments) -> Outcome {
    let Arguments { target, json } = arguments;
    let findings = match examine(target, json) {
        Ok(findings) => findings,
        Err(failure) => {
            match json {
                true => print_json(&json!({ "verdict": "wrong", "failure": failure }))?,
                false => eprintln!("{}", failure.text()),
            }
            return Ok(failure.code);
        }
    };
    let Findings { spec, examination: Examination { promised, refused }, warnings } = findings;
    let failure = refused.map(Failure::from);
    let verdict = match failure.as_ref().map(|failure| failure.code) {
        None => "would run",
        Some(ExitCode::Refused) => "refused",
        Some(_) => "would not run",
    };
    if json {
        print_json(&json!({
            "verdict": verdict,
            "failure": failure,
            "guarantees": promised,
            "spec": spec,
            "warnings": warnings,
        }))?;
    } else {
        let style = Style::of_stdout();
        let mut text = heading(&spec, verdict, style);
        if let Some(promised) = &promised {
            text += &section("guarantees", guarantees(&spec, promised), style);
        }
        text += &section("permissions", permissions(&spec), style);
        text += &section("mounts", mounts(&spec), style);
        text += &section("streams", streams(&spec), style);
        let (limits, unlimited) = limits::table(&spec);
        text += &section("limits", limits, style);
        if !unlimited.is_empty() {
            let _ = writeln!(text, "  {}", style.faint(format!("no limit on {unlimited}")));
        }
        for warning in &warnings {
            let _ = write!(text, "\n{} {}\n", style.warning("warning:"), visible(warning));
        }
        if let Some(failure) = &failure {
            let _ = write!(text, "\n{} {}\n", style.bad("refused:"), visible(&failure.message));
        }
        print(&text)?;
    }
    Ok(failure.map_or(ExitCode::Done, |failure| failure.code))
}

fn examine(target: Target, json: bool) -> Result<Findings, Failure> {
    let load = target.load()?;
    let events = Events::new(false, json);
    let runtime = runtime(&events)?;
    let spec = runtime.resolve(&load)?.spec;
    let examination = runtime.examine(&spec);
    events.finish();
    let warnings = warnings::of(&spec);
    Ok(Findings { spec, examination, warnings })
}

fn heading(spec: &Spec, verdict: &str, style: Style) -> String {
    let version = spec.capsule.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let painted = if verdict == "would run" { style.good(verdict) } else { style.bad(verdict) };
    let name = format!("{}{version}", spec.capsule.name);
    let program = visible(&spec.program.path.to_string_lossy());
    let words: Vec<_> = spec.isolation.seccomp.words().collect();
    let is_shown = !words.is_empty() && spec.program.kind == Kind::Linux;
    let calls = if is_shown { format!("  seccomp: {}\n", words.join(", ")) } else { String::new() };
    format!("{} at level {}: {painted}\n  {program}\n{calls}", style.title(name), spec.isolation.level)
}

fn section(title: &str, table: Table, style: Style) -> String {
    format!("\n{}\n{}", style.title(title), table.render(style))
}

fn guarantees(spec: &Spec, promised: &ringfence::Enforcement) -> Table {
    let mut table = Table::new(2);
    for &guarantee in Guarantee::ALL {
        let required = spec.isolation.require.contains(&guarantee);
        let held = promised.get(guarantee);
        let (verdict, what) = match (&held, required) {
            (Held::By { by }, _) => (Cell::good("held"), (*by).to_owned()),
            (Held::Partly { by, missing }, false) => (Cell::warning("partly"), format!("{by}; {missing}")),
            (Held::Partly { by, missing }, true) => (Cell::bad("not enough"), format!("{by}; {missing}")),
            (Held::Not { why }, false) => (Cell::faint("not held"), why.clone()),
            (Held::Not { why }, true) => (Cell::bad("not held"), why.clone()),
        };
        let required = if required { Cell::from("required") } else { Cell::from("") };
        table.row([guarantee.name().into(), required, verdict, Cell::faint(what)]);
    }
    table
}

fn permissions(spec: &Spec) -> Table {
    let mut table = Table::new(2);
    let granted = &spec.permissions;
    for &permission in Permission::ALL {
        let texts = granted.texts(permission);
        let what = match (texts.is_empty(), granted.is_on(permission)) {
            (false, _) => texts.join(", "),
            (true, true) => "yes".into(),
            (true, false) => continue,
        };
        let written = granted.sources.get(&permission).map_or("default".into(), |source| visible(&source.0));
        table.row([permission.name().into(), visible(&what).into(), Cell::faint(written)]);
    }
    for (name, value) in &spec.environment {
        table.row(["env".into(), visible(&format!("{name}={value}")).into(), "".into()]);
    }
    table
}

fn mounts(spec: &Spec) -> Table {
    let mut table = Table::new(2);
    let at_root = spec.mounts.iter().any(|mount| mount.at == "/");
    if let Some(root) = spec.root.as_ref().filter(|_| !at_root) {
        let root = visible(&root.to_string_lossy());
        table.row(["/".into(), "rw".into(), root.into(), Cell::faint("its own folder")]);
    }
    for mount in &spec.mounts {
        let mode = match mount.mode {
            MountMode::ReadOnly => "ro",
            MountMode::ReadWrite => "rw",
        };
        table.row([visible(&mount.at).into(), mode.into(), visible(&mount.from.to_string_lossy()).into(), "".into()]);
    }
    table
}

fn streams(spec: &Spec) -> Table {
    let mut table = Table::new(2);
    let file = |path: &Path| visible(&path.to_string_lossy());
    let stdin = match &spec.stdio.stdin {
        StreamIn::Inherit => "inherit".into(),
        StreamIn::Null => "null".into(),
        StreamIn::File(path) | StreamIn::OfFolder(path) => file(path),
        StreamIn::Bytes(bytes) => format!("{} bytes", bytes.len()),
    };
    table.row(["stdin".into(), stdin.into()]);
    for (name, stream) in [("stdout", &spec.stdio.stdout), ("stderr", &spec.stdio.stderr)] {
        let to = match stream {
            StreamOut::Inherit => "inherit".into(),
            StreamOut::Null => "null".into(),
            StreamOut::File(path) | StreamOut::OfFolder(path) => file(path),
            StreamOut::Capture => "kept".into(),
        };
        table.row([name.into(), to.into()]);
    }
    table
}
