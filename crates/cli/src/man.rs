//! `ringfence man`: the manual.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};

use crate::Outcome;
use crate::cli::Cli;
use crate::exit_code::ExitCode;
use crate::output::print;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Write every page into this folder, instead of printing ringfence(1)
    #[arg(value_hint = clap::ValueHint::DirPath)]
    folder: Option<PathBuf>,
}

pub(crate) fn man(arguments: &Arguments) -> Outcome {
    match &arguments.folder {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            print(&String::from_utf8(page)?)?;
        }
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            clap_mangen::generate_to(Cli::command(), folder)
                .with_context(|| format!("cannot write into {}", folder.display()))?;
        }
    }
    Ok(ExitCode::Done)
}
