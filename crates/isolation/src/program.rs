//! What every level asks of a Linux program before it looks closer.

use std::os::unix::fs::PermissionsExt;

use ringfence_manifest::{Kind, Spec};

use crate::BuildError;

impl BuildError {
    /// The program is not one for the level it is to run at, for this reason.
    pub fn program(spec: &Spec, reason: impl Into<String>) -> Self {
        BuildError::Program { path: spec.program.path.clone(), level: spec.isolation.level, reason: reason.into() }
    }
}

/// Whether a spec's program is an executable file, and its words are such that they can be passed on
/// (`execve(2)`).
///
/// # Errors
/// [`BuildError::Unreadable`], or [`BuildError::Program`] with what is wrong.
pub fn check_linux_program(spec: &Spec) -> Result<(), BuildError> {
    let refuse = |reason: &str| Err(BuildError::program(spec, reason));
    if spec.program.kind != Kind::Linux {
        let level = spec.isolation.level;
        return refuse(&format!(
            "this version of level {level} runs programs of kind linux; choose level wasm for WebAssembly"
        ));
    }
    let path = &spec.program.path;
    let metadata = std::fs::metadata(path).map_err(|source| BuildError::Unreadable { path: path.clone(), source })?;
    if !metadata.is_file() {
        return refuse("it is not a file");
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return refuse("it is not executable: `chmod +x` makes it so");
    }
    let texts = spec.program.args.iter().chain(spec.environment.keys()).chain(spec.environment.values());
    if texts.chain([&spec.program.working_directory]).any(|text| text.contains('\0')) {
        return refuse("an argument, variable or folder contains a NUL character");
    }
    Ok(())
}
