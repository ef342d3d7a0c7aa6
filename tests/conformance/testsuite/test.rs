//! A test: a program, and what the JSON beside it says of how to run it and what to expect.
//!
//! Both forms of the JSON are read: the one with `args`, `env`, `dirs` or `root`, `exit_code`,
//! `stdout` and `stderr`, and the one with a list of `operations`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::behaviour::Behaviour;
use crate::verdict::Outcome;

#[cfg(test)]
mod tests;

/// A test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// The folder it sees as `/`.
    pub(crate) root: Option<String>,
    /// The folders it sees under these names.
    pub(crate) dirs: Vec<String>,
    pub(crate) stdin: String,
    pub(crate) exit_code: i32,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

/// What a test is expected to print on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Output {
    /// It does not matter.
    #[default]
    Any,
    /// This and no more.
    Is(String),
    /// This first.
    Begins(String),
}

/// What stands in a folder of tests under one name.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    /// `Err` when its JSON is wrong (failed) or asks for what this runner does not do (skipped).
    pub(crate) test: Result<Test, Outcome>,
}

/// Why there are no tests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TestError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("there is no .wasm or .wat file in {}", .0.display())]
    None(PathBuf),
}

/// The tests of a folder, by name.
pub(crate) fn find(folder: &Path) -> Result<Vec<Found>, TestError> {
    let unreadable = |source| TestError::Unreadable { path: folder.to_owned(), source };
    let mut programs = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "wasm" || extension == "wat") {
            programs.push(path);
        }
    }
    if programs.is_empty() {
        return Err(TestError::None(folder.to_owned()));
    }
    programs.sort();
    Ok(programs.into_iter().map(read).collect())
}

fn read(program: PathBuf) -> Found {
    let name = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let json = program.with_extension("json");
    let text = match fs::read_to_string(&json) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
        Err(error) => {
            let why = format!("cannot read {}: {error}", json.display());
            return Found { name, test: Err(Outcome::Failed(vec![why])) };
        }
    };
    let test = parse(&text).map(|test| Test { program, ..test }).map_err(|error| match error {
        SpecificationError::Unsupported(what) => Outcome::Skipped(what),
        error => Outcome::Failed(vec![format!("{}: {error}", json.display())]),
    });
    Found { name, test }
}

/// What is wrong with the JSON of a test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SpecificationError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("`operations` beside `{0}`: the two forms of a specification do not mix")]
    Mixed(String),
    #[error("`{operation}` {problem}")]
    Operation { operation: &'static str, problem: &'static str },
    #[error("{0}")]
    Unsupported(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    root: Option<String>,
    #[serde(default)]
    dirs: Vec<String>,
    #[serde(default)]
    exit_code: i32,
    stdout: Option<String>,
    stderr: Option<String>,
    /// What the test is about; nothing follows from it.
    #[serde(default, rename = "wasi_functions")]
    _functions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Operation {
    Run {
        #[serde(default)]
        args: Vec<String>,
        #[serde(default)]
        env: BTreeMap<String, String>,
        root: Option<String>,
        #[serde(default)]
        dirs: Vec<String>,
    },
    Write {
        #[serde(default = "stdin")]
        id: String,
        #[serde(default)]
        payload: String,
    },
    Read {
        #[serde(default = "stdout")]
        id: String,
        #[serde(default)]
        payload: String,
    },
    Wait {
        #[serde(default)]
        exit_code: i32,
    },
}

fn stdin() -> String {
    "stdin".into()
}

fn stdout() -> String {
    "stdout".into()
}

/// The test that a JSON text describes, but for its program.
pub(crate) fn parse(text: &str) -> Result<Test, SpecificationError> {
    let mut keys: BTreeMap<String, Value> = serde_json::from_str(text)?;
    if let Some(world) = keys.remove("world").filter(|world| world != "wasi:cli/command") {
        return Err(SpecificationError::Unsupported(format!("it is for the world {world}")));
    }
    if let Some(proposals) = keys.remove("proposals").filter(|proposals| *proposals != Value::Array(Vec::new())) {
        return Err(SpecificationError::Unsupported(format!("it needs the proposals {proposals}")));
    }
    match keys.remove("operations") {
        None => plain(serde_json::from_value(Value::Object(keys.into_iter().collect()))?),
        Some(operations) => match keys.into_keys().next() {
            Some(key) => Err(SpecificationError::Mixed(key)),
            None => operated(serde_json::from_value(operations)?),
        },
    }
}

fn plain(plain: Plain) -> Result<Test, SpecificationError> {
    let Plain { args, env, root, dirs, exit_code, stdout, stderr, _functions } = plain;
    let output = |text: Option<String>| text.map_or(Output::Any, Output::Is);
    let (stdout, stderr) = (output(stdout), output(stderr));
    Ok(Test { args, env, root, dirs, exit_code, stdout, stderr, ..Test::default() })
}

fn operated(operations: Vec<Value>) -> Result<Test, SpecificationError> {
    let wrong = |operation, problem| SpecificationError::Operation { operation, problem };
    let mut test = Test::default();
    let (mut began, mut waited) = (false, false);
    for operation in operations {
        if let Some(kind @ ("connect" | "send" | "recv" | "request" | "kill")) = operation["type"].as_str() {
            return Err(SpecificationError::Unsupported(format!("it needs the operation {kind}")));
        }
        match serde_json::from_value(operation)? {
            Operation::Run { .. } if began => return Err(wrong("run", "happens once")),
            Operation::Run { args, env, root, dirs } => {
                test = Test { args, env, root, dirs, ..test };
                began = true;
            }
            _ if !began || waited => return Err(wrong("run", "has to be first and `wait` last")),
            Operation::Write { id, payload } if id == "stdin" || id == "write" => test.stdin.push_str(&payload),
            Operation::Write { .. } => return Err(wrong("write", "writes to stdin")),
            Operation::Read { id, payload } => match id.as_str() {
                "stdout" => test.stdout.then(&payload),
                "stderr" => test.stderr.then(&payload),
                _ => return Err(wrong("read", "reads from stdout or stderr")),
            },
            Operation::Wait { exit_code } => (test.exit_code, waited) = (exit_code, true),
        }
    }
    if !began && !waited {
        return Ok(test);
    }
    if waited { Ok(test) } else { Err(wrong("wait", "is missing at the end")) }
}

impl Output {
    /// After what is expected already, this.
    fn then(&mut self, payload: &str) {
        match self {
            Output::Begins(text) => text.push_str(payload),
            _ => *self = Output::Begins(payload.to_owned()),
        }
    }

    fn matches(&self, printed: &[u8]) -> bool {
        match self {
            Output::Any => true,
            Output::Is(text) => printed == text.as_bytes(),
            Output::Begins(text) => printed.starts_with(text.as_bytes()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Output::Any => "",
            Output::Is(text) | Output::Begins(text) => text,
        }
    }
}

impl Test {
    /// Whether it did what is expected of it.
    pub(crate) fn judge(&self, did: &Behaviour) -> Outcome {
        let mut reasons = Vec::new();
        if did.end.status() != Some(self.exit_code) {
            reasons.push(format!("ended with {}, not with status {}", did.end, self.exit_code));
        }
        for (name, wanted, printed) in [("stdout", &self.stdout, &did.stdout), ("stderr", &self.stderr, &did.stderr)] {
            if !wanted.matches(printed) {
                let printed = String::from_utf8_lossy(printed);
                reasons.push(format!("{name} is {printed:?}, not {:?}", wanted.text()));
            }
        }
        if reasons.is_empty() {
            return Outcome::Passed;
        }
        reasons.extend(did.notes.iter().cloned());
        // What a failed test printed says what failed.
        let said = String::from_utf8_lossy(&did.stderr);
        reasons.extend(said.lines().filter(|line| !line.is_empty()).take(4).map(|line| format!("it printed: {line}")));
        Outcome::Failed(reasons)
    }
}
