//! From what was written to a complete [`Spec`]: the only place that reads defaults and the host.

mod environment;
mod error;
mod level;
mod mounts;
mod program;

use std::path::{Path, PathBuf};

use crate::diagnostic::{Problems, source};
use crate::manifest::Manifest;
use crate::overrides::{self, Overrides};
use crate::section::{self, Permissions, Stream};
use crate::text::quoted;
use crate::written::{Place, Written};
use crate::{Guarantee, Identity, Isolation, Kind, Level, Program, Source, Spec, Stdio, StreamIn, StreamOut};

pub use error::{Rejected, Rejection, ResolveError};
pub use program::find_program;

/// What resolution needs to know of the host.
pub struct Surroundings<'a> {
    /// The manifest's folder; what its relative paths are seen from. May be relative to the current
    /// directory.
    pub directory: PathBuf,
    /// What relative paths of the command line are seen from. Absolute.
    pub current_directory: PathBuf,
    /// Where ringfence keeps what it has to keep. Absolute.
    pub data_home: PathBuf,
    /// The variables of the host.
    pub host_environment: &'a dyn Fn(&str) -> Option<String>,
    /// The levels there are backends for.
    pub levels: Vec<Level>,
    /// Arguments from the command line for the program.
    pub extra_args: Vec<String>,
}

impl Manifest {
    /// The complete spec: the manifest with the flags applied, defaults filled in, everything
    /// checked and absolute.
    ///
    /// # Errors
    /// Everything that is wrong with the manifest and the flags; or why no level will do.
    pub fn resolve(&self, overrides: &Overrides, surroundings: &Surroundings<'_>) -> Result<Spec, ResolveError> {
        let mut problems = Problems::new(&self.file, &self.text);
        let manifest = overrides::apply(self, overrides, &mut problems);

        manifest.capsule.check(&mut problems);
        let capsule = Identity {
            name: manifest.capsule.name.value.clone(),
            version: manifest.capsule.version.as_ref().map(|version| version.value.clone()),
        };
        let program = manifest.program(surroundings, &mut problems);
        let permissions = manifest.granted();
        let mounts = mounts::resolve(&manifest, surroundings, &mut problems);
        let environment = environment::resolve(&manifest, surroundings, &mut problems);
        let (limits, defaults) = manifest.limits.with_defaults();
        let stdio = manifest.stdio(surroundings);
        level::check(&manifest, &mut problems);
        problems.finish(Some(()))?;

        let mut require = limits.guarantees();
        require.extend(Guarantee::ALWAYS);
        require.extend(manifest.isolation.require.iter().map(|guarantee| guarantee.value));
        let level = level::choose(&manifest, &require, &surroundings.levels)?;
        let isolation = Isolation { level, require };
        let root = surroundings.data_home.join("vfs").join(&capsule.name);
        Ok(Spec { capsule, program, isolation, permissions, mounts, environment, limits, stdio, root, defaults })
    }

    fn program(&self, surroundings: &Surroundings<'_>, problems: &mut Problems<'_>) -> Program {
        let mut args: Vec<String> = self.program.args.iter().map(|arg| arg.value.clone()).collect();
        if let Some(first) = surroundings.extra_args.first() {
            if self.permissions.granted.args {
                args.extend_from_slice(&surroundings.extra_args);
            } else {
                let help = Some("write `args = true` in `[permissions]`, or give `--allow args`".into());
                problems.report(
                    &Place::CommandLine(first.clone()),
                    "the capsule takes no arguments from the command line",
                    help,
                );
            }
        }
        for arg in surroundings.extra_args.iter().filter(|arg| arg.contains('\0')) {
            problems.report(&Place::CommandLine(arg.clone()), "no argument can contain a NUL character", None);
        }
        Program {
            kind: self.program.kind(),
            path: surroundings.program(&self.program),
            args,
            working_directory: self.program.working_directory(),
        }
    }

    /// What is granted, with where it was written.
    fn granted(&self) -> crate::Permissions {
        let Permissions { granted, places } = &self.permissions;
        let written = |places: &[Place]| {
            let mut sources: Vec<_> = places.iter().map(|place| source(&self.file, &self.text, place)).collect();
            sources.dedup();
            Source(sources.join(", "))
        };
        let sources = places.iter().map(|(&permission, places)| (permission, written(places))).collect();
        crate::Permissions { sources, ..granted.clone() }
    }

    fn stdio(&self, surroundings: &Surroundings<'_>) -> Stdio {
        let file = |written: &Written<Stream>, path: &String| surroundings.absolute(&written.with(path.clone()));
        let out = |stream: &Option<Written<Stream>>| match stream {
            None => StreamOut::Inherit,
            Some(written) => match &written.value {
                Stream::Inherit => StreamOut::Inherit,
                Stream::Null => StreamOut::Null,
                Stream::File(path) => StreamOut::File(file(written, path)),
            },
        };
        let stdin = match &self.stdio.stdin {
            None => StreamIn::Inherit,
            Some(written) => match &written.value {
                Stream::Inherit => StreamIn::Inherit,
                Stream::Null => StreamIn::Null,
                Stream::File(path) => StreamIn::File(file(written, path)),
            },
        };
        Stdio { stdin, stdout: out(&self.stdio.stdout), stderr: out(&self.stdio.stderr) }
    }
}

impl Surroundings<'_> {
    /// The program's file: what is there by that name, else, for a Linux program that was only named,
    /// the host's own.
    fn program(&self, program: &section::Program) -> PathBuf {
        let absolute = self.absolute(&program.path);
        if program.kind() != Kind::Linux || absolute.exists() {
            return absolute;
        }
        let path = (self.host_environment)("PATH").unwrap_or_default();
        find_program(&program.path.value, path.as_ref()).unwrap_or(absolute)
    }

    /// A path of the host, absolute: seen from the manifest's folder, or from the current directory
    /// when it was given on the command line. Links are not followed.
    fn absolute(&self, path: &Written<String>) -> PathBuf {
        let base = match path.place {
            Place::CommandLine(_) => self.current_directory.clone(),
            Place::Manifest { .. } | Place::Nowhere => self.current_directory.join(&self.directory),
        };
        let mut absolute = PathBuf::new();
        for component in base.join(&path.value).components() {
            if component != std::path::Component::CurDir {
                absolute.push(component);
            }
        }
        absolute
    }
}

/// A path of the host that has to exist.
fn check_exists(written: &Written<String>, path: &Path, problems: &mut Problems<'_>) {
    let shown = quoted(&path.to_string_lossy());
    if written.value.is_empty() || written.value.contains('\0') {
        problems.report(&written.place, "this is not a path", None);
        return;
    }
    let message = match path.try_exists() {
        Ok(true) => return,
        Ok(false) => format!("there is no {shown}"),
        Err(error) => format!("{shown} cannot be looked at: {error}"),
    };
    let help = written.value.starts_with('~').then(|| "`~` is not expanded: write the whole path".to_owned());
    problems.report(&written.place, message, help);
}

#[cfg(test)]
mod tests;
