//! `ringfence cache`: the compiled code that is kept.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use ringfence::Places;
use ringfence::manifest::Bytes;
use serde_json::json;

use crate::Outcome;
use crate::exit_code::ExitCode;
use crate::output::{print, print_json};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List what is kept
    Ls,
    /// Remove all of it; it is compiled again when it is needed
    Clear,
}

/// One piece of compiled code.
struct Entry {
    name: String,
    size: u64,
}

pub(crate) fn cache(arguments: &Arguments) -> Outcome {
    let folder = Places::of_user().compiled().ok_or_else(|| anyhow!("neither XDG_CACHE_HOME nor HOME is set"))?;
    match arguments.command {
        Command::Ls => list(folder, arguments.json),
        Command::Clear => clear(folder, arguments.json),
    }
}

fn list(folder: PathBuf, json: bool) -> Outcome {
    let entries = entries(&folder)?;
    let total = entries.iter().map(|entry| entry.size).sum();
    if json {
        let entries: Vec<_> = entries.iter().map(|entry| json!({ "name": entry.name, "bytes": entry.size })).collect();
        print_json(&json!({ "folder": folder, "bytes": total, "entries": entries }))?;
    } else {
        let mut text = String::new();
        for Entry { name, size } in &entries {
            text.push_str(&format!("{name}  {}\n", Bytes(*size)));
        }
        text.push_str(&format!("{} in {} entries, in {}\n", Bytes(total), entries.len(), folder.display()));
        print(&text)?;
    }
    Ok(ExitCode::Done)
}

fn clear(folder: PathBuf, json: bool) -> Outcome {
    let removed = remove(&folder)?;
    if json {
        print_json(&json!({ "folder": folder, "removed": removed }))?;
    } else {
        print(&format!("removed {removed} entries from {}\n", folder.display()))?;
    }
    Ok(ExitCode::Done)
}

#[cfg(feature = "wasm")]
fn entries(folder: &std::path::Path) -> anyhow::Result<Vec<Entry>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = ringfence::Cache::open(folder)?.entries().with_context(|| reading(folder))?;
    Ok(entries.into_iter().map(|entry| Entry { name: entry.name, size: entry.size }).collect())
}

#[cfg(feature = "wasm")]
fn remove(folder: &std::path::Path) -> anyhow::Result<usize> {
    if !folder.exists() {
        return Ok(0);
    }
    ringfence::Cache::open(folder)?.clear().with_context(|| reading(folder))
}

#[cfg(feature = "wasm")]
fn reading(folder: &std::path::Path) -> String {
    format!("cannot use the cache at {}", folder.display())
}

#[cfg(not(feature = "wasm"))]
fn entries(_: &std::path::Path) -> anyhow::Result<Vec<Entry>> {
    Err(nothing()).context("cannot list")
}

#[cfg(not(feature = "wasm"))]
fn remove(_: &std::path::Path) -> anyhow::Result<usize> {
    Err(nothing()).context("cannot clear")
}

#[cfg(not(feature = "wasm"))]
fn nothing() -> anyhow::Error {
    anyhow!("this build has no level that compiles")
}
