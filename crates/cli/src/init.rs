//! `ringfence init`: writes a commented manifest.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use ringfence::{Load, Manifest};

use crate::Outcome;
use crate::exit_code::ExitCode;
use crate::learn::relative;
use crate::output::print;

/// What is written, with places for the name and the path.
const TEMPLATE: &str = include_str!("init/capsule.toml");

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder to write capsule.toml into
    #[arg(default_value = ".", value_hint = clap::ValueHint::DirPath)]
    folder: PathBuf,
    /// The program it is for
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    program: Option<PathBuf>,
}

pub(crate) fn init(arguments: &Arguments) -> Outcome {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let home = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    let path = match &arguments.program {
        Some(program) => {
            let program = program.canonicalize().with_context(|| format!("cannot find {}", program.display()))?;
            relative(&home, &program)
        }
        None => PathBuf::from("program.wasm"),
    };
    let file = folder.join(Load::MANIFEST);
    match OpenOptions::new().write(true).create_new(true).open(&file) {
        Ok(mut opened) => opened.write_all(manifest(&home, &path).as_bytes())?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            eprintln!("ringfence: {} exists, and is left as it is", file.display());
            return Ok(ExitCode::Wrong);
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", file.display())),
    }
    print(&format!("wrote {0}\n  ringfence check {1}\n  ringfence run {1}\n", file.display(), folder.display()))?;
    Ok(ExitCode::Done)
}

fn manifest(home: &Path, path: &Path) -> String {
    // A capsule is called as its program; a manifest without one, as its folder.
    let named = if path == Path::new("program.wasm") { home } else { path };
    let bare = Manifest::bare(named);
    let written = Manifest::new(&bare.capsule.name.value, path).to_toml();
    // What the library writes is escaped as TOML wants it.
    let line = |key: &str| written.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    TEMPLATE.replace("NAME", &line("name = ")).replace("PATH", &line("path = "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_manifest() {
        let text = manifest(Path::new("/home/a/my capsule"), Path::new("program.wasm"));
        let manifest = Manifest::parse("capsule.toml", &text).unwrap();
        assert_eq!(manifest.capsule.name.value, "my-capsule");
        assert_eq!(manifest.program.path.value, Path::new("program.wasm"));
    }

    #[test]
    fn every_commented_line_of_the_template_is_right_too() {
        let text = manifest(Path::new("/"), Path::new("to\"ol.wasm"));
        let uncommented: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") || rest.starts_with('[') => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let manifest = Manifest::parse("capsule.toml", &uncommented).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(manifest.program.path.value, Path::new("to\"ol.wasm"));
        assert!(!manifest.mounts.is_empty() && !manifest.environment.is_empty());
    }
}
