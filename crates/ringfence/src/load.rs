//! What is to be loaded: a manifest, what overrides it, and where its streams go.

use std::path::{Path, PathBuf};

use ringfence_isolation::BuildError;
use ringfence_manifest::{Manifest, Overrides, Point, ReadError, ResolveError, StreamIn, StreamOut, WindowSize};

/// What is to be loaded. Each setting has the name and the syntax of the manifest's key.
#[derive(Clone, Debug)]
#[must_use]
pub struct Load {
    pub(crate) manifest: Manifest,
    pub(crate) overrides: Overrides,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) args: Vec<String>,
    pub(crate) stdin: Option<StreamIn>,
    pub(crate) stdout: Option<StreamOut>,
    pub(crate) stderr: Option<StreamOut>,
    pub(crate) terminal: Option<WindowSize>,
    pub(crate) capture_at: Option<Point>,
}

/// Why a capsule was not loaded. Nothing of it has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is nothing of that name.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// A folder without a manifest.
    #[error("{} has no {}", .0.display(), Load::MANIFEST)]
    NoManifest(PathBuf),
    /// A pipe or a device.
    #[error("{} is no regular file", .0.display())]
    Special(PathBuf),
    /// The manifest was not read.
    #[error(transparent)]
    Manifest(#[from] ReadError),
    /// The manifest has no spec here.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The current directory is gone, and relative paths cannot be seen from it.
    #[error("the current directory cannot be found")]
    CurrentDirectory(#[source] std::io::Error),
    /// The backend will not have it.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl Load {
    /// The name of a manifest in its folder.
    pub const MANIFEST: &str = "capsule.toml";

    /// What is at `path`: a folder with a `capsule.toml`, a manifest (`*.toml`), or a bare program,
    /// which is granted nothing. A name that nothing has here is a program of the host's `PATH`.
    ///
    /// # Errors
    /// When there is nothing, or the manifest cannot be read or is wrong.
    pub fn path(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        if path.is_dir() {
            let manifest = path.join(Self::MANIFEST);
            if !manifest.exists() {
                return Err(LoadError::NoManifest(path.to_owned()));
            }
            return Ok(Self::manifest(Manifest::read(manifest)?).directory(path));
        }
        if !path.exists() {
            return match is_named(path) {
                true => Ok(Self::manifest(Manifest::bare(path))),
                false => Err(LoadError::Missing(path.to_owned())),
            };
        }
        if !path.is_file() {
            return Err(LoadError::Special(path.to_owned()));
        }
        if path.extension().is_some_and(|extension| extension == "toml") {
            let directory = path.parent().unwrap_or(Path::new(""));
            return Ok(Self::manifest(Manifest::read(path)?).directory(directory));
        }
        Ok(Self::manifest(Manifest::bare(path)))
    }

    /// This manifest. Its relative paths are seen from the folder of the file it was read from.
    pub fn manifest(manifest: Manifest) -> Self {
        let file = Path::new(manifest.file());
        let directory = match manifest.text() {
            "" => None,
            _ => file.parent().map(Path::to_owned),
        };
        Load {
            manifest,
            overrides: Overrides::default(),
            directory,
            args: Vec::new(),
            stdin: None,
            stdout: None,
            stderr: None,
            terminal: None,
            capture_at: None,
        }
    }

    /// The folder that relative paths of the manifest are seen from.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// All flags at once, replacing those before.
    pub fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// `fs.read=/data`, `net.connect=example.com:443`
    pub fn allow(mut self, permission: impl Into<String>) -> Self {
        self.overrides.allow.push(permission.into());
        self
    }

    /// `./data:/data:ro`
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.overrides.mount.push(mount.into());
        self
    }

    /// `NAME=value`, or `NAME` to pass on the host's.
    pub fn env(mut self, variable: impl Into<String>) -> Self {
        self.overrides.env.push(variable.into());
        self
    }

    /// `memory=64MiB`
    pub fn limit(mut self, limit: impl Into<String>) -> Self {
        self.overrides.limit.push(limit.into());
        self
    }

    /// `wasm`
    pub fn level(mut self, level: impl Into<String>) -> Self {
        self.overrides.level = Some(level.into());
        self
    }

    /// `own-kernel`
    pub fn require(mut self, guarantee: impl Into<String>) -> Self {
        self.overrides.require.push(guarantee.into());
        self
    }

    /// `strict`, `execve,exit,exit_group,read,write`
    pub fn seccomp(mut self, words: impl Into<String>) -> Self {
        self.overrides.seccomp = Some(words.into());
        self
    }

    /// Arguments for the program, after those of the manifest.
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Where standard input comes from.
    pub fn stdin(mut self, stdin: StreamIn) -> Self {
        self.stdin = Some(stdin);
        self
    }

    /// Where standard output goes; [`StreamOut::Capture`] puts it into the report.
    pub fn stdout(mut self, stdout: StreamOut) -> Self {
        self.stdout = Some(stdout);
        self
    }

    /// Where standard error goes; [`StreamOut::Capture`] puts it into the report.
    pub fn stderr(mut self, stderr: StreamOut) -> Self {
        self.stderr = Some(stderr);
        self
    }

    /// Gives the program a terminal of this size, at a level that has one to give: standard input is typed
    /// into it, and standard output is what it shows.
    pub fn terminal(mut self, size: WindowSize) -> Self {
        self.terminal = Some(size);
        self
    }

    /// Lets the program come to rest at this point and wait for [`Instance::snapshot`](crate::Instance::snapshot),
    /// at a level that captures.
    pub fn capture_at(mut self, point: Option<Point>) -> Self {
        self.capture_at = point;
        self
    }

    /// Whether there are arguments beside those of the manifest.
    pub fn has_args(&self) -> bool {
        !self.args.is_empty()
    }

    /// The manifest as it was written.
    pub fn written(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest as it was written, to be changed.
    pub fn written_mut(&mut self) -> &mut Manifest {
        &mut self.manifest
    }

    /// The manifest with the flags applied.
    ///
    /// # Errors
    /// Everything that is wrong with the flags.
    pub fn merged(&self) -> Result<Manifest, ResolveError> {
        Ok(self.manifest.with(&self.overrides)?)
    }
}

/// Whether it is the name of a program in the host's `PATH`.
fn is_named(path: &Path) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    path.to_str().is_some_and(|name| ringfence_manifest::find_program(name, &folders).is_some())
}
