//! `[program]`: what runs.

use std::path::PathBuf;

use crate::Kind;
use crate::diagnostic::Problems;
use crate::document::Raw;
use crate::permissions::normal_path;
use crate::section::{Fields, Section};
use crate::shape::{Key, Shape, Vocabulary};
use crate::text::{list, string};
use crate::written::Written;

pub(crate) static SECTION: Section = Section {
    name: "program",
    about: "What runs.",
    keys: &[
        Key::optional("kind", Shape::Word(&KINDS), "what sort of program; by default what its file's name says"),
        Key::required(
            "path",
            Shape::Text(None),
            "the program's file, seen from the manifest's folder; a Linux program that is not there by its name is looked up in PATH",
        ),
        Key::optional("args", Shape::Texts(None), "its arguments, without its own name"),
        Key::optional(
            "cwd",
            Shape::Text(Some("^/")),
            "its working directory, absolute in its own tree; by default `/`",
        ),
    ],
    rest: None,
};

static KINDS: Vocabulary =
    Vocabulary { what: "a kind of program", words: || Kind::ALL.iter().map(|kind| kind.name()).collect() };

/// `[program]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// What sort; `None` for what the file's name says.
    pub kind: Option<Written<Kind>>,
    /// Where it is on the host.
    pub path: Written<PathBuf>,
    /// Its arguments, without its own name.
    pub args: Vec<Written<String>>,
    /// Its working directory, absolute in its own tree.
    pub cwd: Option<Written<String>>,
}

impl Program {
    pub(crate) fn read(mut fields: Fields, problems: &mut Problems<'_>) -> Self {
        let kind = fields.take("kind").and_then(Raw::into_text);
        let kind = kind.and_then(|kind| Some(kind.with(Kind::from_name(&kind.value)?)));
        let path = fields.take("path").and_then(Raw::into_text);
        if let Some(path) = path.as_ref().filter(|path| path.value.is_empty() || path.value.contains('\0')) {
            problems.report(&path.place, "this is not a path", None);
        }
        let args = fields.take("args").map(Raw::into_texts).unwrap_or_default();
        for arg in args.iter().filter(|arg| arg.value.contains('\0')) {
            problems.report(&arg.place, "no argument can contain a NUL character", None);
        }
        let path = path.map(|path| path.with(PathBuf::from(&path.value))).unwrap_or_default();
        let mut program = Program { kind, path, args, cwd: None };
        if let Some(cwd) = fields.take("cwd") {
            program.set_cwd(cwd, problems);
        }
        program
    }

    /// Sets the working directory, from the manifest or a flag.
    pub(crate) fn set_cwd(&mut self, raw: Raw, problems: &mut Problems<'_>) {
        let Some(cwd) = raw.into_text() else { return };
        let error = match cwd.value.starts_with('/') {
            true => normal_path("/", &cwd.value).err(),
            false => Some(crate::RuleError::RelativePath(cwd.value.clone())),
        };
        match error {
            None => self.cwd = Some(cwd),
            Some(error) => problems.report(&cwd.place, error.to_string(), error.help()),
        }
    }

    /// What sort of program: what was written, or what the file's name says.
    pub fn kind(&self) -> Kind {
        if let Some(kind) = &self.kind {
            return kind.value;
        }
        let extension = self.path.value.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("wasm" | "wat" | "cwasm") => Kind::Wasm,
            Some("js" | "mjs" | "cjs") => Kind::Js,
            _ => Kind::Linux,
        }
    }

    /// The working directory in its normal form: what was written, or `/`.
    pub fn working_directory(&self) -> String {
        let written = self.cwd.as_ref().map_or("/", |cwd| &cwd.value);
        // What cannot be one was reported where it was read.
        normal_path("/", written).unwrap_or_else(|_| "/".to_owned())
    }

    pub(crate) fn write(&self, toml: &mut String) {
        toml.push_str("\n[program]\n");
        if let Some(kind) = &self.kind {
            toml.push_str(&format!("kind = {}\n", string(kind.value.name())));
        }
        toml.push_str(&format!("path = {}\n", string(&self.path.value.to_string_lossy())));
        if !self.args.is_empty() {
            toml.push_str(&format!("args = {}\n", list(self.args.iter().map(|arg| string(&arg.value)))));
        }
        if let Some(cwd) = &self.cwd {
            toml.push_str(&format!("cwd = {}\n", string(&cwd.value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_follows_from_the_name_of_the_file() {
        for (path, kind) in [
            ("a.wasm", Kind::Wasm),
            ("dir.js/a.WAT", Kind::Wasm),
            ("a.cwasm", Kind::Wasm),
            ("a.js", Kind::Js),
            ("a.mjs", Kind::Js),
            ("/bin/ls", Kind::Linux),
            ("a.py", Kind::Linux),
        ] {
            let program = Program { path: Written::nowhere(path.into()), ..Program::default() };
            assert_eq!(program.kind(), kind, "{path}");
        }
    }
}
