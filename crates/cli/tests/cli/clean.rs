//! `ringfence clean`, and what a killed `ringfence run` leaves.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat, symlinkat};

use crate::lab::{Lab, eventually, program};

/// A lab whose temporary folder is its own; the folder.
fn lab() -> (Lab, PathBuf) {
    let lab = Lab::new();
    let tmp = lab.at("tmp");
    std::fs::create_dir(&tmp).unwrap();
    (lab, tmp)
}

/// Removes what is left; where it was.
fn clean(lab: &Lab, tmp: &Path, args: &[&str]) -> Vec<String> {
    let mut command = lab.command(&[&["clean", "--json"], args].concat());
    let ran =
        crate::lab::Ran::from(command.env("TMPDIR", tmp).env("XDG_STATE_HOME", lab.at("state")).output().unwrap())
            .exits(0);
    let found = ran.json();
    found.as_array().unwrap().iter().map(|found| found["place"].as_str().unwrap().to_owned()).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_a_living_process_holds_is_left_alone() {
    let (lab, tmp) = lab();
    lab.write("data/file", "content");
    let args = ["run", &program("probe.wasm"), "--mount", "./data:/data:rw", "--learn", "c.toml", "--", "random", "1"];
    let mut command = lab.command(&[&args[..], &["+", "spin"]].concat());
    let mut child = command.env("TMPDIR", &tmp).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ok"), "{line}");
    let held = entries(&tmp);
    assert_eq!(held.len(), 1);
    let mine = |found: &[String]| found.iter().any(|place| Path::new(place) == held[0]);
    assert!(!mine(&clean(&lab, &tmp, &[])) && held[0].exists());

    child.kill().unwrap();
    child.wait().unwrap();
    assert!(mine(&clean(&lab, &tmp, &["--dry-run"])) && held[0].exists());
    assert!(mine(&clean(&lab, &tmp, &[])) && !held[0].exists());
    assert!(!mine(&clean(&lab, &tmp, &[])));
}

/// A capsule can make a tree as deep as it likes, with folders it may not enter itself.
#[test]
fn a_tree_deeper_than_descriptors_and_paths_reach_is_removed() {
    let (lab, tmp) = lab();
    let left = lab.at("state/ringfence/changes/left");
    std::fs::create_dir_all(&left).unwrap();
    let open = |above: &OwnedFd, name: &str| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(above, name, flags, Mode::empty()).unwrap()
    };
    let top: OwnedFd = std::fs::File::open(&left).unwrap().into();
    mkdirat(&top, "moved-1", Mode::RWXU).unwrap();
    let mut at = open(&top, "moved-1");
    let name = "d".repeat(200);
    for depth in 0..300 {
        mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
        mkdirat(&at, "moved-2", Mode::RWXU).unwrap();
        drop(openat(&at, "file", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR).unwrap());
        symlinkat(lab.at("state"), &at, "link").unwrap();
        let below = open(&at, &name);
        if depth % 7 == 0 {
            fchmod(&at, Mode::empty()).unwrap();
        }
        at = below;
    }
    drop((top, at));

    let program = env!("CARGO_BIN_EXE_ringfence");
    let mut command = Command::new("sh");
    // What these tests were started with open is open there, too.
    let own = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let highest = own.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max().unwrap_or(0);
    let few = highest + 40;
    lab.prepare(&mut command).args(["-c", &format!("ulimit -n {few} && exec \"$0\" clean"), program]);
    command.env("TMPDIR", &tmp).env("XDG_STATE_HOME", lab.at("state"));
    let ran = crate::lab::Ran::from(command.output().unwrap()).exits(0);
    assert!(ran.stdout.contains("/left") && !left.exists(), "{} {}", ran.stdout, ran.stderr);
    assert!(lab.at("state/ringfence").exists());
}

/// The processes with `mark` among their arguments.
fn processes(mark: &str) -> Vec<u32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let marked = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|word| word == mark.as_bytes())
    };
    pids.filter(marked).collect()
}

/// The cgroups that a process made.
fn cgroups(supervisor: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let maker = name.strip_prefix("ringfence.").and_then(|rest| rest.split('.').nth(1));
            if maker == Some(&supervisor.to_string()) {
                found.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    found
}

/// What is mounted here: a namespace that outlives its processes is a mount too (`nsfs`).
fn mounts() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Kills a command again and again, each time a little later, and looks from outside what is left.
fn killed_at_any_moment(lab: &Lab, tmp: &Path, rounds: u32, step: Duration, args: impl Fn(&str) -> Vec<String>) {
    let before = mounts();
    for round in 0..rounds {
        let mark = format!("1000.{}{round:04}", std::process::id());
        let mut command: Command = lab.command(&args(&mark).iter().map(String::as_str).collect::<Vec<_>>());
        command.env("TMPDIR", tmp).env("XDG_STATE_HOME", lab.at("state"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // The moment is what is tried here; nothing is waited for.
        let moment = Instant::now() + step * round;
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("its processes end", || processes(&mark).is_empty());
        // Something may run beside this and be killed by it: what is still in use now is not later.
        eventually("its cgroups are removed", || {
            clean(lab, tmp, &[]);
            cgroups(child.id()).is_empty()
        });
        assert_eq!(entries(tmp), [] as [PathBuf; 0], "round {round}");
        let new: Vec<String> = mounts().difference(&before).cloned().collect();
        assert!(!new.iter().any(|mount| mount.contains("nsfs") || mount.contains("ringfence")), "{new:?}");
    }
}

#[test]
fn nothing_is_left_of_a_sandbox_that_was_killed_at_any_moment() {
    let (lab, tmp) = lab();
    if lab.lacks("sandbox").is_some() {
        return;
    }
    lab.write("data/file", "content");
    let grant = [
        "--mount",
        "./data:/data:rw",
        "--allow",
        "fs.read,fs.write,fs.list=/data",
        "--allow",
        "net.connect=localhost:9",
    ];
    killed_at_any_moment(&lab, &tmp, 30, Duration::from_micros(700), |mark| {
        let script = format!("setsid sleep {mark} & sleep {mark} & echo x >/tmp/x; wait");
        let all = [&["run"], &grant[..], &["sh", "--", "-c", &script, mark]].concat();
        all.into_iter().map(str::to_owned).collect()
    });
}

/// Where the supervisor is asked about system calls, nobody answers any more.
#[test]
fn a_place_ends_with_its_supervisor_whatever_that_was_asked_about() {
    let (lab, tmp) = lab();
    if lab.lacks("sandbox").is_some() {
        return;
    }
    let asked: [&[&str]; 5] = [
        &[],
        &["--limit", "io_operations=100000"],
        &["--limit", "open_files=64"],
        &["--allow", "net.connect=localhost:9"],
        &["--learn", "learned.toml"],
    ];
    for (index, asked) in asked.into_iter().enumerate() {
        let mark = format!("1000.{}{index}", std::process::id());
        let script = "echo began; while :; do /bin/true; done";
        let args = [&["run"], asked, &["sh", "--", "-c", script, &mark]].concat();
        let mut child = lab.command(&args).env("TMPDIR", &tmp).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "began\n", "{asked:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        eventually(&format!("its processes end, with {asked:?}"), || processes(&mark).is_empty());
    }
}

#[test]
fn nothing_is_left_of_a_dry_run_that_was_killed_at_any_moment() {
    let (lab, tmp) = lab();
    if lab.lacks("sandbox").is_some() {
        return;
    }
    lab.write("data/file", "content");
    let kept = lab.at("state/ringfence/changes");
    let grant = ["--mount", "./data:/data:rw", "--allow", "fs.read,fs.write,fs.create,fs.list=/data"];
    killed_at_any_moment(&lab, &tmp, 20, Duration::from_millis(1), |mark| {
        let script = format!("echo x >>/data/file; mkdir -m 0 /data/closed; exec sleep {mark}");
        let all = [&["run", "--dry-run-fs"], &grant[..], &["sh", "--", "-c", &script, mark]].concat();
        all.into_iter().map(str::to_owned).collect()
    });
    assert_eq!(entries(&kept), [] as [PathBuf; 0]);
    assert_eq!(lab.read("data/file"), "content");
}

#[cfg(feature = "wasm")]
#[test]
fn nothing_is_left_of_a_learning_run_that_was_killed_at_any_moment() {
    let (lab, tmp) = lab();
    for number in 0..50 {
        lab.write(&format!("data/{number}"), "content");
    }
    let probe = program("probe.wasm");
    killed_at_any_moment(&lab, &tmp, 20, Duration::from_millis(1), |mark| {
        let learned = format!("{mark}.toml");
        let all = ["run", &probe, "--mount", "./data:/data:rw", "--learn", &learned, "--", "args", mark, "+", "spin"];
        all.map(str::to_owned).into()
    });
}
