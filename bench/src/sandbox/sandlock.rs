//! sandlock, of crates.io: Landlock and notified system calls, without namespaces.

use std::path::PathBuf;
use std::process::Command;

/// What it lets a program read, and the rules on memory, processes and the network that ringfence's
/// side of a comparison has, too.
const RULES: [&str; 16] = [
    "run",
    "-r",
    "/usr",
    "-r",
    "/lib",
    "-r",
    "/lib64",
    "-r",
    "/bin",
    "-r",
    "/etc/ld.so.cache",
    "-m",
    "64M",
    "-P",
    "16",
    "--net-allow",
];
/// No port of this machine answers there; it makes sandlock judge every connection.
const PEER: &str = "tcp://127.0.0.1:9";

/// The command, where `bench/run` put it, with rules and without a program.
pub(super) fn command() -> Option<Command> {
    let path = std::env::var_os("SANDLOCK").map(PathBuf::from).filter(|path| path.exists())?;
    let mut command = Command::new(path);
    command.args(RULES).arg(PEER);
    Some(command)
}
