//! `ringfence run --tty`, in front of a terminal.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

use crate::lab::{Lab, program};
use crate::pty::Pty;

/// A lab on a machine that has what these tests need; says what is missing otherwise.
fn lab() -> Option<Lab> {
    let lab = Lab::new();
    if lab.lacks("sandbox").is_some() {
        return None;
    }
    let needed = ["/usr/bin/setsid", "/usr/bin/stty", "/usr/bin/tty", "/dev/ptmx"];
    let missing = needed.into_iter().find(|path| !Path::new(path).exists());
    missing.inspect(|path| eprintln!("skipped: no {path}")).is_none().then_some(lab)
}

/// The levels with terminals that can be used here.
fn levels(lab: &Lab) -> Vec<&'static str> {
    ["sandbox", "microvm"].into_iter().filter(|level| lab.lacks(level).is_none()).collect()
}

#[test]
fn a_shell_has_a_terminal_of_its_own_and_of_the_same_size() {
    let Some(lab) = lab() else { return };
    levels(&lab).into_iter().for_each(|level| of_the_same_size(&lab, level));
}

fn of_the_same_size(lab: &Lab, level: &str) {
    let script = "echo in $(tty) of $(stty size).; trap 'stty size; exit 7' WINCH; echo set; \
                  while :; do sleep 0.05; done";
    let mut pty = Pty::run(&lab.heeding(&["run", "--level", level, "--tty", "sh", "--", "-c", script]), 30, 100);
    // At level sandbox those in `/dev/pts` are the ones that programs make.
    let name = if level == "sandbox" { "/dev/console" } else { "/dev/pts/0" };
    pty.shows(&format!("in {name} of 30 100."));
    pty.shows("set");
    pty.resize(41, 123);
    pty.shows("41 123");
    assert_eq!(pty.ends().0, Some(7));
    assert!(pty.is_as_before());
}

#[test]
fn jobs_are_controlled_by_keys() {
    let Some(lab) = lab() else { return };
    levels(&lab).into_iter().for_each(|level| jobs(&lab, level));
}

fn jobs(lab: &Lab, level: &str) {
    let mut pty = Pty::run(&lab.heeding(&["run", "--level", level, "-t", "sh", "--", "-i"]), 24, 80);
    pty.shows_prompt();
    let job = |name: &str| format!("sh -c 'echo {name}; exec sleep 1000'\n");
    pty.types(&job("first"));
    pty.shows("first\r\n");
    assert!(!pty.is_as_before(), "what is typed goes to the program as it is");
    pty.types("\x03");
    pty.types("echo status=$?\n");
    assert!(pty.shows("status=130").contains("^C"));
    pty.types(&job("second"));
    pty.shows("second\r\n");
    pty.types("\x1a");
    pty.shows("Stopped");
    pty.types("kill -KILL %1; echo it is gone; exit\nexit\n");
    pty.shows("it is gone\r\n");
    assert_eq!(pty.ends().0, Some(0));
}

#[test]
fn the_users_terminal_is_put_back_however_it_ends() {
    let Some(lab) = lab() else { return };
    levels(&lab).into_iter().for_each(|level| put_back(&lab, level));
}

fn put_back(lab: &Lab, level: &str) {
    let ends: [(&[&str], Option<Signal>, i32); 4] = [
        (&["--limit", "wall_time=500ms"], None, 119),
        (&["--limit", "output=100B"], None, 119),
        (&[], Some(Signal::TERM), 143),
        (&[], Some(Signal::HUP), 129),
    ];
    for (limits, signal, code) in ends {
        let script = "echo ready; while :; do echo and on; sleep 0.05; done";
        let mut pty = Pty::run(
            &lab.heeding(&[&["run", "--level", level, "-t"], limits, &["sh", "--", "-c", script]].concat()),
            24,
            80,
        );
        pty.shows("ready");
        assert!(!pty.is_as_before());
        if let Some(signal) = signal {
            pty.signal(signal);
        }
        let (status, shown) = pty.ends();
        assert_eq!(status, Some(code), "{limits:?} {signal:?} {shown:?}");
        assert!(pty.is_as_before(), "{limits:?} {signal:?}");
    }
}

#[test]
fn the_program_never_holds_the_users_terminal_and_cannot_type() {
    let Some(lab) = lab() else { return };
    if !Path::new("/usr/bin/python3").exists() {
        return eprintln!("skipped: no python3");
    }
    let script = "\
import os, fcntl, termios
print('names', sorted({os.ttyname(number) for number in (0, 1, 2)}))
print('device', os.fstat(0).st_rdev)
for name in ['TIOCSTI', 'TIOCLINUX']:
    for path in ['/dev/stdin', '/dev/tty']:
        try:
            fcntl.ioctl(open(path), getattr(termios, name, 0x541c), b'\\x02')
            print(name, 'done')
        except OSError as error:
            print(name, error.errno)
print('others', [number for number in range(3, 64) if os.path.exists(f'/proc/self/fd/{number}') and os.isatty(number)])";
    let mut pty = Pty::run(&lab.heeding(&["run", "-t", "python3", "--", "-c", script]), 24, 200);
    let own = pty.device();
    let shown = pty.shows("others []");
    assert!(shown.contains("names ['/dev/console']"), "{shown}");
    assert!(!shown.contains(&format!("device {own}\r")), "{shown}");
    assert_eq!((shown.matches("TIOCSTI 1\r").count(), shown.matches("TIOCLINUX 1\r").count()), (2, 2), "{shown}");
    assert_eq!(pty.ends().0, Some(0));
}

#[test]
fn what_is_piped_in_is_typed_and_ends() {
    let Some(lab) = lab() else { return };
    let mut command = lab.heeding(&["run", "-t", "sh", "--", "-c", "test -t 0 && test -t 2 && cat; echo ends $?"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a line\nhalf").unwrap();
    let ran = crate::lab::Ran::from(child.wait_with_output().unwrap()).exits(0);
    assert!(ran.stdout.starts_with("a line\r\n") && ran.stdout.ends_with("ends 0\r\n"), "{:?}", ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_denial_begins_at_the_left_of_a_raw_terminal() {
    let Some(lab) = lab() else { return };
    let script = "exec 3<>/dev/tcp/203.0.113.1/9; echo said";
    if !Path::new("/usr/bin/bash").exists() {
        return eprintln!("skipped: no bash");
    }
    let mut pty = Pty::run(&lab.heeding(&["run", "-t", "bash", "--", "-c", script]), 24, 200);
    let (_, shown) = pty.ends();
    assert!(shown.contains("denied 203.0.113.1:9"), "{shown:?}");
    assert!(!shown.replace("\r\n", "").contains('\n'), "{shown:?}");
}

#[cfg(feature = "wasm")]
#[test]
fn what_a_program_did_to_the_users_terminal_is_undone() {
    let Some(lab) = lab() else { return };
    let script = "stty -echo -icanon -isig && stty -a | grep -q -e -echo && echo it is changed";
    let mut pty = Pty::run(&lab.heeding(&["run", "sh", "--", "-c", script]), 24, 80);
    pty.shows("it is changed");
    assert_eq!(pty.ends().0, Some(0));
    assert!(pty.is_as_before());
}

#[test]
fn the_users_terminal_keeps_its_mode_and_is_found_by_its_names() {
    let Some(lab) = lab() else { return };
    let script = "test -t 0 && test -t 1 && test -t 2 && echo it is one
        chmod 666 /dev/stdin; chmod 666 /dev/console; chown 1:1 /dev/stdout; touch /dev/stderr
        echo by its name >/dev/stderr; exec cat /dev/stdin";
    let mut pty = Pty::run(&lab.heeding(&["run", "sh", "--", "-c", script]), 24, 80);
    let mode = pty.mode();
    pty.shows("it is one");
    pty.shows("by its name");
    pty.types("what is typed\r\x04");
    let (code, shown) = pty.ends();
    assert_eq!((code, pty.mode()), (Some(0), mode), "{shown}");
    assert_eq!(shown.matches("what is typed").count(), 2, "{shown}");
    assert!(pty.is_as_before());
}

/// As after su(1): who runs ringfence has a terminal that is another's.
#[test]
fn a_terminal_that_is_somebody_elses_is_a_stream_all_the_same() {
    let Some(lab) = lab() else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can have somebody else's terminal");
    }
    let run = |args: &[&str]| Pty::of(Some(1000), &lab.heeding(&[&["run", "sh"], args].concat()), 24, 80);
    let waits = "read line; test -t 1 && echo it is one";
    let mut pty = run(&["--", "-c", waits]);
    pty.types("on\r");
    let (code, shown) = pty.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("it is one"), "{shown}");
    // What is counted passes through pipes, and no terminal leads past them.
    let mut pty = run(&["--limit", "output=1MiB", "--", "-c", "echo x >/dev/console; test -t 1 || echo it is none"]);
    let (code, shown) = pty.ends();
    assert!(code == Some(0) && shown.contains("it is none") && !shown.contains("x\r"), "{code:?} {shown}");
}

#[test]
fn level_wasm_has_no_terminal_to_give() {
    let ran = Lab::new().ringfence(&["run", "--tty", &program("probe.wasm"), "--", "args"]).exits(120);
    assert!(ran.stderr.contains("gives this program no terminal"), "{}", ran.stderr);
}
