//! `ringfence init`

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::Outcome;
use crate::exit_code::ExitCode;
use crate::output::print;

/// What to write.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The program, as seen from the folder
    #[arg(long, default_value = "program.wasm")]
    program: String,
}

/// Writes a commented manifest; one that is there is left alone.
pub(crate) fn init(arguments: &Arguments) -> Outcome {
    std::fs::create_dir_all(&arguments.folder)?;
    let path = arguments.folder.join("capsule.toml");
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            eprintln!("ringfence: {} is there already and is left as it is", path.display());
            return Ok(ExitCode::Wrong);
        }
        Err(error) => return Err(error.into()),
    };
    let program = format!("{:?}", arguments.program);
    file.write_all(TEMPLATE.replace("PROGRAM", &program).as_bytes())?;
    print(&format!("wrote {}\n", path.display()))?;
    Ok(ExitCode::Done)
}

const TEMPLATE: &str = r#"[capsule]
name = "my-capsule"
version = "0.1.0"

[program]
path = PROGRAM
# args = ["--once"]

[isolation]
level = "auto"                 # the weakest level that holds what is asked, or one by name
# minimum = "wasm"             # never below this
# require = ["memory-limit"]   # refuse to run where this cannot be held

[permissions]                  # nothing is granted that is not written here
# fs.read = ["/data"]
# fs.list = ["/data"]
# fs.write = ["/data/out"]
# fs.create = ["/data/out"]
# net.connect = ["api.example.com:443"]
# env = { LOG = "info" }
# args = true                  # take arguments from the command line

# [mounts]                     # what of this machine is shown, and where
# "/data" = { from = "./data", mode = "ro" }

[limits]
memory = "64 MiB"
wall_time = "30s"
"#;
