//! What came of a command, and the line that says so.

use std::{
    fmt::{self, Display},
    io::{self, Write},
};

use crate::errno;

/// Details to print after `ok`, or a failure to print after `err`.
pub type Outcome = Result<String, Failure>;

/// A failure by its POSIX name, with how far the command had come.
#[derive(Debug)]
pub struct Failure {
    name: String,
    after: Option<u64>,
}

impl Failure {
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), after: None }
    }

    /// The error `errno` holds after a call into the C library.
    pub fn last() -> Self {
        io::Error::last_os_error().into()
    }

    /// Adds how many bytes, files or rounds had succeeded before.
    pub fn after(mut self, done: u64) -> Self {
        self.after = Some(done);
        self
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { name: errno::name(&error), after: None }
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after {
            Some(done) => write!(out, "{} after {done}", self.name),
            None => out.write_str(&self.name),
        }
    }
}

/// Prints the line. A closed or full stdout must not hide the outcome of later commands, so the
/// error of writing it is dropped.
pub fn say(outcome: &Outcome) {
    let line = match outcome {
        Ok(details) if details.is_empty() => "ok\n".to_owned(),
        Ok(details) => format!("ok {details}\n"),
        Err(failure) => format!("err {failure}\n"),
    };
    let mut out = io::stdout();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// The first line of `bytes`, quoted and cut to a readable length.
pub fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let text: String = String::from_utf8_lossy(line).chars().take(200).collect();
    format!("{text:?}")
}

/// `N "a" "b"`: a count and the quoted items, in order.
pub fn quoted(mut items: Vec<String>) -> String {
    items.sort();
    in_order(&items)
}

/// As [`quoted`], in the order given.
pub fn in_order(items: &[String]) -> String {
    let mut text = items.len().to_string();
    for item in items {
        text.push_str(&format!(" {item:?}"));
    }
    text
}
