//! Rules over paths of the capsule's own tree.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::RuleError;

/// A path prefix: covers the path itself and everything below it, by whole components. Absolute,
/// without `.`, `..` or empty components; `/` covers everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PathRule(pub String);

impl PathRule {
    /// Whether the rule covers `path`, which is absolute and without `.`, `..` or empty components.
    pub fn covers(&self, path: &[u8]) -> bool {
        is_within(path, self.0.as_bytes())
    }

    /// Whether the way to what the rule covers leads through `path`.
    pub fn lies_within(&self, path: &[u8]) -> bool {
        is_within(self.0.as_bytes(), path)
    }
}

/// Whether `path` is `folder` or below it. Nothing is within a path that is not absolute.
fn is_within(path: &[u8], folder: &[u8]) -> bool {
    if folder == b"/" {
        return path.first() == Some(&b'/');
    }
    folder.first() == Some(&b'/')
        && path.strip_prefix(folder).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

impl FromStr for PathRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if !text.starts_with('/') {
            return Err(RuleError::RelativePath(text.to_owned()));
        }
        normal_path("/", text).map(PathRule)
    }
}

impl fmt::Display for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The normal form of `path`, seen from `folder` when it is relative: absolute, without `.` and
/// empty components. A `..` is refused, because what it means depends on links.
pub(crate) fn normal_path(folder: &str, path: &str) -> Result<String, RuleError> {
    if path.contains('\0') {
        return Err(RuleError::NulInPath(path.to_owned()));
    }
    let from = if path.starts_with('/') { "" } else { folder };
    let mut normal = String::with_capacity(from.len() + path.len() + 1);
    for component in from.split('/').chain(path.split('/')) {
        match component {
            "" | "." => {}
            ".." => return Err(RuleError::ParentInPath(path.to_owned())),
            component => {
                normal.push('/');
                normal.push_str(component);
            }
        }
    }
    if normal.is_empty() {
        normal.push('/');
    }
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> PathRule {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_covers_whole_components_only() {
        assert!(rule("/data").covers(b"/data"));
        assert!(rule("/data").covers(b"/data/x/y"));
        assert!(!rule("/data").covers(b"/database"));
        assert!(!rule("/data/x").covers(b"/data"));
    }

    #[test]
    fn the_root_covers_everything_absolute() {
        assert!(rule("/").covers(b"/"));
        assert!(rule("/").covers(b"/etc/passwd"));
        assert!(!rule("/").covers(b"etc"));
        assert!(!rule("/").covers(b""));
    }

    #[test]
    fn a_rule_that_is_not_absolute_covers_nothing() {
        assert!(!PathRule(String::new()).covers(b"/etc"));
        assert!(!PathRule("data".into()).covers(b"data/x"));
    }

    #[test]
    fn a_rule_is_normalised() {
        assert_eq!(rule("//data/./x//"), PathRule("/data/x".into()));
        assert_eq!("/data/../etc".parse::<PathRule>(), Err(RuleError::ParentInPath("/data/../etc".into())));
    }

    #[test]
    fn the_way_to_a_rule_is_known() {
        assert!(rule("/a/b/c").lies_within(b"/a"));
        assert!(rule("/a/b/c").lies_within(b"/"));
        assert!(!rule("/a/b/c").lies_within(b"/a/bb"));
    }

    fn components() -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "aa", "ab", "..."]), 0..5)
    }

    fn joined(components: &[&str]) -> String {
        format!("/{}", components.join("/"))
    }

    proptest! {
        #[test]
        fn covering_is_being_a_prefix_of_the_components(of_rule in components(), of_path in components()) {
            let rule = PathRule(joined(&of_rule));
            prop_assert_eq!(rule.covers(joined(&of_path).as_bytes()), of_path.starts_with(&of_rule));
            prop_assert_eq!(rule.lies_within(joined(&of_path).as_bytes()), of_rule.starts_with(&of_path));
        }

        #[test]
        fn a_normal_path_is_its_own_normal_form(text in "[/a.]{0,12}") {
            if let Ok(path) = normal_path("/", &text) {
                prop_assert_eq!(normal_path("/", &path), Ok(path.clone()));
                prop_assert!(path == "/" || path.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")));
            } else {
                prop_assert!(text.split('/').any(|part| part == ".."));
            }
        }
    }
}
