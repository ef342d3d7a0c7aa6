//! Further commands in an instance: `exec`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Running, labs};
#[cfg(feature = "wasm")]
use crate::lab::program;
use crate::lab::{Lab, Ran, eventually};
use crate::pty::Pty;

#[test]
fn a_command_makes_no_other_system_calls_than_the_program() {
    for (lab, level) in labs() {
        if lab.is_without("python3") {
            return;
        }
        let script = "import os; print(os.memfd_create('x'))";
        let begin =
            |name: &str, profile: &str| Running::shell(&lab, name, &["--level", level, "--seccomp", profile], "true");
        let (narrow, plain) = (begin("narrow", "strict"), begin("plain", "default"));
        let ran = lab.ringfence(&["exec", "narrow", "python3", "-c", script]).exits(1);
        assert!(ran.stderr.contains("PermissionError"), "{level}: {}", ran.stderr);
        lab.ringfence(&["exec", "plain", "python3", "-c", script]).exits(0);
        for mut running in [narrow, plain] {
            drop(running.stdin.take());
            running.end().exits(5);
        }
    }
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
    assert_eq!(running.listed(&lab).unwrap()["level"], "wasm");
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
    let named = |called: &str| {
        let threads = std::fs::read_dir(process.join("task")).unwrap().flatten();
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.filter(|name| name.starts_with(called)).count()
    };
    let pumps = || named("ringfence-exec");
    // A monitor that asks for more at once is given more lines, and keeps them: each is a thread and a descriptor.
    let open = || {
        let descriptors = std::fs::read_dir(process.join("fd")).unwrap().count();
        descriptors.saturating_sub(named("ringfence-serve"))
    };
    eventually("the first command is over", || pumps() == 0);
    let before = open();
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
    eventually("its threads and descriptors are gone", || pumps() == 0 && open() <= before);
    drop(stands_still);
}
