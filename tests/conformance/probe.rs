//! The program that every case runs, as each level needs it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use ringfence::Level;

/// The probe, as WebAssembly and as a program of this machine.
pub struct Probe {
    wasm: PathBuf,
    native: Result<PathBuf, String>,
}

impl Probe {
    /// Makes it for this machine, once for each edition of its source, in `folder`.
    pub fn new(folder: &Path) -> Self {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs");
        let native = make(&programs.join("probe/src"), folder);
        Probe { wasm: programs.join("probe.wasm"), native }
    }

    /// The program for `level`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn at(&self, level: Level) -> Result<&Path, String> {
        match level {
            Level::Sandbox | Level::MicroVm => self.native.as_deref().map_err(Clone::clone),
            _ => Ok(&self.wasm),
        }
    }
}

/// The standard library is all it needs, so the compiler alone makes it.
fn make(source: &Path, folder: &Path) -> Result<PathBuf, String> {
    let edition = edition(source).map_err(|error| format!("{}: {error}", source.display()))?;
    let name = format!("probe-{edition:016x}");
    // Another user than the one who built the suite has a folder of their own.
    let temporary = std::env::temp_dir();
    let folders = [folder, &temporary];
    if let Some(made) = folders.iter().map(|folder| folder.join(&name)).find(|program| program.exists()) {
        return Ok(made);
    }
    let folder = if tempfile::tempfile_in(folder).is_ok() { folder } else { &temporary };
    let program = folder.join(name);
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // Two suites may do this at the same time: it has its name when it is whole.
    let unfinished = folder.join(format!("probe.{}", std::process::id()));
    let made = Command::new(&compiler)
        .args(["--edition", "2024", "--crate-name", "probe", "-O", "-C", "panic=abort", "-o"])
        .arg(&unfinished)
        .arg(source.join("main.rs"))
        .output()
        .map_err(|error| format!("the probe cannot be compiled: {}: {error}", compiler.display()))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        return Err(format!("the probe does not compile: {}", said.lines().next().unwrap_or_default()));
    }
    fs::rename(&unfinished, &program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(program)
}

/// A number that changes with the source.
fn edition(folder: &Path) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for file in files {
        fs::read(file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}
