//! The command line.

use clap::{Parser, Subcommand};

use crate::exit_code::ExitCode;
use crate::{cache, check, clean, completions, doctor, exec, init, kept, levels, man, ps, run, snapshot, stop};

/// Run any program behind the isolation it deserves, and never behind less than was asked for
#[derive(Parser)]
#[command(name = "ringfence", version, after_long_help = ExitCode::HELP, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The same for `run` alone: to describe every subcommand takes as long as to make a namespace.
#[derive(Parser)]
#[command(name = "ringfence", version, disable_help_subcommand = true)]
struct CliOfRun {
    #[command(subcommand)]
    command: OnlyRun,
}

#[derive(Subcommand)]
enum OnlyRun {
    Run(run::Arguments),
}

impl Cli {
    /// Reads the arguments of this process; ends it when they are wrong, or ask for help.
    pub(crate) fn read() -> Self {
        if std::env::args_os().nth(1).is_none_or(|first| first != "run") {
            return Cli::parse();
        }
        let OnlyRun::Run(arguments) = CliOfRun::parse().command;
        Cli { command: Command::Run(arguments) }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Run(run::Arguments),
    /// List the instances that run
    Ps(ps::Arguments),
    /// Run another command in an instance, behind the same walls and within the same limits
    #[command(after_long_help = exec::HELP)]
    Exec(exec::Arguments),
    /// End an instance: a signal first, and after a while by force
    Stop(stop::Arguments),
    /// Let an instance stand still: it uses no processor time until it is resumed
    Pause(stop::One),
    /// Let an instance that was paused go on
    Resume(stop::One),
    /// Say what would hold each guarantee, and whether that is enough, without running anything
    Check(check::Arguments),
    /// Say what this machine can do: each level is available, or why not and the remedy
    Doctor(doctor::Arguments),
    /// Say what each level guarantees, how strongly, and its score
    Levels(levels::Arguments),
    /// Write a commented capsule.toml
    Init(init::Arguments),
    /// Capture a program where it is ready, and go on from there any number of times
    Snapshot(snapshot::Arguments),
    /// List or clear the compiled code that is kept
    Cache(cache::Arguments),
    /// List or show changes that a dry run kept apart
    Changes(kept::List),
    /// Apply changes that a dry run kept apart, each file as a whole
    Commit(kept::One),
    /// Throw away changes that a dry run kept apart
    Discard(kept::One),
    /// Remove what processes left that were killed: cgroups, scratch copies, unfinished changes
    Clean(clean::Arguments),
    /// Print completions for a shell
    Completions(completions::Arguments),
    /// Print the manual page, or write all of them into a folder
    Man(man::Arguments),
}
