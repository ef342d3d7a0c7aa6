//! Paths of the host: where they really lead, and whether that is in the capsule's folder.
//!
//! What a manifest calls its own must be its own: a link in a capsule's folder leads whoever reads the
//! manifest to believe that something of the capsule is used. Flags are the user's, and may name anything.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::Surroundings;
use crate::diagnostic::Problems;
use crate::text::quoted_path;
use crate::written::{Place, Written};

impl Surroundings<'_> {
    /// A path of the host, absolute: seen from the manifest's folder, or from the current directory
    /// when it was given on the command line. Links are not followed.
    pub(super) fn absolute(&self, path: &Written<impl AsRef<Path>>) -> PathBuf {
        let base = match path.place {
            Place::CommandLine(_) => self.current_directory.clone(),
            Place::Manifest { .. } | Place::Nowhere => self.folder(),
        };
        let mut absolute = PathBuf::new();
        for component in base.join(&path.value).components() {
            if component != Component::CurDir {
                absolute.push(component);
            }
        }
        absolute
    }

    /// What is mounted, as it is: with every link followed. It has to exist.
    pub(super) fn mounted(&self, from: &Written<String>, problems: &mut Problems<'_>) -> PathBuf {
        let path = self.absolute(from);
        let Some(real) = real(from, &path, problems) else { return path };
        if let Place::Manifest { .. } = from.place
            && self.is_written_inside(&path)
            && !self.is_inside(&real)
        {
            let help = format!("to mount that, write {}", quoted_path(&real));
            problems.report(&from.place, leaves(&path, &real), Some(help));
        }
        real
    }

    /// A file that is a standard stream. One that is written in the manifest lies in the capsule's folder.
    pub(super) fn stream(
        &self,
        name: &str,
        file: &Written<PathBuf>,
        is_input: bool,
        problems: &mut Problems<'_>,
    ) -> PathBuf {
        let path = self.absolute(file);
        let Place::Manifest { .. } = file.place else { return path };
        let shown = quoted_path(&path);
        let real = match path.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound && !is_input => to_be_made(&path),
            real => real,
        };
        match real {
            Ok(real) if !self.is_inside(&real) => {
                let message = match real == normal(&path) {
                    true => format!("{shown} lies outside of the capsule's folder"),
                    false => leaves(&path, &real),
                };
                let help = format!("a stream of a manifest is a file of its folder; for another, give `--{name} FILE`");
                problems.report(&file.place, message, Some(help));
                path
            }
            Ok(real) if real.exists() && !real.is_file() => {
                problems.report(&file.place, format!("{shown} is no regular file"), None);
                path
            }
            Ok(real) => real,
            Err(error) if error.kind() == ErrorKind::NotFound && is_input => {
                problems.report(&file.place, format!("there is no {shown}"), None);
                path
            }
            Err(error) => {
                problems.report(&file.place, format!("{shown} cannot be made: {error}"), None);
                path
            }
        }
    }

    /// The manifest's folder, absolute.
    fn folder(&self) -> PathBuf {
        self.current_directory.join(&self.directory)
    }

    /// Whether what `real` names lies in the capsule's folder.
    fn is_inside(&self, real: &Path) -> bool {
        let folder = self.folder();
        real.starts_with(folder.canonicalize().unwrap_or(folder))
    }

    /// Whether who reads `path` takes it for a part of the capsule's folder.
    fn is_written_inside(&self, path: &Path) -> bool {
        let (path, folder) = (normal(path), self.folder());
        path.starts_with(normal(&folder)) || self.is_inside(&path)
    }
}

fn leaves(path: &Path, real: &Path) -> String {
    let [path, real] = [path, real].map(quoted_path);
    format!("{path} leads to {real}, outside of the capsule's folder")
}

/// Where a path leads; it has to exist.
fn real(written: &Written<String>, path: &Path, problems: &mut Problems<'_>) -> Option<PathBuf> {
    if written.value.is_empty() || written.value.contains('\0') {
        problems.report(&written.place, "this is not a path", None);
        return None;
    }
    let shown = quoted_path(path);
    let message = match path.canonicalize() {
        Ok(real) => return Some(real),
        Err(error) if error.kind() == ErrorKind::NotFound => format!("there is no {shown}"),
        Err(error) => format!("{shown} cannot be looked at: {error}"),
    };
    let help = written.value.starts_with('~').then(|| "`~` is not expanded: write the whole path".to_owned());
    problems.report(&written.place, message, help);
    None
}

/// Where a file will be that does not exist: its folder has to, and it must not be a link.
fn to_be_made(path: &Path) -> std::io::Result<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::NotFound.into());
    };
    if path.is_symlink() {
        return Err(std::io::Error::other("it is a link that leads nowhere"));
    }
    Ok(folder.canonicalize()?.join(name))
}

/// `path` without `..`, as it reads: links are not followed.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => _ = normal.pop(),
            component => normal.push(component),
        }
    }
    normal
}
