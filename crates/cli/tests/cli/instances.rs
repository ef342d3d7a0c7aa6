//! Instances that have a name: `run --name`, `ps`, `exec`, `stop`, `pause` and `resume`.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, Ran, program};
use crate::pty::Pty;

/// How long something that has to come may take.
const PATIENCE: Duration = Duration::from_secs(60);

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

#[track_caller]
fn eventually(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

fn listed(lab: &Lab) -> Vec<serde_json::Value> {
    lab.ringfence(&["ps", "--json"]).exits(0).json().as_array().unwrap().clone()
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
    assert_eq!(lab.ringfence(&["ps"]).exits(0).stdout, "no instance is running\n");
    let mut running =
        Running::shell(&lab, "one", &["--limit", "memory=64MiB"], "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done");
    let found = listed(&lab);
    assert_eq!(found.len(), 1);
    let found = &found[0];
    assert_eq!(
        (&found["name"], &found["capsule"], &found["level"], &found["state"]),
        (&"one".into(), &"sh".into(), &"sandbox".into(), &"running".into())
    );
    assert_eq!(found["pid"], running.child.id());
    assert!(found["memory"].as_u64().unwrap() > 4096, "{found}");
    assert!(found["cpu_time"].as_f64().unwrap() > 0.0, "{found}");
    let since = found["since"].as_str().unwrap();
    assert!(since.starts_with("20") && since.ends_with('Z') && since.len() == 20, "{since}");
    let table = lab.ringfence(&["ps"]).exits(0).stdout;
    assert!(
        table.starts_with("name  capsule  level    state    pid")
            && table.contains("\none   sh       sandbox  running"),
        "{table}"
    );
    assert!(!table.contains('\x1b'), "colours are for terminals");
    drop(running.stdin.take());
    running.end().exits(5);
    assert_eq!((listed(&lab), names(&lab)), (vec![], vec![]));
}

#[test]
fn without_a_name_one_is_made_of_the_capsules() {
    let Some(lab) = lab() else { return };
    let mut running = Running::begin(&lab, &["sh", "--", "-c", "echo ready; read end"]);
    eventually("it is listed", || listed(&lab).len() == 1);
    let name = listed(&lab)[0]["name"].as_str().unwrap().to_owned();
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
    assert_eq!((names(&lab).len(), listed(&lab).len()), (1, 0));
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
fn a_command_has_the_streams_and_the_status_of_who_asks() {
    for (lab, level) in labs() {
        let mut running = Running::shell(
            &lab,
            "one",
            &["--level", level, "--env", "COLOUR=red"],
            "echo own >/dev/shm/file 2>/dev/null",
        );
        let sh = |script: &str| lab.ringfence(&["exec", "one", "sh", "-c", script]);
        let ran = sh("echo out; echo err >&2; exit 7").exits(7);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
        sh("kill -TERM $$").exits(143);
        sh("kill -KILL $$").exits(137);
        let ran = lab.ringfence(&["exec", "one", "--", "no-such-command"]).exits(127);
        assert!(ran.stderr.contains("no-such-command cannot be executed: No such file"), "{}", ran.stderr);
        let ran = lab.ringfence(&["exec", "one", "/etc/passwd"]).exits(126);
        assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
        // Standard input: a pipe, a file, nothing.
        let mut command = lab.command(&["exec", "-i", "one", "cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let text: Vec<u8> = (0..300_000_u32).flat_map(|number| number.to_le_bytes()).collect();
        let mut stdin = child.stdin.take().unwrap();
        let typed = text.clone();
        let typing = std::thread::spawn(move || stdin.write_all(&typed).unwrap());
        assert!(child.wait_with_output().unwrap().stdout == text);
        typing.join().unwrap();
        let file = lab.write("input", "from a file\n");
        let output = std::fs::File::create(lab.at("output")).unwrap();
        let mut command =
            lab.command(&["exec", "one", "sh", "-c", "cat; readlink /proc/self/fd/0 /proc/self/fd/1 >&2"]);
        let ran =
            Ran::from(command.stdin(std::fs::File::open(&file).unwrap()).stdout(output).output().unwrap()).exits(0);
        assert_eq!(lab.read("output"), "from a file\n");
        assert!(
            ran.stderr.lines().count() == 2 && ran.stderr.lines().all(|line| line.starts_with("pipe:")),
            "a file is never handed over: {}",
            ran.stderr
        );
        assert_eq!(lab.ringfence(&["exec", "one", "cat"]).exits(0).stdout, "");
        // Variables and a working directory.
        let ran = lab.ringfence(&[
            "exec",
            "--env",
            "A=b c",
            "--env=COLOUR=blue",
            "--cwd",
            "/usr",
            "one",
            "sh",
            "-c",
            "echo $A $COLOUR $PWD",
        ]);
        assert_eq!(ran.exits(0).stdout, "b c blue /usr\n");
        assert_eq!(sh("echo $COLOUR $PWD").exits(0).stdout, "red /\n");
        let ran = lab.ringfence(&["exec", "--cwd", "/nowhere", "one", "true"]).exits(120);
        assert!(ran.stderr.contains("/nowhere"), "{}", ran.stderr);
        // As much as Linux takes as one word (`execve(2)`), or an error.
        let ran = lab.ringfence(&["exec", "one", "echo", &"x".repeat(120_000)]);
        match level {
            "sandbox" => assert!(ran.code == Some(120) && ran.stderr.contains("too long"), "{}", ran.stderr),
            _ => assert!(ran.code == Some(0) && ran.stdout.len() == 120_001, "{}", ran.stderr),
        }
        drop(running.stdin.take());
        running.end().exits(5);
    }
}

#[test]
fn a_signal_to_exec_is_the_commands_and_who_is_gone_takes_it_along() {
    for (lab, level) in labs() {
        let _running = Running::shell(&lab, "one", &["--level", level], "true");
        let begin = |script: &str| {
            let mut command = lab.heeding(&["exec", "one", "sh", "-c", script]);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            (child, stdout)
        };
        let send = |child: &Child, signal| kill_process(Pid::from_child(child), signal).unwrap();
        let (mut child, mut stdout) = begin("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.01; done");
        send(&child, Signal::INT);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("caught\n", Some(9)));
        let (mut child, _stdout) = begin("echo ready; exec sleep 1000");
        send(&child, Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(143));
        // A second one is not left to the command.
        let (mut child, mut stdout) = begin("trap 'echo once' TERM; echo ready; while :; do sleep 0.01; done");
        send(&child, Signal::TERM);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        send(&child, Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(143));
        // Nor does it outlive who asked for it.
        let left = |mark: &str| {
            let script =
                format!("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep {mark}' || true");
            lab.ringfence(&["exec", "one", "sh", "-c", &script.replace("1234", "123[4]")]).stdout
        };
        let (mut child, _stdout) = begin("echo ready; exec sleep 1234");
        assert_eq!(left("1234"), "1\n");
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("it ends", || left("1234") == "0\n");
    }
}

#[test]
fn a_command_ends_with_the_instance_and_says_so() {
    for (lab, level) in labs() {
        let mut running = Running::shell(&lab, "one", &["--level", level], "true");
        let mut command = lab.command(&["exec", "one", "sh", "-c", "setsid sleep 4321 & echo ready; sleep 4321"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        drop(running.stdin.take());
        running.end().exits(5);
        // Everybody who could write is gone: processes of the command included.
        line.clear();
        stdout.read_to_string(&mut line).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap()).exits(137);
        assert!(ran.stderr.contains("one ended before the command did"), "{}", ran.stderr);
    }
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
    assert_eq!(listed(&lab)[0]["state"], "paused");
    let ran = lab.ringfence(&["exec", "one", "true"]).exits(120);
    assert!(ran.stderr.contains("ringfence resume one"), "{}", ran.stderr);
    lab.ringfence(&["resume", "one"]).exits(0);
    assert_eq!(listed(&lab)[0]["state"], "running");
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
fn a_shell_in_an_instance_has_a_terminal_of_its_own_with_job_control() {
    for (lab, level) in labs() {
        if !Path::new("/usr/bin/setsid").exists() {
            return eprintln!("skipped: no setsid");
        }
        let _running = Running::shell(&lab, "one", &["--level", level], "true");
        let mut pty = Pty::run(&lab.heeding(&["exec", "-t", "one", "sh", "-i"]), 30, 100);
        pty.shows_prompt();
        assert!(!pty.is_as_before());
        pty.types("stty size\n");
        pty.shows("30 100");
        pty.shows_prompt();
        pty.types("sh -c 'echo first; exec sleep 1000'\n");
        pty.shows("first\r\n");
        pty.types("\x03");
        pty.types("echo status=$?\n");
        assert!(pty.shows("status=130").contains("^C"));
        pty.types("sh -c 'echo second; exec sleep 1000'\n");
        pty.shows("second\r\n");
        pty.types("\x1a");
        pty.shows("Stopped");
        pty.types("kill -KILL %1; echo it is gone\n");
        pty.shows("it is gone\r\n");
        pty.types("exit 3\nexit 3\n");
        assert_eq!(pty.ends().0, Some(3));
        assert!(pty.is_as_before());
        let script = "trap 'stty size; exit 7' WINCH; echo set; while :; do sleep 0.05; done";
        let mut pty = Pty::run(&lab.heeding(&["exec", "--tty", "one", "sh", "-c", script]), 30, 100);
        pty.shows("set");
        pty.resize(41, 123);
        pty.shows("41 123");
        assert_eq!(pty.ends().0, Some(7));
    }
}

#[test]
fn the_users_terminal_never_enters_the_instance() {
    for (lab, level) in labs() {
        if ["/usr/bin/python3", "/usr/bin/setsid"].iter().any(|path| !Path::new(path).exists()) {
            return eprintln!("skipped: no python3 or setsid");
        }
        let _running = Running::shell(&lab, "one", &["--level", level], "true");
        let script = "\
import os, fcntl, termios
print('device', *[os.fstat(number).st_rdev for number in (0, 1, 2)])
for number in (0, 1, 2):
    try:
        fcntl.ioctl(number, termios.TIOCSTI, b'x')
        print('typed')
    except OSError as error:
        print('errno', error.errno)
print('others', [number for number in range(3, 256) if os.path.exists(f'/proc/self/fd/{number}')])";
        for flag in ["-t", "-i"] {
            let mut pty = Pty::run(&lab.heeding(&["exec", flag, "one", "python3", "-c", script]), 24, 200);
            let own = pty.device();
            let shown = pty.shows("others []");
            // A machine numbers its terminals itself, from 0 as the host does.
            let is_own = level == "sandbox" && shown.contains(&own.to_string());
            assert!(shown.contains("device") && !is_own, "{shown}");
            assert!(shown.matches("errno").count() == 3 && !shown.contains("typed"), "{shown}");
            assert_eq!(pty.ends().0, Some(0));
            assert!(pty.is_as_before());
        }
    }
}

#[test]
fn what_a_command_prints_counts_for_the_instance() {
    for (lab, level) in labs() {
        for flags in [&[][..], &["-t"]] {
            let mut running = Running::shell(&lab, "one", &["--level", level, "--limit", "output=64KiB"], "true");
            let mut command =
                lab.command(&[&["exec"], flags, &["one", "sh", "-c", "while :; do printf %04096d 1; done"]].concat());
            let ran = Ran::from(command.output().unwrap());
            // Ended with its instance, or a moment before that by writing to what nobody reads any more.
            assert!(matches!(ran.code, Some(137 | 141)), "{:?}: {}", ran.code, ran.stderr);
            assert!(ran.stdout.len() <= 256 << 10, "{}", ran.stdout.len());
            let ran = running.end().exits(119);
            assert!(ran.stderr.contains("exceeded output"), "{}", ran.stderr);
        }
    }
}

#[cfg(feature = "wasm")]
#[test]
fn a_level_that_runs_no_further_commands_is_named() {
    let lab = Lab::new();
    let running = Running::begin(&lab, &["--name", "w", &program("probe.wasm"), "--", "random", "1", "+", "spin"]);
    assert_eq!(listed(&lab)[0]["level"], "wasm");
    for command in [&["exec", "w", "true"][..], &["pause", "w"]] {
        let ran = lab.ringfence(command).exits(121);
        assert!(ran.stderr.contains("w is a wasm program at level wasm"), "{}", ran.stderr);
    }
    lab.ringfence(&["stop", "w", "--time", "0"]).exits(0);
    let mut running = running;
    running.end().exits(143);
}

#[cfg(all(feature = "wasm", feature = "microvm"))]
#[test]
fn webassembly_in_a_machine_stands_still_and_runs_no_further_commands() {
    let lab = Lab::new();
    if lab.lacks("microvm").is_some() {
        return;
    }
    let args = ["--level", "microvm", "--name", "w", &program("probe.wasm"), "--", "random", "1", "+", "spin"];
    let mut running = Running::begin(&lab, &args);
    let ran = lab.ringfence(&["exec", "w", "true"]).exits(121);
    assert!(ran.stderr.contains("w is a wasm program at level microvm"), "{}", ran.stderr);
    for command in ["pause", "resume"] {
        lab.ringfence(&[command, "w"]).exits(0);
    }
    lab.ringfence(&["stop", "w", "--time", "0"]).exits(0);
    running.end().exits(143);
}

#[test]
fn the_folder_is_private_and_one_that_is_not_is_not_used() {
    let Some(lab) = lab() else { return };
    let running = Running::shell(&lab, "one", &[], "true");
    let found = std::fs::metadata(folder(&lab)).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o700, rustix::process::geteuid().as_raw()));
    assert_eq!(std::fs::metadata(folder(&lab).join("one")).unwrap().mode() & 0o7777, 0o700);
    drop(running);
    // A folder that others can get at, and what is no folder: it runs, and is not there.
    let other = Lab::new();
    std::fs::create_dir(folder(&other)).unwrap();
    std::fs::set_permissions(folder(&other), std::fs::Permissions::from_mode(0o755)).unwrap();
    let name = format!("test-{}", std::process::id());
    assert_eq!(other.ringfence(&["run", "sh", "--", "-c", "sleep 0.1; echo ran"]).exits(0).stdout, "ran\n");
    assert_eq!(names(&other), [""; 0]);
    // The other place is used then.
    let mut running = Running::shell(&other, &name, &[], "true");
    assert!(names(&other).is_empty() && listed(&other).iter().any(|found| found["name"] == name.as_str()));
    drop(running.stdin.take());
    running.end().exits(5);
}

#[test]
fn the_way_to_instances_is_kept_out_of_mounts() {
    let Some(lab) = lab() else { return };
    let runtime = lab.runtime();
    let mount = |from: &Path| format!("{}:/seen:rw", from.display());
    let _running = Running::shell(&lab, "one", &[], "true");
    let (whole, inside) = (mount(&runtime), mount(&folder(&lab)));
    let args =
        ["run", "sh", "--mount", &whole, "--allow", "fs.read,fs.write,fs.create,fs.delete,fs.list=/seen", "--", "-c"];
    let ran = lab.ringfence(&[&args[..], &["ls -A /seen /seen/ringfence; rmdir /seen/ringfence; mv /seen/ringfence /seen/x; echo x >/seen/ringfence/y; echo $?"]].concat());
    assert_eq!(ran.stdout, "/seen:\nringfence\n\n/seen/ringfence:\n2\n", "{}", ran.stderr);
    for inside in [inside, mount(&folder(&lab).join("one"))] {
        let ran = lab
            .ringfence(&["run", "sh", "--mount", &inside, "--allow", "fs.read=/seen", "--", "-c", "echo ran"])
            .exits(120);
        assert!(ran.stderr.contains("no capsule is shown them") && ran.stdout.is_empty(), "{}", ran.stderr);
    }
    assert_eq!(lab.ringfence(&["exec", "one", "echo", "still there"]).exits(0).stdout, "still there\n");
}

/// Every way to start something, with a word before what is started; the levels they need.
const STARTS: [(&[&str], &str); 6] = [
    (&["run"], "wasm"),
    (&["run", "--learn", "new.toml"], "wasm"),
    (&["run"], "sandbox"),
    (&["run", "--learn", "new.toml"], "sandbox"),
    (&["run", "--dry-run-fs=kept"], "sandbox"),
    (&["snapshot", "create", "./taken"], "microvm"),
];

#[test]
fn no_subcommand_shows_the_way_to_instances() {
    let lab = Lab::new();
    let one = folder(&lab).join("one");
    let mut private = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(private.recursive(true), 0o700).create(&one).unwrap();
    let probe = program("probe.wasm");
    let mount = |from: &Path| format!("{}:/seen:rw", from.display());
    for (start, level) in STARTS {
        if lab.lacks(level).is_some() {
            continue;
        }
        let started = |from: &Path, script: &str| {
            let what = if level == "wasm" {
                vec![&*probe, "--", "list", "/seen/ringfence"]
            } else {
                vec!["sh", "--", "-c", script]
            };
            let mount = mount(from);
            let grants = ["--mount", &mount, "--allow", "fs.read,fs.list=/seen"];
            lab.ringfence(&[start, &grants[..], &what[..]].concat())
        };
        for inside in [&folder(&lab), &one] {
            let ran = started(inside, "echo ran").exits(120);
            assert!(
                ran.stderr.contains("no capsule is shown them") && ran.stdout.is_empty(),
                "{start:?}: {}",
                ran.stderr
            );
        }
        // It says with its status what it sees, for that is all that is told of one that ends before it is captured.
        let ran = started(&lab.runtime(), "test -d /seen/ringfence && exec test ! -e /seen/ringfence/one");
        let said = format!("{} {}", ran.stdout, ran.stderr);
        match start[0] {
            "snapshot" => assert!(said.contains("returned 0"), "{said}"),
            _ => assert!(ran.code == Some(0) && !said.contains("one\n"), "{start:?}: {said}"),
        }
        let _ = std::fs::remove_file(lab.at("new.toml"));
    }
    if lab.lacks("microvm").is_none() {
        let echo = ["/bin/sh", "--", "-c", "echo ready"];
        lab.ringfence(&[&["snapshot", "create", "./taken"], &echo[..]].concat()).exits(0);
        let inside = mount(&one);
        let ran = lab.ringfence(&[&["snapshot", "run", "./taken", "--mount", &inside], &echo[..]].concat()).exits(120);
        assert!(ran.stderr.contains("no capsule is shown them") && ran.stdout.is_empty(), "{}", ran.stderr);
    }
}

#[test]
fn nothing_stays_of_a_command_whose_reader_stands_still_when_who_asked_is_gone() {
    for level in ["sandbox", "microvm"] {
        let lab = Lab::new();
        if lab.lacks(level).is_none() {
            let running = Running::shell(&lab, "one", &["--level", level, "--limit", "output=1GiB"], "true");
            leave_standing(&lab, &running);
        }
    }
}

fn leave_standing(lab: &Lab, running: &Running) {
    lab.ringfence(&["exec", "one", "true"]).exits(0);
    let process = PathBuf::from(format!("/proc/{}", running.child.id()));
    let count = |what: &str| std::fs::read_dir(process.join(what)).unwrap().count();
    let pumps = || {
        let threads = std::fs::read_dir(process.join("task")).unwrap().flatten();
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.filter(|name| name.starts_with("ringfence-exec")).count()
    };
    eventually("the first command is over", || pumps() == 0);
    let before = count("fd");
    let (stands_still, full) = std::io::pipe().unwrap();
    let mut asking = lab.command(&["exec", "one", "cat", "/dev/zero"]);
    let mut asking = asking.stdout(full.try_clone().unwrap()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the pipe is full", || {
        let mut ready = [rustix::event::PollFd::new(&full, rustix::event::PollFlags::OUT)];
        rustix::event::poll(&mut ready, Some(&rustix::event::Timespec::default())) == Ok(0)
    });
    // A thread gives itself its name when it begins.
    eventually("it is waited for", || pumps() == 1);
    asking.kill().unwrap();
    asking.wait().unwrap();
    eventually("its threads and descriptors are gone", || pumps() == 0 && count("fd") <= before);
    drop(stands_still);
}

/// A connection to the instance of this name.
fn connection(lab: &Lab, name: &str) -> std::os::fd::OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let folder = std::fs::File::open(folder(lab).join(name)).unwrap();
    let path = format!("/proc/self/fd/{}/control", folder.as_fd().as_raw_fd());
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

#[test]
fn nonsense_on_the_socket_ends_the_connection_and_nothing_else() {
    let Some(lab) = lab() else { return };
    let mut running = Running::shell(&lab, "one", &[], "true");
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", running.child.id())).unwrap().count();
    let before = descriptors();
    let deep = "[".repeat(100_000);
    let texts = [
        "",
        "x",
        "null",
        "{}",
        "{\"exec\":{}}",
        "{\"signal\":99}",
        "{\"signal\":-1}",
        "\"statu",
        &deep,
        "{\"resize\":[1,1]}",
        "{\"exec\":{\"words\":[\"true\"],\"environment\":{},\"working_directory\":null,\"terminal\":null}}",
    ];
    for text in texts {
        let socket = connection(&lab, "one");
        // An empty message is the end, for who receives it.
        let _ = send(&socket, text.as_bytes(), rustix::net::SendFlags::NOSIGNAL);
        let mut answer = [0; 1000];
        let (count, _) = recv(&socket, &mut answer, rustix::net::RecvFlags::empty()).unwrap_or_default();
        assert_eq!(count, 0, "{text:.40}: {}", String::from_utf8_lossy(&answer[..count]));
    }
    // Many who say nothing are let in up to a number, and keep nobody else out for ever.
    let silent: Vec<_> = (0..200)
        .map_while(|_| {
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
            let folder = std::fs::File::open(folder(&lab).join("one")).unwrap();
            let path = format!("/proc/self/fd/{}/control", folder.as_fd().as_raw_fd());
            connect(&socket, &SocketAddrUnix::new(path).unwrap()).ok().map(|()| socket)
        })
        .collect();
    assert!(descriptors() < before + 64 + 32, "{before} and then {}", descriptors());
    drop(silent);
    eventually("it answers", || lab.ringfence(&["exec", "one", "true"]).code == Some(0));
    drop(running.stdin.take());
    running.end().exits(5);
}

#[test]
fn nobody_else_is_let_in() {
    let Some(lab) = lab() else { return };
    if !rustix::process::geteuid().is_root()
        || !Path::new("/usr/bin/setpriv").exists()
        || !Path::new("/usr/bin/python3").exists()
    {
        return eprintln!("skipped: not root, or no setpriv or python3");
    }
    let _running = Running::shell(&lab, "one", &[], "true");
    // Even who gets past the folders, by a descriptor: the one here is inherited.
    let script = "\
import socket, sys
line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
line.connect('/proc/self/fd/3/control')
try:
    line.send(b'\"kill\"')
    print('said', line.recv(100))
except OSError as error:
    print('error', error.errno)";
    let becomes = "exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all \
                  /usr/bin/python3 -c \"$0\" 3<\"$1\"";
    // The socket and its folder are opened up, which nothing does: the last wall alone is tried.
    let own = folder(&lab).join("one");
    for (path, mode) in [(own.clone(), 0o777), (own.join("control"), 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = std::process::Command::new("sh");
    let ran = Ran::from(command.args(["-c", becomes, script]).arg(&own).output().unwrap());
    assert!(ran.stdout == "said b''\n" || ran.stdout.starts_with("error"), "{} {}", ran.stdout, ran.stderr);
    assert_eq!(listed(&lab)[0]["state"], "running");
}
