//! `[permissions]`: what it may do. Nothing is granted that is not written here.

use std::collections::BTreeMap;

use super::environment::{self, Variable};
use crate::diagnostic::Problems;
use crate::document::{Raw, RawValue};
use crate::permissions::EnvironmentRule;
use crate::section::{Fields, Section, parsed};
use crate::shape::{Key, Shape};
use crate::suggestion::closest;
use crate::text::{list, quoted, string};
use crate::written::Place;
use crate::{Permission, RuleError};

const PATH: Shape = Shape::Texts(Some("^/"));
const CHANNEL: Shape = Shape::Texts(Some(r"^[!-)+-~]*\*?$"));

const fn key(permission: Permission, shape: Shape, about: &'static str) -> Key {
    Key::optional(permission.name(), shape, about)
}

pub(crate) static SECTION: Section = Section {
    name: "permissions",
    about: "What it may do. Nothing is granted that is not written here.",
    keys: &[
        key(Permission::FsRead, PATH, "read the content and metadata of files under these paths"),
        key(Permission::FsWrite, PATH, "change the content of existing files under these paths"),
        key(Permission::FsCreate, PATH, "make new files, folders and links under these paths"),
        key(Permission::FsDelete, PATH, "remove names under these paths"),
        key(Permission::FsList, PATH, "enumerate folders under these paths"),
        key(
            Permission::NetConnect,
            Shape::Texts(Some(
                r"^(\*|[^\s/]+(/[0-9]+)?:([0-9]+(-[0-9]+)?|\*)|\[[0-9A-Fa-f:.]+(/[0-9]+)?\]:([0-9]+(-[0-9]+)?|\*))$",
            )),
            "open connections and send datagrams to these: `host:443`, `*.example.com:*`, `10.0.0.0/8:5432`, `[::1]:80`",
        ),
        key(
            Permission::NetListen,
            Shape::Texts(Some(r"^(\*|(\*|[0-9.]+(/[0-9]+)?|\[[0-9A-Fa-f:.]+(/[0-9]+)?\]):([0-9]+(-[0-9]+)?|\*))$")),
            "accept connections and receive datagrams at these: `127.0.0.1:8080`, `*:8080`",
        ),
        key(
            Permission::NetResolve,
            Shape::Texts(Some(r"^(\*|(\*\.)?[A-Za-z0-9_.-]+)$")),
            "look up these names, beside those that `net.connect` lists",
        ),
        key(
            Permission::Env,
            Shape::Variables,
            "a list of variables of the host to pass on, or a table of variables with their values",
        ),
        key(Permission::Args, Shape::Boolean, "take arguments from the command line beside those of the manifest"),
        key(Permission::Clock, Shape::Boolean, "see the time; `true` unless it is written"),
        key(Permission::Random, Shape::Boolean, "get random numbers; `true` unless it is written"),
        key(Permission::ChannelSend, CHANNEL, "send to these channels; a `*` at the end matches any rest"),
        key(Permission::ChannelReceive, CHANNEL, "receive from these channels"),
        key(Permission::Log, Shape::Boolean, "write to the host's log"),
    ],
    rest: None,
};

/// `[permissions]`. Two are equal when they grant the same.
#[derive(Clone, Debug)]
pub struct Permissions {
    /// What is granted; without the sources, which are made from the places.
    pub granted: crate::Permissions,
    /// Where each permission that was written was written.
    pub places: BTreeMap<Permission, Vec<Place>>,
}

impl Default for Permissions {
    fn default() -> Self {
        let granted = crate::Permissions { clock: true, random: true, ..crate::Permissions::default() };
        Permissions { granted, places: BTreeMap::new() }
    }
}

impl PartialEq for Permissions {
    fn eq(&self, other: &Self) -> bool {
        self.granted == other.granted
    }
}

impl Permissions {
    /// The permissions, and the variables that stand among them with their values.
    pub(crate) fn read(fields: Fields, problems: &mut Problems<'_>) -> (Self, Vec<Variable>) {
        let mut permissions = Permissions::default();
        let mut variables = Vec::new();
        for (name, raw) in fields.rest() {
            match (Permission::from_name(&name.value), raw.value) {
                (Some(Permission::Env), RawValue::Table(table)) => variables.extend(environment::read(table, problems)),
                (Some(permission), value) => {
                    permissions.grant(permission, Raw { value, place: name.place }, problems);
                }
                (None, _) => {}
            }
        }
        (permissions, variables)
    }

    /// Adds what the text of `--allow` grants: `fs.read,fs.list=/data`.
    pub(crate) fn grant_flag(&mut self, text: &str, place: &Place, problems: &mut Problems<'_>) {
        let (names, value) = text.split_once('=').map_or((text, None), |(names, value)| (names, Some(value)));
        for name in names.split(',').map(str::trim) {
            let Some((permission, key)) = Permission::from_name(name).zip(SECTION.key(name)) else {
                problems.report(place, format!("there is no permission {}", quoted(name)), Some(known(name)));
                continue;
            };
            let value = match value {
                Some(value) => key.shape.read_flag(value),
                None if permission.is_switch() => RawValue::Boolean(true),
                None => {
                    let help = format!("write `{permission}={}`", example(permission));
                    problems.report(place, format!("{} says nothing to grant", quoted(name)), Some(help));
                    continue;
                }
            };
            let value = match value {
                RawValue::List(items) => {
                    RawValue::List(items.into_iter().map(|item| Raw { place: place.clone(), ..item }).collect())
                }
                value => value,
            };
            let raw = Raw { value, place: place.clone() };
            if key.shape.check(name, &raw, problems) {
                self.grant(permission, raw, problems);
            }
        }
    }

    /// Adds to a list, or replaces a switch. The value has the key's shape.
    pub(crate) fn grant(&mut self, permission: Permission, raw: Raw, problems: &mut Problems<'_>) {
        let place = raw.place.clone();
        match raw.value {
            RawValue::Boolean(on) => self.granted.switch(permission, on),
            _ => {
                for text in raw.into_texts() {
                    parsed(&text, self.granted.grant(permission, &text.value), RuleError::help, problems);
                }
            }
        }
        let places = self.places.entry(permission).or_default();
        if permission.is_switch() {
            places.clear();
        }
        if !places.contains(&place) {
            places.push(place);
        }
    }

    /// Takes a variable back that was passed on from the host.
    pub(crate) fn forget_variable(&mut self, name: &str) {
        self.granted.environment.retain(|EnvironmentRule(known)| known != name);
        if self.granted.environment.is_empty() {
            self.places.remove(&Permission::Env);
        }
    }

    pub(crate) fn write(&self, toml: &mut String) {
        let mut lines = String::new();
        for &permission in Permission::ALL {
            if permission.is_switch() {
                let by_default = matches!(permission, Permission::Clock | Permission::Random);
                let on = self.granted.is_on(permission);
                if on != by_default {
                    lines.push_str(&format!("{permission} = {on}\n"));
                }
            } else {
                let rules = self.granted.texts(permission);
                if !rules.is_empty() {
                    lines.push_str(&format!("{permission} = {}\n", list(rules.iter().map(|rule| string(rule)))));
                }
            }
        }
        if !lines.is_empty() {
            toml.push_str(&format!("\n[permissions]\n{lines}"));
        }
    }
}

/// What to write for a permission that does not exist.
fn known(name: &str) -> String {
    let names = || Permission::ALL.iter().map(|permission| permission.name());
    let of_group: Vec<_> = names().filter(|known| known.split('.').next() == Some(name)).collect();
    if !of_group.is_empty() {
        return format!("name each: {}", of_group.join(","));
    }
    match closest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the permissions are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

/// What a rule of a permission looks like.
fn example(permission: Permission) -> &'static str {
    match permission {
        Permission::FsRead | Permission::FsWrite | Permission::FsCreate | Permission::FsDelete | Permission::FsList => {
            "/data"
        }
        Permission::NetConnect => "example.com:443",
        Permission::NetListen => "127.0.0.1:8080",
        Permission::NetResolve => "example.com",
        Permission::Env => "TERM",
        Permission::ChannelSend | Permission::ChannelReceive => "jobs",
        Permission::Args | Permission::Clock | Permission::Random | Permission::Log => "true",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_has_its_key() {
        let keys: Vec<_> = SECTION.keys.iter().map(|key| key.name).collect();
        let names: Vec<_> = Permission::ALL.iter().map(|permission| permission.name()).collect();
        assert_eq!(keys, names);
        for key in SECTION.keys {
            let permission = Permission::from_name(key.name).unwrap();
            assert_eq!(matches!(key.shape, Shape::Boolean), permission.is_switch(), "{permission}");
        }
    }
}
