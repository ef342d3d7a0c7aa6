//! Text that is safe to show, and text as TOML writes it.

use std::fmt::Write;
use std::path::Path;

/// `text` in backquotes for a message: on one line, without control characters, not too long.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 80;
    if text.is_empty() {
        return "the empty text".to_owned();
    }
    let mut shown = visible(text);
    if let Some((cut, _)) = shown.char_indices().nth(MOST) {
        shown.truncate(cut);
        shown.push('…');
    }
    format!("`{shown}`")
}

/// `path` in backquotes for a message: whole, as only a whole path names a file.
pub(crate) fn quoted_path(path: &Path) -> String {
    format!("`{}`", visible(&path.to_string_lossy()))
}

/// `text` on one line, with every character escaped that a terminal would act on: for messages that hold what a
/// program or a file chose.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Control characters, and those that change the direction of the text around them.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `text` as a TOML string.
pub(crate) fn string(text: &str) -> String {
    let mut toml = String::with_capacity(text.len() + 2);
    toml.push('"');
    for character in text.chars() {
        match character {
            '"' => toml.push_str("\\\""),
            '\\' => toml.push_str("\\\\"),
            '\n' => toml.push_str("\\n"),
            '\t' => toml.push_str("\\t"),
            hidden if is_hidden(hidden) => {
                // Writing to a string cannot fail.
                let _ = write!(toml, "\\u{:04x}", u32::from(hidden));
            }
            character => toml.push(character),
        }
    }
    toml.push('"');
    toml
}

/// `name` as a TOML key: bare where that is possible.
pub(crate) fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { string(name) }
}

/// Values as a TOML list.
pub(crate) fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        assert_eq!(quoted("a\u{1b}[2Jb\n"), "`a\\u{1b}[2Jb\\n`");
        assert_eq!(quoted("\u{202e}"), "`\\u{202e}`");
        assert_eq!(quoted_path(Path::new("/a\u{1b}[2J")), "`/a\\u{1b}[2J`");
    }

    #[test]
    fn long_text_is_cut_but_not_a_path() {
        let long = format!("/{}", "a".repeat(200));
        assert!(quoted(&long).ends_with("…`"));
        assert_eq!(quoted_path(Path::new(&long)), format!("`{long}`"));
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(quoted(&"é".repeat(200)).chars().count(), 83);
    }

    #[test]
    fn keys_are_bare_where_that_is_possible() {
        assert_eq!(key("LOG_2"), "LOG_2");
        assert_eq!(key("/data"), "\"/data\"");
        assert_eq!(key(""), "\"\"");
    }
}
