//! A folder of its own for each test, and the command run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long something that has to come may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of its own, with data and cache folders beside it.
pub(crate) struct Lab {
    place: tempfile::TempDir,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        // The modes that tests expect are not to depend on who runs them.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let lab = Lab { place: tempfile::tempdir().unwrap() };
        std::fs::create_dir(lab.path("work")).unwrap();
        std::fs::create_dir(lab.runtime()).unwrap();
        lab
    }

    /// Where running instances are found.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.path("runtime")
    }

    /// A path in the folder the command runs in.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path("work").join(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The same manifest with other arguments.
    pub(crate) fn with_args(&self, name: &str, args: &[&str]) {
        let lines = self.read(name);
        let lines = lines.lines().map(|line| match line.starts_with("args = ") {
            true => format!("args = {args:?}\n"),
            false => format!("{line}\n"),
        });
        let changed: String = lines.collect();
        assert_ne!(changed, self.read(name));
        self.write(name, &changed);
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap()
    }

    /// The command, to be run in the folder and to keep what it keeps beside it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        self.prepare(&mut command).args(args);
        command
    }

    /// The same, for signals to be sent to. Who runs the tests in the background (`&`, `nohup(1)`) has some
    /// signals ignored for everything below, this process included; env(1) of coreutils undoes that.
    pub(crate) fn heeding(&self, args: &[&str]) -> Command {
        if !ignores_signals() {
            return self.command(args);
        }
        let mut command = Command::new("env");
        let heeding = ["--default-signal=HUP,INT,QUIT,TERM", env!("CARGO_BIN_EXE_ringfence")];
        self.prepare(&mut command).args(heeding).args(args);
        command
    }

    pub(crate) fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .current_dir(self.path("work"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CACHE_HOME", cache())
            .env("XDG_RUNTIME_DIR", self.runtime())
            .env("HOME", self.path("home"))
            .stdin(Stdio::null())
    }

    pub(crate) fn ringfence(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// The levels for Linux programs that this machine has everything for, if it has this program; what is missing is said.
    pub(crate) fn levels_for(&self, program: &str) -> impl Iterator<Item = &'static str> {
        let levels = if self.is_without(program) { &[][..] } else { &["sandbox", "microvm"] };
        levels.iter().copied().filter(|level| self.lacks(level).is_none())
    }

    /// Whether a program is missing in `/usr/bin`, which is said.
    pub(crate) fn is_without(&self, program: &str) -> bool {
        let is_missing = !Path::new("/usr/bin").join(program).exists();
        if is_missing {
            eprintln!("skipped: no {program} in /usr/bin");
        }
        is_missing
    }

    /// What this machine lacks of what a level needs, said aloud; `None` when it has everything.
    pub(crate) fn lacks(&self, level: &str) -> Option<String> {
        let found = self.ringfence(&["doctor", "--json"]).exits(0).json();
        let levels = found["levels"].as_array().unwrap().iter();
        let level = levels.filter(|found| found["level"] == level).find(|found| found["available"] == true);
        let missing = match level {
            None => Some("it is not in this build".to_owned()),
            Some(level) => {
                let mut facts = level["facts"].as_array().unwrap().iter();
                facts.find(|fact| fact["usable"] == false).map(|fact| format!("{}: {}", fact["name"], fact["found"]))
            }
        };
        missing.inspect(|missing| eprintln!("skipped: {missing}"))
    }

    /// The folders of scratch copies that are left.
    pub(crate) fn scratch(&self, args: &[&str]) -> (Ran, Vec<PathBuf>) {
        let tmp = self.path("tmp");
        std::fs::create_dir_all(&tmp).unwrap();
        let ran = self.command(args).env("TMPDIR", &tmp).output().unwrap().into();
        (ran, std::fs::read_dir(&tmp).unwrap().map(|entry| entry.unwrap().path()).collect())
    }
}

/// Compiled code is kept for all tests: the cache is made for concurrent use. Another user than the one who
/// built the tests has one of their own.
fn cache() -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let own = format!("ringfence-cli-cache-{}", rustix::process::geteuid().as_raw());
    match tempfile::tempfile_in(built) {
        Ok(_) => built.join("cache"),
        Err(_) => std::env::temp_dir().join(own),
    }
}

/// Whether one of the signals 1, 2, 3 and 15 is ignored here: `SigIgn` of proc_pid_status(5).
fn ignores_signals() -> bool {
    const WATCHED: u64 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored & WATCHED != 0)
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// It ended with this code; else everything it said is shown.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Standard error as events: an object on each line.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stderr.lines().map(parse).collect()
    }
}

/// Waits for what has to come.
#[track_caller]
pub(crate) fn eventually(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

/// An example capsule.
pub(crate) fn capsule(name: &str) -> String {
    format!("{}/../../capsules/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A program the tests of this repository share.
pub(crate) fn program(name: &str) -> String {
    format!("{}/../../tests/programs/{name}", env!("CARGO_MANIFEST_DIR"))
}
