//! What is to be run or checked: the flags that `run` and `check` share.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use ringfence::manifest::section::Stream;
use ringfence::manifest::{Place, Written};
use ringfence::{Load, LoadError, Overrides};

/// Flags have the names and the syntax of the manifest's keys, and win over them.
#[derive(Args)]
pub(crate) struct Target {
    /// A folder with a capsule.toml, a manifest (*.toml), or a bare program
    #[arg(default_value = ".", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) target: PathBuf,

    /// Run at this level: auto, or one that `ringfence levels` lists
    #[arg(long, value_name = "LEVEL", help_heading = "Isolation")]
    level: Option<String>,
    /// Never run below this level
    #[arg(long, value_name = "LEVEL", help_heading = "Isolation")]
    minimum: Option<String>,
    /// Refuse to run unless this guarantee is held
    #[arg(long, value_name = "GUARANTEE", help_heading = "Isolation")]
    require: Vec<String>,
    /// Let through the system calls of a profile (strict, default, permissive), or these, and no others
    #[arg(long, value_name = "PROFILE|CALLS", help_heading = "Isolation")]
    seccomp: Option<String>,

    /// Grant a permission: fs.read,fs.list=/data, net.connect=example.com:443, clock=false
    #[arg(long, value_name = "PERMISSION=VALUE", help_heading = "Permissions")]
    allow: Vec<String>,
    /// Show a file or folder of this machine to the capsule: ./data:/data:ro
    #[arg(long, value_name = "FROM:AT[:ro|rw]", help_heading = "Permissions")]
    mount: Vec<String>,
    /// Set a variable, or pass this machine's on
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Permissions")]
    env: Vec<String>,

    /// Limit a resource: memory=64MiB, wall_time=30s, open_files=64
    #[arg(long, value_name = "LIMIT=VALUE", help_heading = "Limits")]
    limit: Vec<String>,

    /// The capsule's working directory, in its own tree
    #[arg(long, value_name = "PATH", help_heading = "Program")]
    cwd: Option<String>,
    /// Standard input: inherit, null, or a file
    #[arg(long, value_name = "WHERE", help_heading = "Program", value_hint = clap::ValueHint::FilePath)]
    stdin: Option<OsString>,
    /// Standard output: inherit, null, or a file
    #[arg(long, value_name = "WHERE", help_heading = "Program", value_hint = clap::ValueHint::FilePath)]
    stdout: Option<OsString>,
    /// Standard error: inherit, null, or a file
    #[arg(long, value_name = "WHERE", help_heading = "Program", value_hint = clap::ValueHint::FilePath)]
    stderr: Option<OsString>,

    /// Arguments for the program
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

impl Target {
    /// The same at this level, unless a flag names another one.
    pub(crate) fn at_level(mut self, level: &str) -> Self {
        self.level.get_or_insert_with(|| level.to_owned());
        self
    }

    /// What is to be loaded.
    pub(crate) fn load(self) -> Result<Load, LoadError> {
        let mut load = Load::path(&self.target)?;
        let stdio = &mut load.written_mut().stdio;
        for (name, text, stream) in [
            ("--stdin", self.stdin, &mut stdio.stdin),
            ("--stdout", self.stdout, &mut stdio.stdout),
            ("--stderr", self.stderr, &mut stdio.stderr),
        ] {
            if let Some(text) = text {
                let place = Place::CommandLine(format!("{name} {}", text.to_string_lossy()));
                *stream = Some(Written { value: parse_stream(text), place });
            }
        }
        let overrides = Overrides {
            allow: self.allow,
            mount: self.mount,
            env: self.env,
            limit: self.limit,
            level: self.level,
            minimum: self.minimum,
            require: self.require,
            seccomp: self.seccomp,
            cwd: self.cwd,
        };
        Ok(load.overrides(overrides).args(self.args))
    }
}

fn parse_stream(text: OsString) -> Stream {
    match text.to_str() {
        Some("inherit") => Stream::Inherit,
        Some("null") => Stream::Null,
        _ => Stream::File(text.into()),
    }
}
