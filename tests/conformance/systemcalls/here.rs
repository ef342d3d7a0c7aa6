//! A test on the host.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::find::Test;
use crate::outcome::Behaviour;

/// How much is read of what a test prints.
pub(crate) const MOST: u64 = 1 << 20;

/// Runs it in a fresh folder, in a group of processes of its own that ends with it or with the time.
///
/// # Errors
/// Why there is nothing to compare with.
pub(crate) fn run(test: &Test, folder: &Path, time: Duration) -> Result<Behaviour, String> {
    let home = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
    let kept = || tempfile::tempfile().map_err(|error| format!("no file: {error}"));
    let (stdout, stderr) = (kept()?, kept()?);
    let copy = |file: &File| file.try_clone().map_err(|error| format!("no file: {error}"));
    let mut child = Command::new(folder.join(&test.program))
        .args(&test.arguments)
        .current_dir(home.path())
        .env_clear()
        .envs(environment(folder, home.path()))
        .stdin(Stdio::null())
        .stdout(copy(&stdout)?)
        .stderr(copy(&stderr)?)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let group = child.id();
    let (tell, ended) = mpsc::channel();
    let status = std::thread::scope(|scope| {
        scope.spawn(move || tell.send(child.wait()));
        let ended_in_time = ended.recv_timeout(time);
        // Nobody of its group is left behind, however it ended.
        kill_group(group);
        ended_in_time
    });
    let end = match status {
        Ok(Ok(status)) => Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))),
        Ok(Err(error)) => Err(format!("nobody knows how it ended: {error}")),
        Err(_) => Err(format!("it took longer than {time:?}")),
    };
    Ok(Behaviour { end, stdout: read(stdout), stderr: read(stderr) })
}

/// What tests find in their environment.
pub(crate) fn environment(folder: &Path, home: &Path) -> [(&'static str, String); 4] {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", folder.display());
    [
        ("PATH", path),
        ("LTPROOT", folder.display().to_string()),
        ("TMPDIR", home.display().to_string()),
        ("LC_ALL", "C".into()),
    ]
}

fn kill_group(group: u32) {
    let arguments = ["-KILL", "--", &format!("-{group}")];
    // When nobody is left there is nobody to kill.
    let _ = Command::new("kill").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn read(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(MOST).read_to_end(&mut bytes));
    if read.is_err() { Vec::new() } else { bytes }
}
