//! A manifest as it was written: read from a file, made for a bare program, written back.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostics, Problems};
use crate::document;
use crate::section::environment;
use crate::section::{
    self, Capsule, Environment, Isolation, Limits, Mount, Permissions, Program, SECTIONS, Stdio,
    report_unknown_sections,
};
use crate::written::{Place, Written};

/// A manifest as it was written, every value with its place. Two are equal when they say the same,
/// wherever it was written.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// `[capsule]`
    pub capsule: Capsule,
    /// `[program]`
    pub program: Program,
    /// `[isolation]`
    pub isolation: Isolation,
    /// `[permissions]`
    pub permissions: Permissions,
    /// `[mounts]`, in their order.
    pub mounts: Vec<Mount>,
    /// `[env]`, and the variables with values in `[permissions]`.
    pub environment: Environment,
    /// `[limits]`
    pub limits: Limits,
    /// `[stdio]`
    pub stdio: Stdio,
    pub(crate) file: Arc<str>,
    pub(crate) text: Arc<str>,
}

/// Why a manifest was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("{} is no regular file", .path.display())]
    Special {
        /// Which.
        path: PathBuf,
    },
    /// The file is larger than any manifest.
    #[error("{} is larger than the {} a manifest may have", .path.display(), crate::Bytes(Manifest::MOST))]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// The file is not text.
    #[error("{} is not UTF-8: byte {offset} is none", .path.display())]
    NotText {
        /// Which.
        path: PathBuf,
        /// The first byte that is not.
        offset: usize,
    },
    /// What it says is wrong.
    #[error(transparent)]
    Invalid(#[from] Diagnostics),
}

impl Manifest {
    /// The most bytes a manifest may have.
    pub const MOST: u64 = 256 << 10;

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or what it says is wrong.
    pub fn read(path: impl AsRef<Path>) -> Result<Manifest, ReadError> {
        let path = path.as_ref();
        let unreadable = |source| ReadError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        // Looked at before it is opened: that would wait for who writes into a pipe.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(ReadError::Special { path: path.to_owned() });
        }
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(Manifest::MOST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > Manifest::MOST {
            return Err(ReadError::TooLarge { path: path.to_owned() });
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| ReadError::NotText { path: path.to_owned(), offset: error.utf8_error().valid_up_to() })?;
        Ok(Manifest::parse(&path.to_string_lossy(), &text)?)
    }

    /// Reads a text; `file_name` is for messages.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(file_name: &str, text: &str) -> Result<Manifest, Diagnostics> {
        let mut problems = Problems::new(file_name, text);
        let document = document::read(text, &mut problems);
        let manifest = document.map(|mut document| {
            let [capsule, program, isolation, permissions, mounts, env, limits, stdio] =
                SECTIONS.map(|section| section.take_from(&mut document, &mut problems));
            report_unknown_sections(&document, &mut problems);
            let capsule = Capsule::read(capsule, &mut problems);
            let program = Program::read(program, &mut problems);
            let isolation = Isolation::read(isolation);
            let (permissions, variables) = Permissions::read(permissions, &mut problems);
            let mounts = Mount::read(mounts);
            let environment = environment::collect(env, variables, &mut problems);
            let limits = Limits::read(limits, &mut problems);
            let stdio = Stdio::read(stdio);
            let (file, text) = (file_name.into(), text.into());
            Manifest { capsule, program, isolation, permissions, mounts, environment, limits, stdio, file, text }
        });
        problems.finish(manifest)
    }

    /// A manifest that grants nothing, for a program without one. It is called after the program's
    /// file, and takes arguments from the command line.
    pub fn bare(program: impl AsRef<Path>) -> Manifest {
        let path = program.as_ref();
        let text = path.to_string_lossy();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
        let name = match section::capsule::sanitised(&stem) {
            name if name.is_empty() => "capsule".to_owned(),
            name => name,
        };
        let mut manifest = Manifest::new(&name, path);
        manifest.program.path.place = Place::CommandLine(text.into_owned());
        manifest.permissions.granted.args = true;
        manifest
    }

    /// A manifest that grants nothing, made by a program.
    pub fn new(name: &str, path: impl AsRef<Path>) -> Manifest {
        let path = path.as_ref();
        Manifest {
            capsule: Capsule { name: Written::nowhere(name.to_owned()), version: None },
            program: Program { path: Written::nowhere(path.to_owned()), ..Program::default() },
            isolation: Isolation::default(),
            permissions: Permissions::default(),
            mounts: Vec::new(),
            environment: Environment::new(),
            limits: Limits::default(),
            stdio: Stdio::default(),
            file: path.to_string_lossy().into(),
            text: "".into(),
        }
    }

    /// The same with other permissions: what a run was seen to need.
    #[must_use]
    pub fn with_permissions(mut self, granted: crate::Permissions) -> Manifest {
        let granted = crate::Permissions { sources: Default::default(), learn: false, ..granted };
        self.permissions = Permissions { granted, places: Default::default() };
        self
    }

    /// The file it was read from, as the caller named it; the program's for a bare one.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The text it was read from; empty when it was not read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The manifest as a readable text, which reads as an equal manifest.
    pub fn to_toml(&self) -> String {
        let mut toml = String::new();
        self.capsule.write(&mut toml);
        self.program.write(&mut toml);
        self.isolation.write(&mut toml);
        self.permissions.write(&mut toml);
        Mount::write(&self.mounts, &mut toml);
        environment::write(&self.environment, &mut toml);
        self.limits.write(&mut toml);
        self.stdio.write(&mut toml);
        toml
    }
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        let Manifest { capsule, program, isolation, permissions, mounts, environment, limits, stdio, file: _, text: _ } =
            self;
        *capsule == other.capsule
            && *program == other.program
            && *isolation == other.isolation
            && *permissions == other.permissions
            && *mounts == other.mounts
            && *environment == other.environment
            && *limits == other.limits
            && *stdio == other.stdio
    }
}

#[cfg(test)]
mod tests;
