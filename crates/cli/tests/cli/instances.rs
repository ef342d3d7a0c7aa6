//! Instances that have a name: `run --name`, `ps`, `exec`, `stop`, `pause` and `resume`.

mod commands;
mod door;

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, listen, recv, send,
    socket_with,
};

use crate::lab::{Lab, Ran, eventually};

/// A lab on a machine that has level sandbox; says what is missing otherwise.
fn lab() -> Option<Lab> {
    let lab = Lab::new();
    lab.lacks("sandbox").is_none().then_some(lab)
}

/// A lab for each level that runs further commands, as far as this machine has them.
fn labs() -> impl Iterator<Item = (Lab, &'static str)> {
    let labs = ["sandbox", "microvm"].into_iter().map(|level| (Lab::new(), level));
    labs.filter(|(lab, level)| lab.lacks(level).is_none())
}

/// An instance that runs, which ends when its standard input does.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// What `run` is given has to print a line.
    fn begin(lab: &Lab, args: &[&str]) -> Self {
        let mut command = lab.heeding(&[&["run"], args].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let mut running = Running { stdout: BufReader::new(child.stdout.take().unwrap()), child, stdin };
        let line = running.line();
        assert!(!line.is_empty(), "{:?}", running.end());
        running
    }

    /// A shell in a sandbox, of this name, that does this and then waits for the end of its input.
    fn shell(lab: &Lab, name: &str, more: &[&str], script: &str) -> Self {
        let script = format!("{script}; echo ready; read end; exit 5");
        Self::begin(lab, &[&["--name", name, "sh"], more, &["--", "-c", &script]].concat())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// What `ps` says of it. Others may run beside it: `ps` looks into the folder that all of a user's runs share, too.
    fn listed(&self, lab: &Lab) -> Option<serde_json::Value> {
        let found = lab.ringfence(&["ps", "--json"]).exits(0).json();
        found.as_array().unwrap().iter().find(|found| found["pid"] == self.child.id()).cloned()
    }

    /// Waits for its end.
    #[track_caller]
    fn end(&mut self) -> Ran {
        let status = self.child.wait().unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ran { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder in which instances of a lab are found.
fn folder(lab: &Lab) -> PathBuf {
    lab.runtime().join("ringfence")
}

fn names(lab: &Lab) -> Vec<String> {
    let entries = std::fs::read_dir(folder(lab)).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_instance_is_listed_as_long_as_it_runs() {
    let Some(lab) = lab() else { return };
    let mut running =
        Running::shell(&lab, "one", &["--limit", "memory=64MiB"], "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done");
    let found = running.listed(&lab).unwrap();
    assert_eq!(
        (&found["name"], &found["capsule"], &found["level"], &found["state"]),
        (&"one".into(), &"sh".into(), &"sandbox".into(), &"running".into())
    );
    assert!(found["memory"].as_u64().unwrap() > 4096, "{found}");
    assert!(found["cpu_time"].as_f64().unwrap() > 0.0, "{found}");
    let since = found["since"].as_str().unwrap();
    assert!(since.starts_with("20") && since.ends_with('Z') && since.len() == 20, "{since}");
    let table = lab.ringfence(&["ps"]).exits(0).stdout;
    let has =
        |words: &[&str]| table.lines().any(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()));
    let pid = running.child.id().to_string();
    assert!(
        has(&["name", "capsule", "level", "state", "pid"]) && has(&["one", "sh", "sandbox", "running", &pid]),
        "{table}"
    );
    assert!(!table.contains('\x1b'), "colours are for terminals");
    drop(running.stdin.take());
    running.end().exits(5);
    assert_eq!((running.listed(&lab), names(&lab)), (None, vec![]));
}

#[test]
fn where_nothing_runs_that_is_said() {
    let Some(lab) = lab() else { return };
    // A sandbox has a `/tmp` of its own, in which nobody's instances are.
    let ran = lab.ringfence(&["run", "--level", "sandbox", env!("CARGO_BIN_EXE_ringfence"), "--", "ps"]).exits(0);
    assert_eq!(ran.stdout, "no instance is running\n");
}

#[test]
fn without_a_name_one_is_made_of_the_capsules() {
    let Some(lab) = lab() else { return };
    let mut running = Running::begin(&lab, &["sh", "--", "-c", "echo ready; read end"]);
    eventually("it is listed", || running.listed(&lab).is_some());
    let found = running.listed(&lab).unwrap();
    let name = found["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("sh-") && name.len() == 8, "{name}");
    assert_eq!(lab.ringfence(&["exec", &name, "echo", "here"]).exits(0).stdout, "here\n");
    lab.ringfence(&["stop", &name]).exits(0);
    running.end().exits(143);
    assert_eq!(names(&lab), [""; 0]);
}

#[test]
fn a_name_in_use_is_refused_and_one_that_was_left_is_not() {
    let Some(lab) = lab() else { return };
    let mut running = Running::shell(&lab, "mine", &[], "true");
    let ran = lab.ringfence(&["run", "--name", "mine", "sh", "--", "-c", "echo ran"]).exits(120);
    assert!(ran.stderr.contains("an instance named mine is running") && ran.stdout.is_empty(), "{}", ran.stderr);
    for name in ["", "..", "a/b", "-x", "a b", ".empty"] {
        let ran = lab.ringfence(&["run", &format!("--name={name}"), "sh", "--", "-c", "echo ran"]).exits(120);
        assert!(ran.stderr.contains("cannot be the name of an instance") && ran.stdout.is_empty(), "{}", ran.stderr);
    }
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert_eq!((names(&lab).len(), running.listed(&lab)), (1, None));
    let ran = lab.ringfence(&["exec", "mine", "true"]).exits(120);
    assert!(ran.stderr.contains("no instance named mine is running"), "{}", ran.stderr);
    assert_eq!(lab.ringfence(&["run", "--name", "mine", "sh", "--", "-c", "echo ran"]).exits(0).stdout, "ran\n");
    assert_eq!(names(&lab), [""; 0]);
}

#[test]
fn clean_removes_what_a_killed_process_left_and_nothing_else() {
    let Some(lab) = lab() else { return };
    let (mut killed, living) =
        (Running::shell(&lab, "killed", &[], "true"), Running::shell(&lab, "living", &[], "true"));
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let ran = lab.ringfence(&["clean"]);
    assert!(ran.stdout.contains("name of an instance"), "{} {}", ran.stdout, ran.stderr);
    assert_eq!(names(&lab), ["living"]);
    drop(living);
}

#[test]
fn stop_signals_and_then_kills() {
    let Some(lab) = lab() else { return };
    let mut running = Running::shell(&lab, "one", &[], "trap 'exit 6' HUP");
    lab.ringfence(&["stop", "one", "--signal", "hup", "--time", "60"]).exits(0);
    running.end().exits(6);
    let mut running = Running::begin(
        &lab,
        &["--name", "one", "sh", "--", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"],
    );
    let ran = lab.ringfence(&["stop", "one", "--time", "50ms"]).exits(0);
    assert!(ran.stderr.contains("did not end within 50ms and was killed"), "{}", ran.stderr);
    let ran = running.end().exits(143);
    assert!(ran.stderr.contains("stopped by SIGTERM"), "{}", ran.stderr);
    lab.ringfence(&["stop", "one"]).exits(120);
    lab.ringfence(&["stop", "one", "--signal", "NONE"]).exits(2);
}

#[test]
fn pause_and_resume_hold_and_release_every_process() {
    let Some(lab) = lab() else { return };
    let mut running =
        Running::begin(&lab, &["--name", "one", "sh", "--", "-c", "while :; do echo tick; sleep 0.01; done"]);
    let paused = lab.ringfence(&["pause", "one"]);
    if paused.code == Some(121) {
        assert!(paused.stderr.contains("level sandbox"), "{}", paused.stderr);
        return eprintln!("skipped: {}", paused.stderr);
    }
    paused.exits(0);
    assert_eq!(running.listed(&lab).unwrap()["state"], "paused");
    let ran = lab.ringfence(&["exec", "one", "true"]).exits(120);
    assert!(ran.stderr.contains("ringfence resume one"), "{}", ran.stderr);
    lab.ringfence(&["resume", "one"]).exits(0);
    assert_eq!(running.listed(&lab).unwrap()["state"], "running");
    // What it says after what it said until now.
    for _ in 0..20 {
        assert_eq!(running.line(), "tick\n");
    }
    // One that stands still is stopped all the same.
    lab.ringfence(&["pause", "one"]).exits(0);
    lab.ringfence(&["stop", "one"]).exits(0);
    running.end().exits(143);
}

#[test]
fn what_ends_before_it_answers_is_stopped() {
    // One that has nothing to say ends at each of the things that it is asked: as a thread of the test, for the moment
    // when a run does that is too short to meet.
    let lab = Lab::new();
    let place = folder(&lab).join("one");
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700).create(&place).unwrap();
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(place.join("control")).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    let status = r#"{"status":{"name":"one","capsule":"one","level":"sandbox","paused":true,"since":0,"memory":0,"cpu_time":0.0}}"#;
    let said = [status, "\"done\"", "\"done\""];
    for answers in 0..said.len() {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let one = accept(&listener).unwrap();
                let mut asked = [0; 1 << 10];
                for answer in &said[..answers] {
                    assert!(recv(&one, &mut asked, RecvFlags::empty()).unwrap().0 > 0);
                    send(&one, answer.as_bytes(), SendFlags::empty()).unwrap();
                }
                assert!(recv(&one, &mut asked, RecvFlags::empty()).unwrap().0 > 0);
            });
            lab.ringfence(&["stop", "one"]).exits(0);
        });
    }
    // One that has no time for it is not gone.
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            let one = accept(&listener).unwrap();
            let said = r#"{"refused":{"by_level":false,"message":"others are served"}}"#;
            send(&one, said.as_bytes(), SendFlags::empty()).unwrap();
        });
        lab.ringfence(&["stop", "one"]).exits(120)
    });
    assert!(refused.stderr.contains("others are served"), "{}", refused.stderr);
    let gone = std::thread::scope(|scope| {
        scope.spawn(|| drop(accept(&listener).unwrap()));
        lab.ringfence(&["pause", "one"]).exits(120)
    });
    assert!(gone.stderr.contains("one has just ended"), "{}", gone.stderr);
}
