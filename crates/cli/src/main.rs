//! The `ringfence` command.
//!
//! Each subcommand has a file of its own; [`cli`] lists them, [`exit_code`] says how it can end.
//!
//! `run` is made to start fast: nothing is set up that is not needed, and at the end nothing is torn down
//! that the kernel takes back anyway. The capsule has the main thread, and [`watchdog`] one that nothing
//! can hold up.
#![forbid(unsafe_code)]

mod cache;
mod changes;
mod check;
mod clean;
mod cli;
mod completions;
mod doctor;
mod dry_run;
mod events;
mod exec;
mod exit_code;
mod failure;
mod held;
mod init;
mod instances;
mod kept;
mod learn;
mod levels;
mod man;
mod marked;
mod output;
mod progress;
mod ps;
mod run;
mod scratch;
mod signals;
mod snapshot;
mod stderr;
mod stop;
mod style;
mod table;
mod target;
mod terminal;
mod watchdog;

use cli::{Cli, Command};
use exit_code::ExitCode;

fn main() {
    #[cfg(all(feature = "wasm", feature = "sandbox", target_os = "linux"))]
    if std::env::args_os().nth(1).is_some_and(|first| first == ringfence::runner::RUNNER) {
        ringfence::runner::run();
    }
    #[cfg(all(feature = "sandbox", target_os = "linux"))]
    ringfence::protect_program();
    let code = match Cli::read().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Ps(arguments) => ps::ps(&arguments),
        Command::Exec(arguments) => exec::exec(arguments),
        Command::Stop(arguments) => stop::stop(&arguments),
        Command::Pause(arguments) => stop::pause(&arguments),
        Command::Resume(arguments) => stop::resume(&arguments),
        Command::Check(arguments) => check::check(arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Levels(arguments) => levels::levels(&arguments),
        Command::Init(arguments) => init::init(&arguments),
        Command::Changes(arguments) => kept::list(&arguments),
        Command::Commit(arguments) => kept::commit(&arguments),
        Command::Discard(arguments) => kept::discard(&arguments),
        Command::Clean(arguments) => clean::clean(&arguments),
        Command::Snapshot(arguments) => snapshot::snapshot(arguments),
        Command::Cache(arguments) => cache::cache(&arguments),
        Command::Completions(arguments) => completions::completions(&arguments),
        Command::Man(arguments) => man::man(&arguments),
    };
    std::process::exit(code.unwrap_or_else(|error| failure::internal(&error)).number());
}

/// How a subcommand ends: a code to exit with, or something that went wrong on this machine.
type Outcome = anyhow::Result<ExitCode>;
