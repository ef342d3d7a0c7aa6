//! Flags of the command line, which say the same as keys of the manifest and win over them.

use crate::diagnostic::Problems;
use crate::document::Raw;
use crate::manifest::Manifest;
use crate::permissions::normal_path;
use crate::section::{Mount, environment};
use crate::written::{Place, Written};
use crate::{Permission, RuleError};

/// Flags, each with the texts it was given: `allow` holds those of `--allow`, and so on. A flag adds
/// to a list of the manifest and replaces everything else; the last of two that say different wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--allow fs.read,fs.list=/data`, `--allow net.connect=host:443`, `--allow random=false`
    pub allow: Vec<String>,
    /// `--mount ./data:/data:ro`; replaces the manifest's mount at the same path.
    pub mount: Vec<String>,
    /// `--env NAME=value`, or `--env NAME` to pass on the host's.
    pub env: Vec<String>,
    /// `--limit memory=64MiB`
    pub limit: Vec<String>,
    /// `--level sandbox`
    pub level: Option<String>,
    /// `--minimum wasm`
    pub minimum: Option<String>,
    /// `--require own-kernel,own-address-space`
    pub require: Vec<String>,
    /// `--seccomp strict`, `--seccomp execve,exit,exit_group,read,write`
    pub seccomp: Option<String>,
    /// `--cwd /data`
    pub cwd: Option<String>,
}

impl Manifest {
    /// The manifest with the flags applied.
    ///
    /// # Errors
    /// Everything that is wrong with the flags.
    pub fn with(&self, overrides: &Overrides) -> Result<Manifest, crate::Diagnostics> {
        let mut problems = Problems::new(&self.file, &self.text);
        let manifest = apply(self, overrides, &mut problems);
        problems.finish(Some(manifest))
    }
}

/// Applies the flags; what is wrong with them is reported and left out.
pub(crate) fn apply(manifest: &Manifest, overrides: &Overrides, problems: &mut Problems<'_>) -> Manifest {
    // Every flag has its field here: a new one does not compile until it is applied.
    let Overrides { allow, mount, env, limit, level, minimum, require, seccomp, cwd } = overrides;
    let mut manifest = manifest.clone();
    for text in allow {
        manifest.permissions.grant_flag(text, &flag("--allow", text), problems);
    }
    for text in env {
        set_variable(&mut manifest, text, &flag("--env", text), problems);
    }
    for text in limit {
        manifest.limits.set_flag(text, &flag("--limit", text), problems);
    }
    let alone = [("level", "--level", level), ("minimum", "--minimum", minimum), ("seccomp", "--seccomp", seccomp)];
    for (name, flag_name, text) in alone {
        if let Some(text) = text {
            manifest.isolation.set_flag(name, text, flag(flag_name, text), problems);
        }
    }
    for text in require {
        manifest.isolation.set_flag("require", text, flag("--require", text), problems);
    }
    if let Some(text) = cwd {
        manifest.program.set_cwd(Raw::text(text, flag("--cwd", text)), problems);
    }
    // After the working directory, which relative paths are seen from.
    let from_manifest = manifest.mounts.len();
    for text in mount {
        if let Some(mount) = Mount::read_flag(text, &flag("--mount", text), problems) {
            manifest.mounts.push(mount);
        }
    }
    replace_mounts(&mut manifest, from_manifest);
    manifest
}

fn flag(name: &str, text: &str) -> Place {
    Place::CommandLine(format!("{name} {text}"))
}

/// `NAME=value`, or `NAME` to pass on the host's.
fn set_variable(manifest: &mut Manifest, text: &str, place: &Place, problems: &mut Problems<'_>) {
    let written = |value: &str| Written { value: value.to_owned(), place: place.clone() };
    match text.split_once('=') {
        Some((name, value)) => {
            if let Some((name, value)) = environment::variable(written(name), written(value), problems) {
                manifest.permissions.forget_variable(&name.value);
                manifest.environment.insert(name.value, value);
            }
        }
        None => {
            manifest.environment.remove(text);
            let names = crate::document::RawValue::List(vec![Raw::text(text, place.clone())]);
            manifest.permissions.grant(Permission::Env, Raw { value: names, place: place.clone() }, problems);
        }
    }
}

/// Removes the mounts of the manifest, the first `count`, that a flag replaces.
fn replace_mounts(manifest: &mut Manifest, count: usize) {
    let cwd = manifest.program.working_directory();
    let at = |mount: &Mount| -> Result<String, RuleError> { normal_path(&cwd, &mount.at.value) };
    let by_flags: Vec<_> = manifest.mounts.iter().skip(count).map(at).collect();
    let mut index = 0;
    manifest.mounts.retain(|mount| {
        index += 1;
        let at = at(mount);
        index > count || at.is_err() || !by_flags.contains(&at)
    });
}

#[cfg(test)]
mod tests;
