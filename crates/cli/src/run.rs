//! `ringfence run`: runs a capsule.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ringfence::{Capsule, Exit, Permission, Report, Runtime, Stop};
use serde::Serialize;

use crate::Outcome;
use crate::events::Events;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::learn;
use crate::signals::Signals;
use crate::target::Target;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Write the final report as JSON into this file; - is standard error
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    report: Option<PathBuf>,
    /// Let it do what it wants in a scratch copy, and write the manifest it needed into this new file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    learn: Option<PathBuf>,
    /// Print events as JSON, an object on a line each, on standard error
    #[arg(long)]
    json: bool,
    /// Print nothing about a capsule that runs: no denials, no reason of its end
    #[arg(long, short)]
    quiet: bool,
}

/// An instance that is over.
pub(crate) struct Ended {
    pub(crate) report: Report,
    /// The first signal that was passed on to it.
    pub(crate) signal: Option<i32>,
    /// What it used, when it was to be learned.
    pub(crate) learned: Vec<(Permission, String)>,
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    let Arguments { target, report, learn, json, quiet } = arguments;
    let events = Events::new(json, quiet);
    let report = ReportTo::open(report)?;
    let ended = match learn {
        None => attempt(target, &events),
        Some(file) => learn::learn(target, &file, &events),
    };
    match ended {
        Ok(Ended { report: told, signal, .. }) => {
            events.ended(&told, signal);
            report.write(&told)?;
            Ok(code(&told.exit, signal))
        }
        Err(failure) => {
            events.failed(&failure);
            report.write(&serde_json::json!({ "failure": failure }))?;
            Ok(failure.code)
        }
    }
}

fn attempt(target: Target, events: &Events) -> Result<Ended, Failure> {
    let load = target.load()?;
    let runtime = runtime(events)?;
    let capsule = runtime.load_with(load)?;
    let ended = runtime.block_on(supervise(&capsule, events));
    // Nothing of the instance is left. The rest is this process's own, which is about to end: giving
    // it back piece by piece would take longer than all else after the program's last instruction.
    std::mem::forget((capsule, runtime));
    ended
}

/// A runtime on this thread that tells of what happens.
pub(crate) fn runtime(events: &Events) -> Result<Runtime, Failure> {
    let (denials, log, progress) = (events.clone(), events.clone(), events.clone());
    let builder = Runtime::builder()
        .current_thread()
        .on_denial(move |_, denial| denials.denied(denial))
        .on_log(move |_, level, text| log.logged(level, text))
        .on_progress(move |what| progress.progress(what));
    Ok(builder.build()?)
}

/// Runs an instance to its end. The first signal is passed on to it, the second one kills it.
pub(crate) async fn supervise(capsule: &Capsule, events: &Events) -> Result<Ended, Failure> {
    capsule.check_command()?;
    let mut signals = Signals::catch()?;
    let instance = capsule.start()?;
    let mut exited = std::pin::pin!(instance.exited());
    let mut first = None;
    let report = loop {
        tokio::select! {
            report = &mut exited => break report,
            signal = signals.next() => {
                let how = answer(first, signal);
                events.signal(signal, how == Stop::Kill);
                instance.stop(how);
                first.get_or_insert(signal);
            }
        }
    };
    Ok(Ended { report, signal: first, learned: instance.learned() })
}

/// What a signal does to the instance, when `first` came before it.
fn answer(first: Option<i32>, signal: i32) -> Stop {
    if first.is_none() { Stop::Signal(signal) } else { Stop::Kill }
}

fn code(exit: &Exit, signal: Option<i32>) -> ExitCode {
    match (exit, signal) {
        (Exit::Returned(status), _) => ExitCode::Capsule(*status),
        (Exit::Trapped(_), _) => ExitCode::Trapped,
        (Exit::Exceeded(_), _) => ExitCode::Exceeded,
        (Exit::Denied(_), _) => ExitCode::Denied,
        (Exit::Stopped, Some(signal)) => ExitCode::Signal(signal),
        (Exit::Stopped, None) | (Exit::Lost(_), _) => ExitCode::Failed,
    }
}

/// Where the final report goes. A file is opened before anything runs, so that no run is in vain.
enum ReportTo {
    Nowhere,
    Stderr,
    File(PathBuf, File),
}

impl ReportTo {
    fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        Ok(match path {
            None => ReportTo::Nowhere,
            Some(path) if path.as_os_str() == "-" => ReportTo::Stderr,
            Some(path) => {
                let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
                ReportTo::File(path, file)
            }
        })
    }

    fn write(self, report: &impl Serialize) -> anyhow::Result<()> {
        let text = |report| -> anyhow::Result<String> { Ok(serde_json::to_string_pretty(report)? + "\n") };
        match self {
            ReportTo::Nowhere => Ok(()),
            ReportTo::Stderr => {
                // Standard error may be closed; the exit code still says how it ended.
                let _ = std::io::stderr().write_all(text(report)?.as_bytes());
                Ok(())
            }
            ReportTo::File(path, mut file) => {
                let text = text(report)?;
                file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
            }
        }
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
