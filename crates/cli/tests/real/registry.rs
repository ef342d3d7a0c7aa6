//! Programs from the package registries, kept below the target folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Why a program is not there.
#[derive(Clone, Debug)]
pub(crate) enum Missing {
    /// It cannot be had here: offline, or a tool is not installed.
    Unavailable(String),
    /// What was had does not work.
    Broken(String),
}

/// A package of the Python Package Index, installed in a folder.
pub(crate) fn python(package: &str, version: &str) -> Result<PathBuf, Missing> {
    kept(&format!("{package}-{version}"), |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--no-input"])
            .args(["--disable-pip-version-check", "--root-user-action", "ignore"])
            .args(["--timeout", "15", "--retries", "1", "--target"])
            .arg(folder)
            .arg(format!("{package}=={version}"));
        run(pip).map(drop).map_err(|why| Missing::Unavailable(format!("{package} from PyPI: {why}")))
    })
}

/// A package of the npm registry, installed in a folder; its own folder.
pub(crate) fn npm(package: &str, version: &str) -> Result<PathBuf, Missing> {
    // The name of a package with a scope has a slash in it.
    let name = package.replace('/', "-");
    let folder = kept(&format!("{name}-{version}-npm"), |folder| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel", "error"])
            .args(["--fetch-retries", "1", "--fetch-retry-mintimeout", "1000", "--fetch-timeout", "30000", "--prefix"])
            .arg(folder)
            .arg(format!("{package}@{version}"));
        run(npm).map(drop).map_err(|why| Missing::Unavailable(format!("{package} from npm: {why}")))
    })?;
    Ok(folder.join("node_modules").join(package))
}

/// The folder of that name, which `make` fills when there is none. It has its name when it is whole:
/// other processes may do the same at the same time. What could not be made is not tried again.
pub(crate) fn kept(name: &str, make: impl FnOnce(&Path) -> Result<(), Missing>) -> Result<PathBuf, Missing> {
    static FAILED: Mutex<BTreeMap<String, Missing>> = Mutex::new(BTreeMap::new());
    // Held while one is made: one is made at a time.
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(missing) = failed.get(name) {
        return Err(missing.clone());
    }
    make_and_keep(name, make).inspect_err(|missing| drop(failed.insert(name.to_owned(), missing.clone())))
}

fn make_and_keep(name: &str, make: impl FnOnce(&Path) -> Result<(), Missing>) -> Result<PathBuf, Missing> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real");
    let folder = home.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&home).expect("the target folder can be written");
    let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&home).expect("so can this one");
    let content = unfinished.path().join("content");
    fs::create_dir(&content).expect("and this one");
    make(&content)?;
    match fs::rename(&content, &folder) {
        Ok(()) => Ok(folder),
        Err(_) if folder.is_dir() => Ok(folder),
        Err(error) => Err(Missing::Broken(format!("cannot keep {}: {error}", folder.display()))),
    }
}

/// Runs a tool to its end; what it printed, or the line in which it says what went wrong.
pub(crate) fn run(mut command: Command) -> Result<Vec<u8>, String> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{tool} does not run: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut lines = said.lines().filter(|line| !line.trim().is_empty());
    let wrong = lines.clone().find(|line| line.to_lowercase().contains("error")).or(lines.next_back());
    Err(format!("{tool} failed: {}", wrong.unwrap_or("it says nothing")))
}
