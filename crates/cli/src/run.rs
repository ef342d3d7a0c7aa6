//! `ringfence run`

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ringfence::{Exit, Instance, Report, Runtime, Stop};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit_code::ExitCode;
use crate::output::visible;
use crate::target::Target;
use crate::{Outcome, failure};

/// How to run it.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Write the final report there, as JSON; `-` is standard error
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print events as lines of JSON
    #[arg(long)]
    json: bool,
    /// Print no denials
    #[arg(long, short)]
    quiet: bool,
}

/// Runs a capsule to its end.
pub(crate) fn run(arguments: Arguments) -> Outcome {
    let Arguments { target, report: report_file, json, quiet } = arguments;
    let runtime = Runtime::builder()
        .current_thread()
        .on_denial(move |_, denial| {
            if quiet {
                return;
            }
            let line = if json {
                serde_json::to_string(&serde_json::json!({ "event": "denied", "denial": denial })).unwrap_or_default()
            } else {
                visible(&format!("ringfence: {denial}"))
            };
            let _ = writeln!(std::io::stderr(), "{line}");
        })
        .build()?;
    let capsule = match target.load().and_then(|load| runtime.load_with(load)) {
        Ok(capsule) => capsule,
        Err(error) => return Ok(failure::load(&error)),
    };
    let ended = runtime.block_on(async {
        let instance = match capsule.start() {
            Ok(instance) => instance,
            Err(error) => return Ok(Err(error)),
        };
        supervise(&Arc::new(instance)).await.map(Ok)
    })?;
    let (report, signalled) = match ended {
        Ok(ended) => ended,
        Err(error) => return Ok(failure::start(&error)),
    };
    if let Some(path) = report_file {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        if path.as_os_str() == "-" {
            std::io::stderr().write_all(text.as_bytes())?;
        } else {
            std::fs::write(path, text)?;
        }
    }
    Ok(code(&report, signalled, json))
}

/// Waits for the end; a signal is passed on, the second interrupt kills.
async fn supervise(instance: &Arc<Instance>) -> anyhow::Result<(Report, Option<i32>)> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let exited = instance.exited();
    tokio::pin!(exited);
    let mut signalled = None;
    loop {
        let number = tokio::select! {
            biased;
            report = &mut exited => return Ok((report, signalled)),
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
            _ = hangup.recv() => 1,
            _ = quit.recv() => 3,
        };
        instance.stop(if signalled.is_some() { Stop::Kill } else { Stop::Signal(number) });
        signalled.get_or_insert(number);
    }
}

fn code(report: &Report, signalled: Option<i32>, json: bool) -> ExitCode {
    let (code, message) = match &report.exit {
        Exit::Returned(status) => return ExitCode::Capsule(*status),
        Exit::Trapped(trap) => (ExitCode::Trapped, format!("trapped: {trap}")),
        Exit::Exceeded(limit) => (ExitCode::Exceeded, format!("exceeded limit {limit}")),
        Exit::Denied(denial) => (ExitCode::Denied, denial.to_string()),
        Exit::Stopped => (signalled.map_or(ExitCode::Failed, ExitCode::Signal), "stopped".to_owned()),
        Exit::Lost(_) => (ExitCode::Failed, report.exit.to_string()),
    };
    let line = if json {
        serde_json::to_string(&serde_json::json!({ "event": "ended", "end": report.exit })).unwrap_or_default()
    } else {
        visible(&format!("ringfence: {}: {message}", report.capsule.name))
    };
    let _ = writeln!(std::io::stderr(), "{line}");
    code
}
