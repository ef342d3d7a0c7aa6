//! A thousand virtual machines in one process, idle: what each of them takes, and whether all of them answer.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ringfence::{Exit, Stop};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::capsule;
use crate::ratio::report;

/// The first argument of a process that measures one side.
pub(crate) const CHILD: &str = "--idle-child";
const INSTANCES: usize = 1000;
/// `SIGUSR1`, and the status with which the program answers it.
const SIGNAL: i32 = 10;
const ANSWER: i32 = 7;

pub(super) fn run(program: &Path) {
    let measure = |side: &str| -> Option<[f64; 3]> {
        let this = std::env::current_exe().expect("its own path");
        let output = Command::new(this).args([CHILD, side]).arg(program).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let found = <[f64; 3]>::try_from(numbers).ok();
        if found.is_none() {
            println!("{side} failed: {text} {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        found
    };
    let (Some(mine), Some(theirs)) = (measure("microvm"), measure("process")) else { return };
    let what = |what: &str| format!("{INSTANCES} idle programs, {what}");
    let kib = |bytes: f64| format!("{:.0} KiB", bytes / 1024.0);
    report(&what("memory of each"), &kib(mine[0]), "processes", &kib(theirs[0]), mine[0] / theirs[0]);
    let each = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
    report(&what("time to create each"), &each(mine[1]), "processes", &each(theirs[1]), mine[1] / theirs[1]);
    println!("{}: ringfence {:.0} of {INSTANCES}, processes {:.0}", what("answering"), mine[2], theirs[2]);
}

/// One side: makes them, waits until they rest, asks each. Prints bytes and seconds for each, and how many answered.
pub(crate) fn child(arguments: &[String]) {
    let most = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most.maximum, ..most });
    let program = Path::new(arguments.get(1).expect("a program"));
    let [bytes, seconds, answered] = match arguments.first().map(String::as_str) {
        Some("microvm") => machines(program),
        _ => processes(program),
    };
    println!("{bytes} {seconds} {answered}");
}

fn machines(program: &Path) -> [f64; 3] {
    let lab = capsule(program, &["idle"]).expect("the level is here");
    // What the first one brings with it is not counted.
    let mut instances = vec![lab.capsule.start().expect("it starts")];
    let before = available();
    let began = Instant::now();
    for _ in 0..INSTANCES {
        instances.push(lab.capsule.start().expect("it starts"));
    }
    let seconds = began.elapsed().as_secs_f64();
    rest(|| instances.iter().map(|instance| instance.usage().cpu_time).sum());
    let bytes = before - available();
    instances.iter().for_each(|instance| instance.stop(Stop::Signal(SIGNAL)));
    let reports = instances.iter().map(|instance| lab.tokio.block_on(instance.exited()));
    let answered = reports.filter(|report| report.exit == Exit::Returned(ANSWER)).count().saturating_sub(1);
    [bytes / INSTANCES as f64, seconds / INSTANCES as f64, answered as f64]
}

fn processes(program: &Path) -> [f64; 3] {
    let before = available();
    let began = Instant::now();
    let start = |_| Command::new(program).arg("idle").spawn().expect("it starts");
    let mut children: Vec<_> = (0..INSTANCES).map(start).collect();
    let seconds = began.elapsed().as_secs_f64();
    // They are at work for less than a millisecond each.
    std::thread::sleep(Duration::from_secs(2));
    let bytes = before - available();
    let mut answered = 0;
    for child in &mut children {
        if let Some(id) = rustix::process::Pid::from_raw(child.id() as i32) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::USR1);
        }
        answered += usize::from(child.wait().is_ok_and(|status| status.code() == Some(ANSWER)));
    }
    [bytes / INSTANCES as f64, seconds / INSTANCES as f64, answered as f64]
}

/// Waits until nothing is used any more.
fn rest(used: impl Fn() -> Duration) {
    let mut before = used();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = used();
        // Looking itself interrupts nobody.
        if now == before {
            return;
        }
        before = now;
    }
}

/// Bytes that Linux can give to programs (`MemAvailable`, proc_meminfo(5)): what is taken from it counts
/// what the kernel keeps for virtual machines, too. What else happens on the machine shows as well.
fn available() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0
}
