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
    Running::begin(&mut lab.heeding(&["run", &program("probe.wasm"), "--", "random", "1", "+", last]))
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
    let script = "trap - TERM; trap '' HUP; exec \"$0\" run \"$1\" -- random 1 + spin";
    command.args(["-c", script, env!("CARGO_BIN_EXE_ringfence"), &program("probe.wasm")]);
    let running = Running::begin(&mut command);
    running.send(Signal::HUP);
    running.send(Signal::TERM);
    running.end().exits(143);
}

#[test]
fn a_reader_that_does_not_read_the_denials_cannot_hold_up_the_deadline() {
    let lab = Lab::new();
    let mut args: Vec<String> = ["run", &program("probe.wasm"), "--limit", "wall_time=2s", "--"].map(Into::into).into();
    // Far more than a pipe holds, in as many denials.
    for number in 0..400 {
        args.extend(["read".into(), format!("/{}/{number}", ["x".repeat(200).as_str(); 8].join("/")), "+".into()]);
    }
    args.push("spin".into());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (unread, stderr) = std::io::pipe().unwrap();
    let status = lab.command(&args).stdout(Stdio::null()).stderr(stderr).status().unwrap();
    assert_eq!(status.code(), Some(119));
    drop(unread);
}

/// A program that takes long to compile and says so when it runs.
fn slow_to_compile(lab: &Lab) {
    let mut body = String::new();
    for step in 0..1500 {
        let value = format!("(i32.mul (local.get 0) (i32.const {step}))");
        body += &format!("(local.set 0 (i32.add {value} (i32.load (i32.and (local.get 0) (i32.const 1023)))))");
        body += &format!("(if (i32.eqz (local.get 0)) (then (i32.store (i32.const {}) (local.get 0))))", step % 1024);
    }
    let functions: String = (0..60).map(|number| format!("(func $f{number} (param i32) {body})")).collect();
    let start = "(func (export \"_start\") unreachable)";
    lab.write("slow.wat", &format!("(module (memory (export \"memory\") 1) {functions} {start})"));
}

#[test]
fn an_interrupt_while_a_program_is_compiled_ends_it_at_once() {
    for learn in [&[][..], &["--learn", "learned.toml"]] {
        let lab = Lab::new();
        slow_to_compile(&lab);
        let mut command = lab.heeding(&[&["run", "slow.wat", "--json"], learn].concat());
        // What was compiled once is not compiled again.
        command.env("XDG_CACHE_HOME", lab.at("cache")).env("TMPDIR", lab.at("."));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("\"compiling\""), "{line}");
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        line.clear();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("stopped by SIGINT; nothing ran"), "{line}");
        assert!(!lab.at("learned.toml").exists());
        let left = std::fs::read_dir(lab.at(".")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("ringfence-learn-")).collect();
        assert_eq!(left, [""; 0], "the scratch copy is left");
    }
}

#[test]
fn a_signal_ends_it_while_it_waits_for_where_its_report_goes() {
    let lab = Lab::new();
    let pipe = lab.at("report");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut command = lab.heeding(&["run", &program("probe.wasm"), "--report", "report", "--", "args"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !catches(&child, Signal::TERM) {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).exits(143);
    assert_eq!(ran.stdout, "");
}

/// Whether a process has a handler for a signal: `SigCgt` of `/proc/PID/status`, `proc(5)`.
fn catches(child: &Child, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal.as_raw() - 1)) != 0
}
