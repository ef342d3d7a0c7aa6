//! The monitor of a virtual machine, looked at from outside: what a good one has left, and what one gains that is
//! not itself any more, because its guest found a fault in it. This program is the runner, too, and
//! does what the name of the capsule says.

#[path = "monitor/attacks.rs"]
mod attacks;
#[path = "monitor/commands.rs"]
mod commands;
#[path = "monitor/connections.rs"]
mod connections;
mod frames;
mod host;
#[path = "monitor/lab.rs"]
mod lab;
#[path = "monitor/parcel.rs"]
mod parcel;
#[path = "monitor/snapshots.rs"]
mod snapshots;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use ringfence::{BuildError, Capsule, Exit, Guarantee, Held, Instance, LimitKind, LoadError, Report, StartError};

use lab::{Lab, Tried};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == ringfence::runner::RUNNER) {
        attacks::play();
    }
    let mut trials = vec![
        Trial::ignorable_test("a-good-one-has-nothing-left", good),
        Trial::ignorable_test("without-a-runner-the-report-says-what-is-given-up", alone),
    ];
    let bad =
        TRIALS.iter().map(|&(name, lines, check)| Trial::ignorable_test(name, move || attempt(name, lines, check)));
    trials.extend(bad);
    trials.extend(commands::trials());
    trials.extend(connections::trials());
    trials.extend(snapshots::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

type Check = fn(&Report) -> bool;

/// Name, lines of the manifest, what its report must be.
const TRIALS: &[(&str, &str, Check)] = &[
    ("its-word-on-a-status-counts", "", |report| report.exit == Exit::Returned(7)),
    ("its-silence-is-no-success", "", |report| matches!(report.exit, Exit::Lost(_))),
    ("what-it-says-is-decoded", "", |report| matches!(report.exit, Exit::Lost(_))),
    ("a-limit-nobody-set-does-not-trip", "open_files = \"none\"", |report| matches!(report.exit, Exit::Lost(_))),
    ("it-reaches-nothing", "", |report| report.exit.to_string() == "trapped: nothing"),
    ("it-has-no-more-memory", "memory = \"16 MiB\"", |report| exceeded(report, LimitKind::Memory)),
    ("it-has-no-more-time", "cpu_time = \"100ms\"", |report| exceeded(report, LimitKind::CpuTime)),
    ("it-ends-when-its-time-is-over", "wall_time = \"300ms\"", |report| exceeded(report, LimitKind::WallTime)),
    ("it-has-no-more-threads", "processes = 4", |report| exceeded(report, LimitKind::Processes)),
    ("it-asks-for-what-was-not-granted", "", |report| {
        report.exit.to_string() == "trapped: [13]" && report.denials.len() == 1
    }),
    ("it-cannot-give-back-what-it-never-took", "disk = \"64 KiB\"", |report| exceeded(report, LimitKind::Disk)),
    // One came as its standard input, one in its first parcel.
    ("it-has-a-bounded-number-of-lines", "", |report| report.exit.to_string() == "trapped: 6 more"),
];

fn exceeded(report: &Report, limit: LimitKind) -> bool {
    matches!(report.exit, Exit::Exceeded(found) if found.limit == limit)
}

fn attempt(name: &str, limits: &str, check: Check) -> Result<Completion, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    let port = listener.local_addr().expect("its address").port();
    let lab = Lab::new();
    let outcome =
        lab.load(&Tried { name: &format!("{name}.{port}"), limits, ..Tried::default() }).and_then(|capsule| {
            capsule.run_blocking().map_err(|error| match error {
                ringfence::StartError::Build(error) => LoadError::Build(error),
                other => panic!("{other}"),
            })
        });
    let report = match outcome {
        Ok(report) => report,
        Err(error) => return skipped(error),
    };
    if let Some(missing) = unconfined(&report) {
        return Ok(Completion::ignored_with(missing));
    }
    if listener.accept().is_ok() {
        return Err("somebody connected to a port of the host".into());
    }
    if fs::read(lab.home.path().join("data/in.txt")).expect("the file of the mount") != b"inside" {
        return Err("a file that was not granted was changed".into());
    }
    match check(&report) {
        true => Ok(Completion::Completed),
        false => Err(Failed::from(format!("{} {:?}", report.exit, report.denials))),
    }
}

/// How long a monitor may take to run its guest.
const PATIENCE: Duration = Duration::from_secs(20);

/// What holds of a monitor while its guest sleeps, as the kernel shows it.
fn good() -> Result<Completion, Failed> {
    let lab = Lab::new();
    let before = runners();
    let sleeper = Tried { limits: "memory = \"64 MiB\"", words: &["/bin/sleep", "60"], ..Tried::default() };
    let instance = match started(lab.load(&sleeper)) {
        Ok(instance) => instance,
        Err(without) => return without,
    };
    let began = Instant::now();
    let monitor = loop {
        // It has put its own filter up when there are two, it runs its guest when there is a processor, and tells
        // several times a second what that holds.
        let found = runners().into_iter().find(|pid| !before.contains(pid));
        if let Some(pid) = found
            && status(pid, "Seccomp_filters") == "2"
            && descriptors(pid).iter().any(|name| name.contains("kvm-vcpu"))
            && instance.usage().memory_peak > 0
        {
            break pid;
        }
        if began.elapsed() > PATIENCE {
            instance.stop(ringfence::Stop::Kill);
            return Err(format!("it did not come up: {}", instance.exited_blocking().exit).into());
        }
        std::thread::yield_now();
    };
    let mut wrong = Vec::new();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        if u64::from_str_radix(&status(monitor, set), 16) != Ok(0) {
            wrong.push(format!("{set} {}", status(monitor, set)));
        }
    }
    if status(monitor, "NoNewPrivs") != "1" {
        wrong.push("no_new_privs is not set".into());
    }
    for kind in ["mnt", "net", "pid", "ipc", "uts", "cgroup"] {
        let namespace = |whose: &str| fs::read_link(format!("/proc/{whose}/ns/{kind}")).ok();
        if namespace("self") == namespace(&monitor.to_string()) {
            wrong.push(format!("the {kind} namespace is the host's"));
        }
    }
    let system = ["/usr", "/lib", "/lib64", "/bin", "/etc/", "/nix"];
    for name in descriptors(monitor) {
        let kind = ["socket:", "anon_inode:", "/memfd:"].iter().any(|kind| name.starts_with(kind));
        if !kind && name != "/" && !system.iter().any(|folder| name.starts_with(folder)) {
            wrong.push(format!("it holds {name}"));
        }
    }
    let environment = fs::read(format!("/proc/{monitor}/environ")).unwrap_or_default();
    if !environment.is_empty() {
        wrong.push(format!("it knows variables: {}", String::from_utf8_lossy(&environment)));
    }
    instance.stop(ringfence::Stop::Kill);
    let report = instance.exited_blocking();
    if Path::new(&format!("/proc/{monitor}")).exists() && status(monitor, "State").starts_with(['R', 'S', 'D']) {
        wrong.push("it outlived its instance".into());
    }
    if report.exit != Exit::Stopped {
        wrong.push(format!("a kill ended it otherwise: {}", report.exit));
    }
    if !matches!(report.enforced.get(Guarantee::MonitorConfined), Held::By { .. }) {
        wrong.push("its report does not say so".into());
    }
    // The guest's, not what the monitor itself holds.
    if !(64 << 10..64 << 20).contains(&report.usage.memory_peak) {
        wrong.push(format!("its peak of memory is {}", report.usage.memory_peak));
    }
    if wrong.is_empty() { Ok(Completion::Completed) } else { Err(wrong.join("; ").into()) }
}

/// In the process of who runs it there are no walls around the monitor: that is told, and refused where they are required.
fn alone() -> Result<Completion, Failed> {
    let lab = Lab::new();
    let tried = Tried { apart: false, ..Tried::default() };
    let report = match lab.load(&tried).map(|capsule| capsule.run_blocking()) {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return Err(error.to_string().into()),
        Err(error) => return skipped(error),
    };
    if !report.not_held.iter().any(|not| not.guarantee == Guarantee::MonitorConfined) {
        return Err(format!("{:?}", report.not_held).into());
    }
    match lab.load(&Tried { isolation: "require = [\"monitor-confined\"]", ..tried }) {
        Err(LoadError::Build(BuildError::Refused(refusal))) if refusal.guarantee == Guarantee::MonitorConfined => {
            Ok(Completion::Completed)
        }
        Err(error) => Err(error.to_string().into()),
        Ok(_) => Err("it was not refused".into()),
    }
}

/// An instance that was started, or how the case ends without one.
fn started(capsule: Result<Capsule, LoadError>) -> Result<Instance, Result<Completion, Failed>> {
    match capsule.map_err(skipped)?.start() {
        Ok(instance) => Ok(instance),
        Err(StartError::Build(error)) => Err(skipped(LoadError::Build(error))),
        Err(error) => Err(Err(error.to_string().into())),
    }
}

fn skipped(error: LoadError) -> Result<Completion, Failed> {
    match error {
        LoadError::Build(BuildError::Refused(refusal)) if refusal.facts.iter().any(|fact| !fact.usable) => {
            Ok(Completion::ignored_with(format!("skipped: {refusal}").replace('\n', " ")))
        }
        error => Err(error.to_string().into()),
    }
}

/// Why the monitor has not all its walls on this machine; such a run would take what it can.
fn unconfined(report: &Report) -> Option<String> {
    match report.enforced.get(Guarantee::MonitorConfined) {
        Held::By { .. } => None,
        held => Some(format!("skipped: {held}")),
    }
}

/// Processes that run this program as a runner.
fn runners() -> Vec<u32> {
    let own = std::env::current_exe().expect("its own path");
    let name = own.file_name().expect("a name").to_string_lossy().into_owned();
    let is_runner = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = words.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
        words.first().is_some_and(|first| first.ends_with(&name))
            && words.get(1).is_some_and(|second| second == ringfence::runner::RUNNER)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).filter(is_runner).collect()
}

fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or("?").trim().to_owned()
}

/// What its descriptors lead to.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned())).collect()
}
