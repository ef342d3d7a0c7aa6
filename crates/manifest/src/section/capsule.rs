//! `[capsule]`: whose it is.

use crate::diagnostic::Problems;
use crate::document::Raw;
use crate::section::{Fields, Section};
use crate::shape::{Key, Shape};
use crate::text::{quoted, string};
use crate::written::Written;

pub(crate) static SECTION: Section = Section {
    name: "capsule",
    about: "Whose it is.",
    keys: &[
        Key::required(
            "name",
            Shape::Text(Some("^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")),
            "what the capsule is called: letters, digits, `-`, `_` and `.`, at most 64",
        ),
        Key::optional(
            "version",
            Shape::Text(Some(r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$")),
            "its version: `1.2.0`",
        ),
    ],
    rest: None,
};

/// `[capsule]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capsule {
    /// Letters, digits, `-`, `_` and `.`; at most 64 bytes; fit for a folder name.
    pub name: Written<String>,
    /// Semantic version.
    pub version: Option<Written<String>>,
}

impl Capsule {
    pub(crate) fn read(mut fields: Fields, problems: &mut Problems<'_>) -> Self {
        let name = fields.take("name").and_then(Raw::into_text);
        let version = fields.take("version").and_then(Raw::into_text);
        if let Some(name) = &name {
            check_name(name, problems);
        }
        let capsule = Capsule { name: name.unwrap_or_default(), version };
        capsule.check_version(problems);
        capsule
    }

    /// Reports a name that is not fit for a folder and a version that is none.
    pub(crate) fn check(&self, problems: &mut Problems<'_>) {
        check_name(&self.name, problems);
        self.check_version(problems);
    }

    fn check_version(&self, problems: &mut Problems<'_>) {
        if let Some(version) = self.version.as_ref().filter(|version| !is_version(&version.value)) {
            let help = Some("write three numbers: `1.2.0`".into());
            problems.report(&version.place, format!("{} is not a version", quoted(&version.value)), help);
        }
    }

    pub(crate) fn write(&self, toml: &mut String) {
        toml.push_str(&format!("[capsule]\nname = {}\n", string(&self.name.value)));
        if let Some(version) = &self.version {
            toml.push_str(&format!("version = {}\n", string(&version.value)));
        }
    }
}

fn check_name(name: &Written<String>, problems: &mut Problems<'_>) {
    if !is_name(&name.value) {
        let allowed = "use letters, digits, `-`, `_` and `.`, at most 64, the first not `.`";
        let help = match sanitised(&name.value) {
            near if near.is_empty() => allowed.to_owned(),
            near => format!("{allowed}; for example {}", quoted(&near)),
        };
        problems.report(&name.place, format!("{} cannot be the name of a capsule", quoted(&name.value)), Some(help));
    }
}

/// Whether a folder can safely have this name.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_name_character)
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

/// The name closest to `name`; empty when nothing of it can be kept.
pub(crate) fn sanitised(name: &str) -> String {
    let fit = name.chars().map(|character| if is_name_character(character) { character } else { '-' });
    let mut fit: String = fit.skip_while(|&character| character == '.' || character == '-').take(64).collect();
    fit.truncate(fit.trim_end_matches('-').len());
    fit
}

/// Whether it is a semantic version.
fn is_version(version: &str) -> bool {
    let (version, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (numbers, pre) = version.split_once('-').map_or((version, None), |(rest, pre)| (rest, Some(pre)));
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_number = |number: &str| {
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && (number == "0" || !number.starts_with('0'))
    };
    numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && [pre, build].into_iter().flatten().all(|parts| parts.split('.').all(is_part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_fit_for_a_folder() {
        for name in ["a", "fetcher", "my_tool-2.0", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "é", "a\0", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn versions_are_semantic() {
        for version in ["1.2.0", "0.0.1", "1.0.0-rc.1", "1.0.0+build.5", "1.0.0-a-b+c"] {
            assert!(is_version(version), "{version}");
        }
        for version in ["", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.2.x", "1.2.3-", "1.2.3+"] {
            assert!(!is_version(version), "{version}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sanitised_is_a_name_or_nothing(text in "\\PC{0,80}") {
            let name = sanitised(&text);
            prop_assert!(name.is_empty() || is_name(&name), "{}", name);
        }
    }
}
