//! Another command in the place of an instance.

mod support;

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

use ringfence_isolation::{CallError, Command, Exit, Instance, LimitKind, Running, Stop, Trap, Verdict};
use ringfence_manifest::{Bytes, MountMode, Permission, WindowSize};
use support::{Keeper, Lab, compiled, eventually, has, here, wait};

/// A program that has begun and waits.
fn waiting(lab: &Lab) -> Option<(Box<dyn Instance>, std::sync::Arc<Keeper>)> {
    if !here() {
        return None;
    }
    let (instance, keeper) = lab.build().unwrap();
    assert!(matches!(wait(instance.exec().unwrap().exec(words(&["true"]))), Err(CallError::Unsupported(_))));
    instance.start().unwrap();
    Some((instance, keeper))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn run(instance: &dyn Instance, command: &[&str]) -> Result<Exit, CallError> {
    wait(instance.exec().unwrap().exec(words(command)))
}

/// What a command prints; nothing else printed meanwhile.
#[track_caller]
fn prints(instance: &dyn Instance, keeper: &Keeper, command: &[&str]) -> String {
    let before = keeper.printed().len();
    assert_eq!(run(instance, command), Ok(Exit::Returned(0)));
    String::from_utf8(keeper.printed()[before..].to_vec()).unwrap()
}

#[test]
fn a_command_ends_as_a_shell_shows_it() {
    let Some((instance, keeper)) = waiting(&Lab::shell("sleep 1000")) else { return };
    assert_eq!(prints(&*instance, &keeper, &["echo", "a b", ""]), "a b \n");
    assert_eq!(run(&*instance, &["/bin/sh", "-c", "exit 7"]), Ok(Exit::Returned(7)));
    assert_eq!(run(&*instance, &["sh", "-c", "kill -KILL $$"]), Ok(Exit::Returned(137)));
    let missing = run(&*instance, &["no-such-command"]);
    assert!(
        matches!(&missing, Ok(Exit::Trapped(Trap::NotExecutable(why))) if why.contains("No such file")),
        "{missing:?}"
    );
    assert!(matches!(run(&*instance, &[]), Err(CallError::Arguments { .. })));
    assert!(matches!(run(&*instance, &["a\0b"]), Err(CallError::Arguments { .. })));
    assert!(matches!(run(&*instance, &["echo", &"x".repeat(100_000)]), Err(CallError::Arguments { .. })));
    instance.stop(Stop::Kill);
    assert_eq!(wait(instance.exited()), Exit::Stopped);
    assert_eq!(run(&*instance, &["true"]), Err(CallError::Ended(Exit::Stopped)));
}

#[test]
fn a_command_is_in_the_same_place_behind_the_same_walls() {
    let lab = Lab::shell("echo mine >/tmp/own; sleep 1000").mount("/data", MountMode::ReadWrite);
    let lab = [Permission::FsRead, Permission::FsList].into_iter().fold(lab, |lab, all| lab.grant(all, "/data"));
    let lab = [Permission::FsRead, Permission::FsCreate, Permission::FsWrite]
        .into_iter()
        .fold(lab, |lab, all| lab.grant(all, "/tmp"));
    std::fs::write(lab.host("/data").join("file"), "content").unwrap();
    let Some((instance, keeper)) = waiting(&lab) else { return };
    assert_eq!(prints(&*instance, &keeper, &["cat", "/data/file"]), "content");
    eventually("the program has written", || run(&*instance, &["cat", "/tmp/own"]) == Ok(Exit::Returned(0)));
    assert_eq!(run(&*instance, &["sh", "-c", "echo x >/data/file"]), Ok(Exit::Returned(2)));
    assert_eq!(run(&*instance, &["sh", "-c", "test -e /root -o -e /home"]), Ok(Exit::Returned(1)));
    let status = prints(&*instance, &keeper, &["cat", "/proc/self/status"]);
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "SigBlk:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    // Its three streams, and the folder that `ls` looks at.
    assert_eq!(prints(&*instance, &keeper, &["ls", "/proc/self/fd"]), "0\n1\n2\n3\n");
    // Pid 1, whose memory is a copy of the supervisor's, shows nothing of it.
    assert_eq!(run(&*instance, &["cat", "/proc/1/maps"]), Ok(Exit::Returned(1)));
    assert_eq!(run(&*instance, &["readlink", "/proc/1/fd/0"]), Ok(Exit::Returned(1)));
}

#[test]
fn limits_are_those_of_the_instance() {
    if !here() || !has(&["cgroup pids"]) {
        return;
    }
    let Some((instance, _)) = waiting(&Lab::shell("sleep 1000").limit(|limits| limits.processes = Some(6))) else {
        return;
    };
    let bomb = run(&*instance, &["sh", "-c", "for n in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; wait"]);
    // The command may be quicker to end than the instance.
    assert!(matches!(bomb, Ok(Exit::Returned(_)) | Err(CallError::Ended(Exit::Exceeded(_)))), "{bomb:?}");
    let exit = wait(instance.exited());
    let Exit::Exceeded(limit) = exit else { panic!("{exit:?}") };
    assert_eq!(limit.limit, LimitKind::Processes);
}

#[test]
fn a_command_nobody_waits_for_ends() {
    let Some((instance, keeper)) = waiting(&Lab::shell("sleep 1000")) else { return };
    let exec = instance.exec().unwrap();
    let mut command = exec.exec(words(&["sh", "-c", "echo begun; sleep 2000"]));
    let waker = std::task::Waker::noop();
    assert!(command.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    eventually("it begins", || keeper.printed() == b"begun\n");
    drop(command);
    let list = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 200[0]' || true";
    let left = || {
        let before = keeper.printed().len();
        run(&*instance, &["sh", "-c", list]).unwrap();
        keeper.printed()[before..].to_vec()
    };
    eventually("it ends", || left() == b"0\n");
}

#[test]
fn commands_run_beside_each_other_up_to_a_number() {
    let Some((instance, _)) = waiting(&Lab::shell("sleep 1000")) else { return };
    let exec = instance.exec().unwrap();
    let waker = std::task::Waker::noop();
    let begin = || {
        let mut command = exec.exec(words(&["sleep", "1000"]));
        let done = command.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready();
        assert!(!done);
        command
    };
    let mut commands: Vec<_> = (0..8).map(|_| begin()).collect();
    let more = run(&*instance, &["true"]);
    assert!(matches!(&more, Ok(Exit::Lost(_))), "{more:?}");
    commands.clear();
    eventually("there is room again", || run(&*instance, &["true"]) == Ok(Exit::Returned(0)));
    // The program's own end ends what was started beside it.
    let last = begin();
    instance.stop(Stop::Signal(15));
    assert_eq!(wait(instance.exited()), Exit::Returned(143));
    assert_eq!(wait(last), Err(CallError::Ended(Exit::Returned(143))));
}

/// A command with pipes of its own, and our ends: what it reads from, what it prints to.
fn own(instance: &dyn Instance, command: Command) -> (Box<dyn Running>, PipeWriter, PipeReader) {
    let ((input, typed), (shown, output)) = (pipe().unwrap(), pipe().unwrap());
    let error = output.try_clone().unwrap();
    let streams = Some([input.into(), output.into(), error.into()]);
    let running = instance.exec().unwrap().begin(Command { streams, ..command }).unwrap();
    (running, typed, shown)
}

fn read_all(mut from: PipeReader) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_command_has_streams_variables_and_a_folder_of_its_own() {
    let Some((instance, keeper)) = waiting(&Lab::shell("sleep 1000")) else { return };
    let command = Command {
        words: words(&["sh", "-c", "cat; echo $ONE $PWD; exit 4"]),
        environment: [("ONE".to_owned(), "a value".to_owned())].into(),
        working_directory: Some("/usr/bin".into()),
        ..Command::default()
    };
    let (running, mut typed, shown) = own(&*instance, command);
    typed.write_all(b"typed\n").unwrap();
    drop(typed);
    assert_eq!(read_all(shown), "typed\na value /usr/bin\n");
    assert_eq!(wait(running.ended()), Ok(Exit::Returned(4)));
    assert_eq!(wait(running.ended()), Ok(Exit::Returned(4)), "it is known for good");
    assert_eq!(keeper.printed(), b"", "nothing of it is the instance's");
    for (name, folder) in [("", "/"), ("A=B", "/"), ("A", "usr")] {
        let command = Command {
            words: words(&["true"]),
            environment: [(name.to_owned(), String::new())].into(),
            working_directory: Some(folder.to_owned()),
            ..Command::default()
        };
        assert!(matches!(instance.exec().unwrap().begin(command), Err(CallError::Arguments { .. })));
    }
}

#[test]
fn signals_go_to_the_command() {
    let Some((instance, _)) = waiting(&Lab::shell("sleep 1000")) else { return };
    let script = "trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.01; done";
    let (running, _typed, mut shown) =
        own(&*instance, Command { words: words(&["sh", "-c", script]), ..Command::default() });
    let mut ready = [0; 6];
    shown.read_exact(&mut ready).unwrap();
    running.signal(0);
    running.signal(65);
    running.signal(10);
    assert_eq!(read_all(shown), "caught\n");
    assert_eq!(wait(running.ended()), Ok(Exit::Returned(3)));
    let (running, _typed, _shown) = own(&*instance, Command { words: words(&["sleep", "1000"]), ..Command::default() });
    running.signal(15);
    assert_eq!(wait(running.ended()), Ok(Exit::Returned(143)));
}

#[test]
fn a_terminal_of_a_command_controls_its_session() {
    let Some((instance, _)) = waiting(&Lab::shell("sleep 1000")) else { return };
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size; trap 'stty size; exit 3' WINCH; echo set; \
                  while :; do sleep 0.01; done";
    let terminal = Some(WindowSize { rows: 20, columns: 30 });
    let command = Command { words: words(&["sh", "-c", script]), terminal, ..Command::default() };
    let (running, _typed, mut shown) = own(&*instance, command);
    let mut text = String::new();
    while !text.contains("set\r\n") {
        let mut byte = [0];
        shown.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    assert_eq!(text, "20 30\r\nset\r\n");
    running.resize(WindowSize { rows: 21, columns: 31 });
    assert_eq!(read_all(shown), "21 31\r\n");
    assert_eq!(wait(running.ended()), Ok(Exit::Returned(3)));
    // What is typed is a key there: this one interrupts.
    let command =
        Command { words: words(&["sh", "-c", "echo ready; exec sleep 1000"]), terminal, ..Command::default() };
    let (running, mut typed, mut shown) = own(&*instance, command);
    shown.read_exact(&mut [0; 7]).unwrap();
    typed.write_all(b"\x03").unwrap();
    assert_eq!(wait(running.ended()), Ok(Exit::Returned(130)));
}

#[test]
fn what_is_no_pipe_is_read_and_written_on_its_behalf() {
    let Some((instance, _)) = waiting(&Lab::shell("sleep 1000")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "content\n").unwrap();
    let open = || File::options().read(true).append(true).open(&path).unwrap();
    let script = "cat; readlink /proc/self/fd/0 /proc/self/fd/1; echo more >&2; : >/proc/self/fd/1; echo end";
    let command = Command {
        words: words(&["sh", "-c", script]),
        streams: Some([open().into(), open().into(), open().into()]),
        ..Command::default()
    };
    let running = instance.exec().unwrap().begin(command).unwrap();
    assert_eq!(wait(running.ended()), Ok(Exit::Returned(0)));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("content\n") && text.contains("pipe:"), "{text}");
    assert!(["\nmore\n", "\nend\n"].into_iter().all(|line| text.contains(line)), "{text}");
    assert!(!text.contains(path.to_str().unwrap()), "{text}");
    // A folder leads further than a stream does.
    let streams = [(); 3].map(|()| File::open(folder.path()).unwrap().into());
    let command = Command { words: words(&["true"]), streams: Some(streams), ..Command::default() };
    assert!(matches!(instance.exec().unwrap().begin(command), Err(CallError::Arguments { .. })));
}

#[test]
fn printing_counts_and_a_command_ends_when_its_instance_is_over_the_limit() {
    let lab = Lab::shell("sleep 1000").limit(|limits| limits.output = Some(Bytes(1000)));
    let Some((instance, keeper)) = waiting(&lab) else { return };
    for terminal in [None, Some(WindowSize { rows: 2, columns: 2 })] {
        let command = Command { words: words(&["sh", "-c", "echo said"]), terminal, ..Command::default() };
        let (running, _typed, shown) = own(&*instance, command);
        assert!(read_all(shown).starts_with("said"));
        assert_eq!(wait(running.ended()), Ok(Exit::Returned(0)));
    }
    assert_eq!(keeper.charged_output(), 5 + 6);
    let command = Command { words: words(&["sh", "-c", "read line; echo said"]), ..Command::default() };
    let (_running, mut typed, shown) = own(&*instance, command);
    keeper.stop(Verdict::Stopped);
    typed.write_all(b"now\n").unwrap();
    assert_eq!(read_all(shown), "", "what is over the limit is not printed");
}

#[test]
fn the_program_of_the_supervisor_cannot_be_executed_or_opened() {
    let lab = Lab::shell("sleep 1000").mount("/data", MountMode::ReadOnly).grant(Permission::FsRead, "/data");
    // CVE-2019-5736: what is executed is whatever executes it.
    std::fs::write(lab.host("/data").join("script"), "#!/proc/self/exe\n").unwrap();
    std::os::unix::fs::symlink("/proc/self/exe", lab.host("/data").join("link")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(lab.host("/data").join("script"), mode).unwrap();
    let Some((instance, _)) = waiting(&lab) else { return };
    if !has(&["landlock"]) {
        return;
    }
    for path in ["/proc/self/exe", "/proc/thread-self/exe", "/proc/1/exe", "/data/script", "/data/link"] {
        let (running, typed, shown) = own(&*instance, Command { words: words(&[path]), ..Command::default() });
        drop(typed);
        let ended = wait(running.ended());
        assert!(matches!(&ended, Err(CallError::NotExecuted { .. })), "{path}: {ended:?} {}", read_all(shown));
    }
    // CVE-2024-21626: a working directory by way of something that was left open.
    for number in 0..64 {
        let working_directory = Some(format!("/proc/self/fd/{number}"));
        let (running, ..) =
            own(&*instance, Command { words: words(&["true"]), working_directory, ..Command::default() });
        let ended = wait(running.ended());
        assert!(matches!(&ended, Err(CallError::Arguments { .. })), "{number}: {ended:?}");
    }
}

#[test]
fn who_watches_commands_come_sees_nothing_of_the_supervisor() {
    use std::os::unix::fs::MetadataExt;
    let own_program = std::fs::metadata("/proc/self/exe").unwrap();
    let numbers = [own_program.dev().to_string(), own_program.ino().to_string()];
    let Some(program) = compiled("watcher.c") else { return };
    let lab = Lab::new(program).args(&[&numbers[0], &numbers[1], "/data/stop"]);
    let lab = lab.mount("/data", MountMode::ReadOnly).grant(Permission::FsRead, "/data");
    let Some((instance, keeper)) = waiting(&lab) else { return };
    eventually("it watches", || keeper.printed() == b"watching\n");
    for _ in 0..200 {
        let (running, typed, shown) = own(&*instance, Command { words: words(&["true"]), ..Command::default() });
        drop(typed);
        assert_eq!((wait(running.ended()), read_all(shown).as_str()), (Ok(Exit::Returned(0)), ""));
    }
    std::fs::write(lab.host("/data").join("stop"), "").unwrap();
    assert_eq!(wait(instance.exited()), Exit::Returned(0));
    assert_eq!(String::from_utf8(keeper.printed()).unwrap(), "watching\nover looked 0\n");
}
