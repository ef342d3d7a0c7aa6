//! `ringfence completions`: completions for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Outcome;
use crate::cli::Cli;
use crate::exit_code::ExitCode;
use crate::output::print;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Which shell
    shell: Shell,
}

pub(crate) fn completions(arguments: &Arguments) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "ringfence", &mut text);
    print(&String::from_utf8(text)?)?;
    Ok(ExitCode::Done)
}
