//! Commands that start processes and threads. WASI has neither: they fail there.

use std::process::{self, Command};
#[cfg(not(target_os = "wasi"))]
use std::thread;

use crate::outcome::{Failure, Outcome, first_line};

pub fn run(command: &[&str]) -> Option<Outcome> {
    Some(match *command {
        ["spawn", program, ref arguments @ ..] => spawn(program, arguments),
        ["threads", count] => threads(count.parse().ok()?),
        ["pid"] => pid(),
        _ => return None,
    })
}

fn pid() -> Outcome {
    if cfg!(target_os = "wasi") {
        return Err(Failure::named("ENOSYS"));
    }
    Ok(process::id().to_string())
}

/// Runs another program to its end: its exit status and the first line it printed.
fn spawn(program: &str, arguments: &[&str]) -> Outcome {
    let ended = Command::new(program).args(arguments).output()?;
    match ended.status.code() {
        Some(status) => Ok(format!("{status} {}", first_line(&ended.stdout))),
        None => Err(Failure::named("ESIGNALLED")),
    }
}

#[cfg(target_os = "wasi")]
fn threads(_: u64) -> Outcome {
    Err(Failure::named("ENOTSUP"))
}

/// Starts threads that wait for what never comes, and so stay as long as the process.
#[cfg(not(target_os = "wasi"))]
fn threads(count: u64) -> Outcome {
    for started in 0..count {
        let thread = thread::Builder::new().spawn(|| {
            loop {
                thread::park();
            }
        });
        thread.map_err(|error| Failure::from(error).after(started))?;
    }
    Ok(count.to_string())
}
