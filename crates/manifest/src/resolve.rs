//! From what was written to a complete [`Spec`]: the only place that reads defaults and the host.

mod environment;
mod error;
mod host;
mod level;
mod mounts;
mod program;
mod root;

use std::path::PathBuf;

use crate::diagnostic::{Problems, source};
use crate::manifest::Manifest;
use crate::overrides::{self, Overrides};
use crate::section::{Permissions, Stream};
use crate::written::{Place, Written};
use crate::{Guarantee, Identity, Isolation, Level, Program, Session, Source, Spec, Stdio, StreamIn, StreamOut};

pub use error::{Rejected, Rejection, ResolveError};
pub use program::find_program;
pub use root::folder_of;

/// What resolution needs to know of the host.
pub struct Surroundings<'a> {
    /// The manifest's folder; what its relative paths are seen from. May be relative to the current
    /// directory.
    pub directory: PathBuf,
    /// What relative paths of the command line are seen from. Absolute.
    pub current_directory: PathBuf,
    /// Where ringfence keeps what it has to keep. Absolute; `None` when there is no such place.
    pub data_home: Option<PathBuf>,
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
        let stdio = manifest.stdio(surroundings, &mut problems);
        level::check(&manifest, &mut problems);
        manifest.isolation.check(&mut problems);
        problems.finish(Some(()))?;

        let mut require = limits.guarantees();
        require.extend(Guarantee::ALWAYS);
        require.extend(manifest.isolation.require.iter().map(|guarantee| guarantee.value));
        let seccomp = manifest.isolation.system_calls();
        if seccomp.is_narrow() {
            require.insert(Guarantee::SystemCallsConfined);
        }
        let level = level::choose(&manifest, &require, &surroundings.levels)?;
        let isolation = Isolation { level, require, seccomp };
        let root = root::resolve(&capsule, level, &permissions.files, &mounts, surroundings)?;
        let session = Session::default();
        Ok(Spec {
            capsule,
            program,
            isolation,
            permissions,
            mounts,
            environment,
            limits,
            stdio,
            root,
            defaults,
            session,
        })
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

    fn stdio(&self, surroundings: &Surroundings<'_>, problems: &mut Problems<'_>) -> Stdio {
        let mut out = |name, stream: &Option<Written<Stream>>| match stream.as_ref().map(|stream| &stream.value) {
            None | Some(Stream::Inherit) => StreamOut::Inherit,
            Some(Stream::Null) => StreamOut::Null,
            Some(Stream::File(path)) => {
                let file = Written { value: path.clone(), place: place_of(stream) };
                let real = surroundings.stream(name, &file, false, problems);
                if is_of_folder(&file) { StreamOut::OfFolder(real) } else { StreamOut::File(real) }
            }
        };
        let (stdout, stderr) = (out("stdout", &self.stdio.stdout), out("stderr", &self.stdio.stderr));
        let stdin = match self.stdio.stdin.as_ref().map(|stream| &stream.value) {
            None | Some(Stream::Inherit) => StreamIn::Inherit,
            Some(Stream::Null) => StreamIn::Null,
            Some(Stream::File(path)) => {
                let file = Written { value: path.clone(), place: place_of(&self.stdio.stdin) };
                let real = surroundings.stream("stdin", &file, true, problems);
                if is_of_folder(&file) { StreamIn::OfFolder(real) } else { StreamIn::File(real) }
            }
        };
        Stdio { stdin, stdout, stderr }
    }
}

/// Whether a stream is named by the manifest: it lies in the capsule's folder.
fn is_of_folder(file: &Written<PathBuf>) -> bool {
    matches!(file.place, Place::Manifest { .. })
}

fn place_of(stream: &Option<Written<Stream>>) -> Place {
    stream.as_ref().map(|stream| stream.place.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
