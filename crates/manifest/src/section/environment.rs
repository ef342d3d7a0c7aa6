//! `[env]`: environment variables with their values.

use std::collections::BTreeMap;

use crate::RuleError;
use crate::diagnostic::Problems;
use crate::document::RawTable;
use crate::permissions::EnvironmentRule;
use crate::section::{Fields, Section, parsed};
use crate::shape::{Key, Shape};
use crate::text::{key, quoted, string};
use crate::written::Written;

pub(crate) static SECTION: Section = Section {
    name: "env",
    about: "Its environment variables, with their values.",
    keys: &[],
    rest: Some(&Key::optional("NAME", Shape::Text(None), "the value of a variable")),
};

/// `[env]`
pub type Environment = BTreeMap<String, Written<String>>;

/// A variable with its value.
pub(crate) type Variable = (Written<String>, Written<String>);

/// The variables of `[env]` and those among the permissions; none may be in both.
pub(crate) fn collect(fields: Fields, others: Vec<Variable>, problems: &mut Problems<'_>) -> Environment {
    let mut environment = Environment::new();
    for (name, value) in others.into_iter().chain(read(fields.rest(), problems)) {
        if environment.contains_key(&name.value) {
            let help = Some("write it once: in `[env]`, or in `env` of `[permissions]`".into());
            problems.report(&name.place, format!("the variable {} is set twice", quoted(&name.value)), help);
        }
        environment.insert(name.value, value);
    }
    environment
}

/// The variables of a table of texts.
pub(crate) fn read(table: RawTable, problems: &mut Problems<'_>) -> Vec<Variable> {
    let mut variables = Vec::new();
    for (name, raw) in table {
        let Some(value) = raw.into_text() else { continue };
        if let Some(variable) = variable(name, value, problems) {
            variables.push(variable);
        }
    }
    variables
}

/// A variable, if it can be one.
pub(crate) fn variable(name: Written<String>, value: Written<String>, problems: &mut Problems<'_>) -> Option<Variable> {
    parsed(&name, name.value.parse::<EnvironmentRule>(), RuleError::help, problems)?;
    if value.value.contains('\0') {
        problems.report(&value.place, "no variable can contain a NUL character", None);
        return None;
    }
    Some((name, value))
}

pub(crate) fn write(environment: &Environment, toml: &mut String) {
    if environment.is_empty() {
        return;
    }
    toml.push_str("\n[env]\n");
    for (name, value) in environment {
        toml.push_str(&format!("{} = {}\n", key(name), string(&value.value)));
    }
}
