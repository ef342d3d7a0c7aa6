//! Tells the lines of one file apart.

use std::ops::AddAssign;

use crate::language::Language;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    pub code: u64,
    pub comments: u64,
    pub blanks: u64,
}

impl Lines {
    pub fn all(self) -> u64 {
        self.code + self.comments + self.blanks
    }
}

impl AddAssign for Lines {
    fn add_assign(&mut self, other: Self) {
        self.code += other.code;
        self.comments += other.comments;
        self.blanks += other.blanks;
    }
}

/// Counts the lines of `text`. A line with code and a comment is code. Works on bytes, so that no
/// encoding is an error.
pub fn lines(text: &[u8], language: &Language) -> Lines {
    let mut counted = Lines::default();
    let mut depth = 0;
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() {
        return counted;
    }
    for line in text.split(|&byte| byte == b'\n') {
        match kind(line.trim_ascii(), language, &mut depth) {
            Kind::Code => counted.code += 1,
            Kind::Comment => counted.comments += 1,
            Kind::Blank => counted.blanks += 1,
        }
    }
    counted
}

enum Kind {
    Code,
    Comment,
    Blank,
}

/// What a line is. `depth` says how many block comments are open before it, and then after it.
/// A text that is not closed is taken to end with its line: then one odd quote spoils one line.
fn kind(line: &[u8], language: &Language, depth: &mut u32) -> Kind {
    if line.is_empty() {
        return Kind::Blank;
    }
    let mut code = false;
    let mut rest = line;
    while let Some(&first) = rest.first() {
        if let Some((open, close)) = language.block {
            if *depth > 0 && rest.starts_with(close.as_bytes()) {
                *depth -= 1;
                rest = &rest[close.len()..];
                continue;
            }
            if (*depth == 0 || language.nests) && rest.starts_with(open.as_bytes()) {
                *depth += 1;
                rest = &rest[open.len()..];
                continue;
            }
        }
        if *depth == 0 {
            if language.line.iter().any(|mark| rest.starts_with(mark.as_bytes())) {
                break;
            }
            code |= !first.is_ascii_whitespace();
            if language.quotes.contains(&first) {
                rest = after_text(rest, first);
                continue;
            }
        }
        rest = &rest[1..];
    }
    if code { Kind::Code } else { Kind::Comment }
}

/// What follows the text that `rest` begins with.
fn after_text(rest: &[u8], quote: u8) -> &[u8] {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return &rest[at + 1..],
            _ => at += 1,
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language;

    fn count(file: &str, text: &str) -> (u64, u64, u64) {
        let counted = lines(text.as_bytes(), language::of(file).expect("a known language"));
        (counted.code, counted.comments, counted.blanks)
    }

    #[test]
    fn code_comments_and_blanks_are_told_apart() {
        assert_eq!(count("a.rs", "fn a() {}\n\n// note\nlet b; // more\n"), (2, 1, 1));
        assert_eq!(count("a.py", "#!/bin/python\nprint('#')\n   \n"), (1, 1, 1));
    }

    #[test]
    fn an_empty_file_has_no_lines_and_one_without_a_last_newline_loses_none() {
        assert_eq!(count("a.c", ""), (0, 0, 0));
        assert_eq!(count("a.c", "int a;"), (1, 0, 0));
        assert_eq!(count("a.c", "\n"), (0, 0, 0));
        assert_eq!(count("a.c", "\n\n"), (0, 0, 2));
    }

    #[test]
    fn block_comments_span_lines_and_nest_where_the_language_says_so() {
        assert_eq!(count("a.c", "/* a\n b\n*/ int c;\n"), (1, 2, 0));
        assert_eq!(count("a.rs", "/* /* */\nstill\n*/\nfn f() {}\n"), (1, 3, 0));
        assert_eq!(count("a.c", "/* /* */\nint a;\n"), (1, 1, 0));
    }

    #[test]
    fn nothing_in_a_text_is_a_comment() {
        assert_eq!(count("a.c", "puts(\"/*\");\nint a;\n"), (2, 0, 0));
        assert_eq!(count("a.c", "puts(\"\\\"/*\");\nint a;\n"), (2, 0, 0));
        assert_eq!(count("a.c", "puts(\"odd\nint a;\n"), (2, 0, 0));
        assert_eq!(count("a.c", "\"ends in a backslash\\"), (1, 0, 0));
    }

    #[test]
    fn bytes_that_are_no_text_in_any_encoding_are_counted_as_code() {
        let counted = lines(b"\xff\xfe\n\r\n\x80", language::of("a.c").expect("a known language"));
        assert_eq!(counted, Lines { code: 2, comments: 0, blanks: 1 });
    }
}
