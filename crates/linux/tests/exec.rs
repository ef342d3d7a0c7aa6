//! Another command in the place of an instance.

mod support;

use ringfence_isolation::{CallError, Exit, Instance, LimitKind, Stop, Trap};
use ringfence_manifest::{MountMode, Permission};
use support::{Keeper, Lab, eventually, has, here, wait};

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
    assert!(matches!(&missing, Ok(Exit::Trapped(Trap::Other(why))) if why.contains("No such file")), "{missing:?}");
    assert!(matches!(run(&*instance, &[]), Err(CallError::Arguments { .. })));
    assert!(matches!(run(&*instance, &["a\0b"]), Err(CallError::Arguments { .. })));
    assert!(matches!(run(&*instance, &["echo", &"x".repeat(100_000)]), Err(CallError::Unsupported(_))));
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
