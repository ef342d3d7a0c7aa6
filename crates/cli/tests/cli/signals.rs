//! Signals to `ringfence run`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, Ran, program};

/// A program that has printed a line, so it runs, and will not end by itself.
struct Running {
    child: Child,
    _stdin: std::process::ChildStdin,
    _stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn begin(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("ok"), "{line}");
        Running { child, _stdin: stdin, _stdout: stdout }
    }

    fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn end(self) -> Ran {
        self.child.wait_with_output().unwrap().into()
    }
}

fn running(lab: &Lab, last: &str) -> Running {
    Running::begin(&mut lab.command(&["run", &program("probe.wasm"), "--", "random", "1", "+", last]))
}

#[test]
fn each_signal_stops_the_capsule_and_is_in_the_exit_code() {
    let lab = Lab::new();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let running = running(&lab, "spin");
        running.send(signal);
        let ran = running.end().exits(code);
        assert!(ran.stderr.contains("stopped by SIG"), "{}", ran.stderr);
    }
}

#[test]
fn a_signal_ends_a_blocked_host_call() {
    let lab = Lab::new();
    let running = running(&lab, "block-stdin");
    running.send(Signal::TERM);
    running.end().exits(143);
}

#[test]
fn two_interrupts_end_it_like_one() {
    let lab = Lab::new();
    let running = running(&lab, "spin");
    running.send(Signal::INT);
    running.send(Signal::INT);
    running.end().exits(130);
}

#[test]
fn a_signal_that_was_to_be_ignored_stays_ignored() {
    let lab = Lab::new();
    let mut command = Command::new("sh");
    lab.prepare(&mut command);
    let script = "trap '' HUP; exec \"$0\" run \"$1\" -- random 1 + spin";
    command.args(["-c", script, env!("CARGO_BIN_EXE_ringfence"), &program("probe.wasm")]);
    let running = Running::begin(&mut command);
    running.send(Signal::HUP);
    running.send(Signal::TERM);
    running.end().exits(143);
}
