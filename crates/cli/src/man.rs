//! `ringfence man`

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::Outcome;
use crate::cli::Cli;
use crate::exit_code::ExitCode;
use crate::output::print;

/// Where to.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write all pages into this folder
    folder: Option<PathBuf>,
}

/// Prints the manual page, or writes all of them.
pub(crate) fn man(arguments: &Arguments) -> Outcome {
    match &arguments.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            clap_mangen::generate_to(Cli::command(), folder)?;
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text)?;
            print(&String::from_utf8_lossy(&text))?;
        }
    }
    Ok(ExitCode::Done)
}
