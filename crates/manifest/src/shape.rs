//! What may stand behind a key: one description that both the reader and the JSON Schema follow.

use crate::diagnostic::Problems;
use crate::document::{Raw, RawValue};
use crate::suggestion::closest;
use crate::text::{list, quoted, string};

/// One key of a section.
pub(crate) struct Key {
    /// Its name, with dots for nested tables: `fs.read`.
    pub(crate) name: &'static str,
    /// What may stand behind it.
    pub(crate) shape: Shape,
    /// What it means, in a line.
    pub(crate) about: &'static str,
    /// Whether it has to be there.
    pub(crate) required: bool,
}

impl Key {
    pub(crate) const fn required(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Key { name, shape, about, required: true }
    }

    pub(crate) const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Key { name, shape, about, required: false }
    }
}

/// What may stand behind a key.
pub(crate) enum Shape {
    /// A text. The pattern is for the schema; what it says is checked again, with a better message,
    /// where the text is read.
    Text(Option<&'static str>),
    /// `true` or `false`.
    Boolean,
    /// A list of texts, each of this pattern.
    Texts(Option<&'static str>),
    /// One word of a vocabulary.
    Word(&'static Vocabulary),
    /// A list of words of a vocabulary.
    Words(&'static Vocabulary),
    /// A word of a vocabulary, or a list of such.
    WordOrWords(&'static Vocabulary),
    /// A number, or a text with a number and its unit.
    Quantity(&'static Quantity),
    /// A table of texts, or a list of names.
    Variables,
    /// A text, or a table with these keys.
    TextOr(&'static [Key]),
    /// A word of a vocabulary, or a table with these keys.
    WordOr(&'static Vocabulary, &'static [Key]),
}

/// Words of one sort.
pub(crate) struct Vocabulary {
    /// `a level`.
    pub(crate) what: &'static str,
    /// All of them.
    pub(crate) words: fn() -> Vec<&'static str>,
}

/// How many words are listed where a wrong one was written.
const MOST_LISTED: usize = 64;

/// Numbers of one sort.
pub(crate) struct Quantity {
    /// `a size such as "64 MiB"`.
    pub(crate) what: &'static str,
    /// The texts that stand for one.
    pub(crate) pattern: &'static str,
    /// The JSON type of the numbers that stand for one without a unit; `None` when a unit is needed.
    pub(crate) number: Option<&'static str>,
}

impl Shape {
    /// Whether `raw` fits. What does not is reported, under the name of its key.
    pub(crate) fn check(&self, name: &str, raw: &Raw, problems: &mut Problems<'_>) -> bool {
        match (self, &raw.value) {
            (Shape::Text(_) | Shape::TextOr(_), RawValue::Text(_)) => true,
            (Shape::Boolean, RawValue::Boolean(_)) => true,
            (Shape::Quantity(_), RawValue::Text(_) | RawValue::Integer(_) | RawValue::Float(_)) => true,
            (Shape::Word(vocabulary) | Shape::WordOrWords(vocabulary), RawValue::Text(word)) => {
                vocabulary.check(word, &[], raw, problems)
            }
            (Shape::WordOr(vocabulary, keys), RawValue::Text(word)) => vocabulary.check(word, keys, raw, problems),
            (Shape::Texts(_) | Shape::Variables, RawValue::List(items)) => {
                all_texts(name, items, problems, |_, _, _| true)
            }
            (Shape::Words(vocabulary) | Shape::WordOrWords(vocabulary), RawValue::List(items)) => {
                all_texts(name, items, problems, |word, raw, problems| vocabulary.check(word, &[], raw, problems))
            }
            (Shape::Variables, RawValue::Table(table)) => {
                let mut fits = true;
                for (key, value) in table {
                    fits &= Shape::Text(None).check(&key.value, value, problems);
                }
                fits
            }
            (Shape::TextOr(keys) | Shape::WordOr(_, keys), RawValue::Table(table)) => {
                check_keys(keys, table, &raw.place, &quoted(name), problems)
            }
            (_, _) => {
                let message = format!("{} takes {}, not {}", quoted(name), self.what(), raw.what());
                problems.report(&raw.place, message, self.instead(name, raw));
                false
            }
        }
    }

    /// The value a flag's text stands for.
    pub(crate) fn read_flag(&self, text: &str) -> RawValue {
        let item = || Raw::text(text, crate::Place::Nowhere);
        match (self, text) {
            (Shape::Boolean, "true") => RawValue::Boolean(true),
            (Shape::Boolean, "false") => RawValue::Boolean(false),
            (Shape::Texts(_) | Shape::Words(_) | Shape::Variables, _) => RawValue::List(vec![item()]),
            (_, _) => RawValue::Text(text.to_owned()),
        }
    }

    /// What fits, for messages.
    fn what(&self) -> &'static str {
        match self {
            Shape::Text(_) => "a text",
            Shape::Boolean => "`true` or `false`",
            Shape::Texts(_) | Shape::Words(_) => "a list of texts",
            Shape::Word(vocabulary) | Shape::WordOrWords(vocabulary) => vocabulary.what,
            Shape::Quantity(quantity) => quantity.what,
            Shape::Variables => "a table of texts or a list of names",
            Shape::TextOr(_) => "a text or a table",
            Shape::WordOr(vocabulary, _) => vocabulary.what,
        }
    }

    /// What was probably meant, when that is easy to tell.
    fn instead(&self, name: &str, raw: &Raw) -> Option<String> {
        let meant = match (self, &raw.value) {
            (Shape::Text(_), RawValue::Integer(text) | RawValue::Float(text)) => string(text),
            (Shape::Text(_), RawValue::Boolean(value)) => string(&value.to_string()),
            (Shape::Texts(_) | Shape::Words(_) | Shape::Variables, RawValue::Text(text)) => {
                list(std::iter::once(string(text)))
            }
            (Shape::Boolean, RawValue::Text(text)) if matches!(text.as_str(), "true" | "false") => text.clone(),
            (_, _) => return None,
        };
        Some(format!("write `{} = {meant}`", crate::text::visible(name)))
    }
}

impl Vocabulary {
    /// Whether `word` is one of them. Instead of one, there may be a table with `keys`.
    fn check(&self, word: &str, keys: &[Key], raw: &Raw, problems: &mut Problems<'_>) -> bool {
        let words = (self.words)();
        let known = words.contains(&word);
        if !known {
            let help = match closest(word, words.iter().copied()) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                // Nobody reads them all.
                None if words.len() > MOST_LISTED => None,
                None => {
                    let tables = keys.iter().map(|key| format!("`{{ {} = {} }}`", key.name, string("…")));
                    let all: Vec<_> = words.iter().map(|word| (*word).to_owned()).chain(tables).collect();
                    Some(format!("write one of {}", all.join(", ")))
                }
            };
            problems.report(&raw.place, format!("{} is not {}", quoted(word), self.what), help);
        }
        known
    }
}

/// Whether every item is a text that passes `check`.
fn all_texts(
    name: &str,
    items: &[Raw],
    problems: &mut Problems<'_>,
    check: impl Fn(&str, &Raw, &mut Problems<'_>) -> bool,
) -> bool {
    let mut fits = true;
    for item in items {
        fits &= match &item.value {
            RawValue::Text(text) => check(text, item, problems),
            _ => {
                let message = format!("{} takes a list of texts, and this is {}", quoted(name), item.what());
                problems.report(&item.place, message, None);
                false
            }
        };
    }
    fits
}

/// Whether the table of an inline value has the right keys, with the right values.
fn check_keys(
    keys: &[Key],
    table: &[(crate::Written<String>, Raw)],
    place: &crate::Place,
    owner: &str,
    problems: &mut Problems<'_>,
) -> bool {
    let mut fits = true;
    for (name, raw) in table {
        fits &= match keys.iter().find(|key| key.name == name.value) {
            Some(key) => key.shape.check(key.name, raw, problems),
            None => {
                report_unknown(name, owner, keys.iter().map(|key| key.name), problems);
                false
            }
        };
    }
    for key in keys.iter().filter(|key| key.required) {
        if !table.iter().any(|(name, _)| name.value == key.name) {
            let help = Some(format!("`{}` is {}", key.name, key.about));
            problems.report(place, format!("{owner} has no `{}`", key.name), help);
            fits = false;
        }
    }
    fits
}

/// A key that does not exist.
pub(crate) fn report_unknown(
    name: &crate::Written<String>,
    owner: &str,
    known: impl Iterator<Item = &'static str> + Clone,
    problems: &mut Problems<'_>,
) {
    let help = match closest(&name.value, known.clone()) {
        Some(near) if near == name.value => format!("write `{near}` without the quotes"),
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys there are {}", known.collect::<Vec<_>>().join(", ")),
    };
    problems.report(&name.place, format!("there is no key {} in {owner}", quoted(&name.value)), Some(help));
}
