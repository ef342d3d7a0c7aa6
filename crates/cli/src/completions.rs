//! `ringfence completions`

use clap::{Args, CommandFactory};

use crate::Outcome;
use crate::cli::Cli;
use crate::exit_code::ExitCode;
use crate::output::print;

/// For which shell.
#[derive(Args)]
pub(crate) struct Arguments {
    shell: clap_complete::Shell,
}

/// Prints completions.
pub(crate) fn completions(arguments: &Arguments) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "ringfence", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::Done)
}
