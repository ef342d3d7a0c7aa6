//! Nothing of a place is left when it has ended, however it ended. Looked at from outside.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringfence_isolation::{Backend, Exit, Stop};
use ringfence_manifest::{BitRate, Permission};
use support::{Lab, eventually, here, linux, wait};

/// An argument by which the processes of one test are found: `sleep` adds its arguments up.
fn mark() -> String {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("1000.{}{:04}", std::process::id(), NUMBER.fetch_add(1, Relaxed))
}

/// The processes with `mark` among their arguments.
fn processes(mark: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let marked = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|word| word == mark.as_bytes())
    };
    pids.filter(marked).collect()
}

/// The cgroups that the process `supervisor` made.
fn cgroups(supervisor: u32) -> Vec<String> {
    fn below(folder: &std::path::Path, depth: usize, supervisor: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_prefix("ringfence.").and_then(|rest| rest.split('.').nth(1)) == Some(supervisor) {
                found.push(entry.path().display().to_string());
            } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                below(&entry.path(), depth - 1, supervisor, found);
            }
        }
    }
    let mut found = Vec::new();
    below(std::path::Path::new("/sys/fs/cgroup"), 8, &supervisor.to_string(), &mut found);
    found
}

/// A daemon in a session of its own, with its output elsewhere, and a family of processes.
fn family(mark: &str) -> String {
    format!("setsid sleep {mark} </dev/null >/dev/null 2>&1 & (sleep {mark} & sleep {mark} &) ; sleep {mark} & ")
}

#[test]
fn processes_end_with_the_program() {
    if !here() {
        return;
    }
    let mark = mark();
    let outcome = Lab::shell(&format!("{} echo ready", family(&mark))).run();
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (Exit::Returned(0), "ready\n"));
    assert!(processes(&mark).is_empty());
}

#[test]
fn processes_and_cgroups_end_with_a_kill() {
    if !here() {
        return;
    }
    let mark = mark();
    let lab = Lab::shell(&format!("{} wait", family(&mark)));
    let (instance, _) = lab.build().unwrap();
    assert!(processes(&mark).is_empty(), "nothing has run");
    instance.start().unwrap();
    eventually("the family is there", || processes(&mark).len() >= 4);
    let its = |folder: &String| {
        let list = std::fs::read_to_string(format!("{folder}/cgroup.procs")).unwrap_or_default();
        let pids: Vec<u32> = list.lines().filter_map(|pid| pid.parse().ok()).collect();
        processes(&mark).iter().any(|pid| pids.contains(pid))
    };
    let held: Vec<String> = cgroups(std::process::id()).into_iter().filter(its).collect();
    instance.stop(Stop::Kill);
    assert_eq!(wait(instance.exited()), Exit::Stopped);
    assert!(processes(&mark).is_empty());
    let facts = linux().probe();
    if facts.iter().any(|fact| fact.name == "cgroup memory" && fact.usable) {
        assert!(!held.is_empty());
    }
    for folder in held {
        assert!(!std::path::Path::new(&folder).exists(), "{folder}");
    }
    drop(instance);
}

#[test]
fn dropping_an_instance_ends_it() {
    if !here() {
        return;
    }
    let mark = mark();
    let (instance, _) = Lab::new("/bin/sleep").args(&[&mark]).build().unwrap();
    instance.start().unwrap();
    eventually("it runs", || !processes(&mark).is_empty());
    let exited = instance.exited();
    drop(instance);
    assert_eq!(wait(exited), Exit::Stopped);
    assert!(processes(&mark).is_empty());
}

/// Alone in its process, so that what other tests hold open does not count: see
/// [`a_supervisor_leaves_nothing`].
fn build_and_end_many() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let plain = Lab::shell("exit 0");
    let network = || Lab::shell("exit 0").permit(Permission::NetConnect, "127.0.0.1:9");
    let counted = network().limit(|limits| limits.bandwidth = Some(BitRate(8_000)));
    let labs = [plain, network().permit(Permission::NetListen, "127.0.0.1:*"), counted];
    labs.iter().for_each(|lab| drop(lab.run()));
    let (before, threads_before) = ((descriptors(), mounts()), threads());
    for round in 0..30 {
        let lab = &labs[round / 3 % labs.len()];
        match round % 3 {
            0 => assert_eq!(lab.run().exit, Exit::Returned(0)),
            1 => drop(lab.build().unwrap()),
            _ => {
                let (instance, _) = lab.build().unwrap();
                instance.start().unwrap();
                instance.stop(Stop::Kill);
                wait(instance.exited());
            }
        }
    }
    eventually("the threads end", || threads() <= threads_before);
    // What was dropped is closed by the threads that owned it.
    eventually("the descriptors are closed", || descriptors() <= before.0);
    assert_eq!(mounts(), before.1);
    assert_eq!(cgroups(std::process::id()), [] as [String; 0]);
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    assert_eq!(children, "", "no child is left, not even a dead one");
}

/// The part of a test that is done by a process of its own; does nothing when it is called as a test.
#[test]
fn another_process() {
    match std::env::var("RINGFENCE_TEST_PART").as_deref() {
        Ok("many") => build_and_end_many(),
        Ok("hold") => {
            let mark = std::env::var("RINGFENCE_TEST_MARK").unwrap();
            let lab = Lab::shell(&format!("{} wait", family(&mark)));
            let (instance, _) = lab.build().unwrap();
            instance.start().unwrap();
            eventually("the family is there", || processes(&mark).len() >= 4);
            println!("holding");
            wait(instance.exited());
        }
        Ok("build") => loop {
            let lab = Lab::new("/bin/sleep").args(&[&std::env::var("RINGFENCE_TEST_MARK").unwrap()]);
            let (instance, _) = lab.build().unwrap();
            println!("holding");
            instance.start().unwrap();
            instance.stop(Stop::Kill);
            wait(instance.exited());
        },
        _ => {}
    }
}

fn part(name: &str, mark: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["another_process", "--exact", "--nocapture"]);
    command.env("RINGFENCE_TEST_PART", name).env("RINGFENCE_TEST_MARK", mark);
    command
}

#[test]
fn a_supervisor_leaves_nothing() {
    if !here() {
        return;
    }
    let done = part("many", "").output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_supervisor_that_is_killed_takes_everything_with_it() {
    if !here() {
        return;
    }
    let mark = mark();
    let mut supervisor = part("hold", &mark).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("holding")));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    eventually("its processes end", || processes(&mark).is_empty());
    swept(supervisor.id());
}

#[test]
fn a_supervisor_that_is_killed_while_it_builds_leaves_nothing_either() {
    if !here() {
        return;
    }
    let mark = mark();
    for round in 0..25_u32 {
        let mut supervisor = part("build", &mark).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("holding")));
        // A moment that is another one in each round; any will do.
        let moment = Instant::now() + Duration::from_micros(u64::from(round * 311 % 4000));
        while Instant::now() < moment {}
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        eventually("its processes end", || processes(&mark).is_empty());
        swept(supervisor.id());
    }
}

/// What is left of a killed supervisor are empty cgroups, and the next run removes them.
#[track_caller]
fn swept(supervisor: u32) {
    eventually("its cgroups are swept", || {
        assert_eq!(Lab::new("/bin/true").run().exit, Exit::Returned(0));
        cgroups(supervisor).is_empty()
    });
}
