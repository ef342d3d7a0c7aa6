//! `ringfence snapshot`: programs that are captured, and go on from there.
//!
//! A snapshot holds what the program had in memory and nothing of what it may do: that is said by the
//! manifest and the flags of each run.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use ringfence::manifest::{Bytes, Point};
use ringfence::{Capsule, Exit, InstanceError, Places, SnapshotError, Stop};
use serde_json::json;

use crate::Outcome;
use crate::events::Events;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{print, print_json, visible_line};
use crate::run;
use crate::target::Target;
use crate::watchdog::Watchdog;

/// How the files of named snapshots end.
const SUFFIX: &str = ".snapshot";
/// How those end that are being written (`Capsule::save`).
const UNFINISHED: &str = ".unfinished";

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a program up to a point, and capture it there
    Create(Box<Create>),
    /// Go on from a snapshot; what the program may do is said here, and judged anew
    #[command(after_long_help = ExitCode::HELP)]
    Run(Box<Run>),
    /// List the snapshots of this user
    Ls(List),
    /// Remove snapshots
    Rm(Remove),
}

#[derive(Args)]
struct Create {
    /// A name, or a path with a slash in it
    name: String,
    #[command(flatten)]
    target: Target,
    /// Where to capture it
    #[arg(long, value_enum, default_value = "start", conflicts_with = "after")]
    at: At,
    /// Capture it when it has run for so long: 2s, 500ms
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    /// Replace a snapshot of this name
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum At {
    /// Before it reads or writes one of its standard streams for the first time
    Start,
    /// Where it calls prctl(0x52464e47, 0, 0, 0, 0), which answers 1 in what goes on from there
    Marker,
    /// When this command gets a signal: Ctrl-C
    Signal,
}

#[derive(Args)]
struct Run {
    /// A name, or a path with a slash in it
    #[arg(id = "from", value_name = "NAME")]
    name: String,
    #[command(flatten)]
    run: run::Arguments,
}

#[derive(Args)]
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Remove {
    /// Their names
    #[arg(required = true)]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn snapshot(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Create(arguments) => create(*arguments),
        Command::Run(arguments) => {
            let Run { name, mut run } = *arguments;
            match place(&name) {
                Ok(file) => {
                    run.snapshot = Some(file);
                    run::run(run)
                }
                Err(failure) => Ok(told(&failure)),
            }
        }
        Command::Ls(arguments) => list(&arguments),
        Command::Rm(arguments) => remove(&arguments),
    }
}

fn told(failure: &Failure) -> ExitCode {
    eprintln!("{}", failure.text());
    failure.code
}

/// Where the named ones are.
fn folder() -> Result<PathBuf, Failure> {
    let folder = Places::of_user().snapshots();
    folder.ok_or_else(|| Failure::wrong("there is no place for snapshots: set HOME or XDG_STATE_HOME, or give a path"))
}

/// The file of a name, or the path that was given.
fn place(name: &str) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        return Ok(name.into());
    }
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if name.is_empty() || name.starts_with('.') || name.len() > 64 || !name.chars().all(is_plain) {
        return Err(Failure::wrong(format!(
            "{name:?} is no name of a snapshot: letters, digits, `-`, `_` and `.`; a path has a slash in it"
        )));
    }
    Ok(folder()?.join(format!("{name}{SUFFIX}")))
}

fn create(arguments: Create) -> Outcome {
    let events = Events::new(false, true);
    let json = arguments.json;
    match run::watchdog(&events, &run::ReportTo::default())
        .map_err(|error| Failure::host(error.as_ref()))
        .and_then(|watchdog| made(arguments, &events, &watchdog))
    {
        Ok((file, bytes)) if json => {
            print_json(&json!({ "file": file.to_string_lossy(), "bytes": bytes })).map(|()| ExitCode::Done)
        }
        Ok((file, bytes)) => {
            print(&format!("captured: {}, {}\n", visible_line(&file.to_string_lossy()), Bytes(bytes)))?;
            Ok(ExitCode::Done)
        }
        Err(failure) => Ok(told(&failure)),
    }
}

/// Runs it to the point, and writes what was captured; where, and how long it is.
fn made(arguments: Create, events: &Events, watchdog: &Watchdog) -> Result<(PathBuf, u64), Failure> {
    let Create { name, target, at, after, force, .. } = arguments;
    let file = place(&name)?;
    if file.exists() && !force {
        return Err(Failure::wrong(format!("{} is there already; --force replaces it", file.display())));
    }
    let after = after.map(|text| ringfence::manifest::read_duration(&text)).transpose();
    let after = after.map_err(|error| Failure::wrong(format!("--after: {error}")))?;
    let point = match (after, at) {
        (Some(_), _) | (None, At::Signal) => Point::Anywhere,
        (None, At::Start) => Point::Start,
        (None, At::Marker) => Point::Marker,
    };
    let load = target.at_level("microvm").load()?.capture_at(Some(point));
    let runtime = run::runtime(events)?;
    let capsule = run::prepared(&runtime, runtime.resolve(&load)?, None)?;
    let captured = runtime.block_on(captured(&capsule, point != Point::Anywhere, after, watchdog))?;
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty() && !name.contains('/')) {
        private(parent)?;
    }
    captured.save(&file).map_err(|error| Failure::host(&error))?;
    Ok((file.clone(), fs::metadata(&file)?.len()))
}

/// Makes a folder that is this user's alone.
fn private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Starts it, captures it and ends it. Signals before the point are passed on, unless one is the point.
async fn captured(
    capsule: &Capsule,
    has_point: bool,
    after: Option<Duration>,
    watchdog: &Watchdog,
) -> Result<Capsule, Failure> {
    capsule.check_command()?;
    let mut signals = watchdog.while_running(capsule.spec().limits.wall_time);
    let instance = capsule.start()?;
    if !has_point {
        let moment = async {
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = moment => {}
            _ = signals.next() => {}
            report = instance.exited() => return Err(ended_before(&report.exit)),
        }
    }
    let mut capture = std::pin::pin!(instance.snapshot_and_stop());
    let mut first = true;
    let captured = loop {
        tokio::select! {
            captured = &mut capture => break captured,
            signal = signals.next() => {
                instance.stop(if std::mem::take(&mut first) { Stop::Signal(signal) } else { Stop::Kill });
            }
        }
    };
    instance.stop(Stop::Kill);
    let report = instance.exited().await;
    captured.map_err(|error| match (error, report.exit) {
        (SnapshotError::Call(InstanceError::Ended(Exit::Stopped)), exit) => ended_before(&exit),
        (SnapshotError::Call(InstanceError::Ended(exit)), _) => ended_before(&exit),
        // Why it was ended is why it could not be captured.
        (_, exit @ (Exit::Exceeded(_) | Exit::Denied(_))) => ended_before(&exit),
        (error, _) => Failure::not_captured(&error.to_string()),
    })
}

fn ended_before(exit: &Exit) -> Failure {
    let failure = Failure::not_captured(&format!("it ended before it came to the point: {exit}"));
    match exit {
        Exit::Exceeded(_) => Failure { kind: "exceeded", code: ExitCode::Exceeded, ..failure },
        _ => failure,
    }
}

/// A snapshot that is kept.
struct Kept {
    name: String,
    file: PathBuf,
    bytes: u64,
    /// Seconds since 1970.
    made: u64,
}

fn kept() -> Result<Vec<Kept>, Failure> {
    let folder = folder()?;
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let (Some(name), Ok(found)) = (file_name.strip_suffix(SUFFIX), entry.metadata()) else { continue };
        let made = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        if found.is_file() && found.uid() == rustix::process::geteuid().as_raw() {
            kept.push(Kept { name: name.into(), file: entry.path(), bytes: found.len(), made: made.as_secs() });
        }
    }
    kept.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(kept)
}

/// The files of named snapshots that nobody writes any more, and that nobody wrote to their end.
pub(crate) fn unfinished() -> Vec<PathBuf> {
    let entries = Places::of_user().snapshots().and_then(|folder| fs::read_dir(folder).ok());
    let entries = entries.into_iter().flatten().flatten();
    let unfinished = entries.filter(|entry| entry.file_name().as_encoded_bytes().ends_with(UNFINISHED.as_bytes()));
    // Before it is opened: who opens a pipe may wait.
    let files = unfinished.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.map(|entry| entry.path()).filter(|file| File::open(file).is_ok_and(|file| file.try_lock().is_ok())).collect()
}

fn list(arguments: &List) -> Outcome {
    let kept = match kept() {
        Ok(kept) => kept,
        Err(failure) => return Ok(told(&failure)),
    };
    if arguments.json {
        let all: Vec<_> = kept
            .iter()
            .map(|Kept { name, file, bytes, made }| {
                json!({ "name": name, "file": file.to_string_lossy(), "bytes": bytes, "made": made })
            })
            .collect();
        print_json(&all)?;
    } else {
        let mut text = String::new();
        for Kept { name, bytes, .. } in &kept {
            text.push_str(&format!("{}  {}\n", visible_line(name), Bytes(*bytes)));
        }
        print(if text.is_empty() { "no snapshots are kept\n" } else { &text })?;
    }
    Ok(ExitCode::Done)
}

fn remove(arguments: &Remove) -> Outcome {
    let mut code = ExitCode::Done;
    let mut removed = Vec::new();
    for name in &arguments.names {
        let gone = place(name).and_then(|file| {
            // A path is not removed because somebody thought it was a snapshot.
            File::open(&file).map_err(|error| Failure::wrong(format!("{}: {error}", file.display())))?;
            if name.contains('/') {
                return Err(Failure::wrong(format!("{name} has a path: rm(1) removes it")));
            }
            Ok(fs::remove_file(&file)?)
        });
        match gone {
            Ok(()) => removed.push(name),
            Err(failure) => code = told(&failure),
        }
    }
    if arguments.json {
        print_json(&json!({ "removed": removed }))?;
    }
    Ok(code)
}
