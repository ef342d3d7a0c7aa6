//! `[stdio]`: where the standard streams go.

use std::path::PathBuf;

use crate::document::{Raw, RawValue};
use crate::section::{Fields, Section};
use crate::shape::{Key, Shape, Vocabulary};
use crate::text::string;
use crate::written::Written;

pub(crate) static SECTION: Section = Section {
    name: "stdio",
    about: "Where its standard streams go.",
    keys: &[
        Key::optional("stdin", Shape::WordOr(&STREAMS, FILE), "standard input"),
        Key::optional("stdout", Shape::WordOr(&STREAMS, FILE), "standard output"),
        Key::optional("stderr", Shape::WordOr(&STREAMS, FILE), "standard error"),
    ],
    rest: None,
};

const FILE: &[Key] = &[Key::required("file", Shape::Text(None), "a regular file in the manifest's folder")];

static STREAMS: Vocabulary =
    Vocabulary { what: "`inherit`, `null` or `{ file = \"…\" }`", words: || vec!["inherit", "null"] };

/// `[stdio]`. A stream of which nothing is written is the host process's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Option<Written<Stream>>,
    /// Standard output.
    pub stdout: Option<Written<Stream>>,
    /// Standard error.
    pub stderr: Option<Written<Stream>>,
}

/// Where a standard stream goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    /// The host process's own.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
    /// A file of the host.
    File(PathBuf),
}

impl Stdio {
    pub(crate) fn read(mut fields: Fields) -> Self {
        let mut stream = |name| read_stream(fields.take(name)?);
        Stdio { stdin: stream("stdin"), stdout: stream("stdout"), stderr: stream("stderr") }
    }

    pub(crate) fn write(&self, toml: &mut String) {
        if *self == Stdio::default() {
            return;
        }
        toml.push_str("\n[stdio]\n");
        for (name, stream) in [("stdin", &self.stdin), ("stdout", &self.stdout), ("stderr", &self.stderr)] {
            match stream.as_ref().map(|stream| &stream.value) {
                None => {}
                Some(Stream::Inherit) => toml.push_str(&format!("{name} = \"inherit\"\n")),
                Some(Stream::Null) => toml.push_str(&format!("{name} = \"null\"\n")),
                Some(Stream::File(path)) => {
                    let path = string(&path.to_string_lossy());
                    toml.push_str(&format!("{name} = {{ file = {path} }}\n"));
                }
            }
        }
    }
}

fn read_stream(raw: Raw) -> Option<Written<Stream>> {
    let text = match raw.value {
        RawValue::Table(table) => {
            let file = Fields(table).take("file")?.into_text()?;
            return Some(file.with(Stream::File(PathBuf::from(&file.value))));
        }
        value => Raw { value, place: raw.place }.into_text()?,
    };
    let stream = if text.value == "null" { Stream::Null } else { Stream::Inherit };
    Some(text.with(stream))
}
