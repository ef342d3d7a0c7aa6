//! The JSON Schema of a manifest, from the same descriptions of sections that the reader follows.

use serde_json::{Map, Value, json};

use crate::manifest::Manifest;
use crate::section::{SECTIONS, Section};
use crate::shape::{Key, Quantity, Shape, Vocabulary};

impl Manifest {
    /// The JSON Schema (2020-12) of a manifest. It says what a manifest may look like; what its rules
    /// and paths have to be is checked in more detail when it is read.
    pub fn json_schema() -> Value {
        let sections = SECTIONS.iter().map(|section| (section.name.to_owned(), of_section(section)));
        let required = SECTIONS.iter().filter(|section| section.keys.iter().any(|key| key.required));
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "capsule.toml",
            "description": "What a capsule is, what runs in it, behind which boundary, and what it may do.",
            "type": "object",
            "properties": sections.collect::<Map<_, _>>(),
            "required": required.map(|section| section.name).collect::<Vec<_>>(),
            "additionalProperties": false,
        })
    }
}

fn of_section(section: &Section) -> Value {
    let mut schema = of_keys(section.keys.iter().map(|key| (key.name, key)));
    schema["description"] = section.about.into();
    if let Some(rest) = section.rest {
        schema["additionalProperties"] = of_key(rest);
    }
    schema
}

/// A table with these keys. Dotted names are tables in it.
fn of_keys<'a>(keys: impl Iterator<Item = (&'a str, &'a Key)>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut groups: Vec<(&str, Vec<(&str, &Key)>)> = Vec::new();
    for (name, key) in keys {
        if let Some((group, name)) = name.split_once('.') {
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, keys)) => keys.push((name, key)),
                None => groups.push((group, vec![(name, key)])),
            }
        } else {
            properties.insert(name.to_owned(), of_key(key));
            if key.required {
                required.push(name);
            }
        }
    }
    for (group, keys) in groups {
        properties.insert(group.to_owned(), of_keys(keys.into_iter()));
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn of_key(key: &Key) -> Value {
    let mut schema = of_shape(&key.shape);
    schema["description"] = key.about.into();
    schema
}

fn of_shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text(pattern) => of_text(*pattern),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Texts(pattern) => json!({ "type": "array", "items": of_text(*pattern) }),
        Shape::Word(vocabulary) => of_words(vocabulary),
        Shape::Words(vocabulary) => json!({ "type": "array", "items": of_words(vocabulary) }),
        Shape::WordOrWords(vocabulary) => {
            let words = of_words(vocabulary);
            json!({ "anyOf": [words, { "type": "array", "items": words }] })
        }
        Shape::Quantity(Quantity { pattern, number, .. }) => match number {
            Some(number) => {
                json!({ "anyOf": [{ "type": number, "minimum": 0 }, { "type": "string", "pattern": pattern }, { "const": "none" }] })
            }
            None => json!({ "anyOf": [{ "type": "string", "pattern": pattern }, { "const": "none" }] }),
        },
        Shape::Variables => json!({ "anyOf": [
            { "type": "object", "additionalProperties": { "type": "string" } },
            { "type": "array", "items": { "type": "string" } },
        ] }),
        Shape::TextOr(keys) => {
            json!({ "anyOf": [{ "type": "string" }, of_keys(keys.iter().map(|key| (key.name, key)))] })
        }
        Shape::WordOr(vocabulary, keys) => {
            json!({ "anyOf": [of_words(vocabulary), of_keys(keys.iter().map(|key| (key.name, key)))] })
        }
    }
}

fn of_text(pattern: Option<&str>) -> Value {
    match pattern {
        Some(pattern) => json!({ "type": "string", "pattern": pattern }),
        None => json!({ "type": "string" }),
    }
}

fn of_words(vocabulary: &Vocabulary) -> Value {
    json!({ "enum": (vocabulary.words)() })
}
