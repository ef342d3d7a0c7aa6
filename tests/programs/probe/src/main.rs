//! The probe: a program that tries things from inside an isolated place and says what came of
//! them. The conformance and escape suites run the same source at every isolation level, so its
//! output is the same everywhere: one line per command, `ok DETAILS` or `err ERRNO DETAILS`.
//!
//! `probe COMMAND [ARGUMENT…] [+ COMMAND [ARGUMENT…]]…` runs the commands in order. A command that
//! fails does not stop the rest. The exit status is 0 when all were ok and 1 when any was not.
//! Without arguments the words of the environment variable `PROBE` are used instead, for places
//! that pass no arguments. README.md lists the commands.

mod environment;
mod errno;
mod files;
mod network;
mod outcome;
mod processes;
mod races;
mod resources;
mod sys;

use std::{env, process::ExitCode};

use outcome::{Failure, Outcome, say};

fn main() -> ExitCode {
    let words = words();
    if words.is_empty() {
        eprintln!("usage: probe COMMAND [ARGUMENT…] [+ COMMAND [ARGUMENT…]]…");
        return ExitCode::FAILURE;
    }
    let mut status = 0;
    for command in words.split(|word| word == "+") {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let outcome = run(&command).unwrap_or_else(|| {
            eprintln!("probe: not a command, or wrong arguments: {command:?}");
            Err(Failure::named("EUSAGE"))
        });
        status |= u8::from(outcome.is_err());
        say(&outcome);
    }
    ExitCode::from(status)
}

/// What to do: the arguments, or the words of `PROBE` where there are none.
fn words() -> Vec<String> {
    let given: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if !given.is_empty() {
        return given;
    }
    let fallback = env::var("PROBE").unwrap_or_default();
    fallback.split_whitespace().map(str::to_owned).collect()
}

/// The outcome of one command; nothing when no part of the probe knows it.
fn run(command: &[&str]) -> Option<Outcome> {
    files::run(command)
        .or_else(|| races::run(command))
        .or_else(|| environment::run(command))
        .or_else(|| resources::run(command))
        .or_else(|| processes::run(command))
        .or_else(|| network::run(command))
}
