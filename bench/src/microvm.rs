//! Level `microvm`: programs in virtual machines without a guest kernel, against gVisor, against QEMU with a
//! Linux kernel, and against no walls at all.

mod idle;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringfence::{Activity, Capsule, Exit, Load, Report, Runtime, Stop, StreamIn, StreamOut};

use crate::ratio::{Often, compare, report};

pub(crate) use idle::{CHILD, child};

const OFTEN: Often = Often { rounds: 50, calls: 1 };
const PYTHON: &str = "/usr/bin/python3";

pub(crate) fn run() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let Some(program) = program(folder.path()) else { return };
    if capsule(&program, &["hello"]).is_none() {
        return;
    }
    hello_command(folder.path(), &program);
    hello_library(&program);
    python();
    inside(&program);
    kill(&program);
    idle::run(&program);
}

/// The program all of this runs, without shared libraries.
fn program(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("guest");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/guest.c");
    let made = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(source).status();
    if made.is_ok_and(|made| made.success()) {
        return Some(program);
    }
    println!("skipped: there is no C compiler that makes programs without shared libraries");
    None
}

/// gVisor, with the program as its only argument.
fn runsc(program: &Path, argument: &str) -> Option<Command> {
    if Command::new("runsc").arg("--version").output().is_err() {
        println!("skipped: there is no runsc (Debian's package runsc)");
        return None;
    }
    let mut command = Command::new("runsc");
    command.args(["--platform=ptrace", "--network=none", "do"]).arg(program).arg(argument);
    let works = command.stdin(Stdio::null()).output();
    match works {
        Ok(output) if output.status.success() => Some(command),
        Ok(output) => {
            println!("skipped: runsc: {}", String::from_utf8_lossy(&output.stderr).trim());
            None
        }
        Err(error) => {
            println!("skipped: runsc: {error}");
            None
        }
    }
}

/// From the start of the command to its exit.
fn hello_command(folder: &Path, program: &Path) {
    let Some(ringfence) = std::env::var_os("RINGFENCE").map(PathBuf::from).filter(|path| path.exists()) else {
        println!("skipped: RINGFENCE has to name the command (bench/run sets it)");
        return;
    };
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(&ringfence);
        command.args(["run", "--level", "microvm"]).arg(program).arg("--").args(arguments);
        command.env("XDG_DATA_HOME", folder).env("XDG_CACHE_HOME", folder);
        once(&mut command);
    };
    let mine = || run(program, &["hello"]);
    compare("static hello, the command", OFTEN, "no walls", mine, || once(Command::new(program).arg("hello")));
    if let Some(mut theirs) = runsc(program, "hello") {
        let often = Often { rounds: 15, calls: 1 };
        compare("static hello, the command", often, "runsc --platform=ptrace", mine, || once(&mut theirs));
    }
    match qemu(folder, program) {
        Ok(mut theirs) => {
            let often = Often { rounds: 3, calls: 1 };
            compare("static hello, the command", often, "QEMU booting Linux to it", mine, || boot(&mut theirs));
        }
        Err(missing) => println!("skipped: {missing}"),
    }
    if Path::new(PYTHON).exists() {
        let mine = || run(Path::new(PYTHON), &["-c", "pass"]);
        let theirs = || once(Command::new(PYTHON).args(["-c", "pass"]));
        compare("python3 -c pass, the command", OFTEN, "no walls", mine, theirs);
    }
}

/// A Linux kernel whose first program is this one.
fn qemu(folder: &Path, program: &Path) -> Result<Command, String> {
    let root = std::env::var_os("RINGFENCE_KERNEL").ok_or("RINGFENCE_KERNEL names no folder with boot/vmlinuz-…")?;
    let boot = Path::new(&root).join("boot");
    let is_image = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    let mut images = std::fs::read_dir(&boot).into_iter().flatten().flatten().map(|entry| entry.path());
    let image = images.find(is_image).ok_or_else(|| format!("no kernel in {}", boot.display()))?;
    if Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
        return Err("there is no qemu-system-x86_64".into());
    }
    let mut archive = crate::archive::Archive::default();
    archive.add_file("/init", program).map_err(|error| error.to_string())?;
    let initial = folder.join("initrd");
    std::fs::write(&initial, archive.finish()).map_err(|error| error.to_string())?;
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-M", "microvm,x-option-roms=off,rtc=on,acpi=off", "-accel", "tcg", "-cpu", "max", "-m", "256"]);
    command.args(["-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio", "-monitor", "none"]);
    command.arg("-no-reboot").arg("-kernel").arg(image).arg("-initrd").arg(initial);
    command
        .args(["-append", "console=ttyS0 reboot=t panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check quiet"]);
    Ok(command)
}

fn boot(command: &mut Command) {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("hello"), "{said}");
}

/// From the spec to the report, in this process.
fn hello_library(program: &Path) {
    let Some(lab) = capsule(program, &["hello"]) else { return };
    let native = || once(Command::new(program).arg("hello"));
    compare("static hello, from the library", OFTEN, "no walls", || drop(lab.run()), native);
    exits("static hello", &lab.run());
    lab.capsule.keep_warm(2).expect("machines are made");
    let mut times = Vec::new();
    for _ in 0..OFTEN.rounds {
        std::thread::sleep(Duration::from_millis(15));
        let began = Instant::now();
        lab.run();
        times.push(began.elapsed());
    }
    let mine = median(&mut times);
    let mut times: Vec<Duration> = (0..OFTEN.rounds).map(|_| timed(native)).collect();
    let theirs = median(&mut times);
    report("static hello, from a warm machine", &show(mine), "no walls", &show(theirs), ratio(mine, theirs));
}

fn python() {
    if !Path::new(PYTHON).exists() {
        println!("skipped: there is no {PYTHON}");
        return;
    }
    let Some(lab) = capsule(Path::new(PYTHON), &["-c", "pass"]) else { return };
    let native = || once(Command::new(PYTHON).args(["-c", "pass"]));
    compare("python3 -c pass, from the library", OFTEN, "no walls", || drop(lab.run()), native);
    exits("python3 -c pass", &lab.run());
}

/// Loops inside, outside, and in gVisor.
fn inside(program: &Path) {
    let Some(lab) = capsule(program, &["loops"]) else { return };
    let mut theirs = runsc(program, "loops");
    let mut best: Vec<(String, [f64; 3])> = Vec::new();
    for round in 0..3 {
        let inside = lab.run();
        if round == 0 {
            exits("loops", &inside);
        }
        let outside = Command::new(program).arg("loops").output().expect("it starts").stdout;
        let gvisor = theirs.as_mut().map(|command| command.output().expect("it starts").stdout);
        let printed = [inside.stdout.unwrap_or_default(), outside, gvisor.unwrap_or_default()];
        for (side, printed) in printed.iter().enumerate() {
            for line in String::from_utf8_lossy(printed).lines() {
                let (name, time) = line.rsplit_once(' ').expect("a name and a time");
                let time: f64 = time.parse().expect("a number");
                let known = match best.iter().position(|(known, _)| known == name) {
                    Some(known) => known,
                    None => {
                        best.push((name.to_owned(), [f64::MAX; 3]));
                        best.len() - 1
                    }
                };
                best[known].1[side] = best[known].1[side].min(time);
            }
        }
    }
    for (name, [inside, outside, gvisor]) in best {
        let shown = |time: f64| format!("{time:.0} ns");
        report(&name, &shown(inside), "outside", &shown(outside), inside / outside);
        if gvisor < f64::MAX {
            report(&name, &shown(inside), "runsc", &shown(gvisor), inside / gvisor);
        }
    }
}

/// From the wish to end it to its end, of a program that makes no system call.
fn kill(program: &Path) {
    const ROUNDS: usize = 100;
    let Some(lab) = capsule(program, &["spin"]) else { return };
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let instance = lab.capsule.start().expect("it starts");
        // It spins by now: starting takes less.
        while instance.usage().cpu_time < Duration::from_millis(20) {
            std::thread::yield_now();
        }
        let began = Instant::now();
        instance.stop(Stop::Kill);
        let report = lab.tokio.block_on(instance.exited());
        times.push(began.elapsed());
        assert!(matches!(report.exit, Exit::Stopped), "{}", report.exit);
    }
    let mine = median(&mut times);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let mut child = Command::new(program).arg("spin").spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(5));
        let began = Instant::now();
        child.kill().and_then(|()| child.wait()).expect("it is killed");
        times.push(began.elapsed());
    }
    let theirs = median(&mut times);
    report("the end of a spinning program", &show(mine), "a process", &show(theirs), ratio(mine, theirs));
}

/// How often the guest was left, and what that would take on ordinary hardware.
fn exits(what: &str, report: &Report) {
    let Some(Activity { exits, exits_total, exits_projected, .. }) = &report.activity else { return };
    let each: Vec<String> = exits.iter().map(|exit| format!("{} {}", exit.count, exit.name)).collect();
    let projected = exits_projected * 1e3;
    println!("{what}: {exits_total} exits ({}), {projected:.2} ms of them at 1.5 µs each", each.join(", "));
}

/// A capsule, and what it runs on.
struct Lab {
    tokio: tokio::runtime::Runtime,
    capsule: Capsule,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn run(&self) -> Report {
        let report = self.tokio.block_on(self.capsule.run()).expect("it starts");
        assert!(matches!(report.exit, Exit::Returned(0)), "{}", report.exit);
        report
    }
}

fn capsule(program: &Path, arguments: &[&str]) -> Option<Lab> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a Tokio runtime");
    let runtime = Runtime::builder()
        .executor(tokio.handle().clone())
        .data_home(folder.path())
        .without_cache()
        .build()
        .expect("a runtime");
    let load = Load::path(program)
        .expect("it is there")
        .level("microvm")
        .args(arguments.iter().copied())
        .stdin(StreamIn::Null)
        .stdout(StreamOut::Capture)
        .stderr(StreamOut::Null);
    match runtime.load_with(load) {
        Ok(capsule) => Some(Lab { tokio, capsule, _folder: folder }),
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

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn show(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn ratio(mine: Duration, theirs: Duration) -> f64 {
    mine.as_secs_f64() / theirs.as_secs_f64()
}
