//! Level `sandbox`: `/bin/true` behind it, from the start of the command to its exit.

mod idle;
mod sandlock;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringfence::{Capsule, Load, Runtime, StreamIn, StreamOut};

use crate::ratio::{Often, compare, overhead, report};

const OFTEN: Often = Often { rounds: 100, calls: 1 };
const PROGRAM: &str = "/bin/true";

pub(crate) fn run() {
    command();
    library();
    warm();
    many();
    inside();
    traffic::run();
    idle::run();
}

/// The command against bubblewrap with the same namespaces, which sets no limit on memory.
fn command() {
    let Some(ringfence) = std::env::var_os("RINGFENCE").map(PathBuf::from).filter(|path| path.exists()) else {
        println!("skipped: RINGFENCE has to name the command (bench/run sets it)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mine = || {
        let mut command = Command::new(&ringfence);
        command.args(["run", PROGRAM, "--limit", "memory=64MiB", "--limit", "processes=16"]);
        command.env("XDG_DATA_HOME", folder.path()).env("XDG_CACHE_HOME", folder.path());
        once(&mut command);
    };
    if Command::new("bwrap").arg("--version").output().is_ok() {
        let theirs = || once(Command::new("bwrap").args(BUBBLEWRAP).arg(PROGRAM));
        compare("/bin/true, with memory and processes limited", OFTEN, "bwrap, without", mine, theirs);
    } else {
        println!("skipped: there is no bwrap (Debian's package bubblewrap)");
    }
    compare("/bin/true", OFTEN, "plain exec", mine, || once(&mut Command::new(PROGRAM)));
    match sandlock::command() {
        Some(mut command) => {
            let theirs = command.arg("--").arg(PROGRAM);
            let plain = || once(&mut Command::new(PROGRAM));
            overhead(
                "/bin/true, above plain exec",
                OFTEN,
                "sandlock",
                [&mut { mine }, &mut || once(theirs), &mut { plain }],
            );
        }
        None => println!("skipped: there is no sandlock (bench/run fetches it from crates.io)"),
    }
}

/// A read-only view of the system, and every namespace.
const BUBBLEWRAP: [&str; 13] = [
    "--unshare-all",
    "--die-with-parent",
    "--new-session",
    "--ro-bind",
    "/",
    "/",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/tmp",
    "--",
];

/// The library from a warm runtime, against plain fork and exec.
fn library() {
    let Some((tokio, capsule, _folder)) = capsule(PROGRAM, StreamOut::Null) else { return };
    let mine = || {
        let report = tokio.block_on(capsule.run()).expect("it starts");
        assert!(matches!(report.exit, ringfence::Exit::Returned(0)), "{}", report.exit);
    };
    compare("/bin/true, from the library", OFTEN, "plain exec", mine, || once(&mut Command::new(PROGRAM)));
}

/// The same when places were built ahead, and there is time to replace them in between.
fn warm() {
    const BETWEEN: Duration = Duration::from_millis(15);
    let Some((tokio, capsule, _folder)) = capsule(PROGRAM, StreamOut::Null) else { return };
    capsule.keep_warm(2).expect("places are built");
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..OFTEN.rounds {
        std::thread::sleep(BETWEEN);
        let began = Instant::now();
        let report = tokio.block_on(capsule.run()).expect("it starts");
        times[0].push(began.elapsed().as_secs_f64() * 1e3);
        assert!(matches!(report.exit, ringfence::Exit::Returned(0)), "{}", report.exit);
        std::thread::sleep(BETWEEN);
        let began = Instant::now();
        once(&mut Command::new(PROGRAM));
        times[1].push(began.elapsed().as_secs_f64() * 1e3);
    }
    let [mine, theirs] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let shown = |time: f64| format!("{time:.2} ms");
    report("/bin/true, from a warm place", &shown(mine), "plain exec", &shown(theirs), mine / theirs);
}

/// Instances one after the other on two threads, for a while.
fn many() {
    const FOR: Duration = Duration::from_secs(10);
    let began = Instant::now();
    let work = || {
        let Some((tokio, capsule, _folder)) = capsule(PROGRAM, StreamOut::Null) else { return 0 };
        let mut count = 0_u32;
        while began.elapsed() < FOR {
            tokio.block_on(capsule.run()).expect("it starts");
            count += 1;
        }
        count
    };
    let count: u32 = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.map(|thread| thread.join().expect("it does not panic")).into_iter().sum()
    });
    if count > 0 {
        let each_second = f64::from(count) / began.elapsed().as_secs_f64();
        let shown = format!("{each_second:.0} instances a second for {} s", FOR.as_secs());
        report("/bin/true, one after the other on two threads", &shown, "aim", "100", 100.0 / each_second);
    }
}

/// A program that makes system calls, inside against outside.
fn inside() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let Some(program) = compiled("calls", folder.path()) else { return };
    let Some((tokio, capsule, _folder)) = capsule(&program.to_string_lossy(), StreamOut::Capture) else { return };
    let mut best: Vec<(String, [f64; 3])> = Vec::new();
    for _ in 0..5 {
        let outside = Command::new(&program).output().expect("it starts").stdout;
        let inside = tokio.block_on(capsule.run()).expect("it starts").stdout.expect("it is kept");
        let peer = sandlock::command().map(|mut command| {
            command.arg("-r").arg(folder.path()).arg("--").arg(&program).output().expect("it starts").stdout
        });
        for (side, printed) in [inside, outside, peer.unwrap_or_default()].iter().enumerate() {
            for line in String::from_utf8_lossy(printed).lines() {
                let (name, time) = line.rsplit_once(' ').expect("a name and a time");
                let time: f64 = time.parse().expect("a number");
                match best.iter_mut().find(|(known, _)| known == name) {
                    Some((_, times)) => times[side] = times[side].min(time),
                    None => {
                        let mut times = [f64::MAX; 3];
                        times[side] = time;
                        best.push((name.to_owned(), times));
                    }
                }
            }
        }
    }
    for (name, [inside, outside, sandlock]) in best {
        report(&name, &format!("{inside:.0} ns"), "outside", &format!("{outside:.0} ns"), inside / outside);
        if sandlock < f64::MAX {
            report(&name, &format!("{inside:.0} ns"), "sandlock", &format!("{sandlock:.0} ns"), inside / sandlock);
        }
    }
}

/// A program of `bench/programs`, compiled into this folder.
fn compiled(name: &str, folder: &Path) -> Option<PathBuf> {
    let program = folder.join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name).with_extension("c");
    if Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).status().is_ok_and(|made| made.success()) {
        return Some(program);
    }
    println!("skipped: there is no C compiler");
    None
}

type Held = (tokio::runtime::Runtime, Capsule, tempfile::TempDir);

fn capsule(program: &str, stdout: StreamOut) -> Option<Held> {
    capsule_allowed(program, &[], stdout, &[])
}

fn capsule_allowed(program: &str, arguments: &[&str], stdout: StreamOut, allowed: &[&str]) -> Option<Held> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a Tokio runtime");
    let runtime = Runtime::builder()
        .executor(tokio.handle().clone())
        .data_home(folder.path())
        .without_cache()
        .build()
        .expect("a runtime");
    let load = Load::path(program).expect("it is there");
    let load = allowed
        .iter()
        .fold(load, |load, &allowed| load.allow(allowed))
        .limit("memory=64MiB")
        .limit("processes=16")
        .args(arguments.iter().copied())
        .stdin(StreamIn::Null)
        .stdout(stdout)
        .stderr(StreamOut::Null);
    match runtime.load_with(load) {
        Ok(capsule) => Some((tokio, capsule, folder)),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

fn once(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}
