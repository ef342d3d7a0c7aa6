//! `[isolation]`: behind which boundary.

use crate::diagnostic::Problems;
use crate::document::{Raw, RawValue};
use crate::section::{Fields, Section};
use crate::shape::{Key, Shape, Vocabulary};
use crate::text::{list, quoted, string};
use crate::written::Written;
use crate::{Guarantee, Level, SystemCalls};

pub(crate) static SECTION: Section = Section {
    name: "isolation",
    about: "Behind which boundary.",
    keys: &[
        Key::optional("level", Shape::Word(&LEVELS_OR_AUTO), "the level, or `auto` for the weakest that will do"),
        Key::optional("minimum", Shape::Word(&LEVELS), "never a level below this one"),
        Key::optional("require", Shape::Words(&GUARANTEES), "what must be enforced, or nothing runs"),
        Key::optional(
            "seccomp",
            Shape::WordOrWords(&CALLS),
            "a profile of system calls, or a list of profiles and calls",
        ),
    ],
    rest: None,
};

static LEVELS: Vocabulary =
    Vocabulary { what: "a level", words: || Level::ALL.iter().map(|level| level.name()).collect() };

static LEVELS_OR_AUTO: Vocabulary = Vocabulary {
    what: "a level",
    words: || std::iter::once(AUTO).chain(Level::ALL.iter().map(|level| level.name())).collect(),
};

static GUARANTEES: Vocabulary =
    Vocabulary { what: "a guarantee", words: || Guarantee::ALL.iter().map(|guarantee| guarantee.name()).collect() };

static CALLS: Vocabulary = Vocabulary {
    what: "`strict`, `default`, `permissive` or a system call that one of these lets through",
    words: SystemCalls::vocabulary,
};

const AUTO: &str = "auto";

/// `[isolation]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// The level; `None` within for `auto`, which is also what holds when nothing is written.
    pub level: Option<Written<Option<Level>>>,
    /// Never below this one.
    pub minimum: Option<Written<Level>>,
    /// What must be enforced.
    pub require: Vec<Written<Guarantee>>,
    /// Which system calls a program may make: profiles, and calls by name. Empty for the profile `default`.
    pub seccomp: Vec<Written<String>>,
}

impl Isolation {
    pub(crate) fn read(mut fields: Fields) -> Self {
        let mut isolation = Isolation::default();
        for name in ["level", "minimum", "require", "seccomp"] {
            if let Some(raw) = fields.take(name) {
                isolation.set(name, raw);
            }
        }
        isolation
    }

    /// Sets the value of a key, from the manifest or a flag. It has the key's shape.
    pub(crate) fn set(&mut self, name: &str, raw: Raw) {
        match name {
            "level" => self.level = raw.into_text().map(|word| word.with(Level::from_name(&word.value))),
            "minimum" => {
                self.minimum = raw.into_text().and_then(|word| Some(word.with(Level::from_name(&word.value)?)))
            }
            "seccomp" => self.seccomp = raw.into_texts(),
            _ => {
                for word in raw.into_texts() {
                    if let Some(guarantee) = Guarantee::from_name(&word.value) {
                        self.require.push(word.with(guarantee));
                    }
                }
            }
        }
    }

    /// The same from the text of a flag.
    pub(crate) fn set_flag(&mut self, name: &str, text: &str, place: crate::Place, problems: &mut Problems<'_>) {
        let Some(key) = SECTION.key(name) else { return };
        let items = |words: &str| words.split(',').map(|word| Raw::text(word.trim(), place.clone())).collect();
        let value = match key.shape {
            Shape::Words(_) | Shape::WordOrWords(_) => RawValue::List(items(text)),
            _ => RawValue::Text(text.to_owned()),
        };
        let raw = Raw { value, place: place.clone() };
        if key.shape.check(name, &raw, problems) {
            self.set(name, raw);
        }
    }

    /// Reports a list under which no program runs.
    pub(crate) fn check(&self, problems: &mut Problems<'_>) {
        let calls = self.system_calls();
        let missing: Vec<_> = SystemCalls::NEEDED.into_iter().filter(|call| !calls.lets_through(call)).collect();
        if let Some(first) = self.seccomp.first().filter(|_| !missing.is_empty()) {
            let missing = missing.into_iter().map(quoted).collect::<Vec<_>>().join(", ");
            let message = "no program begins and ends with this list";
            problems.report(&first.place, message, Some(format!("add {missing}, or the profile `strict`")));
        }
    }

    /// Which system calls a program may make.
    pub(crate) fn system_calls(&self) -> SystemCalls {
        SystemCalls::of(self.seccomp.iter().map(|word| word.value.clone()))
    }

    pub(crate) fn write(&self, toml: &mut String) {
        if *self == Isolation::default() {
            return;
        }
        toml.push_str("\n[isolation]\n");
        if let Some(level) = &self.level {
            toml.push_str(&format!("level = {}\n", string(level.value.map_or(AUTO, Level::name))));
        }
        if let Some(minimum) = &self.minimum {
            toml.push_str(&format!("minimum = {}\n", string(minimum.value.name())));
        }
        if !self.require.is_empty() {
            let names = self.require.iter().map(|guarantee| string(guarantee.value.name()));
            toml.push_str(&format!("require = {}\n", list(names)));
        }
        if !self.seccomp.is_empty() {
            let words = self.seccomp.iter().map(|word| string(&word.value));
            toml.push_str(&format!("seccomp = {}\n", list(words)));
        }
    }
}
