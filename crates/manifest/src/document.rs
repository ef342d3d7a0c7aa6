//! The text of a manifest as a tree of values with their places. Flags become the same values, so
//! that both are read by the same code.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Problems;
use crate::text::quoted;
use crate::written::{Place, Written};

/// A value as it was written, and where.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) value: RawValue,
    pub(crate) place: Place,
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub(crate) enum RawValue {
    Text(String),
    /// In decimal digits.
    Integer(String),
    Float(String),
    Boolean(bool),
    List(Vec<Raw>),
    Table(RawTable),
    Date,
}

/// Keys with their values, in the order they were written.
pub(crate) type RawTable = Vec<(Written<String>, Raw)>;

impl Raw {
    /// A text, wherever it was written.
    pub(crate) fn text(text: impl Into<String>, place: Place) -> Self {
        Raw { value: RawValue::Text(text.into()), place }
    }

    /// What it is, for messages.
    pub(crate) fn what(&self) -> &'static str {
        match self.value {
            RawValue::Text(_) => "a text",
            RawValue::Integer(_) => "an integer",
            RawValue::Float(_) => "a number",
            RawValue::Boolean(_) => "a boolean",
            RawValue::List(_) => "a list",
            RawValue::Table(_) => "a table",
            RawValue::Date => "a date",
        }
    }

    /// The text, if it is one.
    pub(crate) fn into_text(self) -> Option<Written<String>> {
        match self.value {
            RawValue::Text(value) => Some(Written { value, place: self.place }),
            _ => None,
        }
    }

    /// Whether it is this text.
    pub(crate) fn is_text(&self, text: &str) -> bool {
        matches!(&self.value, RawValue::Text(value) if value == text)
    }

    /// The text of a text or a number.
    pub(crate) fn into_quantity(self) -> Option<Written<String>> {
        match self.value {
            RawValue::Text(value) | RawValue::Integer(value) | RawValue::Float(value) => {
                Some(Written { value, place: self.place })
            }
            _ => None,
        }
    }

    /// The texts of a list of texts.
    pub(crate) fn into_texts(self) -> Vec<Written<String>> {
        match self.value {
            RawValue::List(items) => items.into_iter().filter_map(Raw::into_text).collect(),
            RawValue::Text(value) => vec![Written { value, place: self.place }],
            _ => Vec::new(),
        }
    }
}

/// Reads the whole text. `None` when its structure is in doubt, so that what it says cannot be
/// judged.
pub(crate) fn read(text: &str, problems: &mut Problems<'_>) -> Option<RawTable> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut in_doubt = false;
    for error in errors {
        let span = error.span().unwrap_or_default();
        let place = Place::Manifest { offset: span.start, length: span.len() };
        if error.message() == "duplicate key" {
            let key = text.get(span).unwrap_or_default();
            problems.report(&place, format!("{} is written twice", quoted(key)), Some("write it once".into()));
        } else {
            in_doubt = true;
            problems.report(&place, error.message(), None);
        }
    }
    (!in_doubt).then(|| read_table(table.into_inner()))
}

fn read_table(table: DeTable<'_>) -> RawTable {
    let mut entries: RawTable = table
        .into_iter()
        .map(|(key, value)| {
            let place = place_of(&key);
            (Written { value: key.into_inner().into_owned(), place }, read_value(value))
        })
        .collect();
    entries.sort_by_key(|(key, _)| match key.place {
        Place::Manifest { offset, .. } => offset,
        Place::CommandLine(_) | Place::Nowhere => 0,
    });
    entries
}

fn read_value(value: Spanned<DeValue<'_>>) -> Raw {
    let place = place_of(&value);
    let value = match value.into_inner() {
        DeValue::String(text) => RawValue::Text(text.into_owned()),
        DeValue::Integer(integer) => RawValue::Integer(match i128::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) => value.to_string(),
            Err(_) => integer.to_string(),
        }),
        DeValue::Float(float) => RawValue::Float(float.as_str().to_owned()),
        DeValue::Boolean(value) => RawValue::Boolean(value),
        DeValue::Datetime(_) => RawValue::Date,
        DeValue::Array(items) => RawValue::List(items.into_iter().map(read_value).collect()),
        DeValue::Table(table) => RawValue::Table(read_table(table)),
    };
    Raw { value, place }
}

fn place_of<T>(spanned: &Spanned<T>) -> Place {
    let span = spanned.span();
    Place::Manifest { offset: span.start, length: span.len() }
}
