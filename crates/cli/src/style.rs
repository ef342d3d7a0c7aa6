//! Colours, for terminals that want them.

use std::fmt::{self, Display};
use std::io::IsTerminal;

/// Colours, or none: only on a terminal, and not where `NO_COLOR` is set (<https://no-color.org>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    on: bool,
}

/// A text in a colour.
pub(crate) struct Painted<T> {
    text: T,
    code: Option<&'static str>,
}

impl Style {
    /// The style for this stream.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Style { on: stream.is_terminal() && !dumb && !set("NO_COLOR") }
    }

    /// The style for standard output.
    pub(crate) fn of_stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    /// No colours.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Style { on: false }
    }

    pub(crate) fn plain<T>(self, text: T) -> Painted<T> {
        Painted { text, code: None }
    }

    pub(crate) fn good<T>(self, text: T) -> Painted<T> {
        self.paint(text, "32")
    }

    pub(crate) fn bad<T>(self, text: T) -> Painted<T> {
        self.paint(text, "31")
    }

    pub(crate) fn warning<T>(self, text: T) -> Painted<T> {
        self.paint(text, "33")
    }

    pub(crate) fn title<T>(self, text: T) -> Painted<T> {
        self.paint(text, "1")
    }

    pub(crate) fn faint<T>(self, text: T) -> Painted<T> {
        self.paint(text, "2")
    }

    fn paint<T>(self, text: T, code: &'static str) -> Painted<T> {
        Painted { text, code: self.on.then_some(code) }
    }
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            None => self.text.fmt(f),
            Some(code) => {
                write!(f, "\x1b[{code}m")?;
                self.text.fmt(f)?;
                f.write_str("\x1b[0m")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_plain_without_colours_and_keeps_its_width_with_them() {
        assert_eq!(format!("{:<3}|", Style { on: false }.good("a")), "a  |");
        assert_eq!(format!("{:<3}|", Style { on: true }.good("a")), "\x1b[32ma  \x1b[0m|");
    }
}
