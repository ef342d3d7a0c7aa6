//! `ringfence run`: runs a capsule.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ringfence::{Capsule, Exit, Load, LoadError, Permission, Report, Resolved, Runtime, Stop, Trap};
use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Outcome;
use crate::events::Events;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::held;
use crate::instances::{self, Door};
use crate::target::Target;
use crate::terminal;
use crate::watchdog::{self, Watchdog};
use crate::{dry_run, learn};

/// Run a capsule, or a bare program, which is granted nothing
#[derive(Args)]
#[command(after_long_help = ExitCode::HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Write the final report as JSON into this file; - is standard error
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    report: Option<PathBuf>,
    /// Let it do what it wants in a scratch copy, and write the manifest it needed into this new file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    learn: Option<PathBuf>,
    /// Keep its changes to files apart, show them at the end, and let `commit` or `discard` decide
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, conflicts_with = "learn")]
    dry_run_fs: Option<Option<String>>,
    /// Call the instance by this name, by which other commands reach it; without one, a name is made up
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Give the program a terminal of its own, with job control, in the place of its standard streams
    #[arg(long, short)]
    tty: bool,
    /// Print events as JSON, an object on a line each, on standard error; what the program prints there is an event too
    #[arg(long)]
    json: bool,
    /// Print nothing about a capsule that runs: no denials, no reason of its end
    #[arg(long, short)]
    quiet: bool,
    /// A snapshot to go on from.
    #[arg(skip)]
    pub(crate) snapshot: Option<PathBuf>,
}

/// How long removing what is left may take when the process is ended by force, and writing the report.
const REMOVAL: Duration = Duration::from_secs(10);
const WRITING: Duration = Duration::from_secs(1);

/// An instance that is over.
pub(crate) struct Ended {
    pub(crate) report: Report,
    /// The first signal that was passed on to it.
    pub(crate) signal: Option<i32>,
    /// What it used, when it was to be learned.
    pub(crate) learned: Vec<(Permission, String)>,
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    let Arguments { target, report, learn, dry_run_fs, name, tty, json, quiet, snapshot } = arguments;
    let (events, marked) = Events::of_run(json, quiet).context("cannot set standard error apart")?;
    let ended = ReportTo::default();
    let outcome = watchdog(&events, &ended).and_then(|watchdog| {
        ended.open(report)?;
        let attempted = Door::new(name).and_then(|door| match (learn, dry_run_fs) {
            (None, None) => attempt(target, snapshot.as_deref(), tty, door, &events, &watchdog),
            _ if snapshot.is_some() => Err(Failure::wrong("a snapshot is run neither to learn nor as a dry run")),
            (None, Some(name)) => dry_run::dry_run(target, tty, name.as_deref(), door, &events, &watchdog),
            (Some(file), _) => learn::learn(target, tty, &file, door, &events, &watchdog),
        });
        // What it printed comes before how it ended.
        if let Some(marked) = marked {
            marked.finish();
        }
        match attempted {
            Ok(Ended { report, signal, .. }) => {
                events.ended(&report, signal);
                ended.write(&report, &events)?;
                Ok(code(&report.exit, signal))
            }
            Err(failure) => {
                events.failed(&failure);
                ended.write(&json!({ "failure": failure }), &events)?;
                Ok(failure.code)
            }
        }
    });
    let code = outcome.unwrap_or_else(|error| {
        let failure = Failure::host(error.as_ref());
        events.failed(&failure);
        failure.code
    });
    events.finish();
    Ok(code)
}

/// A watchdog that says why it ends the process, wherever that is to be said.
pub(crate) fn watchdog(events: &Events, report: &ReportTo) -> anyhow::Result<Watchdog> {
    let (events, report) = (events.clone(), report.clone());
    let watchdog = Watchdog::begin(move |failure, folder| {
        terminal::restore();
        events.failed(&failure);
        if let Some(folder) = folder {
            let gone = folder.clone();
            watchdog::within(REMOVAL, move || held::remove_tree(&gone).is_ok());
            if folder.exists() {
                events.note(&format!("{} is left", folder.display()));
            }
        }
        let (code, told) = (failure.code, events.clone());
        watchdog::within(WRITING, move || report.write(&json!({ "failure": failure }), &told).is_ok());
        events.finish();
        std::process::exit(code.number());
    });
    watchdog.context("cannot catch signals")
}

/// What is to be loaded, with a terminal as large as the user's if one is wanted.
pub(crate) fn loaded(target: Target, tty: bool) -> Result<Load, LoadError> {
    let load = target.load()?;
    Ok(if tty { load.terminal(terminal::size()) } else { load })
}

/// Runs it from its beginning, or from a snapshot.
fn attempt(
    target: Target,
    snapshot: Option<&Path>,
    tty: bool,
    door: Door,
    events: &Events,
    watchdog: &Watchdog,
) -> Result<Ended, Failure> {
    let target = if snapshot.is_some() { target.at_level("microvm") } else { target };
    let load = loaded(target, tty)?;
    let runtime = runtime(events)?;
    let capsule = prepared(&runtime, runtime.resolve(&load)?, snapshot)?;
    let ended = runtime.block_on(supervise(&capsule, door, events, watchdog));
    // Nothing of the instance is left. The rest is this process's own, which is about to end: giving
    // it back piece by piece would take longer than all else after the program's last instruction.
    std::mem::forget((capsule, runtime));
    ended
}

/// What is going to run, from its beginning or from a snapshot. Every subcommand that starts something goes through
/// here, so that no capsule is shown the ways to running instances.
///
/// # Errors
/// Of [`instances::hide`], and when the capsule cannot be prepared.
pub(crate) fn prepared(runtime: &Runtime, mut resolved: Resolved, snapshot: Option<&Path>) -> Result<Capsule, Failure> {
    instances::hide(&mut resolved.spec)?;
    Ok(match snapshot {
        None => runtime.prepare(resolved)?,
        Some(file) => runtime.restore(resolved, file)?,
    })
}

/// WebAssembly at levels sandbox and microvm and the monitors of level microvm are carried by this very program.
pub(crate) fn with_runner(builder: ringfence::Builder) -> ringfence::Builder {
    // Not `/proc/self/exe`: the path has to lead to it from another process.
    #[cfg(all(feature = "sandbox", target_os = "linux"))]
    let program = ringfence::program_path();
    #[cfg(not(all(feature = "sandbox", target_os = "linux")))]
    let program = std::env::current_exe();
    match program {
        Ok(program) => builder.runner(program),
        Err(_) => builder,
    }
}

/// A runtime on this thread that tells of what happens.
pub(crate) fn runtime(events: &Events) -> Result<Runtime, Failure> {
    let (denials, log, progress) = (events.clone(), events.clone(), events.clone());
    let builder = with_runner(Runtime::builder())
        .current_thread()
        .on_denial(move |_, denial| denials.denied(denial))
        .on_log(move |_, level, text| log.logged(level, text))
        .on_progress(move |what| progress.progress(what));
    Ok(builder.build()?)
}

/// Runs an instance to its end. The first signal is passed on to it, the second one kills it. Others reach it through
/// the door.
pub(crate) async fn supervise(
    capsule: &Capsule,
    mut door: Door,
    events: &Events,
    watchdog: &Watchdog,
) -> Result<Ended, Failure> {
    capsule.check_command()?;
    door.reserve()?;
    let mut signals = watchdog.while_running(capsule.spec().limits.wall_time);
    let has_terminal = capsule.spec().session.terminal.is_some();
    let _terminal = if has_terminal { terminal::raw()? } else { terminal::remembered() };
    let mut sizes = has_terminal.then(|| signal(SignalKind::window_change())).transpose()?;
    let instance = Arc::new(capsule.start()?);
    if has_terminal {
        // It may have changed since it was asked for.
        instance.resize(terminal::size());
    }
    let mut exited = std::pin::pin!(instance.exited());
    let mut first = None;
    let mut due = std::pin::pin!(door.due());
    let mut is_open = false;
    let report = loop {
        tokio::select! {
            report = &mut exited => break report,
            signal = signals.next() => {
                let how = answer(first, signal);
                events.signal(signal, how == Stop::Kill);
                instance.stop(how);
                if first.is_none() {
                    // Who has stopped takes no other signal, and could not end: as timeout(1) does.
                    instance.stop(Stop::Signal(rustix::process::Signal::CONT.as_raw()));
                }
                first.get_or_insert(signal);
            }
            () = resized(&mut sizes) => instance.resize(terminal::size()),
            () = &mut due, if !is_open => {
                is_open = true;
                door.open(&instance, watchdog);
            }
        }
    };
    Ok(Ended { report, signal: first, learned: instance.learned() })
}

/// Resolves when the user's terminal has another size; never without one.
async fn resized(sizes: &mut Option<Signal>) {
    if let Some(sizes) = sizes
        && sizes.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// What a signal does to the instance, when `first` came before it.
fn answer(first: Option<i32>, signal: i32) -> Stop {
    if first.is_none() { Stop::Signal(signal) } else { Stop::Kill }
}

fn code(exit: &Exit, signal: Option<i32>) -> ExitCode {
    match (exit, signal) {
        (Exit::Returned(status), _) => ExitCode::Capsule(*status),
        // Nothing ran.
        (Exit::Trapped(Trap::NotExecutable(_)), _) => ExitCode::Wrong,
        (Exit::Trapped(_), _) => ExitCode::Trapped,
        (Exit::Exceeded(_), _) => ExitCode::Exceeded,
        (Exit::Denied(_), _) => ExitCode::Denied,
        (Exit::Stopped, Some(signal)) => ExitCode::Signal(signal),
        (Exit::Stopped, None) | (Exit::Lost(_), _) => ExitCode::Failed,
    }
}

/// Where the final report goes; it goes there once. A file is opened before anything runs, so that no
/// run is in vain.
#[derive(Clone, Default)]
pub(crate) struct ReportTo(Arc<Mutex<Option<Place>>>);

enum Place {
    Stderr,
    File(PathBuf, File),
}

impl ReportTo {
    fn open(&self, path: Option<PathBuf>) -> anyhow::Result<()> {
        let place = match path {
            None => return Ok(()),
            Some(path) if path.as_os_str() == "-" => Place::Stderr,
            Some(path) => {
                let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
                Place::File(path, file)
            }
        };
        *self.place() = Some(place);
        Ok(())
    }

    fn write(&self, report: &impl Serialize, events: &Events) -> anyhow::Result<()> {
        let Some(place) = self.place().take() else { return Ok(()) };
        let text = match &place {
            // Among events, which are an object a line.
            Place::Stderr if events.is_json() => serde_json::to_string(report)?,
            _ => serde_json::to_string_pretty(report)?,
        } + "\n";
        match place {
            Place::Stderr => {
                events.text(text);
                Ok(())
            }
            Place::File(path, mut file) => {
                file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_passed_on_and_the_second_kills() {
        assert_eq!(answer(None, 15), Stop::Signal(15));
        assert_eq!(answer(Some(15), 2), Stop::Kill);
    }

    #[test]
    fn the_capsules_own_status_is_passed_through_even_after_a_signal() {
        assert_eq!(code(&Exit::Returned(3), Some(15)), ExitCode::Capsule(3));
        assert_eq!(code(&Exit::Stopped, Some(15)), ExitCode::Signal(15));
    }
}
