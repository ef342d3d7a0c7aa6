//! What an ordinary program sees and gets.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use ringfence_isolation::{Exit, Stop};
use ringfence_manifest::StreamIn;
use support::{Lab, here, wait};

#[test]
fn a_program_runs_and_its_status_comes_back() {
    if !here() {
        return;
    }
    assert_eq!(Lab::new("/bin/true").run().exit, Exit::Returned(0));
    assert_eq!(Lab::new("/bin/false").run().exit, Exit::Returned(1));
    assert_eq!(Lab::shell("exit 42").run().exit, Exit::Returned(42));
}

#[test]
fn a_program_that_dies_of_a_signal_has_the_status_a_shell_shows() {
    if !here() {
        return;
    }
    for (signal, status) in [("KILL", 137), ("TERM", 143), ("SEGV", 139), ("ABRT", 134), ("PIPE", 141)] {
        assert_eq!(Lab::shell(&format!("kill -{signal} $$; exit 1")).run().exit, Exit::Returned(status), "{signal}");
    }
}

#[test]
fn what_it_prints_is_kept_apart() {
    if !here() {
        return;
    }
    let outcome = Lab::shell("echo out; echo err >&2").run();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn a_large_output_arrives_whole() {
    if !here() {
        return;
    }
    assert_eq!(Lab::shell("head -c 3000000 /dev/zero").run().stdout.len(), 3_000_000);
}

#[test]
fn it_reads_the_bytes_it_is_given() {
    if !here() {
        return;
    }
    let mut lab = Lab::new("/bin/cat");
    lab.spec.stdio.stdin = StreamIn::Bytes(vec![b'x'; 200_000]);
    assert_eq!(lab.run().stdout.len(), 200_000);
}

#[test]
fn it_sees_the_environment_of_its_spec_and_nothing_else() {
    if !here() {
        return;
    }
    let mut lab = Lab::new("/usr/bin/env");
    lab.prints("");
    lab.spec.environment.insert("COLOUR".into(), "blue = sky".into());
    lab.prints("COLOUR=blue = sky");
}

#[test]
fn its_arguments_arrive_as_they_are() {
    if !here() {
        return;
    }
    Lab::new("/usr/bin/printf").args(&["[%s]", "a b", "", "*"]).prints("[a b][][*]");
}

#[test]
fn it_begins_in_its_working_directory() {
    if !here() {
        return;
    }
    let mut lab = Lab::shell("pwd");
    lab.prints("/");
    lab.spec.program.working_directory = "/usr/bin".into();
    lab.prints("/usr/bin");
    lab.spec.program.working_directory = "/nowhere".into();
    assert!(support::explain(&lab.try_run().unwrap_err()).contains("/nowhere"));
}

#[test]
fn a_script_outside_the_system_runs_from_the_program_folder() {
    if !here() {
        return;
    }
    let lab = Lab::new("");
    let path = lab.folder.path().join("agent.sh");
    std::fs::write(&path, "#!/bin/sh\necho \"$0 $1\"\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut lab = lab.args(&["x"]);
    lab.spec.program.path = path;
    lab.prints("/program/agent.sh x");
}

#[test]
fn a_program_that_cannot_be_executed_is_its_own_fault() {
    if !here() {
        return;
    }
    let mut lab = Lab::new("");
    let path = lab.folder.path().join("broken");
    std::fs::write(&path, "#!/no/such/interpreter\n").unwrap();
    lab.spec.program.path = path.clone();
    assert!(support::explain(&lab.try_run().unwrap_err()).contains("chmod +x"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(lab.run().exit, Exit::Trapped(_)), "{:?}", lab.run());
}

#[test]
fn nothing_has_run_before_the_start_nor_after_a_kill() {
    if !here() {
        return;
    }
    let lab = Lab::shell("echo ran");
    let (instance, _) = lab.build().unwrap();
    instance.stop(Stop::Kill);
    assert_eq!(wait(instance.exited()), Exit::Stopped);
    assert!(instance.start().is_err());
}

#[test]
fn a_signal_reaches_the_program_and_a_kill_ends_everything() {
    if !here() {
        return;
    }
    let lab = Lab::new("/bin/sleep").args(&["1000"]);
    let (instance, _) = lab.build().unwrap();
    instance.start().unwrap();
    instance.stop(Stop::Signal(15));
    // It may come before the exec, where the default action is the same.
    assert_eq!(wait(instance.exited()), Exit::Returned(143));
    let (instance, _) = lab.build().unwrap();
    instance.start().unwrap();
    instance.stop(Stop::Kill);
    assert_eq!(wait(instance.exited()), Exit::Stopped);
}

#[test]
fn interpreters_work() {
    if !here() {
        return;
    }
    if std::path::Path::new("/usr/bin/python3").exists() {
        let code = "import os, json, threading; t = threading.Thread(target=lambda: None); t.start(); t.join(); print(json.dumps(sorted(os.listdir('/proc/self/fd'))))";
        let outcome = Lab::new("/usr/bin/python3").args(&["-c", code]).run();
        assert!(outcome.stdout.contains("\"0\", \"1\", \"2\""), "{outcome:?}");
    }
    Lab::shell("echo b a | tr ' ' '\\n' | sort | head -n1").prints("a");
}

#[test]
fn a_pause_stops_it_and_a_resume_lets_it_go_on() {
    if !here() || !support::has(&["cgroup freezer", "cgroup memory"]) {
        return;
    }
    let lab = Lab::shell("(while :; do echo x >> /data/f; done) & while :; do echo x >> /data/f; done");
    let lab = lab.mount("/data", ringfence_manifest::MountMode::ReadWrite);
    let lab = lab.grant(ringfence_manifest::Permission::FsWrite, "/data");
    let lab = lab.grant(ringfence_manifest::Permission::FsCreate, "/data");
    let file = lab.host("/data").join("f");
    let size = || std::fs::metadata(&file).map_or(0, |found| found.len());
    let grows_from = |before: u64, patience: Duration| {
        let until = Instant::now() + patience;
        while size() == before && Instant::now() < until {
            std::thread::yield_now();
        }
        size() > before
    };
    let (instance, _) = lab.build().unwrap();
    instance.start().unwrap();
    let pause = instance.pause().expect("there is a freezer");
    for _ in 0..2 {
        assert!(grows_from(size(), Duration::from_secs(10)), "it runs");
        wait(pause.pause()).unwrap();
        assert!(!grows_from(size(), Duration::from_millis(100)), "it stands still");
        wait(pause.resume()).unwrap();
    }
    wait(pause.pause()).unwrap();
    instance.stop(Stop::Kill);
    assert_eq!(wait(instance.exited()), Exit::Stopped);
}

#[test]
fn programs_make_terminals_of_their_own_and_no_more_than_there_may_be() {
    if !here() {
        return;
    }
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return eprintln!("skipped: no python3");
    }
    let script = "\
import os, pty
first, second = os.openpty(), os.openpty()
print(os.ttyname(first[1]), os.ttyname(second[1]), sorted(os.listdir('/dev/pts')))
os.write(first[0], b'typed\\n'); print(os.read(first[1], 100))
child, master = pty.fork()
if child == 0:
    os.execv('/bin/sh', ['sh', '-c', 'tty; echo shown >/dev/tty'])
shown = b''
while True:
    try: got = os.read(master, 100)
    except OSError: break
    if not got: break
    shown += got
print(shown, os.waitpid(child, 0)[1])
made = []
try:
    while len(made) < 1000: made.append(os.openpty())
except OSError as error: print('at most', len(os.listdir('/dev/pts')) - 1, error.errno)";
    let outcome = Lab::new("/usr/bin/python3").args(&["-c", script]).run();
    assert_eq!(
        outcome.stdout,
        "/dev/pts/0 /dev/pts/1 ['0', '1', 'ptmx']\nb'typed\\n'\n\
         b'/dev/pts/2\\r\\nshown\\r\\n' 0\nat most 32 28\n",
        "{outcome:?}"
    );
}
