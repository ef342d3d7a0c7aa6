//! `ringfence stop`, `pause` and `resume`.

use std::time::Duration;

use clap::Args;
use ringfence::manifest::read_duration;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::Outcome;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::instances::{Answer, Ask, Visit};
use crate::output::visible;
use crate::signals;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Which, as `ringfence ps` lists it
    name: String,
    /// The signal that comes first, by its name or number
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", value_parser = signals::parse)]
    signal: i32,
    /// How long it has to end before it is killed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    time: Duration,
}

#[derive(Args)]
pub(crate) struct One {
    /// Which, as `ringfence ps` lists it
    name: String,
}

/// How long it may take to be gone when it was killed: longer than the process that runs it waits for that.
const LAST: Duration = Duration::from_secs(30);

fn time(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => read_duration(text).map_err(|error| error.to_string()),
    }
}

pub(crate) fn stop(arguments: &Arguments) -> Outcome {
    done(async {
        let visit = Visit::to(&arguments.name)?;
        // That it is gone before it answers is what is wanted.
        if let Some(Answer::Status(status)) = visit.ask_if_there(&Ask::Status).await?
            && status.paused
        {
            // What stands still takes no signal.
            visit.ask_if_there(&Ask::Resume).await?;
        }
        visit.ask_if_there(&Ask::Signal(arguments.signal)).await?;
        if timeout(arguments.time, visit.gone()).await.is_ok() {
            return Ok(());
        }
        // It may be gone by now.
        let _ = visit.ask(&Ask::Kill).await;
        if timeout(LAST, visit.gone()).await.is_err() {
            let what = format!("{} is not gone {LAST:?} after it was killed; its process is {}", visit.name, visit.pid);
            return Err(Failure::host(&std::io::Error::other(what)));
        }
        eprintln!("ringfence: {} did not end within {:?} and was killed", visit.name, arguments.time);
        Ok(())
    })
}

pub(crate) fn pause(arguments: &One) -> Outcome {
    done(ask(&arguments.name, &Ask::Pause))
}

pub(crate) fn resume(arguments: &One) -> Outcome {
    done(ask(&arguments.name, &Ask::Resume))
}

async fn ask(name: &str, ask: &Ask) -> Result<(), Failure> {
    Visit::to(name)?.ask(ask).await.map(drop)
}

fn done(work: impl Future<Output = Result<(), Failure>>) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(match runtime.block_on(work) {
        Ok(()) => ExitCode::Done,
        Err(failure) => {
            eprintln!("{}", visible(&failure.text()));
            failure.code
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_units() {
        let parsed = ["0", "3", "250ms", "1m30s"].map(|text| time(text).unwrap().as_millis());
        assert_eq!(parsed, [0, 3000, 250, 90_000]);
        assert!(["", "-1", "soon"].into_iter().all(|text| time(text).is_err()));
    }
}
