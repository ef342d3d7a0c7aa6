//! What is wrong with a manifest or a flag, and where.

use std::fmt;

use crate::text::visible;
use crate::written::Place;

/// One thing that is wrong: where, what, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// The file as the caller named it; or the whole argument for something on the command line:
    /// `--limit memory=64Mib`.
    pub file: String,
    /// The line, from 1; 0 when it is not in a file.
    pub line: usize,
    /// The column in characters, from 1; 0 when it is not in a file.
    pub column: usize,
    /// Where in the text, in bytes.
    pub offset: usize,
    /// How many bytes of the text. 0 points between two characters.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// The offending text as it was written.
    pub text: String,
    /// What to write instead, when that is known.
    pub help: Option<String>,
    /// The line it begins on.
    excerpt: String,
}

impl fmt::Display for Diagnostic {
    /// `capsule.toml:7:9: message`, the line, a caret, and the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = visible(&self.file);
        if self.line == 0 {
            write!(f, "{file}: {}", self.message)?;
        } else {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            // Tabs and hidden characters would put the caret elsewhere.
            let shown = |text: &str| visible(&text.replace('\t', " "));
            let before: String = self.excerpt.chars().take(self.column - 1).collect();
            let marked = self.text.lines().next().unwrap_or_default();
            let carets = "^".repeat(shown(marked).chars().count().max(1));
            let indent = " ".repeat(shown(&before).chars().count());
            write!(f, "{file}:{number}:{}: {}", self.column, self.message)?;
            write!(f, "\n{margin} |\n{number} | {}\n{margin} | {indent}{carets}", shown(&self.excerpt).trim_end())?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a manifest and the flags that go with it, and the text it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// The file as the caller named it.
    pub file: String,
    /// Its text.
    pub text: String,
    /// What is wrong, in the order of the text; never empty.
    pub problems: Vec<Diagnostic>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                write!(f, "\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// So many problems are told at once: a text that is no manifest at all has one in every line.
const MOST: usize = 100;

/// What was found to be wrong so far.
pub(crate) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<Diagnostic>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        Problems { file, text, found: Vec::new() }
    }

    /// Something is wrong at `place`.
    pub(crate) fn report(&mut self, place: &Place, message: impl Into<String>, help: Option<String>) {
        if self.found.len() >= MOST {
            return;
        }
        let message = message.into();
        let nowhere = Diagnostic {
            file: self.file.to_owned(),
            line: 0,
            column: 0,
            offset: 0,
            length: 0,
            message,
            text: String::new(),
            help,
            excerpt: String::new(),
        };
        let problem = match place {
            Place::Nowhere => nowhere,
            Place::CommandLine(argument) => {
                let value = match argument.split_once(' ') {
                    Some((flag, value)) if flag.starts_with("--") => value,
                    _ => argument,
                };
                Diagnostic { file: argument.clone(), text: value.to_owned(), ..nowhere }
            }
            &Place::Manifest { offset, length } => {
                let offset = self.text.floor_char_boundary(offset);
                let end = self.text.ceil_char_boundary(offset.saturating_add(length));
                let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
                let line_end = self.text[offset..].find('\n').map_or(self.text.len(), |newline| offset + newline);
                Diagnostic {
                    line: self.text[..offset].matches('\n').count() + 1,
                    column: self.text[start..offset].chars().count() + 1,
                    offset,
                    length: end - offset,
                    text: self.text[offset..end].to_owned(),
                    excerpt: self.text[start..line_end].to_owned(),
                    ..nowhere
                }
            }
        };
        // One flag may say the same thing twice: `fs.read,fs.list=data`.
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// The value, when nothing was found and there is one.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, Diagnostics> {
        if let Some(value) = value.filter(|_| self.found.is_empty()) {
            return Ok(value);
        }
        // What is in the text comes in its order, before what is elsewhere.
        self.found.sort_by_key(|problem| (problem.line == 0, problem.offset));
        Err(Diagnostics { file: self.file.to_owned(), text: self.text.to_owned(), problems: self.found })
    }

    /// `capsule.toml:14`, or the flag.
    pub(crate) fn source(&self, place: &Place) -> String {
        source(self.file, self.text, place)
    }
}

/// Where something was written, in a word: `capsule.toml:14`, or the flag.
pub(crate) fn source(file: &str, text: &str, place: &Place) -> String {
    match place {
        Place::Nowhere => file.to_owned(),
        Place::CommandLine(argument) => argument.clone(),
        &Place::Manifest { offset, .. } => {
            let before = &text.as_bytes()[..offset.min(text.len())];
            format!("{file}:{}", before.iter().filter(|&&byte| byte == b'\n').count() + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::is_hidden;

    fn told(text: &str, offset: usize, length: usize) -> String {
        let mut problems = Problems::new("capsule.toml", text);
        problems.report(&Place::Manifest { offset, length }, "wrong", Some("write it right".into()));
        problems.finish(Some(())).unwrap_err().to_string()
    }

    #[test]
    fn the_line_and_a_caret_are_shown() {
        assert_eq!(
            told("[a]\nb = 1\n", 8, 1),
            "capsule.toml:2:5: wrong\n  |\n2 | b = 1\n  |     ^\n  help: write it right"
        );
    }

    #[test]
    fn columns_are_characters() {
        assert!(told("é = \"ü\"", 5, 4).starts_with("capsule.toml:1:5: wrong\n  |\n1 | é = \"ü\"\n  |     ^^^\n"));
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let shown = told("a\u{1b}[2J\tb = 1", 6, 1);
        assert!(shown.chars().all(|character| character == '\n' || !is_hidden(character)), "{shown:?}");
        assert!(shown.contains("\n1 | a\\u{1b}[2J b = 1\n  |            ^\n"), "{shown}");
    }

    #[test]
    fn a_flag_is_named() {
        let mut problems = Problems::new("capsule.toml", "");
        problems.report(&Place::CommandLine("--limit memory=x".into()), "wrong", None);
        let found = problems.finish(Some(())).unwrap_err();
        assert_eq!(found.to_string(), "--limit memory=x: wrong");
        assert_eq!(found.problems[0].text, "memory=x");
    }
}
