//! `[mounts]`: what of the host's files is in the capsule's tree.

use crate::MountMode;
use crate::diagnostic::Problems;
use crate::document::{Raw, RawValue};
use crate::section::{Fields, Section};
use crate::shape::{Key, Shape, Vocabulary};
use crate::text::{key, quoted, string};
use crate::written::{Place, Written};

pub(crate) static SECTION: Section = Section {
    name: "mounts",
    about: "What of the host's files is in its tree. What it may do with them is said by its permissions.",
    keys: &[],
    rest: Some(&Key::optional("PATH", Shape::TextOr(KEYS), "what of the host is at this path of the capsule's tree")),
};

const KEYS: &[Key] = &[
    Key::required("from", Shape::Text(None), "the file or folder of the host, seen from the manifest's folder"),
    Key::optional("mode", Shape::Word(&MODES), "`ro` (read-only) unless it is written, or `rw`"),
];

static MODES: Vocabulary = Vocabulary { what: "a mode of a mount", words: || vec!["ro", "rw"] };

/// One line of `[mounts]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where in the capsule's tree; relative to its working directory when it is not absolute.
    pub at: Written<String>,
    /// Where on the host.
    pub from: Written<String>,
    /// Whether it can be changed at all.
    pub mode: MountMode,
}

impl Mount {
    pub(crate) fn read(fields: Fields) -> Vec<Mount> {
        let read = |(at, raw): (Written<String>, Raw)| {
            let (from, mode) = match raw.value {
                RawValue::Table(table) => {
                    let mut fields = Fields(table);
                    let from = fields.take("from").and_then(Raw::into_text)?;
                    let mode = fields.take("mode").and_then(Raw::into_text);
                    (from, mode.map_or(MountMode::ReadOnly, |mode| mode_of(&mode.value)))
                }
                value => (Raw { value, place: raw.place }.into_text()?, MountMode::ReadOnly),
            };
            Some(Mount { at, from, mode })
        };
        fields.rest().into_iter().filter_map(read).collect()
    }

    /// What the text of `--mount` says: `./data:/data:ro`.
    pub(crate) fn read_flag(text: &str, place: &Place, problems: &mut Problems<'_>) -> Option<Mount> {
        let (paths, mode) = match text.rsplit_once(':') {
            Some((paths, mode @ ("ro" | "rw"))) => (paths, mode_of(mode)),
            _ => (text, MountMode::ReadOnly),
        };
        let written = |value: &str| Written { value: value.to_owned(), place: place.clone() };
        match paths.rsplit_once(':') {
            Some((from, at)) if !from.is_empty() && !at.is_empty() => {
                if !at.contains('/') && paths.matches(':').count() > 1 {
                    let help = Some("write `ro` or `rw`".into());
                    problems.report(place, format!("{} is not a mode of a mount", quoted(at)), help);
                    return None;
                }
                Some(Mount { at: written(at), from: written(from), mode })
            }
            _ => {
                let help = Some("write `./data:/data` or `./data:/data:rw`".into());
                problems.report(place, format!("{} does not say from where to where", quoted(text)), help);
                None
            }
        }
    }

    pub(crate) fn write(mounts: &[Mount], toml: &mut String) {
        if mounts.is_empty() {
            return;
        }
        toml.push_str("\n[mounts]\n");
        for Mount { at, from, mode } in mounts {
            let (at, from) = (key(&at.value), string(&from.value));
            match mode {
                MountMode::ReadOnly => toml.push_str(&format!("{at} = {from}\n")),
                MountMode::ReadWrite => toml.push_str(&format!("{at} = {{ from = {from}, mode = \"rw\" }}\n")),
            }
        }
    }
}

fn mode_of(word: &str) -> MountMode {
    if word == "rw" { MountMode::ReadWrite } else { MountMode::ReadOnly }
}
