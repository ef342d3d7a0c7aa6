//! What is done with an instance from outside while it runs: other commands, a pause, a terminal.

mod support;

use std::io::{Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use ringfence_isolation::{CallError, Command, Exit, Stop};
use ringfence_manifest::{StreamIn, WindowSize};
use support::{Lab, executor, here};

/// A shell that says that it is there and waits for its end.
fn waiting() -> Option<Lab> {
    Lab::shell("echo mine > /tmp/file; echo ready; while :; do /bin/busybox sleep 1000; done")
        .map(|lab| lab.grant_all("/tmp"))
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn another_command_runs_in_the_same_place() {
    let Some(lab) = waiting() else { return };
    let started = lab.start();
    let exec = |command: &[&str]| executor().block_on(started.instance.exec().unwrap().exec(words(command)));
    let shell = |script: &str| exec(&["/bin/busybox", "sh", "-c", script]);
    // The first command finds what the program has made as soon as it has made it.
    assert_eq!(
        shell("until [ -s /tmp/file ]; do :; done; read -r word < /tmp/file; exec [ $word = mine ]"),
        Ok(Exit::Returned(0))
    );
    assert_eq!(shell("echo from here; exit 3"), Ok(Exit::Returned(3)));
    assert_eq!(shell("kill -TERM $$"), Ok(Exit::Returned(143)));
    assert_eq!(exec(&["busybox", "true"]), Ok(Exit::Returned(0)), "looked up without a path");
    assert!(matches!(exec(&["/bin/missing"]), Ok(Exit::Trapped(_))));
    assert!(matches!(exec(&[]), Err(CallError::Arguments { .. })));
    assert!(matches!(exec(&["a\0b"]), Err(CallError::Arguments { .. })));
    started.controls.stop(Stop::Kill);
    let report = executor().block_on(started.supervision);
    let stdout = String::from_utf8(report.stdout.unwrap()).unwrap();
    assert!(stdout.contains("ready") && stdout.contains("from here"), "{stdout}");
    assert!(matches!(exec(&["busybox", "true"]), Err(CallError::Ended(_))));
}

#[test]
fn a_command_nobody_waits_for_any_more_is_ended() {
    let Some(lab) = waiting() else { return };
    let started = lab.start();
    let facet = started.instance.exec().unwrap();
    executor().block_on(async {
        let script = "echo $$ > /tmp/number; while :; do :; done";
        let mut spinning = facet.exec(words(&["/bin/busybox", "sh", "-c", script]));
        let look = facet.exec(words(&["/bin/busybox", "sh", "-c", "until [ -s /tmp/number ]; do :; done"]));
        tokio::select! {
            _ = &mut spinning => panic!("it does not end by itself"),
            found = look => assert_eq!(found, Ok(Exit::Returned(0))),
        }
        drop(spinning);
        let gone = "read -r number < /tmp/number; while kill -0 $number 2>/dev/null; do :; done";
        let found = facet.exec(words(&["/bin/busybox", "sh", "-c", gone])).await;
        assert_eq!(found, Ok(Exit::Returned(0)));
    });
    started.controls.stop(Stop::Kill);
    executor().block_on(started.supervision);
}

#[test]
fn a_command_has_streams_variables_and_a_folder_of_its_own() {
    let Some(lab) = waiting() else { return };
    let started = lab.start();
    let facet = started.instance.exec().unwrap();
    let wait = |future| executor().block_on(future);
    let ((input, mut typed), (mut shown, output), (mut told, error)) =
        (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
    let script = "echo $OWN in $PWD; echo complaint >&2; /bin/busybox wc -c; exit 4";
    let running = facet
        .begin(Command {
            words: words(&["/bin/busybox", "sh", "-c", script]),
            environment: [("OWN".to_owned(), "variable".to_owned())].into(),
            working_directory: Some("/tmp".into()),
            streams: Some([input.into(), output.into(), error.into()]),
            terminal: None,
        })
        .unwrap();
    // More than any pipe holds.
    typed.write_all(&vec![b'x'; 300_000]).unwrap();
    drop(typed);
    assert_eq!(wait(running.ended()), Ok(Exit::Returned(4)));
    assert_eq!(wait(running.ended()), Ok(Exit::Returned(4)), "asked again");
    let (mut text, mut complaint) = (String::new(), String::new());
    shown.read_to_string(&mut text).unwrap();
    told.read_to_string(&mut complaint).unwrap();
    assert_eq!((text.as_str(), complaint.as_str()), ("variable in /tmp\n300000\n", "complaint\n"));
    let missing = facet.begin(Command { words: words(&["no-such"]), ..Command::default() }).unwrap();
    assert!(matches!(wait(missing.ended()), Err(CallError::NotExecuted { missing: true, .. })));
    let command = || Command { words: words(&["busybox", "true"]), ..Command::default() };
    let nowhere = facet.begin(Command { working_directory: Some("/nowhere".into()), ..command() }).unwrap();
    assert!(matches!(wait(nowhere.ended()), Err(CallError::Arguments { .. })));
    let terminal = Some(WindowSize { rows: 1, columns: 1 });
    for wrong in [
        Command { working_directory: Some("tmp".into()), ..command() },
        Command { environment: [("A=B".to_owned(), String::new())].into(), ..command() },
        Command { terminal, ..command() },
    ] {
        assert!(matches!(facet.begin(wrong), Err(CallError::Arguments { .. })));
    }
    started.controls.stop(Stop::Kill);
    executor().block_on(started.supervision);
}

/// A socket, and its other end, that says that there is something to read, of which a reader waits for more than that.
fn deceiving() -> (UnixStream, UnixStream) {
    let (input, mut typed) = UnixStream::pair().unwrap();
    let least: libc::c_int = 2;
    // SAFETY: the descriptor is open, and the value outlives the call.
    let set = unsafe {
        let size = size_of_val(&least) as libc::socklen_t;
        libc::setsockopt(input.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const least).cast(), size)
    };
    assert_eq!(set, 0);
    typed.write_all(b"x").unwrap();
    (input, typed)
}

/// As when others who share the input were quicker.
#[test]
fn a_command_ends_whose_input_would_be_waited_for() {
    let Some(lab) = waiting() else { return };
    let started = lab.start();
    let facet = started.instance.exec().unwrap();
    let running = [(); 2].map(|()| {
        let (input, typed) = deceiving();
        let ((mut shown, output), (_told, error)) = (pipe().unwrap(), pipe().unwrap());
        let script = "read -n 1 -r got; echo got $got; exec /bin/busybox sleep 1000";
        let running = facet
            .begin(Command {
                words: words(&["/bin/busybox", "sh", "-c", script]),
                streams: Some([input.into(), output.into(), error.into()]),
                ..Command::default()
            })
            .unwrap();
        let mut text = [0; 6];
        shown.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"got x\n");
        (running, typed)
    });
    running[0].0.signal(libc::SIGKILL);
    assert_eq!(executor().block_on(running[0].0.ended()), Ok(Exit::Returned(137)));
    started.controls.stop(Stop::Kill);
    assert_eq!(executor().block_on(started.supervision).exit, Exit::Stopped);
    assert!(matches!(executor().block_on(running[1].0.ended()), Err(CallError::Ended(Exit::Stopped))));
}

#[test]
fn a_command_has_a_terminal_of_its_own() {
    let Some(lab) = waiting() else { return };
    let started = lab.start();
    let ((input, mut typed), (mut shown, output), (_told, error)) = (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
    let script =
        "trap 'busybox stty size; exit 9' WINCH; busybox tty; busybox stty size; while :; do busybox sleep 0.01; done";
    let running = started
        .instance
        .exec()
        .unwrap()
        .begin(Command {
            words: words(&["/bin/busybox", "sh", "-c", &script.replace("busybox", "/bin/busybox")]),
            streams: Some([input.into(), output.into(), error.into()]),
            terminal: Some(WindowSize { rows: 20, columns: 60 }),
            ..Command::default()
        })
        .unwrap();
    typed.write_all(b"typed\n").unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("20 60\r\n") {
        let mut byte = [0];
        assert_eq!(shown.read(&mut byte).unwrap(), 1);
        text.extend(byte);
    }
    running.resize(WindowSize { rows: 21, columns: 61 });
    assert_eq!(executor().block_on(running.ended()), Ok(Exit::Returned(9)));
    let mut rest = String::new();
    shown.read_to_string(&mut rest).unwrap();
    assert!(String::from_utf8_lossy(&text).contains("/dev/pts/0\r\n") && rest.contains("21 61\r\n"), "{rest}");
    started.controls.stop(Stop::Kill);
    executor().block_on(started.supervision);
}

#[test]
fn what_is_paused_does_nothing_until_it_goes_on() {
    let Some(lab) = Lab::shell("while :; do /bin/busybox true; done") else { return };
    let started = lab.start();
    let pause = started.instance.pause().unwrap();
    executor().block_on(async { pause.pause().await }).unwrap();
    // Every call and every exit is counted: without any nothing of it has run.
    let before = started.instance.activity();
    // Somebody else's whole life passes.
    Lab::shell("for i in 1 2 3; do /bin/busybox true; done").unwrap().run();
    assert_eq!(started.instance.activity(), before);
    executor().block_on(async { pause.resume().await }).unwrap();
    while started.instance.activity() == before {
        std::thread::yield_now();
    }
    started.controls.stop(Stop::Kill);
    assert_eq!(executor().block_on(started.supervision).exit, Exit::Stopped);
}

#[test]
fn what_is_paused_can_be_killed() {
    let Some(lab) = Lab::compiled("ordinary.c", &["spin"]) else { return };
    let started = lab.start();
    let pause = started.instance.pause().unwrap();
    executor().block_on(async { pause.pause().await }).unwrap();
    started.controls.stop(Stop::Kill);
    assert_eq!(executor().block_on(started.supervision).exit, Exit::Stopped);
    assert!(matches!(executor().block_on(async { pause.pause().await }), Err(CallError::Ended(_))));
}

#[test]
fn lines_are_edited_and_shown_by_the_terminal() {
    let script = "/bin/busybox tty; /bin/busybox stty size; read -r line; echo got $line; read -r more || echo over";
    let Some(mut lab) = Lab::shell(script) else { return };
    lab.spec.session.terminal = Some(WindowSize { rows: 30, columns: 100 });
    lab.spec.stdio.stdin = StreamIn::Bytes(b"a ling\x7fe\n".to_vec());
    let outcome = lab.run();
    assert_eq!(outcome.report.exit, Exit::Returned(0), "{}", outcome.stdout);
    for expected in ["/dev/pts/0\r\n", "30 100\r\n", "got a line\r\n", "over\r\n"] {
        assert!(outcome.stdout.contains(expected), "{expected:?} in {:?}", outcome.stdout);
    }
}

#[test]
fn python_opens_terminals_of_its_own() {
    let python = Path::new("/usr/bin/python3");
    if !here() || !python.exists() {
        eprintln!("skipped: there is no {}", python.display());
        return;
    }
    let script =
        "import pty, os\nstatus = pty.spawn(['/bin/busybox', 'tty'])\nprint(os.waitstatus_to_exitcode(status))";
    let outcome = Lab::new(python).args(&["-c", script]).run();
    assert_eq!(outcome.stdout.replace('\r', ""), "/dev/pts/0\n0\n", "{}", outcome.stderr);
}

#[test]
fn programs_read_the_facts_of_their_instance_in_proc_and_nothing_of_the_host() {
    let script = "cd /proc; for f in filesystems self/status self/stat self/limits self/mounts meminfo stat loadavg uptime \
                  sys/kernel/osrelease 2/comm; do read -r line < $f || echo missing $f; done; \
                  shown=$(/bin/busybox ps); echo \"$shown\" | /bin/busybox wc -l; \
                  for f in kcore kallsyms 1/environ sys/kernel/modprobe ../etc/selinux/config ../sys/class/net; do \
                  [ -e $f ] && echo there $f; done; echo done";
    let Some(lab) = Lab::shell(script) else { return };
    let outcome = lab.run();
    // A heading, the shell, and who looked.
    assert_eq!(outcome.stdout, "3\ndone\n", "{}", outcome.stderr);
    assert!(outcome.report.denials.is_empty(), "{:?}", outcome.report.denials);
}
