//! The sections of a manifest, as they were written. One file for each.

pub(crate) mod capsule;
pub(crate) mod environment;
pub(crate) mod isolation;
pub(crate) mod limits;
pub(crate) mod mounts;
pub(crate) mod permissions;
pub(crate) mod program;
pub(crate) mod stdio;

use crate::diagnostic::Problems;
use crate::document::{Raw, RawTable, RawValue};
use crate::shape::{Key, report_unknown};
use crate::text::quoted;
use crate::written::{Place, Written};

pub use capsule::Capsule;
pub use environment::Environment;
pub use isolation::Isolation;
pub use limits::Limits;
pub use mounts::Mount;
pub use permissions::Permissions;
pub use program::Program;
pub use stdio::{Stdio, Stream};

/// What a section may hold.
pub(crate) struct Section {
    /// Its name in brackets.
    pub(crate) name: &'static str,
    /// What it says, in a line.
    pub(crate) about: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
    /// What every other key holds; `None` when there may be no other.
    pub(crate) rest: Option<&'static Key>,
}

/// Every section, in the order a manifest is written.
pub(crate) static SECTIONS: [&Section; 8] = [
    &capsule::SECTION,
    &program::SECTION,
    &isolation::SECTION,
    &permissions::SECTION,
    &mounts::SECTION,
    &environment::SECTION,
    &limits::SECTION,
    &stdio::SECTION,
];

/// The values of one section. All have the shape that their keys ask for.
#[derive(Default)]
pub(crate) struct Fields(RawTable);

impl Fields {
    /// Takes out the value of a key.
    pub(crate) fn take(&mut self, name: &str) -> Option<Raw> {
        let index = self.0.iter().position(|(key, _)| key.value == name)?;
        Some(self.0.remove(index).1)
    }

    /// What was not taken.
    pub(crate) fn rest(self) -> RawTable {
        self.0
    }
}

impl Section {
    /// Takes this section out of the document and keeps what fits; the rest is reported.
    pub(crate) fn take_from(&self, document: &mut RawTable, problems: &mut Problems<'_>) -> Fields {
        let Some(index) = document.iter().position(|(key, _)| key.value == self.name) else {
            if let Some(key) = self.keys.iter().find(|key| key.required) {
                let help = format!("write it, and below it `{} = \"…\"`", key.name);
                let start = Place::Manifest { offset: 0, length: 0 };
                problems.report(&start, format!("`[{}]` is missing", self.name), Some(help));
            }
            return Fields(Vec::new());
        };
        let (_, raw) = document.remove(index);
        let RawValue::Table(table) = raw.value else {
            let help = Some(format!("write `[{}]` on a line of its own, and its keys below", self.name));
            problems.report(&raw.place, format!("`{}` is a section, not {}", self.name, raw.what()), help);
            return Fields(Vec::new());
        };
        let mut fields = Vec::new();
        self.keep("", table, &mut fields, problems);
        for key in self.keys.iter().filter(|key| key.required) {
            if !fields.iter().any(|(name, _)| name.value == key.name) {
                // A value that does not fit was reported already.
                let help = Some(format!("`{}` is {}", key.name, key.about));
                problems.report(&raw.place, format!("`[{}]` has no `{}`", self.name, key.name), help);
            }
        }
        fields.retain(|(name, raw)| match self.key(&name.value) {
            Some(key) => key.shape.check(&name.value, raw, problems),
            None => false,
        });
        Fields(fields)
    }

    /// Moves what has a known name from `table` to `fields`, nested tables under their dotted names.
    fn keep(&self, prefix: &str, table: RawTable, fields: &mut RawTable, problems: &mut Problems<'_>) {
        for (key, raw) in table {
            let name = key.with(format!("{prefix}{}", key.value));
            let group = format!("{}.", name.value);
            let quotes_hide_dots = key.value.contains('.') && self.rest.is_none();
            let names = || self.keys.iter().map(|key| key.name);
            let of_group: Vec<_> = names().filter(|name| name.starts_with(&group)).collect();
            match raw.value {
                RawValue::Table(table) if !of_group.is_empty() => self.keep(&group, table, fields, problems),
                _ if !of_group.is_empty() => {
                    let help = Some(format!("its keys are {}", of_group.join(", ")));
                    problems.report(
                        &raw.place,
                        format!("{} is a table, not {}", quoted(&name.value), raw.what()),
                        help,
                    );
                }
                _ if self.key(&name.value).is_none() || quotes_hide_dots => {
                    report_unknown(&name, &format!("`[{}]`", self.name), names(), problems);
                }
                _ => fields.push((name, raw)),
            }
        }
    }

    /// The key of that name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name).or(self.rest)
    }
}

fn list_of(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Sections that nobody knows.
pub(crate) fn report_unknown_sections(document: &RawTable, problems: &mut Problems<'_>) {
    for (name, _) in document {
        // A key that belongs into a section and stands above the first one.
        let owner = SECTIONS.iter().find(|section| section.keys.iter().any(|key| key.name == name.value));
        if let Some(owner) = owner {
            let help = Some(format!("write it below `[{}]`", owner.name));
            problems.report(&name.place, format!("{} stands outside its section", quoted(&name.value)), help);
        } else {
            let message = format!("there is no section {}", quoted(&format!("[{}]", name.value)));
            let help = match crate::suggestion::closest(&name.value, SECTIONS.iter().map(|section| section.name)) {
                Some(near) => format!("did you mean `[{near}]`?"),
                None => format!("the sections are {}", list_of(SECTIONS.iter().map(|section| section.name))),
            };
            problems.report(&name.place, message, Some(help));
        }
    }
}

/// A value read from its text; what is wrong with it is reported.
pub(crate) fn parsed<T, E: std::fmt::Display>(
    text: &Written<String>,
    result: Result<T, E>,
    help: impl FnOnce(&E) -> Option<String>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let help = help(&error);
            problems.report(&text.place, error.to_string(), help);
            None
        }
    }
}
